//! Codes and refresh tokens: what they are bound to, how long they live, and what a second use means (AS-64, AS-79…88; decision 5).
//!
//! Single use is decided by the store in one conditional write. Everything that can be decided without it is decided here, before: a
//! request that is wrong in itself does not burn a code or a token.

use std::time::Duration;

use crate::access::{Known, Rules};
use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::ids::{ClientId, GrantId};
use crate::params::Params;
use crate::pkce::{Challenge, Verifier};
use crate::redirect::RedirectUri;
use crate::resource::{Catalog, ResourceUri};
use crate::scope::Scopes;
use crate::secret::{AuthorizationCode, Digest, RefreshToken};
use crate::time::Timestamp;

/// How long things live. See [`Lifetimes::default`] for the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An authorization code: at most 60 seconds.
    pub code: Duration,
    /// An access token. Revocation is quicker; this bounds everything that revocation cannot reach.
    pub access_token: Duration,
    /// A refresh token that nobody uses.
    pub refresh_idle: Duration,
    /// A grant, however often it is refreshed.
    pub refresh_absolute: Duration,
    /// How long a refresh token that was used returns the same successor again (AS-85, A-100).
    pub refresh_grace: Duration,
}

impl Default for Lifetimes {
    /// Code 60 s, access token 5 min, refresh token 30 days unused and 90 days in all, grace 60 s.
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            code: Duration::from_secs(60),
            access_token: Duration::from_secs(300),
            refresh_idle: Duration::from_secs(30 * DAY),
            refresh_absolute: Duration::from_secs(90 * DAY),
            refresh_grace: Duration::from_secs(60),
        }
    }
}

impl Lifetimes {
    /// When a refresh token that is issued `now` ends: idle, or with its grant (AS-87, A-106).
    #[must_use]
    pub fn refresh_ends(&self, granted_at: Timestamp, now: Timestamp) -> Timestamp {
        now.after(self.refresh_idle).min(granted_at.after(self.refresh_absolute))
    }

    /// When a grant ends: with its refresh tokens, or with the one access token that a code without them gives.
    #[must_use]
    pub fn grant_ends(&self, granted_at: Timestamp, refresh: bool) -> Timestamp {
        let lives = if refresh { self.refresh_absolute } else { self.code.saturating_add(self.access_token) };
        granted_at.after(lives)
    }

    /// How long a client is told that its access token lives: a little less than it does. Clients count from when the answer arrives, and
    /// one that trusts a token in its last second is refused and signs in anew (RS-23).
    #[must_use]
    pub fn access_token_promise(&self) -> Duration {
        self.access_token.saturating_sub(Duration::from_secs(10).min(self.access_token / 5))
    }

    /// When an access token that is issued `now` ends.
    #[must_use]
    pub fn access_token_ends(&self, now: Timestamp) -> Timestamp {
        now.after(self.access_token)
    }
}

/// What an authorization code is bound to (AS-64).
#[derive(Clone, Debug)]
pub struct CodeRecord {
    /// The code's digest.
    pub digest: Digest<AuthorizationCode>,
    /// The grant that it stands for.
    pub grant: GrantId,
    /// Who may redeem it.
    pub client: ClientId,
    /// Where it was sent.
    pub redirect_uri: RedirectUri,
    /// What the client must prove.
    pub challenge: Challenge,
    /// The resource that was granted.
    pub resource: ResourceUri,
    /// The scopes that were granted.
    pub scopes: Scopes,
    /// Whether a refresh token comes with it.
    pub refresh: bool,
    /// When the person granted it.
    pub granted_at: Timestamp,
}

impl CodeRecord {
    /// Checks everything that a token request must agree with, without consuming the code. Without the proof no store redeems it.
    ///
    /// # Errors
    /// [`Reason::CodeOtherClient`], [`Reason::CodeRedirectDiffers`] (A-058; omission is OAuth 2.1), [`Reason::VerifierMissing`]
    /// and [`Reason::VerifierMismatch`], [`Reason::ResourceNotGranted`] (AS-82).
    pub fn check(self, client: &ClientId, params: &Params) -> Result<CheckedCode, Reason> {
        if !passes(Guard::CodeClient, self.client == *client) {
            return Err(Reason::CodeOtherClient);
        }
        let same_redirect = params.get("redirect_uri").is_none_or(|sent| sent == self.redirect_uri.as_str());
        if !passes(Guard::CodeRedirect, same_redirect) {
            return Err(Reason::CodeRedirectDiffers);
        }
        let verifier = params.get("code_verifier").ok_or(Reason::VerifierMissing)?;
        let verified = self.challenge.verify(&Verifier::parse(verifier)?);
        if !passes(Guard::Pkce, verified.is_ok()) {
            verified?;
        }
        granted_resource(&self.resource, params)?;
        Ok(CheckedCode(self))
    }
}

