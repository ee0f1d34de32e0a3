//! Codes and refresh tokens: what they are bound to, how long they live, and what a second use means (AS-64, AS-79…88; decision 5).
//!
//! What this module guarantees:
//! - A request that is wrong in itself does not burn a code or a token: [`CodeRecord::check`] and [`RefreshRecord::check`] come first, and
//!   no store uses anything up without their proof.
//! - What a use means is decided by [`CodeState::judge`] and [`Line::judge`] alone. A store reads the state, asks, and writes the
//!   outcome on the condition that the state is still the one that was judged: that write is the only authority for single use.

mod code;
mod grant;
mod line;
mod refresh;
mod word;

use std::time::Duration;

use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::ids::ClientId;
use crate::params::Params;
use crate::resource::ResourceUri;
use crate::time::Timestamp;

pub use code::{CheckedCode, CodeRecord, CodeState, CodeUse};
pub use grant::{Grant, Policy};
pub use line::{Line, LineUse, NewRefresh, Replaced, Standing};
pub use refresh::{CheckedRefresh, Generation, Place, RefreshRecord, RefreshState, RefreshUse, SecondUse, second_use};
pub use word::{Hearing, Word, WordUse};

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
    /// How often the provider is asked again whether the person may still sign in.
    pub hearing: Hearing,
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
            hearing: Hearing::default(),
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

/// The token request may repeat the resource, never change it (RFC 8707 §2.2).
fn granted_resource(granted: &ResourceUri, params: &Params) -> Result<(), Reason> {
    let same = |raw: &String| ResourceUri::parse(raw).is_ok_and(|resource| resource == *granted);
    if passes(Guard::TokenResource, params.resources().iter().all(same)) { Ok(()) } else { Err(Reason::ResourceNotGranted) }
}

/// Whether a client may revoke a token that was issued to `owner`: its own only (RFC 7009 §2.1; A-108).
#[must_use]
pub fn may_revoke(client: &ClientId, owner: &ClientId) -> bool {
    passes(Guard::RevokeClient, client == owner)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn rs_23_a_client_is_promised_a_little_less_than_there_is() {
        let promise = |lives: u64| {
            let lifetimes = Lifetimes { access_token: Duration::from_secs(lives), ..Lifetimes::default() };
            lifetimes.access_token_promise().as_secs()
        };
        assert_eq!((promise(300), promise(50), promise(20), promise(5)), (290, 40, 16, 4));
    }

    #[test]
    fn a_108_a_token_is_revoked_by_its_own_client() {
        let client = |id: &str| ClientId::parse(id).unwrap();
        assert!(may_revoke(&client("a"), &client("a")));
        assert!(!may_revoke(&client("a"), &client("b")));
    }
}
