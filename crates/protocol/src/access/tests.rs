use super::*;
use crate::claims::tests::identity;
use crate::claims::{Groups, TenantId, Tenants};
use proptest::prelude::*;
use serde_json::json;

fn admitted(rule: &str, email: &str, verified: bool) -> bool {
    let person = identity(|claims| {
        claims["email"] = json!(email);
        claims["email_verified"] = json!(verified);
        claims["groups"] = json!(["MCP Users"]);
    });
    Rules::parse(&[rule]).unwrap().admit(person.unwrap()).is_ok()
}

#[test]
fn a_141_a_domain_is_matched_exactly_on_a_plain_verified_address() {
    assert!(admitted("domain:corp.test", "a@corp.test", true));
    assert!(admitted("domain:Corp.test", "A@CORP.test", true));
    assert!(!admitted("domain:corp.test", "a@corp.test", false));
    for email in [
        "a@evil.test@corp.test",
        "a@corp.test.evil.test",
        "a@evilcorp.test",
        "a@CORP.TEST.",
        "\"a@evil.test\"@corp.test",
        "a@corp.test ",
        "a@corp\u{3002}test",
        "a@corp.test,b@evil.test",
        "",
        "@corp.test",
        "a",
        "a@sub.corp.test",
        "a b@corp.test",
    ] {
        assert!(!admitted("domain:corp.test", email, true), "{email:?}");
    }
}

#[test]
fn the_other_rules() {
    assert!(admitted("*", "", false));
    assert!(admitted("email:Alice@corp.test", "alice@Corp.test", true));
    assert!(!admitted("email:alice@corp.test", "bob@corp.test", true));
    assert!(admitted("group:MCP Users", "", false));
    assert!(!admitted("group:mcp users", "", false));
    assert!(admitted("subject:alice", "", false));
}

#[test]
fn a_rule_that_cannot_be_read_is_refused() {
    for rule in [
        "",
        "corp.test",
        "domain:",
        "domain:*",
        "domain:corp",
        "email:alice",
        "rolle:admin",
        "group: x",
        "tenant:corp",
        "org:a b",
        "team:acme",
        "team:acme/a/b",
    ] {
        assert!(Rules::parse(&[rule]).is_err(), "{rule}");
    }
    assert_eq!(Rules::parse::<&str>(&[]), Err(RuleError::Empty));
}

#[test]
fn whether_everybody_may_come_in_is_known() {
    assert!(Rules::parse(&["group:a", "*"]).unwrap().admit_anyone());
    assert!(!Rules::parse(&["group:a", "domain:corp.test"]).unwrap().admit_anyone());
}

#[test]
fn a_domain_is_a_host_name() {
    assert!(Rules::parse(&["domain:a-b.corp.test"]).is_ok());
    for domain in ["corp", "a_b.test", "a..test", ".test", "corp.test.", "", "a b.test", "*.corp.test"] {
        assert!(Rules::parse(&[format!("domain:{domain}")]).is_err(), "{domain:?}");
    }
}

const T1: &str = "11111111-aaaa-4bbb-8ccc-000000000001";
const T2: &str = "22222222-aaaa-4bbb-8ccc-000000000002";
const TEMPLATE: &str = "https://login.test/{tenantid}/v2.0";

/// A company's tenants as "entra", and GitHub.
fn providers() -> Vec<(IdpName, Authority)> {
    let allowed = [T1, T2].map(|raw| TenantId::parse(raw).unwrap()).to_vec();
    let entra = Authority::Tenants(Tenants::new(TEMPLATE, allowed).unwrap());
    let github = Authority::from(Issuer::parse("https://github.test").unwrap());
    vec![(IdpName::parse("entra").unwrap(), entra), (IdpName::parse("github").unwrap(), github)]
}

/// Somebody of whom the provider says much.
#[derive(Clone, Debug)]
struct Somebody {
    idp: Issuer,
    email: &'static str,
    verified: bool,
    memberships: Memberships,
}

impl Somebody {
    fn of(issuer: &str) -> Self {
        let list = |name: &str| vec![name.to_owned()];
        let memberships = Memberships {
            groups: Groups::Listed(list("Staff")),
            roles: list("admin"),
            orgs: list("Acme"),
            teams: list("Acme/devs"),
        };
        Self { idp: Issuer::parse(issuer).unwrap(), email: "alice@corp.test", verified: true, memberships }
    }

    fn in_tenant(tenant: &str) -> Self {
        Self::of(&TEMPLATE.replace("{tenantid}", tenant))
    }

    fn may(&self, allow: &[&str], deny: &[&str]) -> bool {
        self.judged(allow, deny).is_ok()
    }

