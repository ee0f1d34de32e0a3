//! Revoked grants, in memory, so that the hot path asks no database (decision 6).
//!
//! The set holds what was revoked within one access-token lifetime: an older revocation has nothing left to stop. The store's feed keeps
//! it up to date with what other processes revoke; what this process revokes counts at once. How long an entry is kept is counted on the
//! monotonic clock: the machine's time may jump ahead and back, and must not revive a token.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use deputy_protocol::{GrantId, Reason, Timestamp};
use tokio::time::Instant;

use crate::store::{Revoke, Step, Store, StoreResult};

/// How often the feed is read. With it, a revocation reaches every process within two seconds.
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// The longest access-token lifetime that a configuration may ask for; a shorter one today may have been longer yesterday.
const LONGEST: Duration = Duration::from_secs(3600);

/// The revoked grants whose access tokens may still be in their time.
#[derive(Debug)]
pub(crate) struct Revoked {
    since: RwLock<HashMap<GrantId, Instant>>,
    keep: Duration,
}

impl Revoked {
    pub(crate) fn new(access_token_lifetime: Duration) -> Self {
        // A minute more than a token lives, for replicas whose clocks differ.
        Self { since: RwLock::default(), keep: access_token_lifetime.max(LONGEST).saturating_add(Duration::from_secs(60)) }
    }

    /// How long a revocation must stay in the feed.
    pub(crate) const fn keep(&self) -> Duration {
        self.keep
    }

    /// Refuses a grant's access tokens from now on.
    pub(crate) fn add(&self, grant: GrantId) {
        self.since.write().unwrap_or_else(PoisonError::into_inner).insert(grant, Instant::now());
    }

    /// Takes in what the feed has after `last`, and gives the place to go on from.
    ///
    /// A feed that went back is a database that lost what it had acknowledged: an old copy was restored, or a standby took over that was
    /// behind. What this process knows to be revoked is revoked again, and the operator is told of the rest.
    pub(crate) async fn follow(&self, store: &dyn Store, last: i64, now: Timestamp) -> StoreResult<i64> {
        let head = store.feed_head().await?;
        if head >= last {
            return Ok(self.catch_up(store, last).await?.max(head));
        }
        tracing::error!(
            target: "deputy::store",
            "the database knows fewer revocations than it did: was an old copy restored? Then run `deputy grants revoke --all`"
        );
        self.revoke_again(store, now).await?;
        Ok(self.catch_up(store, 0).await?.max(head))
    }

    /// Takes in the feed after `sequence` and gives the last place read.
    pub(crate) async fn catch_up(&self, store: &dyn Store, sequence: i64) -> StoreResult<i64> {
        let mut last = sequence;
        loop {
            let page = store.revocations_after(last).await?;
            let Some(newest) = page.last() else { return Ok(last) };
            last = newest.sequence;
            page.into_iter().for_each(|revocation| self.add(revocation.grant));
        }
    }

    async fn revoke_again(&self, store: &dyn Store, now: Timestamp) -> StoreResult<()> {
        let known: Vec<GrantId> = self.since.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        for grant in known {
            store.take(Step::Revoke(Revoke { grant, why: Reason::GrantRevoked, now })).await?;
        }
        Ok(())
    }

    /// Forgets what has nothing left to stop.
    pub(crate) fn prune(&self) {
        self.since.write().unwrap_or_else(PoisonError::into_inner).retain(|_, since| since.elapsed() < self.keep);
    }
}

impl deputy_guard::Revocations for Revoked {
    fn is_revoked(&self, grant: &GrantId) -> bool {
        self.since.read().unwrap_or_else(PoisonError::into_inner).contains_key(grant)
    }
}
