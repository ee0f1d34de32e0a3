//! What of the backend's answer goes to the client: JSON, event streams and nothing else (A-204, A-205, PX-12, PX-18).
//!
//! The origin that answers here is the origin that shows the consent page, so nothing that a browser would run may pass.

use axum::body::Body;
use deputy_protocol::Reason;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use super::body::{Watch, Watched};
use super::headers::{PROTOCOL_PREFIX, named_in_connection};
use super::refusal;

const PASSING: [HeaderName; 3] = [ALLOW, CONTENT_ENCODING, RETRY_AFTER];
const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    EventStream,
    Nothing,
    /// Something that MCP does not have.
    Foreign,
}

impl Kind {
    fn of(status: StatusCode, headers: &HeaderMap, body: &Incoming) -> Self {
        if body.is_end_stream() || body.size_hint().exact() == Some(0) {
            return Self::Nothing;
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter().map(|value| value.to_str().unwrap_or_default());
        let essence = match (types.next(), types.next()) {
            (Some(only), None) => only.split(';').next().unwrap_or_default().trim().to_ascii_lowercase(),
            _ => String::new(),
        };
        match essence.as_str() {
            "application/json" => Self::Json,
            "text/event-stream" => Self::EventStream,
            // "Accepted" has no content; some servers write the word into the body all the same.
            _ if status == StatusCode::ACCEPTED => Self::Nothing,
            _ => Self::Foreign,
        }
    }
}

/// The answer as the client may see it.
pub(super) fn cleaned(answer: Response<Incoming>, watch: Watch) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let kind = Kind::of(head.status, &head.headers, &body);
    match (head.status.as_u16(), kind) {
        // A relayed 401 would send the client to sign in at the wrong place (PX-18).
        (401 | 407, _) => refusal::response(StatusCode::BAD_GATEWAY, Reason::BackendUnauthorized),
        (403, Kind::Nothing | Kind::EventStream | Kind::Foreign) => {
            refusal::response(StatusCode::BAD_GATEWAY, Reason::BackendUnauthorized)
        }
        (200..=299, Kind::Json | Kind::EventStream | Kind::Nothing) | (400..=599, Kind::Json | Kind::Nothing) => {
            relayed(head.status, &head.headers, body, kind, watch)
        }
        // Clients look at the status of an error first; a page of the backend's framework they must not see.
        (400..=599, Kind::EventStream | Kind::Foreign) => refusal::response(head.status, Reason::BackendResponseType),
        _ => refusal::response(StatusCode::BAD_GATEWAY, Reason::BackendResponseType),
    }
}

fn relayed(status: StatusCode, from: &HeaderMap, body: Incoming, kind: Kind, watch: Watch) -> Response<Body> {
    let body = match kind {
        Kind::Nothing | Kind::Foreign => Body::empty(),
        Kind::Json => Body::new(Watched::new(body, watch, false)),
        Kind::EventStream => Body::new(Watched::new(body, watch, true)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    copy(from, headers);
    // Written anew rather than copied: no character set but UTF-8, no second opinion.
    match kind {
        Kind::Json => drop(headers.insert(CONTENT_TYPE, JSON)),
        Kind::EventStream => {
            headers.insert(CONTENT_TYPE, EVENT_STREAM);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
            headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        }
        Kind::Nothing | Kind::Foreign => {}
    }
    response
}

pub(crate) fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    let hop_by_hop = named_in_connection(from);
    for (name, value) in from {
        let passes = PASSING.contains(name) || name.as_str().starts_with(PROTOCOL_PREFIX) || is_private(name, value);
        if passes && !hop_by_hop.contains(name) {
            to.append(name.clone(), value.clone());
        }
    }
}

/// A caching rule that keeps the answer with its caller (PX-14).
fn is_private(name: &HeaderName, value: &HeaderValue) -> bool {
    let rule = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut directives = rule.split(',').map(str::trim);
    *name == CACHE_CONTROL
        && directives.clone().all(|directive| directive != "public")
        && directives.any(|directive| directive == "private")
}

/// What every answer carries, ours and the backend's: no guessing of types, no script, no shared cache.
pub(super) fn harden(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
