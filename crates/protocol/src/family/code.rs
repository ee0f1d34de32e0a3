//! Authorization codes: what they are bound to, and what a use of one means.

use super::{Grant, Policy, granted_resource};
use crate::error::Reason;
use crate::hooks::{Guard, passes, removed};
use crate::ids::ClientId;
use crate::params::Params;
use crate::pkce::{Challenge, Verifier};
use crate::redirect::RedirectUri;
use crate::secret::{AuthorizationCode, Digest};
use crate::time::Timestamp;

/// What an authorization code is bound to (AS-64).
#[derive(Clone, Debug)]
pub struct CodeRecord {
    /// The code's digest.
    pub digest: Digest<AuthorizationCode>,
    /// The grant that it stands for; its client may redeem it.
    pub grant: Grant,
    /// Where it was sent.
    pub redirect_uri: RedirectUri,
    /// What the client must prove.
    pub challenge: Challenge,
    /// Whether a refresh token comes with it.
    pub refresh: bool,
}

impl CodeRecord {
    /// Checks everything that a token request must agree with, without consuming the code, and whether the grant would be made today.
    /// Without the proof no store redeems it.
    ///
    /// # Errors
    /// [`Reason::CodeOtherClient`], [`Reason::CodeRedirectDiffers`] (A-058; omission is OAuth 2.1), [`Reason::VerifierMissing`]
    /// and [`Reason::VerifierMismatch`], [`Reason::ResourceNotGranted`] (AS-82), and those of [`Policy`].
    pub fn check(mut self, client: &ClientId, params: &Params, today: Policy<'_>) -> Result<CheckedCode, Reason> {
        if !passes(Guard::CodeClient, self.grant.client == *client) {
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
        granted_resource(&self.grant.resource, params)?;
        self.grant.scopes = today.still_grants(&self.grant)?;
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

    /// What the code is bound to, for the one use that this proof allows.
    #[must_use]
    pub fn into_record(self) -> CodeRecord {
        self.0
    }
}

/// What a store knows of a code when it is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodeState {
    /// Whether it was used.
    pub used: bool,
    /// When it ends.
    pub ends_at: Timestamp,
    /// Whether its grant was revoked.
    pub revoked: bool,
}

/// What a use of a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeUse {
    /// It is its one use: the grant's tokens are due (I2).
    First,
    /// It was used before, so two have it: the grant ends (AS-64, A-081). Also after the code's end.
    Replay,
    /// Too late.
    Expired,
    /// Its grant was revoked.
    Revoked,
}

impl CodeState {
    /// Judges a use `now`.
    #[must_use]
    pub fn judge(&self, now: Timestamp) -> CodeUse {
        if !passes(Guard::CodeSingleUse, !self.used) {
            return if removed(Guard::CodeReplayRevokes) { CodeUse::Expired } else { CodeUse::Replay };
        }
        if !passes(Guard::CodeLifetime, now < self.ends_at) {
            return CodeUse::Expired;
        }
        if passes(Guard::RevokedGrant, !self.revoked) { CodeUse::First } else { CodeUse::Revoked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{grant, policy};

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn check_code(client: &str, form: &str) -> Result<(), Reason> {
        let code = CodeRecord {
            digest: AuthorizationCode::new(&[1; 32]).digest(),
            grant: grant(),
            redirect_uri: RedirectUri::parse("http://localhost:5/cb").unwrap(),
            challenge: Verifier::parse(VERIFIER).unwrap().challenge(),
            refresh: true,
        };
        let (rules, catalog) = policy("*");
        let (client, params) = (ClientId::parse(client).unwrap(), Params::parse(form.as_bytes()).unwrap());
        code.check(&client, &params, Policy { rules: &rules, catalog: &catalog }).map(drop)
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
    fn i2_a_code_gives_once_in_time_and_for_a_grant_that_stands() {
        let at = Timestamp::from_seconds;
        let fresh = CodeState { used: false, ends_at: at(60), revoked: false };
        assert_eq!(fresh.judge(at(59)), CodeUse::First);
        assert_eq!(fresh.judge(at(60)), CodeUse::Expired);
        assert_eq!(CodeState { revoked: true, ..fresh }.judge(at(0)), CodeUse::Revoked);
        for (now, revoked) in [(0, false), (0, true), (60, false), (1000, true)] {
            assert_eq!(CodeState { used: true, revoked, ..fresh }.judge(at(now)), CodeUse::Replay, "A-081: {now} {revoked}");
        }
    }
}
