//! Sending a permitted request on, over one connection pool.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use deputy_guard::{Permit, Verifier};
use deputy_protocol::Reason;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::backend_token::BackendTokens;
use super::body::Watch;
use super::sessions::{Owner, Sessions};
use super::{Limits, headers, refusal, response};
use crate::clock::Clock;
use crate::places::Places;

/// How long an idle connection is kept: less than the five seconds of Node.js and uvicorn, which would otherwise close it just as a
/// request is written to it.
const POOL_IDLE: Duration = Duration::from_secs(4);

type Upload = Limited<Body>;

/// HTTP/1.1 to the backend; TLS with the machine's own trust store.
#[derive(Clone)]
pub(super) enum Pool {
    Plain(Client<HttpConnector, Upload>),
    Tls(Client<HttpsConnector<HttpConnector>, Upload>),
}

impl Pool {
    /// The way to this server.
    pub(super) fn to(uri: &Uri, limits: &Limits) -> Result<Self, Reason> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.connect));
        tcp.enforce_http(false);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE);
        match uri.scheme_str() {
            Some("http") => Ok(Self::Plain(builder.build(tcp))),
            Some("https") => {
                let tls = HttpsConnectorBuilder::new().try_with_platform_verifier().map_err(|_| Reason::Internal)?;
                Ok(Self::Tls(builder.build(tls.https_only().enable_http1().wrap_connector(tcp))))
            }
            _ => Err(Reason::UrlInvalid),
        }
    }

    pub(super) async fn send(&self, request: Request<Upload>) -> Result<Response<Incoming>, ClientError> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        }
    }
}

/// The way to one backend.
pub(super) struct Forwarder {
    backend: Uri,
    pool: Pool,
    sessions: Sessions,
    verifier: Arc<Verifier>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    open: Places<String>,
    tokens: Option<Arc<BackendTokens>>,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The backend's query may hold a credential.
        f.debug_struct("Forwarder").field("backend", &self.backend.authority()).finish_non_exhaustive()
    }
}

impl Forwarder {
    pub(super) fn new(
        backend: Uri,
        sessions: Sessions,
        verifier: Arc<Verifier>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, Reason> {
        let authority = backend.authority().ok_or(Reason::UrlInvalid)?;
        if authority.as_str().contains('@') {
            return Err(Reason::UrlInvalid);
        }
        let pool = Pool::to(&backend, &limits)?;
        Ok(Self { backend, pool, sessions, verifier, clock, limits, open: Places::new(limits.open_requests), tokens: None })
    }

    /// One whose backend is called with such tokens.
    pub(super) fn with(self, tokens: Option<Arc<BackendTokens>>) -> Self {
        Self { tokens, ..self }
    }

    pub(super) fn tokens(&self) -> Option<&BackendTokens> {
        self.tokens.as_deref()
    }

    /// Sends the request on and gives the cleaned answer. The permit is the proof that it may go.
    ///
    /// The client's query stays here: a resource is one exact address, and what it says to its backend is the operator's.
    pub(super) async fn forward(&self, permit: Permit, request: Request<Body>) -> Response<Body> {
        let ends = match *request.method() {
            Method::POST => permit.expires().after(self.limits.answer_grace),
            _ => permit.expires(),
        };
        let Some(place) = self.open.take(permit.subject().to_owned()) else { return refusal::crowded() };
        let owner = self.sessions.owner(&permit);
        let mut request = match self.outbound(&permit, &owner, request) {
            Ok(request) => request,
            Err((status, reason)) => return refusal::response(status, reason),
        };
        let called_with = self.tokens.as_ref().map(|tokens| (Arc::clone(tokens), permit.grant().clone()));
        if let Some((tokens, _)) = &called_with {
            match tokens.authorization(&permit, self.clock.now()).await {
                Ok(token) => _ = request.headers_mut().insert(AUTHORIZATION, token),
                Err(failure) => return refusal::without_token(&self.verifier, &failure),
            }
        }
        let (verifier, clock) = (Arc::clone(&self.verifier), Arc::clone(&self.clock));
        let mut watch = Watch::new(permit, ends, verifier, clock, self.limits.recheck).holding(place);
        let answer = tokio::select! {
            answer = self.pool.send(request) => answer,
            reason = poll_fn(|cx| watch.poll_ended(cx)) => return refusal::of(&self.verifier.refuse(reason)),
        };
        match answer {
            Ok(answer) => {
                if let (Some((tokens, grant)), StatusCode::UNAUTHORIZED) = (called_with, answer.status()) {
                    tokens.forget(&grant).await;
                }
                let mut answer = response::cleaned(answer, watch);
                self.sessions.wrap(owner, answer.headers_mut());
                answer
            }
            Err(error) => refused_by(&error),
        }
    }

    fn outbound(&self, permit: &Permit, owner: &Owner, request: Request<Body>) -> Result<Request<Upload>, (StatusCode, Reason)> {
        let (head, body) = request.into_parts();
        let limit = self.limits.request_body;
        if announced_length(&head.headers).is_some_and(|length| length > limit) {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, Reason::RequestTooLarge));
        }
        // A body that we cannot read is a body that we cannot judge.
        if head.headers.get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, Reason::MediaTypeUnsupported));
        }
        let allowed = self.verifier.allowed(permit);
        let headers = headers::for_backend(&head.headers, permit, &allowed);
        let mut headers = headers.map_err(|reason| (StatusCode::BAD_REQUEST, reason))?;
        // Somebody else's session does not exist for this caller; clients answer 404 with a new one.
        self.sessions.unwrap(owner, &mut headers).ok_or((StatusCode::NOT_FOUND, Reason::SessionUnknown))?;
        // Only POST has a body in MCP. Framing is made anew by the HTTP library from what it read.
        let body = if head.method == Method::POST { body } else { Body::empty() };
        let mut request = Request::new(Limited::new(body, limit));
        *request.method_mut() = head.method;
        *request.uri_mut() = self.backend.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// There is no answer: why?
fn refused_by(error: &ClientError) -> Response<Body> {
    if too_large(error) {
        return refusal::response(StatusCode::PAYLOAD_TOO_LARGE, Reason::RequestTooLarge);
    }
    tracing::warn!(error = %Causes(error), "the backend did not answer");
    // Before a connection stood nothing was sent, so trying again is safe; after that it may not be.
    let status = if error.is_connect() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
    refusal::unreachable(status)
}

fn too_large(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |&error: &&(dyn Error + 'static)| error.source());
    causes.into_iter().any(|error| error.is::<LengthLimitError>())
}

/// An error with what caused it, on one line.
struct Causes<'e>(&'e (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
