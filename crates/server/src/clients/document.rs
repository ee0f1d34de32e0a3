//! Clients whose id is the URL of their own metadata document (AS-20…32; A-157…168).
//!
//! What this module guarantees:
//! - Nothing is fetched for an id that is not such a URL in its one form, nor for whom the operator does not admit.
//! - At `/authorize` a document counts that was fetched, read and found good within the time that its host allows: never an older one.
//! - Whatever number of requests need a document at once, its host is asked once.
//! - Failures and bad documents are kept for nobody; what is kept has a bounded number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deputy_fetch::{FetchError, GuardedAnswer, GuardedClient, StrangersUrl};
use deputy_protocol::client::Client;
use deputy_protocol::client::document::{DOCUMENT_MAX, DocumentUrl, read};
use deputy_protocol::client::policy::ClientPolicy;
use deputy_protocol::ids::ClientId;
use deputy_protocol::{Reason, Timestamp};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::StatusCode;
use moka::sync::Cache;

use super::freshness::{Freshness, freshness};
use crate::clock::Clock;

/// Most documents that are kept: what a stranger has many of does not drive out what is asked for often.
const KEPT_MAX: u64 = 1024;
/// How long after its time a document still speaks for its client's tokens while its host is away: an outage there is no logout here.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long nobody with tokens waits for a host again that was found to be away.
const AWAY: Duration = Duration::from_secs(30);

/// What a document is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// To ask a person about the client: only as it is now.
    Consent,
    /// To go on with what a person decided before.
    Tokens,
}

/// The clients that have documents.
pub(crate) struct Documents(Arc<Shelf>);

struct Shelf {
    fetch: GuardedClient,
    clock: Arc<dyn Clock>,
    kept: Cache<ClientId, Kept>,
    /// What is being fetched.
    flights: Mutex<HashMap<ClientId, Flight>>,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<Client>, Failed>>>;

/// A document that was found good.
#[derive(Clone)]
struct Kept {
    client: Arc<Client>,
    fresh_until: Timestamp,
    /// Until when its host is not waited for.
    away_until: Timestamp,
}

impl Kept {
    fn serves(&self, need: Need, now: Timestamp) -> bool {
        now < self.fresh_until || (need == Need::Tokens && now < self.away_until && self.serves_outage(now))
    }

    fn serves_outage(&self, now: Timestamp) -> bool {
        now < self.fresh_until.after(STALE)
    }
}

/// Why there is no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// Its host says that there is none.
    Gone,
    /// What is there is none, or not a good one.
    Bad(Reason),
    /// Its host does not answer, or may not be asked.
    Away,
}

impl Failed {
    const fn reason(self) -> Reason {
        match self {
            Self::Gone => Reason::DocumentMissing,
            Self::Bad(reason) => reason,
            // Whether a name leads inside is nobody's business (A-158): it looks like any host that cannot be reached.
            Self::Away => Reason::DocumentUnreachable,
        }
    }
}

impl Documents {
    /// Documents that this client fetches.
    pub(crate) fn new(fetch: GuardedClient, clock: Arc<dyn Clock>) -> Self {
        let kept = Cache::builder().max_capacity(KEPT_MAX).build();
        Self(Arc::new(Shelf { fetch, clock, kept, flights: Mutex::default() }))
    }

    /// Finds the client with this URL.
    pub(super) async fn find(&self, id: &ClientId, policy: &ClientPolicy, need: Need) -> Result<Client, Reason> {
        let url = DocumentUrl::parse(id.as_str())?;
        policy.may_publish(&url)?;
        let kept = self.0.kept.get(id);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.serves(need, self.0.clock.now())) {
            return Ok(Client::clone(&kept.client));
        }
        match (self.fetch(url).await, kept) {
            (Ok(client), _) => Ok(Client::clone(&client)),
            (Err(Failed::Away | Failed::Bad(_)), Some(kept))
                if need == Need::Tokens && kept.serves_outage(self.0.clock.now()) =>
            {
                Ok(Client::clone(&kept.client))
            }
            (Err(failed), _) => Err(failed.reason()),
        }
    }

    /// Fetches a document, or waits for who does already. Whoever gives up waiting leaves the others theirs.
    async fn fetch(&self, url: DocumentUrl) -> Result<Arc<Client>, Failed> {
        let flight = {
            let mut flights = self.0.flights();
            flights.entry(url.id().clone()).or_insert_with(|| take_off(Arc::clone(&self.0), url)).clone()
        };
        flight.await
    }
}

fn take_off(shelf: Arc<Shelf>, url: DocumentUrl) -> Flight {
    let task = tokio::spawn(async move {
        let landing = Landing { shelf, id: url.id().clone() };
        landing.shelf.renew(&url).await
    });
    async move { task.await.unwrap_or(Err(Failed::Away)) }.boxed().shared()
}

/// Takes a flight off the list when it ends, however it does.
struct Landing {
    shelf: Arc<Shelf>,
    id: ClientId,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.shelf.flights().remove(&self.id);
    }
}

