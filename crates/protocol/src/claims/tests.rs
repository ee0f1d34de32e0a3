use super::*;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn signed(edit: impl Fn(&mut Value), nonce: &Nonce) -> Result<SignedClaims<IdTokenClaims>, Reason> {
    let mut claims = json!({
        "iss": "https://idp.test", "sub": "alice", "aud": "deputy", "exp": 1_800_000_300, "iat": 1_800_000_000,
        "nonce": nonce.expose(), "email": "alice@corp.test", "email_verified": true, "name": "Alice",
    });
    edit(&mut claims);
    serde_json::from_value(claims).map(SignedClaims::assume_verified).map_err(|_| Reason::IdTokenInvalid)
}

pub(crate) fn identity(edit: impl Fn(&mut Value)) -> Result<VerifiedIdentity, Reason> {
    let nonce = Nonce::new(&[1; 32]);
    let claims = signed(edit, &nonce)?;
    let authority = Authority::from(Issuer::parse("https://idp.test").unwrap());
    let expected = ExpectedIdToken { authority: &authority, client_id: "deputy", nonce: &nonce, now: NOW };
    check_id_token(claims, expected)
}

#[test]
fn a_119_a_144_every_claim_counts() {
    assert!(identity(|_| ()).is_ok());
    for (claim, value, reason) in [
        ("iss", json!("https://idp.test/"), Reason::IdTokenIssuer),
        ("iss", json!("https://evil.test"), Reason::IdTokenIssuer),
        ("aud", json!("other"), Reason::IdTokenAudience),
        ("aud", json!(["deputy", "other"]), Reason::IdTokenAudience),
        ("aud", json!([]), Reason::IdTokenAudience),
        ("azp", json!("other"), Reason::IdTokenAudience),
        ("exp", json!(1_799_999_940), Reason::IdTokenExpired),
        ("iat", json!(1_800_000_061), Reason::IdTokenExpired),
        ("nbf", json!(1_800_000_061), Reason::IdTokenExpired),
        ("nonce", json!("dpn_x"), Reason::IdTokenNonce),
        ("nonce", Value::Null, Reason::IdTokenNonce),
        ("sub", json!(""), Reason::IdTokenSubject),
        ("sub", json!("  "), Reason::IdTokenSubject),
        ("sub", json!("x".repeat(256)), Reason::IdTokenSubject),
        ("sub", json!(7), Reason::IdTokenInvalid),
        ("exp", json!("soon"), Reason::IdTokenInvalid),
        ("exp", json!(-1), Reason::IdTokenInvalid),
    ] {
        assert_eq!(identity(|claims| claims[claim] = value.clone()).err(), Some(reason), "{claim} {value}");
    }
    for claim in ["iss", "sub", "aud", "exp", "iat"] {
        let without = |claims: &mut Value| {
            claims.as_object_mut().unwrap().remove(claim);
        };
        assert_eq!(identity(without).err(), Some(Reason::IdTokenInvalid), "{claim}");
    }
    assert!(
        identity(|claims| {
            claims["aud"] = json!(["deputy", "x"]);
            claims["azp"] = json!("deputy");
        })
        .is_ok()
    );
    assert!(identity(|claims| claims["exp"] = json!(1_799_999_941)).is_ok());
}

#[test]
fn a_138_a_person_is_issuer_and_subject() {
    let alice = identity(|_| ()).unwrap();
    let same_mail = identity(|claims| claims["sub"] = json!("mallory")).unwrap();
    assert_ne!(alice.subject().id(), same_mail.subject().id());
    let at = |idp: &str, sub: &str| Subject { idp: Issuer::parse(idp).unwrap(), sub: sub.to_owned() }.id();
    assert_ne!(at("https://a.test", "bc"), at("https://a.testb", "c"));
    assert!(alice.subject().id().to_string().starts_with("u_"));
}

#[test]
fn userinfo_adds_only_about_the_same_person() {
    let userinfo =
        |sub: &str| serde_json::from_value::<Userinfo>(json!({"sub": sub, "email": "a@b.test", "email_verified": true})).unwrap();
    let bare = || identity(|claims| claims["email"] = Value::Null).unwrap();
    assert_eq!(bare().with_userinfo(userinfo("mallory")).err(), Some(Reason::UserinfoMismatch));
    assert_eq!(bare().with_userinfo(userinfo("alice")).unwrap().verified_email(), Some("a@b.test"));
    let unverified = identity(|claims| claims["email_verified"] = json!(false)).unwrap();
    assert_eq!(unverified.verified_email(), None);
}

#[test]
fn a_141_only_true_is_verified() {
    let verified = |value: Value| {
        identity(|claims| claims["email_verified"] = value.clone()).map(|person| person.verified_email().is_some())
    };
    assert_eq!((verified(json!(true)), verified(json!("true"))), (Ok(true), Ok(true)));
    assert_eq!((verified(json!("false")), verified(Value::Null)), (Ok(false), Ok(false)));
    for odd in [json!(1), json!("yes"), json!("TRUE"), json!([true])] {
        assert_eq!(verified(odd.clone()), Err(Reason::IdTokenInvalid), "{odd}");
    }
}

