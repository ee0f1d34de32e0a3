//! Rules whose truth travels in access tokens: rules about calls are judged without asking anybody.

use std::fmt;

use super::rule::Rule;
use super::{Known, RuleError};
use crate::claims::Authority;
use crate::ids::{IdpName, Issuer};

/// One rule about people, such as `group:Writers`, which tokens repeat as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    text: String,
    rule: Rule,
}

/// What stands before a criterion in a token when nobody knows whether it is met: the person's groups are not listed.
const UNKNOWN: char = '?';

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Criterion {
    /// Reads one, as [`Rules::read`](super::Rules::read) does.
    ///
    /// # Errors
    /// [`RuleError`] says what to write instead.
    pub fn read(text: &str, providers: &[(IdpName, Authority)]) -> Result<Self, RuleError> {
        Ok(Self { text: text.to_owned(), rule: Rule::parse(text, providers)? })
    }

    /// How a token says that somebody meets it, or may do so; `None`: they do not.
    #[must_use]
    pub fn met_by(&self, known: &Known<'_>) -> Option<String> {
        match (self.rule.admits(known), self.rule.denies(known)) {
            (true, _) => Some(self.text.clone()),
            (false, true) => Some(format!("{UNKNOWN}{}", self.text)),
            (false, false) => None,
        }
    }

    /// Whether it counts for somebody whose token says that they meet `criteria`.
    #[must_use]
    pub fn admits(&self, criteria: &[String]) -> bool {
        criteria.contains(&self.text)
    }

    /// Whether it counts against them: what nobody knows does too.
    #[must_use]
    pub fn denies(&self, criteria: &[String]) -> bool {
        criteria.iter().any(|met| met.strip_prefix(UNKNOWN).unwrap_or(met) == self.text)
    }

    /// The group that it names, if it is about one of people of these issuers.
    #[must_use]
    pub fn group(&self, issuers: &[Issuer]) -> Option<&str> {
        self.rule.group(issuers)
    }
}
