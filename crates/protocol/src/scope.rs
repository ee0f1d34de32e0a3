//! Scopes (RFC 6749 §3.3): parsing, and the one ceiling that every request passes.

mod rules;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Reason;

pub use rules::{Hierarchy, ScopeRule, ScopeRules};

/// Longest scope parameter that is looked at, in bytes.
const SCOPE_PARAMETER_MAX: usize = 4096;
/// Most scopes in one request.
const SCOPES_MAX: usize = 100;

/// One scope token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(String);

impl Scope {
    /// Accepts `1*( %x21 / %x23-5B / %x5D-7E )`, RFC 6749 §3.3.
    ///
    /// # Errors
    /// [`Reason::ScopeMalformed`] for any other character, or none at all.
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        let allowed = |b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if !raw.is_empty() && raw.len() <= 128 && raw.bytes().all(allowed) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Reason::ScopeMalformed)
        }
    }

    /// The scope as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A set of scopes; written as one string with single spaces, in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// No scope.
    #[must_use]
    pub const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Parses a scope parameter: tokens divided by single spaces. Repeats collapse.
    ///
    /// # Errors
    /// [`Reason::ScopeMalformed`] for empty tokens, foreign characters, or more than a request can sensibly ask.
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        if raw.len() > SCOPE_PARAMETER_MAX {
            return Err(Reason::ScopeMalformed);
        }
        let scopes: BTreeSet<Scope> = raw.split(' ').map(Scope::parse).collect::<Result<_, _>>()?;
        if scopes.len() > SCOPES_MAX { Err(Reason::ScopeMalformed) } else { Ok(Self(scopes)) }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Scope::as_str)
    }

    /// Whether every scope of `needed` is here.
    #[must_use]
    pub fn covers(&self, needed: &Self) -> bool {
        needed.0.is_subset(&self.0)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// These scopes without `offline_access`, which asks for a refresh token and not for access.
    #[must_use]
    pub fn without_offline_access(mut self) -> Self {
        self.0.retain(|scope| scope.as_str() != "offline_access");
        self
    }

    /// The one ceiling: what of `requested` may be asked of a person when the resource offers `self`.
    ///
    /// Unknown scopes are dropped, as clients send `openid email profile` on their own account, and the token response states what
    /// was granted (AS-69). `offline_access` never counts (RS-05).
    /// No scope at all means the resource's own set.
    ///
    /// # Errors
    /// [`Reason::ScopeUnknown`] when something was requested and none of it exists here.
    pub fn ceiling(&self, requested: Option<&Self>) -> Result<Self, Reason> {
        let Some(requested) = requested else { return Ok(self.clone()) };
        let asked = requested.clone().without_offline_access();
        if asked.is_empty() {
            return Ok(self.clone());
        }
        let known = self.intersection(&asked);
        if known.is_empty() { Err(Reason::ScopeUnknown) } else { Ok(known) }
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(deserializer)?;
        if raw.is_empty() {
            return Ok(Self::default());
        }
        Self::parse(&raw).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scopes(raw: &str) -> Scopes {
        Scopes::parse(raw).unwrap()
    }

    #[test]
    fn scopes_are_gathered_from_single_ones() {
        let gathered: Scopes = ["write", "mcp"].into_iter().flat_map(|one| scopes(one).0).collect();
        assert_eq!(gathered, scopes("mcp write"));
    }

    #[test]
    fn a_079_foreign_separators_are_malformed() {
        for raw in ["", "a,b\t", "a\tb", "a\u{a0}b", "a  b", " a", "a ", "a\"b", "a\\b"] {
            assert_eq!(Scopes::parse(raw), Err(Reason::ScopeMalformed), "{raw:?}");
        }
        let many: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        assert_eq!(Scopes::parse(&many.join(" ")), Err(Reason::ScopeMalformed));
        assert_eq!(scopes("a a a").to_string(), "a");
    }

    #[test]
    fn the_ceiling_drops_what_does_not_exist_and_refuses_when_nothing_is_left() {
        let offered = scopes("read write");
        assert_eq!(offered.ceiling(None).unwrap(), offered);
        assert_eq!(offered.ceiling(Some(&scopes("read openid email"))).unwrap(), scopes("read"));
        assert_eq!(offered.ceiling(Some(&scopes("offline_access"))).unwrap(), offered);
        assert_eq!(offered.ceiling(Some(&scopes("read offline_access"))).unwrap(), scopes("read"));
        assert_eq!(offered.ceiling(Some(&scopes("admin"))), Err(Reason::ScopeUnknown));
    }

    /// Sets over a small alphabet, so that they meet; `offline_access` among them.
    fn some() -> impl Strategy<Value = Scopes> {
        let token = prop_oneof![Just("offline_access".to_owned()), "[a-d]", "[!#-\\[\\]-~]{1,3}"];
        proptest::collection::vec(token, 0..6)
            .prop_map(|tokens| tokens.iter().map(|token| Scope::parse(token).unwrap()).collect())
    }

    proptest! {
        /// What is granted was offered, and was asked for if anything was.
        #[test]
        fn the_ceiling_is_never_above_the_offer(offered in some(), asked in proptest::option::of(some())) {
            if let Ok(granted) = offered.ceiling(asked.as_ref()) {
                prop_assert!(offered.covers(&granted));
                let wanted = asked.unwrap_or_default().without_offline_access();
                let fits = if wanted.is_empty() { granted == offered } else { wanted.covers(&granted) && !granted.is_empty() };
                prop_assert!(fits);
                // Asking again for what was given changes nothing.
                if !granted.clone().without_offline_access().is_empty() {
                    prop_assert_eq!(offered.ceiling(Some(&granted)).unwrap(), granted.without_offline_access());
                }
            }
        }

        #[test]
        fn what_is_printed_reads_back(scopes in some()) {
            if !scopes.is_empty() {
                prop_assert_eq!(&Scopes::parse(&scopes.to_string()).unwrap(), &scopes);
            }
            let json = serde_json::to_string(&scopes).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scopes>(&json).unwrap(), scopes);
        }

        #[test]
        fn to_cover_is_a_partial_order_and_fits_union_and_intersection(a in some(), b in some(), c in some()) {
            prop_assert!(a.covers(&a) && a.covers(&Scopes::default()));
            prop_assert!(!(a.covers(&b) && b.covers(&a)) || a == b);
            prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c));
            prop_assert!(a.union(&b).covers(&a) && a.union(&b).covers(&b));
            prop_assert!(a.covers(&a.intersection(&b)) && b.covers(&a.intersection(&b)));
            prop_assert_eq!(a.covers(&b), a.union(&b) == a);
        }

        /// Whatever text comes, only the characters of RFC 6749 §3.3 get in.
        #[test]
        fn nothing_foreign_gets_in(raw in ".{0,20}") {
            if let Ok(scopes) = Scopes::parse(&raw) {
                prop_assert!(raw.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\'));
                prop_assert!(scopes.iter().all(|scope| raw.split(' ').any(|word| word == scope)));
            }
        }
    }

    #[test]
    fn a_request_can_only_ask_so_much() {
        let long = |bytes: usize| Scopes::parse(&"x".repeat(bytes)).is_ok();
        let many = |count: usize| {
            let tokens: Vec<String> = (0..count).map(|n| n.to_string()).collect();
            Scopes::parse(&tokens.join(" ")).is_ok()
        };
        assert!(many(SCOPES_MAX) && !many(SCOPES_MAX + 1));
        let widest = std::iter::repeat_n("abc", SCOPE_PARAMETER_MAX / 4).collect::<Vec<_>>().join(" ");
        assert!(Scopes::parse(&format!("{widest}{}", "d".repeat(SCOPE_PARAMETER_MAX - widest.len()))).is_ok());
        assert!(!long(SCOPE_PARAMETER_MAX + 1));
    }
}
