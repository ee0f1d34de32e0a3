//! The only way out for deputy's own requests.
//!
//! What this crate guarantees:
//! - An [`Endpoint`] is https, or http where nothing leaves the machine; it is parsed once, at the edge.
//! - No redirect is followed, so a secret goes where it was meant to go and nowhere else.
//! - Every request has an end: a deadline for all of it and a limit on what is read.
//! - A form is sent at most once, and an error says whether it may have arrived (I9).
//! - Error messages name the host, never a query, a header or a body.
//!
//! - Where strangers name the URL, a [`GuardedClient`] asks: https only, public addresses only, and the address that was judged is dialled.
#![forbid(unsafe_code)]

pub mod address;
mod egress;
mod error;
mod guarded;
mod tls;

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deputy_protocol::resource::is_loopback_host;
use deputy_protocol::secret::ClientSecret;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use url::{Host, Url};

pub use egress::{Egress, NotAProxy, ProxyUrl, Resolve, SystemResolver};
pub use error::FetchError;
pub use guarded::{GuardedAnswer, GuardedClient, GuardedConfig, NotAskable, StrangersUrl};
pub use tls::Certificates;

/// How much time and memory one request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start to the last byte.
    pub time: Duration,
    /// The largest body, in bytes.
    pub body: usize,
}

impl Default for Limits {
    /// Ten seconds and 256 KiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(10), body: 256 * 1024 }
    }
}

/// A URL that may be asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// A URL that may not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an https URL (http is accepted for loopback hosts only), or it has a fragment or a user name")]
pub struct NotAnEndpoint;

impl Endpoint {
    /// Accepts `https`, and `http` on `localhost`, `127.0.0.1` and `[::1]`; no user name, no fragment.
    ///
    /// # Errors
    /// [`NotAnEndpoint`] for everything else.
    pub fn parse(raw: &str) -> Result<Self, NotAnEndpoint> {
        Self::parse_when(raw, |url| match url.scheme() {
            "https" => url.has_host(),
            "http" => url.host_str().is_some_and(is_loopback_host),
            _ => false,
        })
    }

    /// Accepts `http` where nobody else can listen: on the hosts of [`Endpoint::parse`], and on link-local IPv4 addresses (RFC 3927), at which
    /// clouds speak to their machines.
    ///
    /// # Errors
    /// [`NotAnEndpoint`] for everything else.
    pub fn parse_local(raw: &str) -> Result<Self, NotAnEndpoint> {
        Self::parse_when(raw, |url| {
            let link_local = matches!(url.host(), Some(Host::Ipv4(address)) if address.is_link_local());
            url.scheme() == "http" && (link_local || url.host_str().is_some_and(is_loopback_host))
        })
    }

    fn parse_when(raw: &str, fits: impl Fn(&Url) -> bool) -> Result<Self, NotAnEndpoint> {
        let url = Url::parse(raw).map_err(|_| NotAnEndpoint)?;
        let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        if fits(&url) && plain { Ok(Self(url)) } else { Err(NotAnEndpoint) }
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    fn host(&self) -> String {
        self.0.host_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}{})", self.host(), self.0.path())
    }
}

/// How a request identifies itself.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Not at all.
    None,
    /// With an `Authorization` header made by the caller.
    Header(ClientSecret),
    /// With a header of this name, in lower case.
    Named(&'static str, ClientSecret),
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status. A redirect is an answer like others.
    pub status: StatusCode,
    /// Its media type in lower case, without parameters.
    pub media_type: String,
    /// When it was sent, by the clock there (RFC 9110 §6.6.1).
    pub date: Option<SystemTime>,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Reads the body as JSON, whatever the media type says: providers get that wrong.
    ///
    /// # Errors
    /// What `serde_json` says, without the content.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        object(&self.body)
    }
}

impl Answer {
    /// Reads the body as a JSON list.
    ///
    /// # Errors
    /// What `serde_json` says, without the content.
    pub fn list<T: DeserializeOwned>(&self) -> Result<Vec<T>, String> {
        serde_json::from_slice(&self.body).map_err(|error| said(&error))
    }
}

/// Reads a JSON object in UTF-8 (RFC 8259 §8.1). serde would also take a list for a struct, member by member, and skip over broken text.
///
/// # Errors
/// What `serde_json` says, without the content.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
    if !text.trim_start().starts_with('{') {
        return Err("not an object".to_owned());
    }
    serde_json::from_str(text).map_err(|error| said(&error))
}

/// Where and what, without the content.
fn said(error: &serde_json::Error) -> String {
    format!("{:?} at line {} column {}", error.classify(), error.line(), error.column())
}

/// What a request carries.
enum Body {
    /// What must not be sent twice.
    Form(String),
    /// A question.
    Json(String),
}

