//! Who may call what: the operator's rules for one server, judged on what the body says (A-188, A-207, A-215, RS-12).

use std::collections::BTreeSet;
use std::fmt;

use wildmatch::WildMatch;

use super::{Body, Kind, Message, named_by};
use crate::access::{Criterion, Known};
use crate::error::Reason;
use crate::ids::Issuer;
use crate::scope::Scopes;

/// What clients need before and between calls. No rule has to allow it, only one that names it keeps it out.
const PLUMBING: [&str; 13] = [
    "initialize",
    "server/discover",
    "ping",
    "logging/setLevel",
    "completion/complete",
    "subscriptions/listen",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
];

/// What a call needs of which no rule says more.
const NO_SCOPE: &Scopes = &Scopes::none();

/// A text in which `*` stands for anything, letters compared exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(WildMatch);

impl Pattern {
    /// Reads one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(WildMatch::new(text))
    }

    fn fits(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRule {
    /// The methods that it is about; none: all.
    pub methods: Vec<Pattern>,
    /// The tools, prompts and resources that it is about; none: whatever the method acts on.
    pub names: Vec<Pattern>,
    /// The people whom it is about; none: everybody.
    pub people: Vec<Criterion>,
    /// What it says.
    pub then: Then,
}

/// What a rule says about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// It may be made with a token that has these scopes.
    Allow(Scopes),
    /// It may not be made.
    Deny,
}

/// What holds for calls that no rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// They may be made.
    #[default]
    Allow,
    /// They may not be made.
    Deny,
}

/// The rules of one server; the first that is about a call decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallRules {
    /// In their order.
    pub rules: Vec<CallRule>,
    /// What holds where none is about a call.
    pub otherwise: Otherwise,
    /// Whether tools that somebody may not call are left out of the lists that they are shown. Of those that lack a scope only, they learn.
    pub hides: bool,
}

impl CallRules {
    /// What a token has to say of somebody, for these rules to be judged.
    #[must_use]
    pub fn criteria(&self, known: &Known<'_>) -> Vec<String> {
        let said: BTreeSet<String> = self.people().filter_map(|criterion| criterion.met_by(known)).collect();
        said.into_iter().collect()
    }

    /// The groups that they name of people of these issuers.
    pub fn groups(&self, issuers: &[Issuer]) -> impl Iterator<Item = &str> {
        self.people().filter_map(|criterion| criterion.group(issuers))
    }

    fn people(&self) -> impl Iterator<Item = &Criterion> {
        self.rules.iter().flat_map(|rule| &rule.people)
    }

    /// Whether there is anything to judge.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.otherwise == Otherwise::Allow
    }

    /// Judges all messages of a body, for somebody of whom a token says that they meet `criteria`, and gives the scopes that the messages
    /// need together: a batch may go as a whole or not at all.
    ///
    /// # Errors
    /// [`Reason::CallDenied`].
    pub fn judge(&self, body: &Body<'_>, criteria: &[String]) -> Result<Scopes, Reason> {
        let messages = match body {
            Body::One(message) => std::slice::from_ref(message),
            Body::Batch(messages) => messages,
        };
        let mut needed = Scopes::none();
        for message in messages {
            match self.message(message, criteria) {
                Some(scopes) => needed = needed.union(scopes),
                None => return Err(Reason::CallDenied),
            }
        }
        Ok(needed)
    }

    /// Whether somebody may see a tool in a list.
    #[must_use]
    pub fn shows(&self, tool: &str, criteria: &[String]) -> bool {
        self.call("tools/call", Some(tool), criteria).is_some()
    }

    fn message(&self, message: &Message<'_>, criteria: &[String]) -> Option<&Scopes> {
        match (message.kind(), message.method()) {
            // An answer to what the server asked; the server judges whether it did.
            (Kind::Response, _) | (_, None) => Some(NO_SCOPE),
            (Kind::Request | Kind::Notification, Some(method)) => self.call(method, message.name(), criteria),
        }
    }

    /// The scopes that a call needs; `None`: it may not be made.
    fn call(&self, method: &str, name: Option<&str>, criteria: &[String]) -> Option<&Scopes> {
        // Whatever a backend would make of it: no rule can be about it.
        if name.is_none() && named_by(method).is_some() && !self.is_empty() {
            return None;
        }
        match (self.rules.iter().find(|rule| rule.is_about(method, name, criteria)).map(|rule| &rule.then), self.otherwise) {
            (Some(Then::Allow(scopes)), _) => Some(scopes),
            (Some(Then::Deny), _) => None,
            (None, Otherwise::Allow) => Some(NO_SCOPE),
            (None, Otherwise::Deny) => {
                let plumbing = PLUMBING.contains(&method) || method.starts_with("notifications/");
                plumbing.then_some(NO_SCOPE)
            }
        }
    }
}

impl CallRule {
    fn is_about(&self, method: &str, name: Option<&str>, criteria: &[String]) -> bool {
        let any = |patterns: &[Pattern], text: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern.fits(text));
        let named = name.map_or(self.names.is_empty(), |name| any(&self.names, name));
        let about = |criterion: &Criterion| match self.then {
            Then::Allow(_) => criterion.admits(criteria),
            Then::Deny => criterion.denies(criteria),
        };
        any(&self.methods, method) && named && (self.people.is_empty() || self.people.iter().any(about))
    }
}
