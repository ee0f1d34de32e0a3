//! What an operator does with grants, beside the gateways that run: through their store.

use std::path::Path;
use std::sync::Arc;

use deputy_protocol::{GrantId, Reason, Timestamp};
use futures_util::{StreamExt as _, stream};

use crate::config::StoreConfig;
use crate::gateway::{StartError, open_store};
use crate::store::{LivingGrant, Revoke, Step, Store, StoreError};

/// How many grants are being ended at once: SQLite writes those that wait together, PostgreSQL has connections for them.
const AT_ONCE: usize = 16;

/// The grants of a deployment.
#[derive(Clone, Debug)]
pub struct Grants(Arc<dyn Store>);

/// What became of a grant that was to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended now. Every gateway that can read the store follows within two seconds.
    Now,
    /// It was revoked before.
    Before,
    /// There is no such grant, or no more.
    Unknown,
}

/// Ending several grants failed on the way; doing it again ends the rest.
#[derive(Debug, thiserror::Error)]
#[error("{ended} grants have ended, then: {error}")]
pub struct EndError {
    /// How many had ended by then.
    pub ended: usize,
    /// Why no more did.
    pub error: StoreError,
}

impl Grants {
    /// Opens the store of a deployment; its gateways may be running.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn open(store: &StoreConfig, data_dir: &Path) -> Result<Self, StartError> {
        Ok(Self(open_store(store, data_dir).await?))
    }

    /// Some of the grants that are alive `now`, oldest first, after this one. The last page is empty.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn living(&self, after: Option<&LivingGrant>, now: Timestamp) -> Result<Vec<LivingGrant>, StoreError> {
        self.0.living_grants(after, now).await
    }

    /// Ends a grant with all its tokens.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn end(&self, grant: &GrantId, now: Timestamp) -> Result<Ended, StoreError> {
        let revoke = Revoke { grant: grant.clone(), why: Reason::RevokedByOperator, now };
        if self.0.take(Step::Revoke(revoke)).await? {
            return Ok(Ended::Now);
        }
        Ok(if self.0.grant(grant).await?.is_some() { Ended::Before } else { Ended::Unknown })
    }

    /// Forgets every decision that people asked to be remembered. Ending a grant forgets those of its person about its client.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn forget_decisions(&self) -> Result<(), StoreError> {
        self.0.take(Step::ForgetDecisions).await.map(drop)
    }

    /// Ends every living grant of which `whose` says so, and counts them.
    ///
    /// # Errors
    /// [`EndError`], when the store fails on the way.
    pub async fn end_all(&self, whose: impl Fn(&LivingGrant) -> bool + Send, now: Timestamp) -> Result<usize, EndError> {
        let (mut ended, mut after) = (0, None);
        loop {
            let page = self.living(after.as_ref(), now).await.map_err(|error| EndError { ended, error })?;
            let ids: Vec<_> = page.iter().filter(|living| whose(living)).map(|living| living.grant.id.clone()).collect();
            let mut under_way = stream::iter(ids).map(async |id| self.end(&id, now).await).buffer_unordered(AT_ONCE);
            while let Some(outcome) = under_way.next().await {
                ended += usize::from(outcome.map_err(|error| EndError { ended, error })? == Ended::Now);
            }
            let Some(last) = page.into_iter().next_back() else { return Ok(ended) };
            after = Some(last);
        }
    }
}

impl LivingGrant {
    /// Whether it is this person's: by our name for them, the provider's, or a verified address in any case.
    #[must_use]
    pub fn is_of(&self, person: &str) -> bool {
        let grant = &self.grant;
        let address = grant.email.as_deref().is_some_and(|email| email.to_lowercase() == person.to_lowercase());
        address || grant.subject == person || grant.idp_subject == person
    }

    /// Whether something that names the person contains this text, in any case.
    #[must_use]
    pub fn person_contains(&self, text: &str) -> bool {
        let grant = &self.grant;
        let named =
            [Some(grant.subject.as_str()), Some(grant.idp_subject.as_str()), grant.email.as_deref(), grant.name.as_deref()];
        named.into_iter().flatten().any(|name| contains(name, text))
    }

    /// Whether the client's name contains this text, in any case, or this is its id.
    #[must_use]
    pub fn client_contains(&self, text: &str) -> bool {
        contains(self.grant.client_name.as_str(), text) || self.grant.client.as_str() == text
    }
}

fn contains(name: &str, text: &str) -> bool {
    name.to_lowercase().contains(&text.to_lowercase())
}
