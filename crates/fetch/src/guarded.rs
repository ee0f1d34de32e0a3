//! Requests to where strangers say (AS-28, AS-30, AS-31; A-158… ): https only, public addresses only, small, quick and few.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

use crate::address::Reach;
use crate::egress::{Connector, Egress, NotPublic, Resolve, SystemResolver};
use crate::tls::{Certificates, tls};
use crate::{FetchError, media_type, root_cause};

/// From the start, with the name's resolution, to the last byte.
const TIME: Duration = Duration::from_secs(5);
/// Most bytes of status line and headers, and most headers.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Most requests at once, and most to one host.
const AT_ONCE: usize = 128;
const AT_ONE_HOST: usize = 4;

/// A URL that a stranger named: https, without user name and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct StrangersUrl(Url);

/// A URL that may not be asked whoever answers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an https URL, or it has a fragment or a user name")]
pub struct NotAskable;

impl StrangersUrl {
    /// Accepts `https` alone.
    ///
    /// # Errors
    /// [`NotAskable`].
    pub fn parse(raw: &str) -> Result<Self, NotAskable> {
        let url = Url::parse(raw).map_err(|_| NotAskable)?;
        let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        if url.scheme() == "https" && url.has_host() && plain { Ok(Self(url)) } else { Err(NotAskable) }
    }

    fn host(&self) -> String {
        self.0.host_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for StrangersUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StrangersUrl({}{})", self.host(), self.0.path())
    }
}

/// What a [`GuardedClient`] may do.
#[derive(Clone, Debug, Default)]
pub struct GuardedConfig {
    /// How far it may go.
    pub reach: Reach,
    /// How it leaves this machine.
    pub egress: Egress,
    /// Which certificates it trusts.
    pub certificates: Certificates,
}

/// An answer, read to its end. A redirect is an answer like others.
#[derive(Debug)]
pub struct GuardedAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its media type in lower case, without parameters.
    pub media_type: String,
    /// Its headers, as they came.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Asks where strangers say. Clones share the limits.
#[derive(Clone)]
pub struct GuardedClient {
    connections: Pool<HttpsConnector<Connector>, Empty<Bytes>>,
    places: Arc<Semaphore>,
    hosts: Arc<Hosts>,
}

impl fmt::Debug for GuardedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedClient").field("places", &self.places.available_permits()).finish_non_exhaustive()
    }
}

impl GuardedClient {
    /// A client that resolves names as this machine does.
    ///
    /// # Errors
    /// [`FetchError::Setup`].
    pub fn new(config: &GuardedConfig) -> Result<Self, FetchError> {
        Self::with_resolver(config, Arc::new(SystemResolver))
    }

    /// A client with another resolver.
    ///
    /// # Errors
    /// [`FetchError::Setup`].
    pub fn with_resolver(config: &GuardedConfig, resolver: Arc<dyn Resolve>) -> Result<Self, FetchError> {
        let connector = Connector::new(config.reach, &config.egress, resolver);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls(&config.certificates)?).https_only().enable_http1();
        // A connection for each request: the address is judged each time, and nothing of a stranger's stays open.
        let connections = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(HEAD_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(https.wrap_connector(connector));
        Ok(Self { connections, places: Arc::new(Semaphore::new(AT_ONCE)), hosts: Arc::default() })
    }

    /// Asks for JSON of at most `limit` bytes. Where there is no place, one is waited for, in turn and within the time; no redirect is followed.
    ///
    /// # Errors
    /// [`FetchError`]; an answer of any status is none.
    pub async fn get(&self, url: &StrangersUrl, limit: usize) -> Result<GuardedAnswer, FetchError> {
        let host = url.host();
        let end = Instant::now() + TIME;
        let busy = |_| FetchError::Busy { host: host.clone() };
        let _place = tokio::time::timeout_at(end, self.place(&host)).await.map_err(busy)?;
        let late = |_| FetchError::TimedOut { host: host.clone(), seconds: TIME.as_secs(), sent: true };
        tokio::time::timeout_at(end, self.exchange(url, limit)).await.map_err(late)?
    }

    /// The host's place first: who waits for a host keeps nobody from the others.
    async fn place(&self, host: &str) -> (Option<OwnedSemaphorePermit>, HostPlace, Option<OwnedSemaphorePermit>) {
        let at_host = Hosts::enter(&self.hosts, host);
        // Neither is ever closed.
        let of_host = Arc::clone(&at_host.places).acquire_owned().await.ok();
        (of_host, at_host, Arc::clone(&self.places).acquire_owned().await.ok())
    }

    async fn exchange(&self, url: &StrangersUrl, limit: usize) -> Result<GuardedAnswer, FetchError> {
        let host = url.host();
        let unreachable = |why: String| FetchError::Unreachable { host: host.clone(), why };
        let request = Request::get(url.0.as_str())
            .header(USER_AGENT, concat!("deputy/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|error| unreachable(error.to_string()))?;
        let response = self.connections.request(request).await.map_err(|error| {
            if is_not_public(&error) { FetchError::NotPublic { host: host.clone() } } else { unreachable(root_cause(&error)) }
        })?;
        let (parts, body) = response.into_parts();
        // What is unpacked may be a thousand times as long.
        if parts.headers.get_all(CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
            return Err(FetchError::Encoded { host });
        }
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLarge { host: host.clone(), limit }
            } else {
                FetchError::Broken { host: host.clone(), why: error.to_string() }
            }
        })?;
        let media_type = media_type(&parts.headers);
        Ok(GuardedAnswer { status: parts.status, media_type, headers: parts.headers, body: body.to_bytes() })
    }
}

fn is_not_public(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<NotPublic>())
}

/// The hosts that are asked, and how many ask each or wait to.
#[derive(Debug, Default)]
struct Hosts(Mutex<HashMap<String, (Arc<Semaphore>, usize)>>);

/// One who asks a host or waits to.
#[derive(Debug)]
struct HostPlace {
    hosts: Arc<Hosts>,
    host: String,
    places: Arc<Semaphore>,
}

impl Hosts {
    fn enter(hosts: &Arc<Self>, host: &str) -> HostPlace {
        let mut known = hosts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (places, count) = known.entry(host.to_owned()).or_insert_with(|| (Arc::new(Semaphore::new(AT_ONE_HOST)), 0));
        *count += 1;
        HostPlace { hosts: Arc::clone(hosts), host: host.to_owned(), places: Arc::clone(places) }
    }
}

impl Drop for HostPlace {
    fn drop(&mut self) {
        let mut known = self.hosts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = known.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                known.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests;
