//! Clients whose id is the URL of their own metadata document (AS-20…33; A-157…169).
//!
//! What this module guarantees:
//! - Nothing is fetched for an id that is not such a URL in its one form, nor for whom the operator does not admit.
//! - At `/authorize` a document counts that was fetched, read and found good within the time that its host allows: never an older one.
//! - A client that names keys in its document proves itself with one of them, unless its document lets it come without.

use std::sync::Arc;
use std::time::Duration;

use deputy_fetch::{GuardedClient, StrangersUrl};
use deputy_protocol::client::document::{DOCUMENT_MAX, Document, DocumentAuth, DocumentKeys, DocumentUrl, read};
use deputy_protocol::client::policy::ClientPolicy;
use deputy_protocol::ids::ClientId;
use deputy_protocol::{Reason, Timestamp};

use super::keys::ClientKeys;
use super::shelf::{Need, Publication, Shelf};
use super::{Credential, Known};
use crate::clock::Clock;

/// The longest time that keys count without asking again: a key that its owner took out is not good for a day.
const KEYS_LONGEST: Duration = Duration::from_secs(5 * 60);
/// How much longer they count while their host is away.
const KEYS_STALE: Duration = Duration::from_secs(60 * 60);
/// The same of documents without keys.
const DOCUMENT_LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const DOCUMENT_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest key set, in bytes.
const KEYS_MAX: usize = 16 * 1024;

/// The clients that have documents, and their keys.
pub(crate) struct Documents {
    documents: Shelf<Published>,
    keys: Arc<Shelf<ClientKeys>>,
}

/// A document that was found good.
struct Published {
    document: Document,
    keys: Option<Keys>,
}

/// Where a document's keys are.
#[derive(Clone)]
enum Keys {
    Here(ClientKeys),
    There(String),
}

impl Publication for Published {
    const NAME: &'static str = "metadata document";
    const SIZE_MAX: usize = DOCUMENT_MAX;
    fn ends_when_bad(&self) -> bool {
        matches!(self.keys, Some(Keys::Here(_)))
    }

    /// Keys that stand in it are as old as it is.
    fn longest(&self) -> Duration {
        if matches!(self.keys, Some(Keys::Here(_))) { KEYS_LONGEST } else { DOCUMENT_LONGEST }
    }

    fn stale(&self) -> Duration {
        if matches!(self.keys, Some(Keys::Here(_))) { KEYS_STALE } else { DOCUMENT_STALE }
    }

    fn read(url: &str, body: &[u8], now: Timestamp) -> Result<Self, Reason> {
        let document = read(&DocumentUrl::parse(url)?, body, now)?;
        let keys = match &document.auth {
            DocumentAuth::None => None,
            DocumentAuth::Keys { keys, .. } => Some(match keys {
                DocumentKeys::Here(json) => Keys::Here(ClientKeys::parse(json.as_bytes()).map_err(|_| Reason::DocumentKeys)?),
                DocumentKeys::At(url) => {
                    StrangersUrl::parse(url).map_err(|_| Reason::DocumentKeys)?;
                    Keys::There(url.clone())
                }
            }),
        };
        Ok(Self { document, keys })
    }
}

impl Publication for ClientKeys {
    const NAME: &'static str = "key set";
    const SIZE_MAX: usize = KEYS_MAX;
    /// Whoever puts something else in its place means that these keys are no longer to be believed.
    fn ends_when_bad(&self) -> bool {
        true
    }

    fn longest(&self) -> Duration {
        KEYS_LONGEST
    }

    fn stale(&self) -> Duration {
        KEYS_STALE
    }

    fn read(_: &str, body: &[u8], _: Timestamp) -> Result<Self, Reason> {
        Self::published(body).map_err(|_| Reason::DocumentKeys)
    }
}

impl Documents {
    /// Documents that the first client fetches when nobody has heard of them, and the second when they were found good before.
    pub(crate) fn new(fetch: GuardedClient, fetch_known: GuardedClient, clock: Arc<dyn Clock>) -> Self {
        let keys = Arc::new(Shelf::new(fetch.clone(), fetch_known.clone(), Arc::clone(&clock)));
        Self { documents: Shelf::new(fetch, fetch_known, clock), keys }
    }

    /// Finds the client with this URL.
    pub(super) async fn find(&self, id: &ClientId, policy: &ClientPolicy, need: Need) -> Result<Known, Reason> {
        let url = DocumentUrl::parse(id.as_str())?;
        policy.may_publish(&url)?;
        let published = self.documents.find(id.as_str(), need).await?;
        let credential = match (&published.keys, &published.document.auth) {
            (Some(keys), DocumentAuth::Keys { required, .. }) => {
                let keys = PublishedKeys { keys: keys.clone(), shelf: Arc::clone(&self.keys) };
                Credential::Published { keys, required: *required }
            }
            _ => Credential::Nothing,
        };
        Ok(Known { client: published.document.client.clone(), credential })
    }
}

/// The keys of a document, which may have to be fetched.
#[derive(Clone)]
pub(crate) struct PublishedKeys {
    keys: Keys,
    shelf: Arc<Shelf<ClientKeys>>,
}

impl std::fmt::Debug for PublishedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublishedKeys(…)")
    }
}

impl PublishedKeys {
    /// The keys, as they are now.
    pub(crate) async fn read(&self) -> Result<ClientKeys, Reason> {
        match &self.keys {
            Keys::Here(keys) => Ok(keys.clone()),
            Keys::There(url) => self.shelf.find(url, Need::Tokens).await.map(|keys| ClientKeys::clone(&keys)),
        }
    }
}
