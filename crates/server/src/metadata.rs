//! The documents about ourselves (RFC 8414, RFC 9728, RFC 7517). Static: nothing of a request enters them.

use axum::response::Response;
use deputy_protocol::Reason;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

use crate::error::{json, json_body};
use crate::gateway::Shared;
use crate::routes::RESOURCE_METADATA;

/// Metadata may be kept for a while; keys change slowly, and an unknown `kid` makes everyone ask again.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

fn cacheable(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, CACHEABLE);
    response.headers_mut().remove(http::header::PRAGMA);
    response
}

/// Authorization server metadata.
pub(crate) fn server(gateway: &Shared) -> Response {
    cacheable(json_body(StatusCode::OK, &gateway.server_metadata))
}

/// Protected resource metadata: under the resource's own path, and at the root if there is only one. Never another resource's (RS-03).
pub(crate) fn resource(gateway: &Shared, path: &str) -> Response {
    let wanted = path.strip_prefix(RESOURCE_METADATA).unwrap_or_default();
    let by_path = gateway.resource_metadata.iter().find(|(known, _)| known == wanted).map(|(_, metadata)| metadata);
    let only = match gateway.resource_metadata.as_slice() {
        [(_, only)] if wanted.is_empty() || wanted == "/" => Some(only),
        _ => None,
    };
    match by_path.or(only) {
        Some(metadata) => cacheable(json_body(StatusCode::OK, metadata)),
        None => json(&Reason::NotFound.into(), "resource metadata", None),
    }
}

/// The public keys of our access tokens.
pub(crate) fn jwks(gateway: &Shared) -> Response {
    cacheable(json_body(StatusCode::OK, gateway.keyring.public().load().as_ref()))
}

/// A fixed text.
pub(crate) fn text(media_type: &'static str, cache_control: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
