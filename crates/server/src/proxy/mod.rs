//! The reverse proxy in front of one MCP server: from a stranger's request to the backend's answer, both cleaned.
//!
//! What this module guarantees:
//! - Nothing reaches the backend without a [`Permit`]; [`Forwarder::forward`] demands one (I5).
//! - What is sent on is built from lists of what MCP needs, both ways. A header that nobody thought of stays here (PX-17, A-186, A-204).
//! - A POST is read and judged as a whole, and sent on byte for byte; the backend's answer is streamed, and ends when the client leaves, the token ends or its grant is revoked.
//!
//! The order in [`Proxy::answer`] is that of requirements §2.3: host, origin, preflight, path, token; then [`judge`](judge::judge), and then the rest.

mod assertion;
pub(crate) mod backend_token;
mod body;
mod cors;
mod forward;
pub(crate) mod headers;
mod judge;
mod refusal;
pub(crate) mod response;
mod sessions;
mod shown;
#[cfg(test)]
mod tests;
pub(crate) mod told;
pub(crate) mod trial;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use deputy_guard::{Permit, Refused, Verifier};
use deputy_protocol::Reason;
use deputy_protocol::client::policy::ClientPolicy;
use deputy_protocol::resource::{ProtectedResource, ResourceUri};
use deputy_protocol::web::{AllowedOrigin, HostRule, OriginRule};
use http::header::ORIGIN;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::clock::Clock;
use crate::host::{self, only};
use crate::seal::Seal;
use backend_token::BackendTokens;
use forward::Forwarder;
use sessions::Sessions;
use told::Told;

/// What a proxy needs to know.
#[derive(Debug)]
pub(crate) struct ProxyConfig {
    /// What it protects.
    pub(crate) resource: ProtectedResource,
    /// The MCP server behind it, with path and query as they are sent.
    pub(crate) backend: Uri,
    /// Judges access tokens for this resource.
    pub(crate) verifier: Arc<Verifier>,
    /// Which clients are kept out.
    pub(crate) clients: Arc<ClientPolicy>,
    /// Which `Host` is us.
    pub(crate) hosts: HostRule,
    /// Which web origins may call.
    pub(crate) origins: OriginRule,
    /// Seals the names of sessions.
    pub(crate) seal: Arc<Seal>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// How it is told who is calling.
    pub(crate) told: Told,
    /// What the API behind the server is called with, if not just with who is calling.
    pub(crate) tokens: Option<Arc<BackendTokens>>,
    /// Limits; [`Limits::default`] is good.
    pub(crate) limits: Limits,
}

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest request body, in bytes (PX-19).
    pub(crate) request_body: usize,
    /// From which size on a body is large, in bytes: it is held in memory as a whole, so a person may send few at once.
    pub(crate) large_body: usize,
    /// How many large requests a person may have on their way at once.
    pub(crate) large_requests: usize,
    /// How long reading a request's body may take.
    pub(crate) request_time: Duration,
    /// How long connecting to the backend may take. Its answer may take any time: tools are slow.
    pub(crate) connect: Duration,
    /// How often an open stream asks whether it may go on.
    pub(crate) recheck: Duration,
    /// How long the answer to a POST may go on after its token's end, so that a call begun with a valid token is not cut off. A revoked
    /// grant ends it at once; a GET stream ends with the token.
    pub(crate) answer_grace: Duration,
    /// How many requests a person may have open at once, streams included. Several clients with parallel tool calls fit.
    pub(crate) open_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body: 4 * 1024 * 1024,
            large_body: 64 * 1024,
            large_requests: 16,
            request_time: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            recheck: Duration::from_secs(1),
            answer_grace: Duration::from_secs(300),
            open_requests: 128,
        }
    }
}

/// The proxy of one protected resource.
#[derive(Debug)]
pub(crate) struct Proxy {
    resource: ProtectedResource,
    verifier: Arc<Verifier>,
    clients: Arc<ClientPolicy>,
    hosts: HostRule,
    origins: OriginRule,
    clock: Arc<dyn Clock>,
    forwarder: Forwarder,
}