    fn judged(&self, allow: &[&str], deny: &[&str]) -> Result<(), Reason> {
        let email = Some(self.email);
        let known = Known {
            idp: &self.idp,
            sub: "alice",
            email: email.filter(|_| self.verified),
            said_email: email,
            memberships: &self.memberships,
        };
        Rules::read(allow, deny, &providers()).unwrap().still_admit(&known)
    }
}

#[test]
fn roles_organisations_and_teams() {
    let alice = Somebody::of("https://github.test");
    for rule in ["role:admin", "org:acme", "org:ACME", "team:acme/devs", "team:Acme/Devs", "group:Staff"] {
        assert!(alice.may(&[rule], &[]) && !alice.may(&["*"], &[rule]), "{rule}");
    }
    for rule in ["role:Admin", "role:Staff", "group:admin", "org:acme-labs", "team:acme/dev", "team:devs/acme", "group:Acme"] {
        assert!(!alice.may(&[rule], &[]) && alice.may(&["*"], &[rule]), "{rule}");
    }
}

#[test]
fn a_139_a_tenant_is_where_somebody_comes_from_and_nothing_that_is_said() {
    let mut alice = Somebody::in_tenant(T1);
    alice.memberships.groups = Groups::Listed(vec![T2.to_owned()]);
    assert!(alice.may(&[&format!("tenant:{T1}")], &[]) && alice.may(&[&format!("tenant:{}", T1.to_uppercase())], &[]));
    assert!(!alice.may(&[&format!("tenant:{T2}")], &[]) && !alice.may(&["*"], &[&format!("tenant:{T1}")]));
    assert!(!Somebody::of("https://github.test").may(&[&format!("tenant:{T1}")], &[]));
    let unlisted = "tenant:33333333-aaaa-4bbb-8ccc-000000000003".to_owned();
    assert_eq!(Rules::read(std::slice::from_ref(&unlisted), &[], &providers()), Err(RuleError::NoTenant(unlisted)));
}

#[test]
fn a_138_a_rule_of_one_provider_is_about_its_people_only() {
    let (here, there) = (Somebody::in_tenant(T2), Somebody::of("https://github.test"));
    for rule in
        ["idp:entra", "idp:entra/*", "idp:entra/group:Staff", "idp:entra/email:alice@corp.test", "idp:entra/subject:alice"]
    {
        assert!(here.may(&[rule], &[]) && !there.may(&[rule], &[]), "{rule}");
        assert!(!here.may(&["*"], &[rule]) && there.may(&["*"], &[rule]), "{rule}");
    }
    let of_tenant = format!("idp:entra/tenant:{T2}");
    assert!(here.may(&[&of_tenant], &[]) && !Somebody::in_tenant(T1).may(&[&of_tenant], &[]));
    for rule in ["idp:okta", "idp:okta/*", "idp:", "idp:/*"] {
        assert_eq!(Rules::read(&[rule], &[], &providers()), Err(RuleError::NoProvider(rule.to_owned())), "{rule}");
    }
    for rule in ["idp:entra/", "idp:entra/Staff", "idp:entra/idp:github", "idp:entra/group:"] {
        assert_eq!(Rules::read(&[rule], &[], &providers()), Err(RuleError::Unknown(rule.to_owned())), "{rule}");
    }
    let elsewhere = format!("idp:github/tenant:{T1}");
    assert_eq!(Rules::read(std::slice::from_ref(&elsewhere), &[], &providers()), Err(RuleError::NoTenant(elsewhere)));
}

#[test]
fn who_is_denied_is_denied_by_an_address_that_nobody_verified_too() {
    let mut alice = Somebody::in_tenant(T1);
    for verified in [true, false] {
        alice.verified = verified;
        for email in ["alice@corp.test", "Alice@CORP.test", " alice@corp.test", "alice@corp.test."] {
            alice.email = email;
            assert!(!alice.may(&["*"], &["email:alice@corp.test"]) && !alice.may(&["*"], &["domain:corp.test"]), "{email}");
        }
        for email in ["bob@other.test", "alice@corp.test.other.test", "alice@sub.corp.test", ""] {
            alice.email = email;
            assert!(alice.may(&["*"], &["email:alice@corp.test", "domain:corp.test"]), "{email}");
        }
        alice.email = "\"x y\"@corp.test";
        assert!(!alice.may(&["*"], &["domain:corp.test"]));
    }
}

#[test]
fn nobody_denies_everybody() {
    assert_eq!(Rules::read(&["*"], &["*"], &[]), Err(RuleError::DenyAnyone));
    assert_eq!(Rules::read(&[], &["group:a"], &[]), Err(RuleError::Empty));
    assert!(Rules::read(&["*"], &["idp:github"], &providers()).is_ok());
}

