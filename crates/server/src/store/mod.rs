//! What survives a request. One trait with the protocol's verbs; every method is one atomic step.
//!
//! What a second use means is judged by [`deputy_protocol::family`]; that there is one first use is decided here and only here, each time
//! by one conditional write whose outcome is an enum (decision 11). Tokens and codes are never stored, only their digests; what must be
//! read back is sealed.

mod sqlite;
#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;
use deputy_protocol::family::{CheckedCode, CheckedRefresh, CodeRecord, Grant, RefreshRecord};
use deputy_protocol::ids::{GrantId, TransactionId};
use deputy_protocol::pkce::Challenge;
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::secret::{AuthorizationCode, Digest, RefreshToken};
use deputy_protocol::{Reason, Timestamp};

pub(crate) use sqlite::Sqlite;

/// The store failed: nothing can be said about the state, and nothing was acknowledged.
#[derive(Debug)]
pub struct StoreError(String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage: {}", self.0)
    }
}

impl std::error::Error for StoreError {}

/// What a store operation gives.
pub(crate) type StoreResult<T> = Result<T, StoreError>;

/// All that one completed sign-in writes, at once.
#[derive(Debug)]
pub(crate) struct Completed {
    /// The transaction, used up by this.
    pub(crate) transaction: TransactionId,
    /// When its id may be forgotten.
    pub(crate) transaction_ends: Timestamp,
    /// The grant.
    pub(crate) grant: Grant,
    /// The provider's tokens, sealed.
    pub(crate) idp_tokens: String,
    /// The code's digest.
    pub(crate) code: Digest<AuthorizationCode>,
    /// Where the code was sent.
    pub(crate) redirect_uri: RedirectUri,
    /// What the client must prove.
    pub(crate) challenge: Challenge,
    /// Whether a refresh token comes with it.
    pub(crate) refresh: bool,
    /// When the code ends.
    pub(crate) code_ends: Timestamp,
}

/// What became of a transaction's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// This was the first; everything is written.
    First,
    /// It had ended before; nothing is written.
    Replay,
}

/// A refresh token to be issued.
#[derive(Clone, Debug)]
pub(crate) struct NewRefresh {
    /// Its digest.
    pub(crate) digest: Digest<RefreshToken>,
    /// When it ends.
    pub(crate) ends_at: Timestamp,
}

/// What became of a code.
#[derive(Debug)]
pub(crate) enum Redemption {
    /// This was its one use.
    First(Box<Redeemed>),
    /// It was used before; its grant is now revoked (AS-64).
    Replay(GrantId),
    /// Too late.
    Expired,
    /// Its grant was revoked.
    Revoked,
    /// There is no such code.
    Unknown,
}

/// Proof that the store gave this grant's tokens out, once. Without it none are minted.
#[derive(Debug)]
pub(crate) struct Redeemed(Grant);

impl Redeemed {
    /// The grant, for the one minting that this proof allows.
    #[must_use]
    pub(crate) fn into_grant(self) -> Grant {
        self.0
    }
}

/// What became of a refresh token.
#[derive(Debug)]
pub(crate) enum Rotation {
    /// It was alive; its successor is now.
    Rotated(Box<Redeemed>),
    /// It was used a moment ago: the same successor is due, sealed under the token.
    Replayed(Box<Redeemed>, Vec<u8>),
    /// It was used before, too long ago; its grant is now revoked (AS-84).
    Reused(GrantId),
    /// It or its grant has ended.
    Expired,
    /// Its grant was revoked.
    Revoked,
    /// There is no such token.
    Unknown,
}

/// A signing key at rest.
#[derive(Clone, Debug)]
pub(crate) struct SealedKey {
    /// Its key id.
    pub(crate) kid: String,
    /// The key, sealed.
    pub(crate) sealed: String,
    /// When it was made.
    pub(crate) created_at: Timestamp,
}

/// One entry of the revocation feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    /// Its place in the feed.
    pub(crate) sequence: i64,
    /// The grant that was revoked.
    pub(crate) grant: GrantId,
}

/// How many rows there are, for tests and for operators.
pub(crate) type Rows = Vec<(&'static str, i64)>;

/// Durable state. Every method is atomic; what it acknowledges survives a crash (I8).
#[async_trait]
pub(crate) trait Store: Send + Sync + fmt::Debug {
    /// Ends a transaction in a grant, unless it ended before.
    async fn complete(&self, completed: &Completed) -> StoreResult<Completion>;

    /// Whether a transaction has ended. A hint that spares the provider a request; [`Store::complete`] decides.
    async fn is_complete(&self, transaction: &TransactionId) -> StoreResult<bool>;

    /// What a code is bound to, used or not.
    async fn code(&self, code: &Digest<AuthorizationCode>) -> StoreResult<Option<CodeRecord>>;

    /// Uses a code, and issues its refresh token in the same step. A second use revokes the grant.
    async fn redeem_code(&self, code: &CheckedCode, first: Option<&NewRefresh>, now: Timestamp) -> StoreResult<Redemption>;

    /// What a refresh token is bound to, used or not.
    async fn refresh(&self, token: &Digest<RefreshToken>) -> StoreResult<Option<RefreshRecord>>;

    /// Uses a refresh token: replaces it, or gives the same successor again within `grace`, or revokes the grant.
    async fn rotate(
        &self,
        token: &CheckedRefresh,
        successor: &NewRefresh,
        sealed: &[u8],
        grace: std::time::Duration,
        now: Timestamp,
    ) -> StoreResult<Rotation>;

    /// Revokes a grant with all its tokens. Whether it was alive.
    async fn revoke(&self, grant: &GrantId, why: Reason, now: Timestamp) -> StoreResult<bool>;

    /// The revocations after `sequence`, in order.
    async fn revocations_after(&self, sequence: i64) -> StoreResult<Vec<Revocation>>;

    /// The signing keys, oldest first.
    async fn signing_keys(&self) -> StoreResult<Vec<SealedKey>>;

    /// Adds a signing key unless there is one.
    async fn add_first_signing_key(&self, key: &SealedKey) -> StoreResult<()>;

    /// Forgets what has ended; revocations stay in the feed for `keep_revocations`.
    async fn sweep(&self, now: Timestamp, keep_revocations: std::time::Duration) -> StoreResult<()>;

    /// Counts the rows of every table.
    async fn count(&self) -> StoreResult<Rows>;
}