/// Proof that a token request agrees with everything that its code is bound to. Made by [`CodeRecord::check`] only.
#[derive(Debug)]
pub struct CheckedCode(CodeRecord);

impl CheckedCode {
    /// What the code is bound to.
    #[must_use]
    pub fn record(&self) -> &CodeRecord {
        &self.0
    }
}

/// A refresh token's grant, as far as a refresh needs it.
#[derive(Clone, Debug)]
pub struct RefreshRecord {
    /// The token's digest.
    pub digest: Digest<RefreshToken>,
    /// The grant.
    pub grant: GrantId,
    /// Who may use the token.
    pub client: ClientId,
    /// The resource that was granted.
    pub resource: ResourceUri,
    /// The scopes that were granted.
    pub scopes: Scopes,
    /// When the person granted them.
    pub granted_at: Timestamp,
    /// The provider's own name for the person.
    pub idp_subject: String,
    /// The person's verified e-mail address, as of the sign-in.
    pub email: Option<String>,
    /// The person's groups, as of the sign-in.
    pub groups: Vec<String>,
}

impl RefreshRecord {
    /// Whether the grant would be made today: the rules still admit the person, the resource is still there, and of the scopes what still
    /// exists remains. Configuration changes reach everybody within one access-token lifetime (R32).
    ///
    /// # Errors
    /// [`Reason::AccessEnded`], [`Reason::ResourceNotGranted`].
    pub fn still_granted(mut self, rules: &Rules, catalog: &Catalog) -> Result<Self, Reason> {
        let known = Known { sub: &self.idp_subject, email: self.email.as_deref(), groups: &self.groups };
        rules.still_admit(&known).map_err(|_| Reason::AccessEnded)?;
        let resource = catalog.by_uri(&self.resource).ok_or(Reason::ResourceNotGranted)?;
        self.scopes = resource.scopes.ceiling(Some(&self.scopes)).map_err(|_| Reason::AccessEnded)?;
        Ok(self)
    }

    /// Checks a refresh request without consuming the token, and gives the scopes of the new access token: what was asked, at most what
    /// was granted, all of it when nothing was asked. A narrow access token does not narrow the grant.
    ///
    /// # Errors
    /// [`Reason::RefreshOtherClient`], [`Reason::ResourceNotGranted`], [`Reason::ScopeMalformed`], [`Reason::ScopeNotGranted`]
    ///
    pub fn check(self, client: &ClientId, params: &Params) -> Result<CheckedRefresh, Reason> {
        if !passes(Guard::RefreshClient, self.client == *client) {
            return Err(Reason::RefreshOtherClient);
        }
        granted_resource(&self.resource, params)?;
        // Some clients repeat `offline_access` with every request; it asks for no access.
        let asked = params.get("scope").map(Scopes::parse).transpose()?.map(|asked| asked.without_offline_access());
        let scopes = asked.filter(|asked| !asked.is_empty()).unwrap_or_else(|| self.scopes.clone());
        if passes(Guard::RefreshScope, self.scopes.covers(&scopes)) {
            Ok(CheckedRefresh { record: self, scopes })
        } else {
            Err(Reason::ScopeNotGranted)
        }
    }
}

/// Proof that a refresh request agrees with everything that its token is bound to. Made by [`RefreshRecord::check`] only.
#[derive(Debug)]
pub struct CheckedRefresh {
    record: RefreshRecord,
    scopes: Scopes,
}

impl CheckedRefresh {
    /// What the token is bound to.
    #[must_use]
    pub fn record(&self) -> &RefreshRecord {
        &self.record
    }

    /// The scopes of the new access token.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }
}

/// The token request may repeat the resource, never change it (RFC 8707 §2.2).
fn granted_resource(granted: &ResourceUri, params: &Params) -> Result<(), Reason> {
    let same = |raw: &String| ResourceUri::parse(raw).is_ok_and(|resource| resource == *granted);
    if passes(Guard::TokenResource, params.resources().iter().all(same)) { Ok(()) } else { Err(Reason::ResourceNotGranted) }
}

/// What the second use of a refresh token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondUse {
    /// The response was lost, or two processes refreshed at once: the same successor is due again.
    Replay,
    /// Too late for that: somebody has a copy. The family ends (AS-84, A-097).
    Reuse,
}

