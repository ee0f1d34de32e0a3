//! What strangers publish at URLs, fetched when it is needed and kept as their hosts say (AS-29; ).
//!
//! What this module guarantees:
//! - Whatever number of requests need one thing at once, its host is asked once.
//! - Failures and bad answers are kept for nobody; what is kept has a bounded number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deputy_fetch::{FetchError, GuardedAnswer, GuardedClient, StrangersUrl};
use deputy_protocol::{Reason, Timestamp};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::StatusCode;
use moka::sync::Cache;

use super::freshness::{Freshness, freshness};
use crate::clock::Clock;

/// Most things that are kept: what a stranger has many of does not drive out what is asked for often.
const KEPT_MAX: u64 = 1024;
/// How long nobody with tokens waits for a host again that was found to be away.
const AWAY: Duration = Duration::from_secs(30);

/// What something is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// To ask a person about the client: only as it is now.
    Consent,
    /// To go on with what a person decided before.
    Tokens,
}

/// What is published, and how it is read.
pub(super) trait Publication: Sized + Send + Sync + 'static {
    /// What messages call it.
    const NAME: &'static str;
    /// The most bytes of it.
    const SIZE_MAX: usize;
    /// Whether a bad one in its place ends it at once. Else it counts on for tokens, as when its host is away: an outage there is no logout here.
    fn ends_when_bad(&self) -> bool;

    /// The longest time that it counts without asking again, whatever its host says.
    fn longest(&self) -> Duration;

    /// How long after its time it still counts for tokens while its host is away.
    fn stale(&self) -> Duration;

    /// Reads a body that came as JSON from this URL.
    fn read(url: &str, body: &[u8], now: Timestamp) -> Result<Self, Reason>;
}

/// What was fetched, of one kind.
pub(super) struct Shelf<T>(Arc<Inner<T>>);

struct Inner<T> {
    /// For what nobody has heard of: strangers choose it.
    fetch: GuardedClient,
    /// For what was found good before: nobody who invents addresses takes its places.
    fetch_known: GuardedClient,
    clock: Arc<dyn Clock>,
    kept: Cache<String, Kept<T>>,
    /// What is being fetched.
    flights: Mutex<HashMap<String, Flight<T>>>,
}

type Flight<T> = Shared<BoxFuture<'static, Result<Arc<T>, Failed>>>;

/// Something that was found good.
struct Kept<T> {
    thing: Arc<T>,
    fresh_until: Timestamp,
    /// Until when its host is not waited for.
    away_until: Timestamp,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { thing: Arc::clone(&self.thing), ..*self }
    }
}

impl<T: Publication> Kept<T> {
    fn serves(&self, need: Need, now: Timestamp) -> bool {
        now < self.fresh_until || (now < self.away_until && self.serves_outage(need, now))
    }

    /// Whether what is in its place ends it.
    fn is_ended_by(&self, failed: Failed) -> bool {
        match failed {
            Failed::Gone => true,
            Failed::Bad(_) => self.thing.ends_when_bad(),
            Failed::Away => false,
        }
    }

    fn serves_outage(&self, need: Need, now: Timestamp) -> bool {
        need == Need::Tokens && now < self.fresh_until.after(self.thing.stale())
    }
}

/// Why there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// Its host says that there is none.
    Gone,
    /// What is there is not what it should be.
    Bad(Reason),
    /// Its host does not answer, or may not be asked.
    Away,
}

impl Failed {
    const fn reason(self) -> Reason {
        match self {
            Self::Gone => Reason::DocumentMissing,
            Self::Bad(reason) => reason,
            // Whether a name leads inside is nobody's business: it looks like any host that cannot be reached.
            Self::Away => Reason::DocumentUnreachable,
        }
    }
}

impl<T: Publication> Shelf<T> {
    /// A shelf that the first client fills, and the second renews.
    pub(super) fn new(fetch: GuardedClient, fetch_known: GuardedClient, clock: Arc<dyn Clock>) -> Self {
        let kept = Cache::builder().max_capacity(KEPT_MAX).build();
        Self(Arc::new(Inner { fetch, fetch_known, clock, kept, flights: Mutex::default() }))
    }

    /// What is published at a URL.
    pub(super) async fn find(&self, url: &str, need: Need) -> Result<Arc<T>, Reason> {
        let kept = self.0.kept.get(url);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.serves(need, self.0.clock.now())) {
            return Ok(Arc::clone(&kept.thing));
        }
        match (self.fetch(url).await, kept) {
            (Ok(thing), _) => Ok(thing),
            (Err(failed), Some(kept)) if !kept.is_ended_by(failed) && kept.serves_outage(need, self.0.clock.now()) => {
                Ok(kept.thing)
            }
            (Err(failed), _) => Err(failed.reason()),
        }
    }

    /// Fetches, or waits for who does already. Whoever gives up waiting leaves the others theirs.
    async fn fetch(&self, url: &str) -> Result<Arc<T>, Failed> {
        let flight = {
            let mut flights = self.0.flights();
            let take_off = || take_off(Arc::clone(&self.0), url.to_owned());
            flights.entry(url.to_owned()).or_insert_with(take_off).clone()
        };
        flight.await
    }
}

fn take_off<T: Publication>(inner: Arc<Inner<T>>, url: String) -> Flight<T> {
    let task = tokio::spawn(async move {
        let landing = Landing { inner, url };
        landing.inner.renew(&landing.url).await
    });
    async move { task.await.unwrap_or(Err(Failed::Away)) }.boxed().shared()
}

