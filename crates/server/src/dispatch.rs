//! From a request to its endpoint: host, path, method, body limit, in this order, once for all.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use deputy_protocol::Reason;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::error::{Failure, json};
use crate::gateway::Shared;
use crate::host::{self, only};
use crate::routes::{Cors, Endpoint, Found, Route, VERIFY, find};
use crate::{authorize, metadata, pages, register, revoke, token, upload};

/// How long a peer may take to send a body of ours; all of them are small.
const BODY_TIME: Duration = Duration::from_secs(15);

/// What an endpoint sees of a request.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Incoming {
    /// The one value of a header; nothing if it is missing, repeated or not text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        only(&self.headers, name).ok().flatten()
    }

    /// The media type, in lower case and without parameters.
    pub(crate) fn media_type(&self) -> String {
        let value = self.header(&header::CONTENT_TYPE).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Whether it may make us fetch a client's document or keys. It is a guess, made before anything is read, and decides nothing but what is
    /// counted.
    fn names_a_document(&self, endpoint: Endpoint) -> bool {
        let text = if endpoint == Endpoint::Authorize {
            self.query.as_deref().unwrap_or_default().to_ascii_lowercase().into_bytes()
        } else if matches!(endpoint, Endpoint::Token | Endpoint::Revoke) {
            self.body.to_ascii_lowercase()
        } else {
            return false;
        };
        [&b"client_id=https"[..], b"client_assertion="].iter().any(|part| text.windows(part.len()).any(|window| window == *part))
    }

    /// Whether the caller would rather read JSON than a page: mcp-remote asks so before it opens a browser (AS-49).
    pub(crate) fn wants_json(&self) -> bool {
        self.header(&header::ACCEPT).is_some_and(|accept| accept.contains("application/json") && !accept.contains("text/html"))
    }
}

/// Everything, behind one fallback: the table in `routes` is the only routing there is.
pub(crate) fn router(gateway: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(gateway)
}

async fn handle(State(gateway): State<Arc<Shared>>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // The proxy judges host and origin itself: its answers have to be readable across origins.
    if let Some((_, proxy)) = gateway.proxies.iter().find(|(known, _)| *known == path) {
        return proxy.handle(request).await;
    }
    let found = find(&method, &path);
    // A load balancer asks for the sign of life under an address of its own.
    let health = matches!(found, Found::Route(route) if route.endpoint == Endpoint::Health);
    if !health && let Err(reason) = host::check(&gateway.hosts, &request) {
        return json(&reason.into(), "host", None);
    }
    match found {
        Found::Route(route) => {
            let mut response = counted(&gateway, route, request).await;
            if method == Method::HEAD {
                *response.body_mut() = Body::empty();
            }
            with_cors(response, route)
        }
        Found::OtherMethod(route) => with_cors(other_method(&method, route), route),
        Found::Nothing => json(&Reason::NotFound.into(), "router", None),
    }
}

/// The endpoint, unless the source has asked for too much.
async fn counted(gateway: &Arc<Shared>, route: &Route, request: Request) -> Response {
    let source = gateway.sources.of(request.extensions().get().copied(), request.headers());
    if source.is_some_and(|source| !gateway.sources.admits(source, route.endpoint)) {
        return too_fast(route);
    }
    let request = match incoming(route, request).await {
        Ok(request) => request,
        Err(failure) => return json(&failure, "body", None),
    };
    let Some(source) = source else { return endpoint(gateway, route, &request).await };
    let fetches = request.names_a_document(route.endpoint);
    gateway.sources.begins(source, route.endpoint, fetches);
    let response = endpoint(gateway, route, &request).await;
    gateway.sources.ends(source, route.endpoint, fetches, &response);
    response
}

async fn incoming(route: &Route, request: Request) -> Result<Incoming, Failure> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().map(str::to_owned);
    Ok(Incoming {
        path: parts.uri.path().to_owned(),
        query,
        headers: parts.headers,
        body: upload::whole(body, route.body_limit, BODY_TIME).await?,
    })
}

/// Said before anything of the request is read.
fn too_fast(route: &Route) -> Response {
    match route.cors {
        Cors::Anyone => json(&Reason::SourceTooFast.into(), "source", None),
        Cors::Nobody => authorize::refuse(Reason::SourceTooFast),
    }
}

async fn endpoint(gateway: &Arc<Shared>, route: &Route, request: &Incoming) -> Response {
    match route.endpoint {
        Endpoint::Authorize => authorize::get(gateway, request).await,
        Endpoint::Consent => authorize::consent::post(gateway, request).await,
        Endpoint::Callback => authorize::callback::get(gateway, request).await,
        Endpoint::Stopped => authorize::stopped::get(gateway, request),
        Endpoint::Finish => authorize::finish::post(gateway, request).await,
        Endpoint::Token => token::post(gateway, request).await,
        Endpoint::Register => register::post(gateway, request),
        Endpoint::Revoke => revoke::post(gateway, request).await,
        Endpoint::ServerMetadata => metadata::server(gateway),
        Endpoint::ResourceMetadata => metadata::resource(gateway, &request.path),
        Endpoint::Jwks => metadata::jwks(gateway),
        Endpoint::Verify => verify(gateway, request),
        Endpoint::Health => metadata::text("text/plain; charset=utf-8", "no-store", "ok\n"),
        Endpoint::Stylesheet => metadata::text("text/css; charset=utf-8", "public, max-age=300", pages::STYLESHEET),
    }
}

/// The answer for the proxy that asks about a request to the resource whose path follows.
fn verify(gateway: &Shared, request: &Incoming) -> Response {
    let path = request.path.strip_prefix(VERIFY).unwrap_or_default();
    match gateway.proxies.iter().find(|(known, _)| known == path) {
        Some((_, proxy)) => proxy.verify(&request.headers),
        None => json(&Reason::NotFound.into(), "verify", None),
    }
}

fn other_method(method: &Method, route: &Route) -> Response {
    if *method == Method::OPTIONS && route.cors == Cors::Anyone {
        let mut preflight = Response::new(Body::empty());
        *preflight.status_mut() = StatusCode::NO_CONTENT;
        return preflight;
    }
    let mut response = json(&Reason::MethodNotAllowed.into(), "router", None);
    let allow = if route.method == Method::GET { "GET, HEAD" } else { "POST" };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Without credentials: cookies of ours mean nothing at these endpoints, and browsers send none for `*`.
fn with_cors(mut response: Response, route: &Route) -> Response {
    if route.cors == Cors::Anyone {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        headers
            .insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, mcp-protocol-version"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("www-authenticate, retry-after"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}