/// Rules that meet the people below.
fn rules(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<String>> {
    let plain = prop_oneof![
        Just("*".to_owned()),
        "(group|role|subject):(a|b|alice)",
        "(org:|team:a/|team:b/)(a|b)",
        "(domain:|email:alice@|email:bob@)(corp|other)\\.test",
        Just(format!("tenant:{T1}")),
    ];
    let rule = (proptest::option::of("idp:(entra|github)/"), plain).prop_map(|(at, rule)| {
        let at = if rule.starts_with("tenant") { Some("idp:entra/".to_owned()) } else { at };
        at.unwrap_or_default() + &rule
    });
    proptest::collection::vec(rule, count)
}

fn somebody() -> impl Strategy<Value = Somebody> {
    let names = || proptest::collection::vec("(a|b|a/a|a/b|b/a)", 0..3);
    let idp = prop_oneof![Just(T1), Just(T2)].prop_map(|tenant| TEMPLATE.replace("{tenantid}", tenant));
    let idp = prop_oneof![idp, Just("https://github.test".to_owned()), Just("https://gone.test".to_owned())];
    let email = prop_oneof![Just("alice@corp.test"), Just("bob@other.test"), Just("BOB@Corp.test"), Just("")];
    let groups = proptest::option::weighted(0.8, names());
    (idp, email, any::<bool>(), (groups, names(), names(), names())).prop_map(|(idp, email, verified, lists)| {
        let (groups, roles, orgs, teams) = lists;
        let groups = Groups::from(groups);
        let idp = Issuer::parse(&idp).unwrap();
        Somebody { idp, email, verified, memberships: Memberships { groups, roles, orgs, teams } }
    })
}

fn texts(rules: &[String]) -> Vec<&str> {
    rules.iter().map(String::as_str).filter(|rule| *rule != "*").collect()
}

proptest! {
    /// Whoever one rule denies is out, whatever else is written; and without a denial one rule that allows is enough.
    #[test]
    fn deny_wins(who in somebody(), allow in rules(1..4), deny in rules(0..3)) {
        let (allow, deny): (Vec<&str>, _) = (allow.iter().map(String::as_str).collect(), texts(&deny));
        let denied = deny.iter().any(|rule| !who.may(&["*"], &[rule]));
        let allowed = allow.iter().any(|rule| who.may(&[rule], &[]));
        prop_assert_eq!(who.may(&allow, &deny), allowed && !denied);
    }

    /// What a rule allows, the same rule denies: a denial never reaches fewer people.
    #[test]
    fn a_denial_reaches_whom_the_rule_would_allow(who in somebody(), rule in rules(1)) {
        for rule in texts(&rule) {
            prop_assert!(!(who.may(&[rule], &[]) && who.may(&["*"], &[rule])), "{}", rule);
        }
    }

    /// One more rule that allows keeps nobody out, one more that denies lets nobody in.
    #[test]
    fn rules_only_add_up(who in somebody(), allow in rules(2..4), deny in rules(1..3)) {
        let (allow, deny): (Vec<&str>, _) = (allow.iter().map(String::as_str).collect(), texts(&deny));
        prop_assert!(!who.may(&allow[1..], &deny) || who.may(&allow, &deny));
        prop_assert!(!who.may(&allow, &deny) || who.may(&allow, &[]));
    }
}

#[test]
fn groups_that_nobody_lists_let_nobody_in_and_keep_people_out() {
    let mut max = Somebody::in_tenant(T1);
    max.memberships.groups = Groups::Elsewhere;
    let elsewhere = Err(Reason::GroupsElsewhere);
    for (allow, deny, judged) in [
        // What is missing is a list of the groups.
        (&["group:Staff"][..], &[][..], elsewhere),
        (&["group:Staff", "idp:github/*"], &[], elsewhere),
        (&["*"], &["group:Guests"], elsewhere),
        (&["role:admin"], &["group:Guests", "role:guest"], elsewhere),
        // No list would change anything.
        (&["group:Staff"], &["role:admin"], Err(Reason::SubjectNotAllowed)),
        (&["role:boss"], &["group:Guests"], Err(Reason::SubjectNotAllowed)),
        (&["role:boss"], &[], Err(Reason::SubjectNotAllowed)),
        (&["idp:github/group:Staff"], &[], Err(Reason::SubjectNotAllowed)),
        // Something else lets them in, and no group is asked about, or only at another provider.
        (&["role:admin", "group:Staff"], &[], Ok(())),
        (&["*"], &["idp:github/group:Guests"], Ok(())),
    ] {
        assert_eq!(max.judged(allow, deny), judged, "{allow:?} {deny:?}");
    }
}
