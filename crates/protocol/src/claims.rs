//! Who signed in: from an ID token's claims to an identity (OIDC Core §3.1.3.7; OC-07, OC-08).
//!
//! What this module guarantees:
//! - [`VerifiedIdentity`] is made by [`check_id_token`] only, from claims whose signature was verified.
//! - A person is (issuer, subject). An e-mail address is an attribute and never finds or links anybody.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::ids::Issuer;
use crate::secret::{Nonce, sha256};
use crate::time::Timestamp;

/// How far the provider's clock may differ from ours.
const LEEWAY: Duration = Duration::from_secs(60);
/// Longest subject name (OIDC Core §2: 255 ASCII characters).
const SUBJECT_MAX: usize = 255;

/// Claims whose signature was verified, and nothing more.
#[derive(Debug)]
pub struct SignedClaims<T>(T);

impl<T> SignedClaims<T> {
    /// For the verifier in `deputy-guard`'s `jws` alone, which checks the signature just before.
    #[must_use]
    pub fn assume_verified(claims: T) -> Self {
        Self(claims)
    }

    /// The claims.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// One audience or several (RFC 7519 §4.1.3).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// The claims of an ID token that we look at. A claim of the wrong type makes the token unreadable.
#[derive(Debug, Deserialize)]
pub struct IdTokenClaims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: Timestamp,
    iat: Timestamp,
    nbf: Option<Timestamp>,
    azp: Option<String>,
    nonce: Option<String>,
    #[serde(flatten)]
    about: About,
}

/// What a provider says about a person, in an ID token or at the userinfo endpoint.
#[derive(Debug, Default, Deserialize)]
pub struct About {
    email: Option<String>,
    #[serde(default)]
    email_verified: Flag,
    name: Option<String>,
    preferred_username: Option<String>,
    groups: Option<Vec<String>>,
}

/// A flag, which some providers write as a text.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Option<RawFlag>")]
struct Flag(bool);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawFlag {
    Bool(bool),
    Text(String),
}

impl TryFrom<Option<RawFlag>> for Flag {
    type Error = &'static str;

    fn try_from(raw: Option<RawFlag>) -> Result<Self, Self::Error> {
        match raw {
            Some(RawFlag::Bool(flag)) => Ok(Self(flag)),
            Some(RawFlag::Text(text)) if text == "true" => Ok(Self(true)),
            Some(RawFlag::Text(text)) if text == "false" => Ok(Self(false)),
            Some(RawFlag::Text(_)) => Err("neither true nor false"),
            None => Ok(Self(false)),
        }
    }
}

/// An answer of the userinfo endpoint (OIDC Core §5.3.2).
#[derive(Debug, Deserialize)]
pub struct Userinfo {
    sub: String,
    #[serde(flatten)]
    about: About,
}

/// What an ID token must agree with.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedIdToken<'a> {
    /// The provider that was asked.
    pub issuer: &'a Issuer,
    /// Our registration there.
    pub client_id: &'a str,
    /// The nonce of this transaction.
    pub nonce: &'a Nonce,
    /// The time.
    pub now: Timestamp,
}

/// A person, as the provider's (issuer, subject).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    idp: Issuer,
    sub: String,
}

/// A subject's name in our own tokens: begins with `u_`, so that it is never a client's (AS-95).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubjectId(String);

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Subject {
    /// The provider.
    #[must_use]
    pub fn idp(&self) -> &Issuer {
        &self.idp
    }

    /// The provider's own name for the person.
    #[must_use]
    pub fn sub(&self) -> &str {
        &self.sub
    }

    /// The name in our tokens: the same for the same (issuer, subject), and telling neither.
    #[must_use]
    pub fn id(&self) -> SubjectId {
        // The length in front keeps (ab, c) and (a, bc) apart.
        let text = format!("{}:{}{}", self.idp.as_str().len(), self.idp, self.sub);
        let digest = sha256(text.as_bytes());
        SubjectId(format!("u_{}", URL_SAFE_NO_PAD.encode(digest.get(..20).unwrap_or(&digest))))
    }
}

/// Who signed in, by a valid ID token of this very transaction. Made by [`check_id_token`], sealed copies of one apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifiedIdentity {
    subject: Subject,
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
    groups: Vec<String>,
}