impl Shelf {
    fn flights(&self) -> MutexGuard<'_, HashMap<ClientId, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches a document and keeps what may be kept.
    async fn renew(&self, url: &DocumentUrl) -> Result<Arc<Client>, Failed> {
        let result = self.ask(url).await;
        let now = self.clock.now();
        match &result {
            Ok((client, Freshness::For(time))) => self.keep(client, now.after(*time)),
            Ok((_, Freshness::NotKept)) | Err(Failed::Gone) => self.kept.invalidate(url.id()),
            Err(Failed::Away | Failed::Bad(_)) => {
                if let Some(kept) = self.kept.get(url.id()) {
                    self.kept.insert(url.id().clone(), Kept { away_until: now.after(AWAY), ..kept });
                }
            }
        }
        result.map(|(client, _)| client)
    }

    fn keep(&self, client: &Arc<Client>, fresh_until: Timestamp) {
        let kept = Kept { client: Arc::clone(client), fresh_until, away_until: Timestamp::from_seconds(0) };
        self.kept.insert(client.id.clone(), kept);
    }

    async fn ask(&self, url: &DocumentUrl) -> Result<(Arc<Client>, Freshness), Failed> {
        let askable = StrangersUrl::parse(url.id().as_str()).map_err(|_| Failed::Bad(Reason::DocumentUrl))?;
        let answer = self.fetch.get(&askable, DOCUMENT_MAX).await.map_err(|error| {
            tracing::info!(target: "deputy::clients", client = %url, %error, "a metadata document cannot be fetched");
            failed(&error)
        })?;
        let now = self.clock.now();
        let client = judge(url, &answer, now).inspect_err(|failed| {
            let (status, reason) = (answer.status.as_u16(), failed.reason().code());
            tracing::info!(target: "deputy::clients", client = %url, status, reason, "a metadata document is refused");
        })?;
        Ok((Arc::new(client), freshness(&answer.headers, now)))
    }
}

const fn failed(error: &FetchError) -> Failed {
    match error {
        FetchError::TooLarge { .. } | FetchError::Encoded { .. } => Failed::Bad(Reason::DocumentMalformed),
        FetchError::Unreachable { .. }
        | FetchError::NotPublic { .. }
        | FetchError::Busy { .. }
        | FetchError::Broken { .. }
        | FetchError::TimedOut { .. }
        | FetchError::Setup(_) => Failed::Away,
    }
}

/// Only 200 is an answer (AS-28), and only JSON a document.
fn judge(url: &DocumentUrl, answer: &GuardedAnswer, now: Timestamp) -> Result<Client, Failed> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Failed::Gone),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => return Err(Failed::Away),
        status if status.is_server_error() => return Err(Failed::Away),
        _ => return Err(Failed::Bad(Reason::DocumentMissing)),
    }
    let media_type = answer.media_type.as_str();
    if media_type != "application/json" && !(media_type.starts_with("application/") && media_type.ends_with("+json")) {
        return Err(Failed::Bad(Reason::DocumentMalformed));
    }
    read(url, &answer.body, now).map_err(Failed::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use deputy_fetch::GuardedConfig;

    fn document(n: usize) -> Arc<Client> {
        let url = DocumentUrl::parse(&format!("https://app.test/{n}")).unwrap();
        let body = format!(r#"{{"client_id":"{url}","client_name":"x","redirect_uris":["https://app.test/cb"]}}"#);
        Arc::new(read(&url, body.as_bytes(), Timestamp::from_seconds(1)).unwrap())
    }

    #[test]
    fn a_165_i10_a_hundred_thousand_documents_take_the_place_of_a_thousand() {
        let documents = Documents::new(GuardedClient::new(&GuardedConfig::default()).unwrap(), Arc::new(SystemClock));
        let often = document(0);
        documents.0.keep(&often, Timestamp::from_seconds(u64::MAX));
        for n in 1..100_000 {
            documents.0.keep(&document(n), Timestamp::from_seconds(u64::MAX));
            assert!(n % 100 != 0 || documents.0.kept.get(&often.id).is_some(), "driven out by {n}");
        }
        documents.0.kept.run_pending_tasks();
        assert!(documents.0.kept.entry_count() <= KEPT_MAX, "{}", documents.0.kept.entry_count());
    }

    #[test]
    fn as_28_only_200_with_json_is_a_document() {
        let url = DocumentUrl::parse("https://app.test/0").unwrap();
        let body = br#"{"client_id":"https://app.test/0","client_name":"x","redirect_uris":["https://app.test/cb"]}"#;
        let with = |status: u16, media_type: &str| {
            let answer = GuardedAnswer {
                status: StatusCode::from_u16(status).unwrap(),
                media_type: media_type.to_owned(),
                headers: http::HeaderMap::new(),
                body: body.as_slice().into(),
            };
            judge(&url, &answer, Timestamp::from_seconds(1)).map(|_| ()).err()
        };
        for good in ["application/json", "application/cimd+json"] {
            assert_eq!(with(200, good), None, "{good}");
        }
        for bad in ["", "text/html", "text/json", "text/x+json", "application/javascript"] {
            assert_eq!(with(200, bad), Some(Failed::Bad(Reason::DocumentMalformed)), "{bad}");
        }
        for status in [201, 203, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403] {
            assert_eq!(with(status, "application/json"), Some(Failed::Bad(Reason::DocumentMissing)), "{status}");
        }
        assert_eq!([404, 410].map(|status| with(status, "application/json")), [Some(Failed::Gone); 2]);
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(with(status, "application/json"), Some(Failed::Away), "{status}");
        }
    }
}
