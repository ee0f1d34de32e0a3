//! Sending a permitted request on, over one connection pool.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use deputy_guard::{Permit, Verifier};
use deputy_protocol::Reason;
use deputy_protocol::mcp::Era;
use deputy_protocol::mcp::rules::CallRules;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::backend_token::BackendTokens;
use super::body::Watch;
use super::judge::{self, Judged, judge};
use super::sessions::{Owner, Sessions};
use super::shown::{self, Shown};
use super::told::Told;
use super::{Limits, refusal, response};
use crate::clock::Clock;
use crate::error;
use crate::places::Places;

/// How long an idle connection is kept: less than the five seconds of Node.js and uvicorn, which would otherwise close it just as a
/// request is written to it.
const POOL_IDLE: Duration = Duration::from_secs(4);

type Upload = Full<Bytes>;

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
    large: Places<String>,
    tokens: Option<Arc<BackendTokens>>,
    rules: Arc<CallRules>,
    told: Told,
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
        rules: CallRules,
    ) -> Result<Self, Reason> {
        let authority = backend.authority().ok_or(Reason::UrlInvalid)?;
        if authority.as_str().contains('@') {
            return Err(Reason::UrlInvalid);
        }
        let pool = Pool::to(&backend, &limits)?;
        Ok(Self {
            backend,
            pool,
            sessions,
            verifier,
            clock,
            limits,
            open: Places::new(limits.open_requests),
            large: Places::new(limits.large_requests),
            tokens: None,
            rules: Arc::new(rules),
            told: Told::Headers,
        })
    }

    /// One whose backend is told so who is calling, and called with such tokens.
    pub(super) fn with(self, told: Told, tokens: Option<Arc<BackendTokens>>) -> Self {
        Self { told, tokens, ..self }
    }

    pub(super) fn tokens(&self) -> Option<&BackendTokens> {
        self.tokens.as_deref()
    }

    /// What the backend would be told of somebody, where nothing else decides.
    ///
    /// # Errors
    /// [`Reason::BodyNeeded`] where more does.
    pub(super) fn told(&self, permit: &Permit) -> Result<HeaderMap, Reason> {
        if !self.rules.is_empty() || self.tokens.is_some() {
            return Err(Reason::BodyNeeded);
        }
        self.told.headers(&HeaderMap::new(), permit, &self.verifier.allowed(permit), self.clock.now())
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
        // Held until the backend has it.
        let large = judge::may_be_large(request.method(), request.headers(), &self.limits);
        let _large = match large.then(|| self.large.take(permit.subject().to_owned())) {
            Some(None) => return refusal::crowded(),
            held => held.flatten(),
        };
        let mut judged = match judge(&self.verifier, &self.rules, &self.limits, permit, request.into_parts()).await {
            Ok(judged) => judged,
            Err(unfit) => return refusal::unfit(unfit),
        };
        let owner = self.sessions.owner(&judged.permit);
        let mut request = match self.outbound(&mut judged, &owner) {
            Ok(request) => request,
            Err((status, reason)) => return refusal::response(status, reason),
        };
        let permit = judged.permit;
        let shown = self.rules.hides.then(|| Shown { rules: Arc::clone(&self.rules), criteria: permit.criteria().to_vec() });
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
                match shown {
                    Some(shown) => shown::filtered(answer, shown),
                    None => answer,
                }
            }
            Err(error) => refused_by(&error),
        }
    }

    fn outbound(&self, judged: &mut Judged, owner: &Owner) -> Result<Request<Upload>, (StatusCode, Reason)> {
        let allowed = self.verifier.allowed(&judged.permit);
        let headers = self.told.headers(&judged.head.headers, &judged.permit, &allowed, self.clock.now());
        let mut headers = headers.map_err(|reason| (error::status(reason), reason))?;
        if judged.era == Era::Legacy {
            // Before 2026-07-28 they say nothing, and nobody held them against the body.
            headers.remove(judge::METHOD);
            headers.remove(judge::NAME);
        }
        // Somebody else's session does not exist for this caller; clients answer 404 with a new one.
        self.sessions.unwrap(owner, &mut headers).ok_or((StatusCode::NOT_FOUND, Reason::SessionUnknown))?;
        // Framing is made anew by the HTTP library from what was read.
        let mut request = Request::new(Full::new(std::mem::take(&mut judged.body)));
        *request.method_mut() = judged.head.method.clone();
        *request.uri_mut() = self.backend.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// There is no answer: why?
fn refused_by(error: &ClientError) -> Response<Body> {
    tracing::warn!(error = %Causes(error), "the backend did not answer");
    // Before a connection stood nothing was sent, so trying again is safe; after that it may not be.
    let status = if error.is_connect() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
    refusal::unreachable(status)
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
