//! Calls from web pages: only for origins that the rule allowed, never with credentials other than the token.

use axum::body::Body;
use deputy_protocol::web::AllowedOrigin;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, VARY,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};

/// What MCP clients send (requirements §4.2, CORS).
const REQUEST_HEADERS: &str =
    "authorization, content-type, accept, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id";

/// Most `Mcp-Param-*` names that one preflight gets an answer for.
const PARAMETERS_MAX: usize = 50;

/// Whether a browser asks if it may ask.
pub(super) fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a page of an allowed origin may send. The origin itself is added by [`expose`].
pub(super) fn preflight(headers: &HeaderMap) -> Response<Body> {
    let mut allowed = REQUEST_HEADERS.to_owned();
    for name in parameters(headers).take(PARAMETERS_MAX) {
        allowed.push_str(", ");
        allowed.push_str(name.as_str());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, DELETE"));
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    // Header names are visible ASCII, so the list is a valid value.
    let allowed = HeaderValue::try_from(allowed).unwrap_or(HeaderValue::from_static(REQUEST_HEADERS));
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    response
}

/// The `Mcp-Param-*` headers that a tool's arguments are mirrored to: their names are the backend's (PX-11).
fn parameters(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let asked = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    asked
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .filter(|name| name.as_str().starts_with("mcp-param-"))
}

/// Lets a page of this origin read the answer, 401 included.
pub(super) fn expose(headers: &mut HeaderMap, origin: &AllowedOrigin) {
    if let Ok(origin) = HeaderValue::try_from(origin.as_str()) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("mcp-session-id, www-authenticate"));
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}