/// Checks an ID token's claims, in the order of OIDC Core §3.1.3.7.
///
/// # Errors
/// One of the `IdToken…` reasons.
pub fn check_id_token(claims: SignedClaims<IdTokenClaims>, expected: ExpectedIdToken<'_>) -> Result<VerifiedIdentity, Reason> {
    let claims = claims.into_inner();
    if claims.iss != expected.issuer.as_str() {
        return Err(Reason::IdTokenIssuer);
    }
    check_audience(&claims, expected.client_id)?;
    let (earliest, latest) = (expected.now.before(LEEWAY), expected.now.after(LEEWAY));
    let in_time = claims.exp > earliest && claims.iat <= latest && claims.nbf.is_none_or(|nbf| nbf <= latest);
    if !in_time {
        return Err(Reason::IdTokenExpired);
    }
    if !passes(Guard::IdpNonce, claims.nonce.as_deref().is_some_and(|nonce| expected.nonce.matches(nonce))) {
        return Err(Reason::IdTokenNonce);
    }
    if claims.sub.trim().is_empty() || claims.sub.len() > SUBJECT_MAX {
        return Err(Reason::IdTokenSubject);
    }
    let subject = Subject { idp: expected.issuer.clone(), sub: claims.sub };
    let mut identity = VerifiedIdentity { subject, email: None, email_verified: false, name: None, groups: Vec::new() };
    identity.learn(claims.about);
    Ok(identity)
}

/// Ours must be among the audiences; with several of them, or an `azp`, we must be the authorized party.
fn check_audience(claims: &IdTokenClaims, client_id: &str) -> Result<(), Reason> {
    let names = claims.aud.names();
    let for_us = names.iter().any(|name| name == client_id);
    let party = match &claims.azp {
        Some(azp) => azp == client_id,
        None => names.len() == 1,
    };
    if for_us && party { Ok(()) } else { Err(Reason::IdTokenAudience) }
}

impl VerifiedIdentity {
    /// Adds what the userinfo endpoint says, if it is about the same person (OIDC Core §5.3.2).
    ///
    /// # Errors
    /// [`Reason::UserinfoMismatch`].
    pub fn with_userinfo(mut self, userinfo: Userinfo) -> Result<Self, Reason> {
        if userinfo.sub != self.subject.sub {
            return Err(Reason::UserinfoMismatch);
        }
        self.learn(userinfo.about);
        Ok(self)
    }

    /// Takes in what is said and was not known. An e-mail address and its verification belong together.
    fn learn(&mut self, about: About) {
        let known = |text: &String| !text.trim().is_empty();
        if self.email.is_none() {
            self.email = about.email.filter(known);
            self.email_verified = about.email_verified.0 && self.email.is_some();
        }
        if self.name.is_none() {
            self.name = about.name.filter(known).or(about.preferred_username.filter(known));
        }
        if self.groups.is_empty() {
            self.groups = about.groups.unwrap_or_default();
        }
    }

    /// The person.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The e-mail address, if the provider says that it verified it.
    #[must_use]
    pub fn verified_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_verified)
    }

    /// What the person is called.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The person's groups.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    pub(crate) fn identity(edit: impl Fn(&mut Value)) -> Result<VerifiedIdentity, Reason> {
        let nonce = Nonce::new(&[1; 32]);
        let mut claims = json!({
            "iss": "https://idp.test", "sub": "alice", "aud": "deputy", "exp": 1_800_000_300, "iat": 1_800_000_000,
            "nonce": nonce.expose(), "email": "alice@corp.test", "email_verified": true, "name": "Alice",
        });
        edit(&mut claims);
        let claims = serde_json::from_value(claims).map_err(|_| Reason::IdTokenInvalid)?;
        let issuer = Issuer::parse("https://idp.test").unwrap();
        let expected = ExpectedIdToken { issuer: &issuer, client_id: "deputy", nonce: &nonce, now: NOW };
        check_id_token(SignedClaims::assume_verified(claims), expected)
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
        let userinfo = |sub: &str| {
            serde_json::from_value::<Userinfo>(json!({"sub": sub, "email": "a@b.test", "email_verified": true})).unwrap()
        };
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
}
