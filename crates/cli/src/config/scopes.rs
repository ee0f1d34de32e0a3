//! `[[scope]]`: what single scopes mean, and who may have them.

use deputy_protocol::IdpName;
use deputy_protocol::access::{RuleError, Rules};
use deputy_protocol::claims::Authority;
use deputy_protocol::scope::{Scope, ScopeRule, ScopeRules, Scopes};
use deputy_server::ServerConfig;

use super::file::ScopeEntry;
use super::idp::Providers;
use super::place::{Located, Place};
use super::{Problem, access, suggest};

/// Longest description, in characters: it is one line of the consent page.
const DESCRIPTION_MAX: usize = 200;

/// Reads every `[[scope]]`.
pub(super) fn scopes(raw: &[ScopeEntry], idps: &[(IdpName, Authority)]) -> Result<ScopeRules, Problem> {
    let rules: Vec<ScopeRule> = raw.iter().map(|entry| one(entry, idps)).collect::<Result<_, _>>()?;
    ScopeRules::new(rules).map_err(|twice| {
        let second = raw.iter().filter(|entry| entry.name.value == twice.as_str()).nth(1);
        let place = second.map_or(Place::File, |entry| entry.name.place.clone());
        Problem::new(&place, format!("\"{}\" is described by two [[scope]]. One is enough.", twice.as_str()))
    })
}

fn one(entry: &ScopeEntry, idps: &[(IdpName, Authority)]) -> Result<ScopeRule, Problem> {
    let name = scope(&entry.name)?;
    if name.as_str() == "offline_access" {
        let text = "offline_access asks for a refresh token and not for access: it needs no [[scope]].";
        return Err(Problem::new(&entry.name.place, text));
    }
    Ok(ScopeRule {
        description: entry.description.as_ref().map(description).transpose()?,
        grants_to: entry.grants_to.as_ref().map(|rules| grants_to(&entry.name, rules, idps)).transpose()?,
        implies: entry.implies.iter().map(scope).collect::<Result<Scopes, _>>()?,
        idp: entry.idp.iter().map(|raw| scope(raw).map(|scope| scope.as_str().to_owned())).collect::<Result<_, _>>()?,
        name,
    })
}

fn scope(raw: &Located<String>) -> Result<Scope, Problem> {
    let text = "a scope is one word of at most 128 characters, without spaces, quotes and backslashes: \"files:write\".";
    Scope::parse(&raw.value).map_err(|_| Problem::new(&raw.place, text))
}

fn description(raw: &Located<String>) -> Result<String, Problem> {
    let text = raw.value.trim();
    let fits = !text.is_empty() && text.chars().count() <= DESCRIPTION_MAX && !text.chars().any(char::is_control);
    let wrong = "description is one line of 1 to 200 characters that people read on the consent page: \"Change your files\".";
    if fits { Ok(text.to_owned()) } else { Err(Problem::new(&raw.place, wrong)) }
}

fn grants_to(name: &Located<String>, raw: &[Located<String>], idps: &[(IdpName, Authority)]) -> Result<Rules, Problem> {
    if raw.is_empty() {
        let text = format!("grants_to of \"{}\" is empty, so nobody could have it. Leave it out for everybody.", name.value);
        return Err(Problem::new(&name.place, text));
    }
    let read = |rules: &[&str]| Rules::read(rules, &[], idps);
    let problem = |place: &Place, error: &RuleError| Problem::new(place, format!("{error}."));
    for rule in raw {
        read(&[&rule.value]).map_err(|error| problem(&rule.place, &error))?;
    }
    read(&raw.iter().map(|rule| rule.value.as_str()).collect::<Vec<_>>()).map_err(|error| problem(&name.place, &error))
}

/// What deserves a second look: words about scopes that are nowhere, and a way around a rule.
pub(super) fn look_again(
    raw: &[ScopeEntry],
    rules: &ScopeRules,
    servers: &[ServerConfig],
    idps: &Providers,
    notes: &mut Vec<String>,
) {
    for entry in raw {
        let words: Vec<String> = entry.grants_to.iter().flatten().map(|rule| rule.value.clone()).collect();
        access::warn_of_dead_rules(&format!("[[scope]] \"{}\": grants_to", entry.name.value), &words, idps, notes);
    }
    let offered = servers.iter().fold(Scopes::default(), |all, server| all.union(&server.scopes));
    let is_offered = |name: &str| offered.iter().any(|offered| offered == name);
    let rule_of = |name: &str| rules.iter().find(|rule| rule.name.as_str() == name);
    let meant =
        |name: &str| suggest::nearest(name, offered.iter()).map(|near| format!(" Did you mean \"{near}\"?")).unwrap_or_default();
    for rule in rules.iter() {
        let name = rule.name.as_str();
        if !is_offered(name) {
            notes.push(format!("[[scope]] \"{name}\": no [[server]] has this scope.{}", meant(name)));
        }
        for contained in rule.implies.iter() {
            let narrower = rule_of(contained).is_some_and(|contained| contained.grants_to.is_some());
            if !is_offered(contained) && rule_of(contained).is_none() {
                notes.push(format!("[[scope]] \"{name}\" implies \"{contained}\", which no [[server]] has.{}", meant(contained)));
            } else if rule.grants_to.is_none() && narrower {
                notes.push(format!(
                    "[[scope]] \"{name}\" is for everybody and implies \"{contained}\", which is not: everybody gets it this way. Give \"{name}\" \
                     grants_to as well."
                ));
            }
        }
    }
}
