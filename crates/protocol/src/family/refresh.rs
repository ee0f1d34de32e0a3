//! Refresh tokens: what they are bound to, and what a use of one means (decision 5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Grant, Policy, granted_resource};
use crate::error::Reason;
use crate::hooks::{Guard, passes, removed};
use crate::ids::{ClientId, GrantId};
use crate::params::Params;
use crate::scope::Scopes;
use crate::secret::{Digest, RefreshToken};
use crate::time::Timestamp;

/// A genuine refresh token's place: whose it is, and which of its family.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The grant.
    pub grant: GrantId,
    /// How many of the family came before it.
    pub generation: Generation,
    /// The token's digest.
    pub digest: Digest<RefreshToken>,
}

/// Which of its family a refresh token is. The first one is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u32);

impl Generation {
    /// The generation with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A refresh token's grant, as far as a refresh needs it.
#[derive(Clone, Debug)]
pub struct RefreshRecord {
    /// Which token of the grant was presented.
    pub place: Place,
    /// The grant; its client may use the token.
    pub grant: Grant,
}

impl RefreshRecord {
    /// Checks a refresh request without consuming the token, and gives the scopes of the new access token: what was asked, at most what
    /// is granted, all of it when nothing was asked. A narrow access token does not narrow the grant.
    ///
    /// # Errors
    /// [`Reason::RefreshOtherClient`], [`Reason::ResourceNotGranted`], [`Reason::ScopeMalformed`], [`Reason::ScopeNotGranted`]
    /// and those of [`Policy`].
    pub fn check(mut self, client: &ClientId, params: &Params, today: Policy<'_>) -> Result<CheckedRefresh, Reason> {
        self.grant.refreshed_by(client)?;
        granted_resource(&self.grant.resource, params)?;
        self.grant.scopes = today.still_grants(&self.grant)?;
        // Some clients repeat `offline_access` with every request; it asks for no access.
        let asked = params.get("scope").map(Scopes::parse).transpose()?.map(|asked| asked.without_offline_access());
        let scopes = asked.filter(|asked| !asked.is_empty()).unwrap_or_else(|| self.grant.scopes.clone());
        if passes(Guard::RefreshScope, self.grant.scopes.covers(&scopes)) {
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

    /// What the token is bound to, for the one use that this proof allows.
    #[must_use]
    pub fn into_record(self) -> RefreshRecord {
        self.record
    }

    /// The scopes of the new access token.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }
}

/// What a store knows of a refresh token when it is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefreshState {
    /// When it was replaced, if it was.
    pub rotated_at: Option<Timestamp>,
    /// When it ends.
    pub ends_at: Timestamp,
    /// When its grant ends.
    pub grant_ends_at: Timestamp,
    /// Whether its grant was revoked.
    pub revoked: bool,
}

/// What a use of a refresh token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshUse {
    /// It is alive: its successor takes its place (I3).
    Rotate,
    /// It was replaced a moment ago: the same successor is due again.
    Replay,
    /// It was replaced too long ago for that, so two have it: the grant ends (AS-84, A-097).
    Reuse,
    /// It or its grant has ended.
    Expired,
    /// Its grant was revoked.
    Revoked,
}

impl RefreshState {
    /// Judges a use `now`.
    #[must_use]
    pub fn judge(&self, grace: Duration, now: Timestamp) -> RefreshUse {
        if !passes(Guard::RevokedGrant, !self.revoked) {
            return RefreshUse::Revoked;
        }
        // A token that was replaced is not alive, whatever its own end says; its successors may be.
        let Some(rotated_at) = self.rotated_at.filter(|_| !removed(Guard::RefreshRotation)) else {
            return if passes(Guard::RefreshLifetime, now < self.ends_at) { RefreshUse::Rotate } else { RefreshUse::Expired };
        };
        if now >= self.grant_ends_at {
            return RefreshUse::Expired;
        }
        match second_use(rotated_at, now, grace) {
            SecondUse::Replay => RefreshUse::Replay,
            SecondUse::Reuse if removed(Guard::RefreshReuseRevokes) => RefreshUse::Expired,
            SecondUse::Reuse => RefreshUse::Reuse,
        }
    }
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
    use crate::samples::{grant, policy};

    #[test]
    fn a_102_a_104_a_105_refresh_never_grows() {
        let place = Place { grant: grant().id, generation: Generation::default(), digest: RefreshToken::of_bytes(&[1]).digest() };
        let record = RefreshRecord { place, grant: grant() };
        let (rules, catalog) = policy("*");
        let check = |client: &str, form: &str| {
            let (client, params) = (ClientId::parse(client).unwrap(), Params::parse(form.as_bytes()).unwrap());
            let checked = record.clone().check(&client, &params, Policy { rules: &rules, catalog: &catalog });
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
    fn i3_one_life_the_same_successor_for_a_moment_then_the_end_of_the_family() {
        let (at, grace) = (Timestamp::from_seconds, Duration::from_secs(60));
        let alive = RefreshState { rotated_at: None, ends_at: at(100), grant_ends_at: at(500), revoked: false };
        assert_eq!(alive.judge(grace, at(99)), RefreshUse::Rotate);
        assert_eq!(alive.judge(grace, at(100)), RefreshUse::Expired);
        assert_eq!(RefreshState { revoked: true, ..alive }.judge(grace, at(0)), RefreshUse::Revoked);
        let rotated = RefreshState { rotated_at: Some(at(90)), ..alive };
        assert_eq!(rotated.judge(grace, at(90)), RefreshUse::Replay);
        // Its own end is over, its successor's is not.
        assert_eq!(rotated.judge(grace, at(150)), RefreshUse::Replay);
        assert_eq!(rotated.judge(grace, at(151)), RefreshUse::Reuse);
        assert_eq!(rotated.judge(grace, at(499)), RefreshUse::Reuse);
        assert_eq!(rotated.judge(grace, at(500)), RefreshUse::Expired);
        assert_eq!(RefreshState { revoked: true, ..rotated }.judge(grace, at(90)), RefreshUse::Revoked);
    }
}
