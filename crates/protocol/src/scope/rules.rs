//! What the operator says about single scopes: their words, who may have them, and which others they contain.

use std::collections::BTreeMap;

use super::{Scope, Scopes};
use crate::Issuer;
use crate::access::{Known, Rules};

/// What is said about one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeRule {
    /// The scope.
    pub name: Scope,
    /// What it allows, in words for the consent page.
    pub description: Option<String>,
    /// Who may have it; `None`: everybody who may come in.
    pub grants_to: Option<Rules>,
    /// Which scopes are contained in it (RS-13).
    pub implies: Scopes,
    /// The identity provider's scopes that stand behind it.
    pub idp: Vec<String>,
}

impl ScopeRule {
    /// A scope of which nothing special is said.
    #[must_use]
    pub const fn new(name: Scope) -> Self {
        Self { name, description: None, grants_to: None, implies: Scopes::none(), idp: Vec::new() }
    }

    fn is_for(&self, known: &Known<'_>) -> bool {
        self.grants_to.as_ref().is_none_or(|rules| rules.are_about(known))
    }
}

/// What is said about the scopes of a deployment. Of a scope that is not here, nothing is said: whoever may come in may have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRules(BTreeMap<Scope, ScopeRule>);

impl ScopeRules {
    /// These rules. `Err` is a scope about which two of them speak.
    ///
    /// # Errors
    /// The scope.
    pub fn new(rules: Vec<ScopeRule>) -> Result<Self, Scope> {
        let mut all = BTreeMap::new();
        for rule in rules {
            if let Some(twice) = all.insert(rule.name.clone(), rule) {
                return Err(twice.name);
            }
        }
        Ok(Self(all))
    }

    /// All of them, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &ScopeRule> {
        self.0.values()
    }

    /// The words for a scope.
    #[must_use]
    pub fn words(&self, scope: &str) -> Option<&str> {
        self.iter().find(|rule| rule.name.as_str() == scope)?.description.as_deref()
    }

    /// The groups that have scopes of their own, of people of these issuers.
    pub fn groups(&self, issuers: &[Issuer]) -> impl Iterator<Item = &str> {
        self.iter().filter_map(|rule| rule.grants_to.as_ref()).flat_map(|rules| rules.groups(issuers))
    }

    /// What of `offered` somebody may have.
    #[must_use]
    pub fn for_person(&self, offered: &Scopes, known: &Known<'_>) -> Scopes {
        let may_have = |scope: &&Scope| self.0.get(*scope).is_none_or(|rule| rule.is_for(known));
        Scopes(offered.0.iter().filter(may_have).cloned().collect())
    }

    /// The provider's scopes that stand behind these.
    #[must_use]
    pub fn at_idp(&self, scopes: &Scopes) -> Vec<&str> {
        let behind = |scope: &Scope| self.0.get(scope).map(|rule| rule.idp.iter().map(String::as_str));
        scopes.0.iter().filter_map(behind).flatten().collect()
    }

    /// Which scopes contain which others.
    #[must_use]
    pub fn hierarchy(&self) -> Hierarchy {
        let direct = |scope: &Scope| self.0.get(scope).map(|rule| rule.implies.0.iter().cloned()).into_iter().flatten();
        let mut all = BTreeMap::new();
        for scope in self.0.keys() {
            let (mut contained, mut left) = (Scopes::default(), direct(scope).collect::<Vec<_>>());
            while let Some(next) = left.pop() {
                // Who is in already was followed already: a circle ends.
                if contained.0.insert(next.clone()) {
                    left.extend(direct(&next));
                }
            }
            if !contained.is_empty() {
                all.insert(scope.clone(), contained);
            }
        }
        Hierarchy(all)
    }
}

/// Which scopes contain which others: whoever has `files:write` may read (RS-13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy(BTreeMap<Scope, Scopes>);

