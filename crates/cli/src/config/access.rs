//! `[access]`: who may come in.

use deputy_protocol::IdpName;
use deputy_protocol::access::{RuleError, Rules};
use deputy_protocol::claims::{Authority, TenantId as ObjectId};
use deputy_server::IdpConfig;
use deputy_server::config::IdpKind;

use super::Problem;
use super::file::{Access, ScopeEntry};
use super::idp::Providers;
use super::place::{Located, Place};

/// Google's issuer.
const GOOGLE: &str = "https://accounts.google.com";
/// Longest `contact`, in characters.
const CONTACT_MAX: usize = 200;

/// What `[access]` says.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) rules: Rules,
    pub(super) contact: Option<String>,
    /// As written, or as they are by default.
    pub(super) allow: Vec<String>,
    pub(super) deny: Vec<String>,
}

/// Reads the rules. A company's own provider needs none.
pub(super) fn access(raw: Option<Access>, idps: &Providers, notes: &mut Vec<String>) -> Result<Checked, Problem> {
    let Access { mut allow, deny, contact } = raw.unwrap_or_default();
    if allow.is_empty() {
        allow = own_people(idps).ok_or_else(|| {
            let text = "nobody may come in: there is no access rule. Add: [access] allow = [\"domain:example.com\"] (or \"email:…\", \
                        \"group:…\", \"subject:…\"; \"*\" lets in whoever the provider signs in).";
            Problem::new(&Place::File, text)
        })?;
    }
    let known = known(idps);
    let read = |allow: &[&str], deny: &[&str]| Rules::read(allow, deny, &known);
    // One by one, so that an error points at its rule.
    for rule in &allow {
        read(&[&rule.value], &[]).map_err(|error| problem(rule, &error))?;
    }
    for rule in &deny {
        read(&["*"], &[&rule.value]).map_err(|error| problem(rule, &error))?;
    }
    let texts = |rules: &[Located<String>]| rules.iter().map(|rule| rule.value.clone()).collect::<Vec<_>>();
    let (allow, deny) = (texts(&allow), texts(&deny));
    let rules = Rules::read(&allow, &deny, &known).map_err(|error| Problem::new(&Place::File, format!("{error}.")))?;
    warn_of_open_doors(&allow, idps, notes);
    warn_of_loose_rules(&allow, idps, notes);
    warn_of_dead_rules("[access] allow", &allow, idps, notes);
    warn_of_dead_rules("[access] deny", &deny, idps, notes);
    Ok(Checked { rules, contact: contact.as_ref().map(one_line).transpose()?, allow, deny })
}

/// Whom to ask, as it stands on a page.
fn one_line(raw: &Located<String>) -> Result<String, Problem> {
    let text = raw.value.trim();
    let fits = !text.is_empty() && text.chars().count() <= CONTACT_MAX && !text.chars().any(char::is_control);
    let wrong = "contact is one line of 1 to 200 characters that people read when they may not come in: \"it@example.com\".";
    if fits { Ok(text.to_owned()) } else { Err(Problem::new(&raw.place, wrong)) }
}

fn problem(rule: &Located<String>, error: &RuleError) -> Problem {
    Problem::new(&rule.place, format!("{error}."))
}

/// Whether a rule, here or of a scope, is about organisations or teams: only then the provider is asked for them.
pub(super) fn asks_for_memberships(raw: Option<&Access>, scopes: &[ScopeEntry]) -> bool {
    let rules = raw.into_iter().flat_map(|access| access.allow.iter().chain(&access.deny));
    let mut all = rules.chain(scopes.iter().filter_map(|scope| scope.grants_to.as_ref()).flatten());
    let about = |rule: &str| rule.starts_with("org:") || rule.starts_with("team:");
    all.any(|rule| {
        about(&rule.value)
            || rule.value.strip_prefix("idp:").and_then(|rest| rest.split_once('/')).is_some_and(|(_, rule)| about(rule))
    })
}

/// What the rules need to know of the providers.
pub(super) fn known(idps: &Providers) -> Vec<(IdpName, Authority)> {
    idps.configs.iter().map(|idp| (idp.name.clone(), idp.kind.authority())).collect()
}