fn renewed(edit: impl Fn(&mut Value)) -> Result<VerifiedIdentity, Reason> {
    let claims = signed(edit, &Nonce::new(&[1; 32]))?;
    let subject = identity(|_| ())?.subject().clone();
    let authority = Authority::from(subject.idp().clone());
    check_renewed_id_token(claims, ExpectedRenewal { authority: &authority, client_id: "deputy", subject: &subject, now: NOW })
}

#[test]
fn a_119_oidc_core_12_2_a_renewed_token_needs_no_nonce_and_everything_else() {
    for nonce in [Value::Null, json!("dpn_x")] {
        let today = renewed(|claims| {
            claims["nonce"] = nonce.clone();
            claims["groups"] = json!(["MCP Users"]);
        })
        .unwrap();
        assert_eq!((today.subject().sub(), today.verified_email()), ("alice", Some("alice@corp.test")));
        assert_eq!(today.memberships().groups.listed(), ["MCP Users"]);
    }
    for (claim, value, reason) in [
        ("iss", json!("https://evil.test"), Reason::IdTokenIssuer),
        ("aud", json!("other"), Reason::IdTokenAudience),
        ("azp", json!("other"), Reason::IdTokenAudience),
        ("exp", json!(1_799_999_940), Reason::IdTokenExpired),
        ("iat", json!(1_800_000_061), Reason::IdTokenExpired),
        ("sub", json!("mallory"), Reason::IdpOtherSubject),
        ("sub", json!("Alice"), Reason::IdpOtherSubject),
        ("sub", json!(""), Reason::IdTokenSubject),
        ("sub", json!(7), Reason::IdTokenInvalid),
    ] {
        assert_eq!(renewed(|claims| claims[claim] = value.clone()).err(), Some(reason), "{claim} {value}");
    }
}

#[test]
fn a_renewed_userinfo_is_about_the_same_person() {
    let alice = identity(|_| ()).unwrap().subject().clone();
    let said = |sub: &str| {
        let userinfo = json!({"sub": sub, "email": "a@b.test", "email_verified": true, "groups": ["MCP Users"]});
        check_renewed_userinfo(serde_json::from_value(userinfo).unwrap(), &alice)
    };
    let today = said("alice").unwrap();
    assert_eq!((today.subject().sub(), today.verified_email()), ("alice", Some("a@b.test")));
    assert_eq!(said("mallory").err(), Some(Reason::IdpOtherSubject));
}

#[test]
fn roles_are_those_of_the_id_token_and_other_shapes_are_not_read() {
    let memberships =
        |claim: &str, value: Value| identity(|claims| claims[claim] = value.clone()).map(|who| who.memberships().clone());
    assert_eq!(memberships("roles", json!(["admin", "user"])).unwrap().roles, ["admin", "user"]);
    for odd in [json!("admin"), json!({ "admin": true }), json!([1]), json!([["admin"]])] {
        assert_eq!(memberships("roles", odd.clone()).unwrap_err(), Reason::IdTokenInvalid, "{odd}");
    }
    // No claim makes anybody a member of an organisation.
    for claim in ["orgs", "teams", "memberships", "organizations"] {
        assert_eq!(memberships(claim, json!(["acme"])), Ok(Memberships::default()), "{claim}");
    }
}

#[test]
fn groups_that_are_kept_elsewhere_are_not_no_groups() {
    for (claim, value, groups) in [
        ("_claim_names", json!({ "groups": "src1" }), Groups::Elsewhere),
        ("_claim_names", json!({ "address": "src1" }), Groups::default()),
        ("_claim_names", Value::Null, Groups::default()),
        ("hasgroups", json!(true), Groups::Elsewhere),
        ("hasgroups", json!("true"), Groups::Elsewhere),
        ("hasgroups", json!(false), Groups::default()),
        ("groups", json!(["a"]), Groups::Listed(vec!["a".to_owned()])),
    ] {
        let identity = identity(|claims| claims[claim] = value.clone()).unwrap();
        assert_eq!(identity.memberships().groups, groups, "{claim} {value}");
    }
    assert_eq!(identity(|claims| claims["_claim_names"] = json!("groups")).err(), Some(Reason::IdTokenInvalid));
}

#[test]
fn groups_are_stored_as_a_list_or_as_nothing() {
    for (groups, text) in
        [(Groups::default(), "[]"), (Groups::Listed(vec!["a".to_owned()]), r#"["a"]"#), (Groups::Elsewhere, "null")]
    {
        assert_eq!(serde_json::to_string(&groups).unwrap(), text);
        assert_eq!(serde_json::from_str::<Groups>(text).unwrap(), groups);
    }
}