impl Proxy {
    /// Makes the proxy and its connection pool.
    ///
    /// # Errors
    /// [`Reason::UrlInvalid`] for a backend that is no http(s) URL, [`Reason::Internal`] when the machine's certificates cannot be read.
    pub(crate) fn new(config: ProxyConfig) -> Result<Self, Reason> {
        let ProxyConfig { resource, backend, verifier, clients, hosts, origins, seal, clock, told, tokens, limits } = config;
        let sessions = Sessions::new(seal, resource.uri.clone());
        let forwarder =
            Forwarder::new(backend, sessions, Arc::clone(&verifier), Arc::clone(&clock), limits, resource.calls.clone())?
                .with(told, tokens);
        Ok(Self { resource, verifier, clients, hosts, origins, clock, forwarder })
    }

    /// What the API behind it is called with, if it is this resource.
    pub(crate) fn backend_tokens(&self, resource: &ResourceUri) -> Option<&BackendTokens> {
        self.forwarder.tokens().filter(|_| self.resource.uri == *resource)
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let mut origin = None;
        let mut answer = match self.caller(&request) {
            Ok(allowed) => {
                origin = allowed;
                self.answer(request, origin.as_ref()).await
            }
            Err(reason @ Reason::HostForeign) => refusal::response(StatusCode::MISDIRECTED_REQUEST, reason),
            Err(reason) => refusal::response(StatusCode::FORBIDDEN, reason),
        };
        response::harden(answer.headers_mut());
        if let Some(origin) = &origin {
            cors::expose(answer.headers_mut(), origin);
        }
        answer
    }

    async fn answer(&self, request: Request<Body>, origin: Option<&AllowedOrigin>) -> Response<Body> {
        if let (Some(_), true) = (origin, cors::is_preflight(&request)) {
            return cors::preflight(request.headers());
        }
        // The router matched the raw path already; what is judged here is what is forwarded.
        if request.uri().path() != self.resource.path {
            return refusal::response(StatusCode::NOT_FOUND, Reason::NotFound);
        }
        // Every method, before anything about it is said (PX-21): clients take a 405 for a sign of an older server.
        let permit = match self.permit(request.headers()) {
            Ok(permit) => permit,
            Err(refused) => return refusal::of(&refused),
        };
        if ![Method::POST, Method::GET, Method::DELETE].contains(request.method()) {
            return refusal::method();
        }
        self.forwarder.forward(permit, request).await
    }

    /// Answers a proxy that asks whether it may send a request on that has these headers. It may when the answer is 200, with the headers of
    /// the answer in place of those of the request.
    ///
    /// What only a body tells is not judged here, so a server with rules about calls, or with a token of the person's, is refused.
    pub(crate) fn verify(&self, headers: &HeaderMap) -> Response<Body> {
        let mut answer = match self.verified(headers) {
            Ok(told) => {
                let mut answer = Response::new(Body::empty());
                *answer.headers_mut() = told;
                answer
            }
            Err(answer) => *answer,
        };
        response::harden(answer.headers_mut());
        answer
    }

    fn verified(&self, headers: &HeaderMap) -> Result<HeaderMap, Box<Response<Body>>> {
        self.origin(headers).map_err(|reason| Box::new(refusal::response(StatusCode::FORBIDDEN, reason)))?;
        let permit = self.permit(headers).map_err(|refused| Box::new(refusal::of(&refused)))?;
        let told = self.forwarder.told(&permit);
        told.map_err(|reason| Box::new(refusal::response(StatusCode::FORBIDDEN, reason)))
    }

    fn permit(&self, headers: &HeaderMap) -> Result<Permit, Refused> {
        let permit = self.verifier.verify(headers, self.clock.now())?;
        // The operator keeps it out since its token was issued.
        let kept_out = self.clients.not_blocked(permit.client()).is_err();
        if kept_out { Err(self.verifier.refuse(Reason::TokenRevoked)) } else { Ok(permit) }
    }

    /// Who is calling, as far as `Host` and `Origin` tell (PX-01, PX-02).
    fn caller(&self, request: &Request<Body>) -> Result<Option<AllowedOrigin>, Reason> {
        host::check(&self.hosts, request)?;
        self.origin(request.headers())
    }

    fn origin(&self, headers: &HeaderMap) -> Result<Option<AllowedOrigin>, Reason> {
        let origin = only(headers, &ORIGIN).map_err(|()| Reason::OriginForeign)?;
        self.origins.check(origin)
    }
}