/// The rules that go without saying: where every provider signs in the people of listed tenants only, these people.
fn own_people(idps: &Providers) -> Option<Vec<Located<String>>> {
    let own = idps.configs.iter().all(|idp| matches!(idp.kind, IdpKind::Entra(_)));
    let rule = |name: &IdpName| Located { value: format!("idp:{name}"), place: Place::File };
    own.then(|| idps.configs.iter().map(|idp| rule(&idp.name)).collect())
}

fn warn_of_open_doors(allow: &[String], idps: &Providers, notes: &mut Vec<String>) {
    for (name, shown) in &idps.open {
        let all_of = |rule: &&String| matches!(rule.strip_prefix("idp:"), Some(rest) if rest == name.as_str() || rest == format!("{name}/*"));
        if allow.iter().any(|rule| rule == "*") || allow.iter().find(all_of).is_some() {
            notes.push(format!(
                "[access] lets in everyone who can sign in with {shown}, which may be the whole world. Name a domain or a group instead."
            ));
        }
    }
}

/// Names that a provider gives mean something at that provider only.
fn warn_of_loose_rules(allow: &[String], idps: &Providers, notes: &mut Vec<String>) {
    if idps.configs.len() < 2 {
        return;
    }
    let loose = |rule: &&String| ["group:", "role:", "subject:"].iter().any(|kind| rule.starts_with(kind));
    for rule in allow.iter().filter(loose) {
        let name = idps.configs.first().map(|idp| idp.name.as_str()).unwrap_or_default();
        notes.push(format!(
            "[access] \"{rule}\" counts at every provider: whoever can choose names at one of them comes in. Write \"idp:{name}/{rule}\"."
        ));
    }
}

/// Rules that can never be true: no provider that they are about says such a thing.
pub(super) fn warn_of_dead_rules(place: &str, rules: &[String], idps: &Providers, notes: &mut Vec<String>) {
    let denies = place.ends_with("deny");
    for rule in rules {
        let (name, word) = rule.strip_prefix("idp:").map_or((None, rule.as_str()), |rest| {
            let (name, word) = rest.split_once('/').unwrap_or((rest, "*"));
            (Some(name), word)
        });
        let about = idps.configs.iter().filter(|idp| name.is_none_or(|name| idp.name.as_str() == name));
        if idps.configs.iter().any(|idp| name.is_none_or(|name| idp.name.as_str() == name) && no_object_id(word, idp)) {
            notes.push(format!(
                "{place} \"{rule}\" is a group's name, and Microsoft Graph knows groups by their object ids: of people in more groups than a token \
                 lists, it is not known. Write the group's object id."
            ));
        }
        let silent: Option<Vec<&str>> = about.map(|idp| silence(word, idp, denies)).collect();
        if let Some(why) = silent.as_deref().and_then(<[_]>::first) {
            notes.push(format!("{place} \"{rule}\" can never be true: {why}"));
        }
    }
}

/// Microsoft Graph is asked about groups by their object ids: of a name it says nothing.
fn no_object_id(word: &str, idp: &IdpConfig) -> bool {
    let by_graph = matches!(&idp.kind, IdpKind::Entra(entra) if entra.graph.is_some());
    by_graph && word.strip_prefix("group:").is_some_and(|group| ObjectId::parse(group).is_none())
}

/// Why a provider never says what a rule asks about, if it never does.
fn silence(word: &str, idp: &IdpConfig, denies: bool) -> Option<&'static str> {
    let kind = word.split_once(':').map_or("", |(kind, _)| kind);
    let entra = matches!(idp.kind, IdpKind::Entra(_));
    let google = matches!(&idp.kind, IdpKind::OpenId { issuer } if issuer.as_str() == GOOGLE);
    match kind {
        // The addresses of a token count against somebody; for somebody, only verified ones do.
        "email" | "domain" if entra && !denies => {
            Some("Entra does not say whether an address was verified. Name the tenant, a group or a role instead.")
        }
        "org" | "team" if entra || matches!(idp.kind, IdpKind::OpenId { .. }) => {
            Some("an OpenID provider says nothing about organisations and teams of GitHub. Name a group instead.")
        }
        "group" | "role" if google => {
            Some("Google's tokens say nothing about groups and roles. Name a domain or addresses instead.")
        }
        _ => None,
    }
}
