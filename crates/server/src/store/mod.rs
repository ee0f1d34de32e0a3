//! What survives a request. A store is little: some reads, and one method that takes a [`Step`].
//!
//! Every change is one conditional step: it repeats the state that was judged and is not taken when that has changed (decision 11). What a
//! use means is judged by [`deputy_protocol::family`]; [`once`] joins both. Tokens and codes are never stored, only their digests; what
//! must be read back is sealed.

mod migrations;
pub(crate) mod once;
mod postgres;
mod rows;
mod sqlite;
mod step;
#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;
use deputy_protocol::Timestamp;
use deputy_protocol::client::assertion::Assertion;
use deputy_protocol::family::{CodeRecord, CodeState, Grant, Line, Standing, Word};
use deputy_protocol::ids::{GrantId, TransactionId};
use deputy_protocol::remember::Memory;
use deputy_protocol::secret::{AuthorizationCode, BrowserKey, Digest};

pub(crate) use once::{Redeemed, Redemption, Rotation};
pub(crate) use postgres::Postgres;
pub(crate) use sqlite::Sqlite;
pub(crate) use step::{Ask, AttemptId, Completed, Heard, Person, ReplaceLine, Revoke, Step, Sweep, UseCode};

/// The store failed: nothing can be said about the state, and nothing was acknowledged.
#[derive(Clone, Debug)]
pub struct StoreError(String);

impl StoreError {
    /// A failure with something for the operator to read.
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage: {}", self.0)
    }
}

impl std::error::Error for StoreError {}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::new(error)
    }
}

/// What a store operation gives.
pub(crate) type StoreResult<T> = Result<T, StoreError>;

/// A code as the store holds it.
#[derive(Clone, Debug)]
pub(crate) struct HeldCode {
    /// What it is bound to, and its grant.
    pub(crate) record: CodeRecord,
    /// When it was used, if it was.
    pub(crate) used_at: Option<Timestamp>,
    /// When it ends.
    pub(crate) ends_at: Timestamp,
    /// When its grant was revoked, if it was.
    pub(crate) revoked_at: Option<Timestamp>,
    /// The provider's last word about the person.
    pub(crate) word: Word,
}

impl HeldCode {
    /// What decides about a use.
    pub(crate) fn state(&self) -> CodeState {
        CodeState { used: self.used_at.is_some(), ends_at: self.ends_at, revoked: self.revoked_at.is_some() }
    }
}

/// A grant as the store holds it.
#[derive(Clone, Debug)]
pub(crate) struct HeldGrant {
    /// The grant.
    pub(crate) grant: Grant,
    /// When it was revoked, if it was.
    pub(crate) revoked_at: Option<Timestamp>,
    /// Its refresh tokens, once its code was used.
    pub(crate) line: Option<Line>,
    /// The provider's last word about the person.
    pub(crate) word: Word,
    /// Who is asking the provider, since [`Word::asking_since`].
    pub(crate) asking: Option<AttemptId>,
}

impl HeldGrant {
    /// What it says to the use of one of its refresh tokens.
    pub(crate) fn standing(&self) -> Standing {
        Standing { ends_at: self.grant.ends_at, revoked: self.revoked_at.is_some() }
    }
}

/// A grant that is alive.
#[derive(Clone, Debug)]
pub struct LivingGrant {
    /// The grant.
    pub grant: Grant,
    /// When its refresh token was last used, if one was.
    pub refreshed_at: Option<Timestamp>,
    /// When it ends if nobody uses it.
    pub until: Timestamp,
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

/// Durable state. What it acknowledges survives a crash (I8).
#[async_trait]
pub(crate) trait Store: Send + Sync + fmt::Debug {
    /// Takes a step, wholly and durably, or not at all. Whether its condition held.
    async fn take(&self, step: Step) -> StoreResult<bool>;

    /// Whether a transaction has ended. A hint that spares the provider a request; [`Step::Complete`] decides.
    async fn is_complete(&self, transaction: &TransactionId) -> StoreResult<bool>;

    /// A code, used or not.
    async fn code(&self, code: &Digest<AuthorizationCode>) -> StoreResult<Option<HeldCode>>;

    /// A grant, alive or not.
    async fn grant(&self, grant: &GrantId) -> StoreResult<Option<HeldGrant>>;

    /// Whether a client's assertion was used. A hint that says why; the step that would use it decides.
    async fn is_assertion_used(&self, assertion: &Assertion) -> StoreResult<bool>;

    /// What a grant's person is asked about with at the provider, sealed.
    async fn idp_tokens(&self, grant: &GrantId) -> StoreResult<Option<String>>;

    /// The newest decisions that are remembered of a browser.
    async fn memories(&self, browser: &Digest<BrowserKey>) -> StoreResult<Vec<Memory>>;

    /// The number of the newest revocation that there ever was.
    async fn feed_head(&self) -> StoreResult<i64>;

    /// Some revocations after `sequence`, in order: none when there are no more.
    async fn revocations_after(&self, sequence: i64) -> StoreResult<Vec<Revocation>>;

    /// The signing keys, oldest first.
    async fn signing_keys(&self) -> StoreResult<Vec<SealedKey>>;

    /// Some grants whose refresh tokens have all ended by `now`, though they themselves have not.
    async fn idle_grants(&self, now: Timestamp) -> StoreResult<Vec<GrantId>>;

    /// Some grants that are alive `now`, oldest first, after this one. The last page is empty.
    async fn living_grants(&self, after: Option<&LivingGrant>, now: Timestamp) -> StoreResult<Vec<LivingGrant>>;

    /// When somebody last signed in.
    async fn newest_sign_in(&self) -> StoreResult<Option<Timestamp>>;

    /// Counts the rows of every table.
    async fn count(&self) -> StoreResult<Rows>;
}