/// Takes a flight off the list when it ends, however it does.
struct Landing<T> {
    inner: Arc<Inner<T>>,
    url: String,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.inner.flights().remove(&self.url);
    }
}

impl<T> Inner<T> {
    fn flights(&self) -> MutexGuard<'_, HashMap<String, Flight<T>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Publication> Inner<T> {
    /// Fetches, and keeps what may be kept.
    async fn renew(&self, url: &str) -> Result<Arc<T>, Failed> {
        let result = self.ask(url).await;
        let now = self.clock.now();
        match &result {
            Ok((thing, Freshness::For(time))) => self.keep(url, thing, now.after((*time).min(thing.longest()))),
            Ok((_, Freshness::NotKept)) => self.kept.invalidate(url),
            Err(failed) => match self.kept.get(url) {
                Some(kept) if kept.is_ended_by(*failed) => self.kept.invalidate(url),
                Some(kept) => self.kept.insert(url.to_owned(), Kept { away_until: now.after(AWAY), ..kept }),
                None => {}
            },
        }
        result.map(|(thing, _)| thing)
    }

    fn keep(&self, url: &str, thing: &Arc<T>, fresh_until: Timestamp) {
        let kept = Kept { thing: Arc::clone(thing), fresh_until, away_until: Timestamp::from_seconds(0) };
        self.kept.insert(url.to_owned(), kept);
    }

    async fn ask(&self, url: &str) -> Result<(Arc<T>, Freshness), Failed> {
        let askable = StrangersUrl::parse(url).map_err(|_| Failed::Bad(Reason::DocumentUrl))?;
        let fetch = if self.kept.contains_key(url) { &self.fetch_known } else { &self.fetch };
        let answer = fetch.get(&askable, T::SIZE_MAX).await.map_err(|error| {
            tracing::info!(target: "deputy::clients", what = T::NAME, url = ?askable, %error, "cannot be fetched");
            failed(&error)
        })?;
        let now = self.clock.now();
        let thing = judge(url, &answer, now).inspect_err(|failed| {
            let (status, reason) = (answer.status.as_u16(), failed.reason().code());
            tracing::info!(target: "deputy::clients", what = T::NAME, url = ?askable, status, reason, "is refused");
        })?;
        Ok((Arc::new(thing), freshness(&answer.headers, now)))
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

/// Only 200 is an answer (AS-28), and only JSON is read.
fn judge<T: Publication>(url: &str, answer: &GuardedAnswer, now: Timestamp) -> Result<T, Failed> {
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
    T::read(url, &answer.body, now).map_err(Failed::Bad)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::clock::SystemClock;
    use deputy_fetch::GuardedConfig;

    #[derive(Debug, PartialEq)]
    struct Text(String);

    impl Publication for Text {
        const NAME: &'static str = "a text";
        const SIZE_MAX: usize = 10;
        fn ends_when_bad(&self) -> bool {
            false
        }

        fn longest(&self) -> Duration {
            Duration::from_secs(60)
        }

        fn stale(&self) -> Duration {
            Duration::from_secs(60)
        }

        fn read(_: &str, body: &[u8], _: Timestamp) -> Result<Self, Reason> {
            String::from_utf8(body.to_vec()).map(Self).map_err(|_| Reason::DocumentMalformed)
        }
    }

    fn shelf() -> Shelf<Text> {
        let fetch = GuardedClient::new(&GuardedConfig::default()).unwrap();
        Shelf::new(fetch.clone(), fetch, Arc::new(SystemClock))
    }

    #[test]
    fn a_165_i10_a_hundred_thousand_things_take_the_place_of_a_thousand() {
        let shelf = shelf();
        let thing = Arc::new(Text("x".to_owned()));
        for n in 0..100_000 {
            shelf.0.keep(&format!("https://app.test/{n}"), &thing, Timestamp::from_seconds(u64::MAX));
            assert!(n % 100 != 0 || shelf.0.kept.get("https://app.test/0").is_some(), "driven out by {n}");
        }
        shelf.0.kept.run_pending_tasks();
        assert!(shelf.0.kept.entry_count() <= KEPT_MAX, "{}", shelf.0.kept.entry_count());
    }

    #[tokio::test]
    async fn a_163_two_who_need_the_same_are_one_flight_and_none_stays_behind() {
        let shelf = shelf();
        // Refused before anything is sent.
        let (mut first, mut second) =
            (Box::pin(shelf.fetch("https://127.0.0.1/x")), Box::pin(shelf.fetch("https://127.0.0.1/x")));
        let waiting = poll_fn(|cx| Poll::Ready((first.as_mut().poll(cx).is_pending(), second.as_mut().poll(cx).is_pending())));
        assert_eq!(waiting.await, (true, true));
        assert_eq!(shelf.0.flights().len(), 1);
        drop(first);
        assert_eq!(second.await, Err(Failed::Away));
        assert_eq!(shelf.0.flights().len(), 0);
    }

    #[test]
    fn as_28_only_200_with_json_is_read() {
        let with = |status: u16, media_type: &str| {
            let answer = GuardedAnswer {
                status: StatusCode::from_u16(status).unwrap(),
                media_type: media_type.to_owned(),
                headers: http::HeaderMap::new(),
                body: b"x".as_slice().into(),
            };
            judge::<Text>("https://app.test/0", &answer, Timestamp::from_seconds(1)).map(|_| ()).err()
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