type Connections = Pool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// An HTTP client. Clones share one pool of connections.
#[derive(Clone)]
pub struct Client {
    /// For questions, which may be asked twice.
    kept: Connections,
    /// For forms: each has a connection of its own.
    single: Connections,
    limits: Limits,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with default limits, trusting the certificates that this machine trusts.
    ///
    /// # Errors
    /// [`FetchError::Setup`].
    pub fn new() -> Result<Self, FetchError> {
        Self::with_limits(Limits::default())
    }

    /// A client with other limits.
    ///
    /// # Errors
    /// [`FetchError::Setup`].
    pub fn with_limits(limits: Limits) -> Result<Self, FetchError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(limits.time));
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| FetchError::Setup(error.to_string()))?
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        let kept = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector.clone());
        // A form may hold what can be used once: a code, a refresh token (I9). A kept connection that the server closes while we write
        // leaves it open whether the form arrived, and a person would have to sign in again for that; so no form goes out on one. On a
        // fresh connection there is nothing to retry, and nothing is retried: not even what is believed to be unwritten.
        let single =
            Pool::builder(TokioExecutor::new()).pool_max_idle_per_host(0).retry_canceled_requests(false).build(connector);
        Ok(Self { kept, single, limits })
    }

    /// This client with a shorter deadline.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        Self { limits: Limits { time: time.min(self.limits.time), ..self.limits }, ..self.clone() }
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// [`FetchError`]; an answer of any status is none.
    pub async fn get(&self, endpoint: &Endpoint, credentials: Credentials) -> Result<Answer, FetchError> {
        self.send(endpoint, Method::GET, credentials, None).await
    }

    /// Asks by JSON for JSON: a question that may be asked twice, unlike a form.
    ///
    /// # Errors
    /// [`FetchError`]; an answer of any status is none.
    pub async fn post_json(&self, endpoint: &Endpoint, credentials: Credentials, json: String) -> Result<Answer, FetchError> {
        self.send(endpoint, Method::POST, credentials, Some(Body::Json(json))).await
    }

    /// Sends a form and asks for JSON.
    ///
    /// # Errors
    /// [`FetchError`]; an answer of any status is none.
    pub async fn post_form(&self, endpoint: &Endpoint, credentials: Credentials, form: String) -> Result<Answer, FetchError> {
        self.send(endpoint, Method::POST, credentials, Some(Body::Form(form))).await
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        method: Method,
        credentials: Credentials,
        body: Option<Body>,
    ) -> Result<Answer, FetchError> {
        let connections = if matches!(body, Some(Body::Form(_))) { &self.single } else { &self.kept };
        let mut request = request(endpoint, method, &credentials, body)
            .map_err(|error| FetchError::Unreachable { host: endpoint.host(), why: error.to_string() })?;
        // Filled in the moment before the request is handed to a connection, and never if there is none: neither a name nor an address
        // nor a certificate that fails, nor a deadline that passes meanwhile, leaves any doubt whether the request was sent.
        let connection = capture_connection(&mut request);
        let broken = |why: String| {
            let host = endpoint.host();
            if connection.connection_metadata().is_some() {
                FetchError::Broken { host, why }
            } else {
                FetchError::Unreachable { host, why }
            }
        };
        let exchange = async {
            let response = connections.request(request).await.map_err(|error| broken(root_cause(&error)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, self.limits.body).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    FetchError::TooLarge { host: endpoint.host(), limit: self.limits.body }
                } else {
                    broken(error.to_string())
                }
            })?;
            let date = parts.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
            Ok(Answer { status: parts.status, media_type: media_type(&parts.headers), date, body: body.to_bytes() })
        };
        tokio::time::timeout(self.limits.time, exchange).await.unwrap_or_else(|_| {
            let sent = connection.connection_metadata().is_some();
            Err(FetchError::TimedOut { host: endpoint.host(), seconds: self.limits.time.as_secs(), sent })
        })
    }
}

fn request(
    endpoint: &Endpoint,
    method: Method,
    credentials: &Credentials,
    body: Option<Body>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut builder = Request::builder()
        .method(method)
        .uri(endpoint.0.as_str())
        .header(USER_AGENT, concat!("deputy/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json");
    let header = match credentials {
        Credentials::None => None,
        Credentials::Header(secret) => Some((AUTHORIZATION.as_str(), secret)),
        Credentials::Named(name, secret) => Some((*name, secret)),
    };
    if let Some((name, secret)) = header {
        let mut value = HeaderValue::from_str(secret.expose())?;
        value.set_sensitive(true);
        builder = builder.header(name, value);
    }
    let (media_type, text) = match body {
        None => return builder.body(Full::default()),
        Some(Body::Form(form)) => ("application/x-www-form-urlencoded", form),
        Some(Body::Json(json)) => ("application/json", json),
    };
    builder.header(CONTENT_TYPE, media_type).body(Full::from(text))
}

fn media_type(headers: &HeaderMap) -> String {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The innermost error: "connection refused" says more than "client error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