/// Judges a refresh token that was rotated at `rotated_at` and is presented again `now`.
#[must_use]
pub fn second_use(rotated_at: Timestamp, now: Timestamp, grace: Duration) -> SecondUse {
    if now <= rotated_at.after(grace) { SecondUse::Replay } else { SecondUse::Reuse }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn code() -> CodeRecord {
        CodeRecord {
            digest: AuthorizationCode::new(&[1; 32]).digest(),
            grant: GrantId::new([1; 16]),
            client: ClientId::parse("a").unwrap(),
            redirect_uri: RedirectUri::parse("http://localhost:5/cb").unwrap(),
            challenge: Verifier::parse(VERIFIER).unwrap().challenge(),
            resource: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
            scopes: Scopes::parse("a b").unwrap(),
            refresh: true,
            granted_at: Timestamp::from_seconds(0),
        }
    }

    fn check_code(client: &str, form: &str) -> Result<(), Reason> {
        code().check(&ClientId::parse(client).unwrap(), &Params::parse(form.as_bytes()).unwrap()).map(drop)
    }

    #[test]
    fn a_code_is_bound_to_client_redirect_verifier_and_resource() {
        let good = format!("code_verifier={VERIFIER}");
        assert_eq!(check_code("a", &good), Ok(()));
        assert_eq!(check_code("a", &format!("{good}&redirect_uri=http://localhost:5/cb&resource=https://mcp.test/mcp")), Ok(()));
        assert_eq!(check_code("b", &good), Err(Reason::CodeOtherClient));
        assert_eq!(check_code("a", &format!("{good}&redirect_uri=http://localhost:6/cb")), Err(Reason::CodeRedirectDiffers));
        assert_eq!(check_code("a", ""), Err(Reason::VerifierMissing));
        assert_eq!(check_code("a", &format!("code_verifier={}", "x".repeat(43))), Err(Reason::VerifierMismatch));
        assert_eq!(check_code("a", &format!("{good}&resource=https://mcp.test/other")), Err(Reason::ResourceNotGranted));
        assert_eq!(
            check_code("a", &format!("{good}&resource=https://mcp.test/mcp&resource=https://x.test")),
            Err(Reason::ResourceNotGranted)
        );
    }

    #[test]
    fn a_102_a_104_a_105_refresh_never_grows() {
        let record = RefreshRecord {
            digest: RefreshToken::new(&[1; 32]).digest(),
            grant: GrantId::new([1; 16]),
            client: ClientId::parse("a").unwrap(),
            resource: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
            scopes: Scopes::parse("a b").unwrap(),
            granted_at: Timestamp::from_seconds(0),
            idp_subject: "alice".to_owned(),
            email: None,
            groups: Vec::new(),
        };
        let check = |client: &str, form: &str| {
            let checked = record.clone().check(&ClientId::parse(client).unwrap(), &Params::parse(form.as_bytes()).unwrap());
            checked.map(|checked| checked.scopes().to_string())
        };
        assert_eq!(check("a", "").unwrap(), "a b");
        assert_eq!(check("a", "scope=a").unwrap(), "a");
        assert_eq!(check("a", "scope=a+offline_access").unwrap(), "a");
        assert_eq!(check("a", "scope=offline_access").unwrap(), "a b");
        assert_eq!(check("a", "scope=a+b+c"), Err(Reason::ScopeNotGranted));
        assert_eq!(check("a", "scope=c"), Err(Reason::ScopeNotGranted));
        assert_eq!(check("a", "resource=https://mcp.test/y"), Err(Reason::ResourceNotGranted));
        assert_eq!(check("b", ""), Err(Reason::RefreshOtherClient));
    }

    #[test]
    fn a_second_use_is_a_replay_inside_the_grace_window_only() {
        let grace = Duration::from_secs(60);
        let at = Timestamp::from_seconds;
        assert_eq!(second_use(at(100), at(100), grace), SecondUse::Replay);
        assert_eq!(second_use(at(100), at(160), grace), SecondUse::Replay);
        assert_eq!(second_use(at(100), at(161), grace), SecondUse::Reuse);
        // A clock that jumped back makes nobody a thief.
        assert_eq!(second_use(at(100), at(10), grace), SecondUse::Replay);
    }

    #[test]
    fn a_106_a_grant_ends_however_often_it_is_refreshed() {
        let lifetimes = Lifetimes {
            refresh_idle: Duration::from_secs(10),
            refresh_absolute: Duration::from_secs(15),
            ..Lifetimes::default()
        };
        let at = Timestamp::from_seconds;
        assert_eq!(lifetimes.refresh_ends(at(0), at(0)), at(10));
        assert_eq!(lifetimes.refresh_ends(at(0), at(9)), at(15));
    }
}