impl Hierarchy {
    /// These scopes with all that they contain.
    #[must_use]
    pub fn with_contained(&self, scopes: &Scopes) -> Scopes {
        scopes.0.iter().filter_map(|scope| self.0.get(scope)).fold(scopes.clone(), |all, contained| all.union(contained))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{Groups, Memberships};
    use crate::ids::Issuer;
    use proptest::prelude::*;

    fn scopes(raw: &str) -> Scopes {
        Scopes::parse(raw).unwrap()
    }

    fn rule(name: &str, grants_to: &[&str], implies: &str) -> ScopeRule {
        ScopeRule {
            grants_to: (!grants_to.is_empty()).then(|| Rules::parse(grants_to).unwrap()),
            implies: if implies.is_empty() { Scopes::default() } else { scopes(implies) },
            ..ScopeRule::new(Scope::parse(name).unwrap())
        }
    }

    fn for_member(rules: &ScopeRules, groups: &[&str], offered: &Scopes) -> Scopes {
        let (idp, groups) =
            (Issuer::parse("https://idp.test").unwrap(), Groups::Listed(groups.iter().map(|&name| name.to_owned()).collect()));
        let memberships = Memberships { groups, ..Memberships::default() };
        let known = Known { idp: &idp, sub: "alice", email: None, said_email: None, memberships: &memberships };
        rules.for_person(offered, &known)
    }

    #[test]
    fn a_scope_is_for_those_whom_its_rules_name() {
        let rules =
            ScopeRules::new(vec![rule("write", &["group:Writers", "role:admin"], "read"), rule("read", &[], "")]).unwrap();
        let all = scopes("read write other");
        assert_eq!(for_member(&rules, &["Writers"], &all), all);
        assert_eq!(for_member(&rules, &["Readers"], &all), scopes("other read"));
        assert_eq!(for_member(&rules, &[], &scopes("write")), Scopes::default());
        assert_eq!(ScopeRules::new(vec![rule("a", &[], ""), rule("a", &[], "b")]), Err(Scope::parse("a").unwrap()));
    }

    #[test]
    fn rs_13_a_scope_contains_what_it_implies_however_far() {
        let rules =
            ScopeRules::new(vec![rule("admin", &[], "write audit"), rule("write", &[], "read"), rule("loop", &[], "loop admin")]);
        let hierarchy = rules.unwrap().hierarchy();
        let contained = |raw: &str| hierarchy.with_contained(&scopes(raw)).to_string();
        assert_eq!(contained("admin"), "admin audit read write");
        assert_eq!(contained("write other"), "other read write");
        assert_eq!((contained("read").as_str(), contained("audit").as_str()), ("read", "audit"));
        assert_eq!(contained("loop"), "admin audit loop read write");
    }

    #[test]
    fn words_and_the_providers_scopes() {
        let write = ScopeRule {
            description: Some("Change your files".to_owned()),
            idp: vec!["api://files/Files.Write".to_owned()],
            ..rule("write", &[], "")
        };
        let rules = ScopeRules::new(vec![write]).unwrap();
        assert_eq!((rules.words("write"), rules.words("read")), (Some("Change your files"), None));
        assert_eq!(rules.at_idp(&scopes("read write")), ["api://files/Files.Write"]);
        assert_eq!(rules.iter().count(), 1);
    }

    fn any_rules() -> impl Strategy<Value = ScopeRules> {
        let groups = proptest::collection::vec(prop_oneof![Just("group:a"), Just("group:b")], 0..2);
        let one = ("[a-e]", groups, proptest::collection::btree_set("[a-e]", 0..3));
        let one =
            one.prop_map(|(name, groups, implies)| rule(&name, &groups, &implies.into_iter().collect::<Vec<_>>().join(" ")));
        proptest::collection::vec(one, 0..6).prop_map(|mut rules| {
            rules.sort_by(|a, b| a.name.cmp(&b.name));
            rules.dedup_by(|a, b| a.name == b.name);
            ScopeRules::new(rules).unwrap()
        })
    }

    fn some() -> impl Strategy<Value = Scopes> {
        proptest::collection::vec("[a-f]", 0..6).prop_map(|all| all.iter().map(|raw| Scope::parse(raw).unwrap()).collect())
    }

    proptest! {
        /// Rules about people take away and never add; more groups never take away.
        #[test]
        fn what_a_person_may_have_only_narrows(rules in any_rules(), offered in some()) {
            let (nobody, some, all) =
                (for_member(&rules, &[], &offered), for_member(&rules, &["a"], &offered), for_member(&rules, &["a", "b"], &offered));
            prop_assert!(offered.covers(&all) && all.covers(&some) && some.covers(&nobody));
            prop_assert_eq!(&for_member(&rules, &["a"], &some), &some);
        }

        /// A hierarchy adds, adds nothing the second time, and more scopes contain more.
        #[test]
        fn rs_13_what_is_contained_is_closed(rules in any_rules(), a in some(), b in some()) {
            let hierarchy = rules.hierarchy();
            let closed = hierarchy.with_contained(&a);
            prop_assert!(closed.covers(&a));
            prop_assert_eq!(&hierarchy.with_contained(&closed), &closed);
            prop_assert!(hierarchy.with_contained(&a.union(&b)).covers(&closed));
            for rule in rules.iter().filter(|rule| closed.0.contains(&rule.name)) {
                prop_assert!(closed.covers(&rule.implies));
            }
        }
    }
}
