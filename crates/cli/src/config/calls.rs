//! `[[server.rule]]`: who may call what.

use deputy_protocol::IdpName;
use deputy_protocol::access::Criterion;
use deputy_protocol::claims::Authority;
use deputy_protocol::mcp::rules::{CallRule, CallRules, Otherwise, Pattern, Then};
use deputy_protocol::scope::{Scope, Scopes};

use super::Problem;
use super::file::{CallRuleEntry, Server};
use super::place::{Located, Place};

const ABOUT: &str = "a [[server.rule]] is about one of tools, prompts, resources and methods. Write one rule for each.";

/// Reads the rules of a server that has these scopes.
pub(super) fn calls(server: &Server, scopes: &Scopes, idps: &[(IdpName, Authority)]) -> Result<CallRules, Problem> {
    let rules = server.rule.iter().map(|entry| rule(entry, scopes, idps)).collect::<Result<Vec<_>, _>>()?;
    let otherwise = match server.default.as_ref().map(|word| (word.value.as_str(), &word.place)) {
        None | Some(("allow", _)) => Otherwise::Allow,
        Some(("deny", _)) => Otherwise::Deny,
        Some((_, place)) => {
            let text = "default says what holds for calls that no [[server.rule]] is about: \"allow\" or \"deny\".";
            return Err(Problem::new(place, text));
        }
    };
    Ok(CallRules { rules, otherwise, hides: server.hide_denied })
}

fn rule(entry: &CallRuleEntry, scopes: &Scopes, idps: &[(IdpName, Authority)]) -> Result<CallRule, Problem> {
    let (methods, names) = about(entry)?;
    let criterion =
        |raw: &Located<String>| Criterion::read(&raw.value, idps).map_err(|error| Problem::new(&raw.place, format!("{error}.")));
    Ok(CallRule {
        methods,
        names,
        people: entry.people.iter().map(criterion).collect::<Result<_, _>>()?,
        then: then(entry, scopes)?,
    })
}

/// The methods, and what they act on.
fn about<'e>(entry: &'e CallRuleEntry) -> Result<(Vec<Pattern>, Vec<Pattern>), Problem> {
    let named =
        |methods: &'static [&'static str], list: &'e Option<Vec<Located<String>>>| list.as_ref().map(|list| (methods, list));
    let lists = [
        named(&["tools/call"], &entry.tools),
        named(&["prompts/get"], &entry.prompts),
        named(&["resources/read", "resources/subscribe", "resources/unsubscribe"], &entry.resources),
    ];
    let mut named = lists.into_iter().flatten();
    let found = match (named.next(), named.next(), &entry.methods) {
        (None, None, Some(methods)) => (patterns(methods)?, Vec::new()),
        (Some((methods, names)), None, None) => (methods.iter().map(|method| Pattern::new(method)).collect(), patterns(names)?),
        (None, _, None) => (Vec::new(), Vec::new()),
        (Some((_, names)), ..) => return Err(Problem::new(place(names), ABOUT)),
        (None, Some((_, names)), Some(_)) => return Err(Problem::new(place(names), ABOUT)),
    };
    Ok(found)
}

fn place(list: &[Located<String>]) -> &Place {
    list.first().map_or(&Place::File, |first| &first.place)
}

/// Names in which `*` stands for anything.
fn patterns(list: &[Located<String>]) -> Result<Vec<Pattern>, Problem> {
    if list.is_empty() {
        return Err(Problem::new(
            &Place::File,
            "a [[server.rule]] has an empty list, so it is about nothing. Name something, or write [\"*\"].",
        ));
    }
    let pattern = |raw: &Located<String>| {
        let text = "this is empty, or has a question mark, which stands for nothing here; * stands for anything.";
        let fits = !raw.value.is_empty() && !raw.value.contains('?');
        if fits { Ok(Pattern::new(&raw.value)) } else { Err(Problem::new(&raw.place, text)) }
    };
    list.iter().map(pattern).collect()
}

fn then(entry: &CallRuleEntry, offered: &Scopes) -> Result<Then, Problem> {
    if let Some(Located { value: false, .. }) = &entry.allow {
        return match entry.scopes.first() {
            None => Ok(Then::Deny),
            Some(scope) => {
                let text = "scopes are what a call needs that is allowed. With allow = false it is not, whatever the token says.";
                Err(Problem::new(&scope.place, text))
            }
        };
    }
    let scope = |raw: &Located<String>| {
        let known = Scope::parse(&raw.value).ok().filter(|scope| offered.iter().any(|offered| offered == scope.as_str()));
        known.ok_or_else(|| {
            let text = format!(
                "this server has no scope \"{}\", so nobody could make the call. Add it to scopes of the [[server]].",
                raw.value
            );
            Problem::new(&raw.place, text)
        })
    };
    entry.scopes.iter().map(scope).collect::<Result<Scopes, _>>().map(Then::Allow)
}
