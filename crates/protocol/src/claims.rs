//! Who signed in: from an ID token's claims to an identity (OIDC Core §3.1.3.7; OC-07, OC-08).
//!
//! What this module guarantees:
//! - [`VerifiedIdentity`] is made by [`check_id_token`] only, from claims whose signature was verified; for a person who signed in that way
//!   before, also by [`check_renewed_id_token`] and [`check_renewed_userinfo`]. At providers without ID tokens [`check_profile`] and
//!   [`check_renewed_profile`] do it, from what their interface answers to our own token.
//! - A person is (issuer, subject). An e-mail address is an attribute and never finds or links anybody.

mod authority;
mod memberships;
mod profile;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::access::Known;
use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::ids::Issuer;
use crate::secret::{Nonce, sha256};
use crate::time::Timestamp;

pub use authority::{Authority, TenantId, Tenants};
pub use memberships::{Groups, Memberships};
pub use profile::{Profile, check_profile, check_renewed_profile};

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
    /// Entra: the tenant, and the person in it.
    tid: Option<String>,
    oid: Option<String>,
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
    roles: Option<Vec<String>>,
    /// Which claims are kept somewhere else (OIDC Core §5.6.2). Where, is not looked at: that address comes from outside.
    #[serde(rename = "_claim_names")]
    elsewhere: Option<BTreeMap<String, IgnoredAny>>,
    /// Entra: in more groups than fit.
    #[serde(default)]
    hasgroups: Flag,
}

impl About {
    /// The groups, if anything is said about them.
    fn groups(&self) -> Option<Groups> {
        let elsewhere = self.hasgroups.0 || self.elsewhere.as_ref().is_some_and(|claims| claims.contains_key("groups"));
        match &self.groups {
            Some(groups) => Some(Groups::Listed(groups.clone())),
            None => elsewhere.then_some(Groups::Elsewhere),
        }
    }
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
    /// Who was asked.
    pub authority: &'a Authority,
    /// Our registration there.
    pub client_id: &'a str,
    /// The nonce of this transaction.
    pub nonce: &'a Nonce,
    /// The time.
    pub now: Timestamp,
}

/// What an ID token must agree with that comes with renewed tokens.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedRenewal<'a> {
    /// Who was asked.
    pub authority: &'a Authority,
    /// Our registration there.
    pub client_id: &'a str,
    /// Who signed in.
    pub subject: &'a Subject,
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
    /// Somebody who signed in before.
    pub(crate) const fn known(idp: Issuer, sub: String) -> Self {
        Self { idp, sub }
    }

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

/// Who signed in, by a valid ID token of this very transaction, or by what the provider said when that was renewed. Made by the `check_…`
/// functions of this module, sealed copies of one apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifiedIdentity {
    subject: Subject,
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
    memberships: Memberships,
}

/// Checks an ID token's claims, in the order of OIDC Core §3.1.3.7.
///
/// # Errors
/// One of the `IdToken…` reasons.
pub fn check_id_token(claims: SignedClaims<IdTokenClaims>, expected: ExpectedIdToken<'_>) -> Result<VerifiedIdentity, Reason> {
    let claims = claims.into_inner();
    let subject = check_origin(&claims, expected.authority, expected.client_id, expected.now)?;
    if !passes(Guard::IdpNonce, claims.nonce.as_deref().is_some_and(|nonce| expected.nonce.matches(nonce))) {
        return Err(Reason::IdTokenNonce);
    }
    Ok(VerifiedIdentity::of(subject, claims.about))
}

/// Checks the claims of an ID token that came with renewed tokens (OIDC Core §12.2). There was no request with a nonce: a nonce in it is
/// not looked at.
///
/// # Errors
/// [`Reason::IdpOtherSubject`] when it is about somebody else, else one of the `IdToken…` reasons.
pub fn check_renewed_id_token(
    claims: SignedClaims<IdTokenClaims>,
    expected: ExpectedRenewal<'_>,
) -> Result<VerifiedIdentity, Reason> {
    let claims = claims.into_inner();
    let subject = check_origin(&claims, expected.authority, expected.client_id, expected.now)?;
    if subject != *expected.subject {
        return Err(Reason::IdpOtherSubject);
    }
    Ok(VerifiedIdentity::of(subject, claims.about))
}

/// Takes the word of the userinfo endpoint, asked with a renewed access token, where no ID token came with it.
///
/// # Errors
/// [`Reason::IdpOtherSubject`] when it is about somebody else (OIDC Core §5.3.2).
pub fn check_renewed_userinfo(userinfo: Userinfo, subject: &Subject) -> Result<VerifiedIdentity, Reason> {
    if userinfo.sub != subject.sub {
        return Err(Reason::IdpOtherSubject);
    }
    Ok(VerifiedIdentity::of(subject.clone(), userinfo.about))
}

/// From this provider, for us, in time; and about whom.
fn check_origin(claims: &IdTokenClaims, authority: &Authority, client_id: &str, now: Timestamp) -> Result<Subject, Reason> {
    let subject = authority.subject_of(claims)?;
    check_audience(claims, client_id)?;
    let (earliest, latest) = (now.before(LEEWAY), now.after(LEEWAY));
    let in_time = claims.exp > earliest && claims.iat <= latest && claims.nbf.is_none_or(|nbf| nbf <= latest);
    if in_time { Ok(subject) } else { Err(Reason::IdTokenExpired) }
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
    fn of(subject: Subject, about: About) -> Self {
        let mut identity = Self { subject, email: None, email_verified: false, name: None, memberships: Memberships::default() };
        identity.learn(about);
        identity
    }

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

    /// Takes in which groups the person is in, asked for where the provider said that they are kept elsewhere.
    #[must_use]
    pub fn with_groups(mut self, groups: Groups) -> Self {
        if self.memberships.groups == Groups::Elsewhere {
            self.memberships.groups = groups;
        }
        self
    }

    /// Takes in what is said and was not known. An e-mail address and its verification belong together.
    fn learn(&mut self, about: About) {
        let known = |text: &String| !text.trim().is_empty();
        let groups = about.groups();
        if self.email.is_none() {
            self.email = about.email.filter(known);
            self.email_verified = about.email_verified.0 && self.email.is_some();
        }
        if self.name.is_none() {
            self.name = about.name.filter(known).or(about.preferred_username.filter(known));
        }
        if self.memberships.groups == Groups::default()
            && let Some(groups) = groups
        {
            self.memberships.groups = groups;
        }
        if self.memberships.roles.is_empty() {
            self.memberships.roles = about.roles.unwrap_or_default();
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

    /// The e-mail address as the provider says it, verified or not.
    #[must_use]
    pub fn said_email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// What the person is called.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What the person belongs to.
    #[must_use]
    pub fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// What the rules ask about.
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        Known {
            idp: &self.subject.idp,
            sub: &self.subject.sub,
            email: self.verified_email(),
            said_email: self.said_email(),
            memberships: &self.memberships,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
