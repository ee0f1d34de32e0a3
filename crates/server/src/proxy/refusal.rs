//! Answers of our own: JSON, never HTML. A JSON-RPC code of MCP's is given where MCP tells gateways to, and nowhere else (PX-08, PX-13).

use axum::body::Body;
use deputy_guard::{Refused, Verifier};
use deputy_protocol::mcp::Id;
use deputy_protocol::{OAuthError, Reason};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::judge::Unfit;
use crate::error::{self, Failure};

/// Header and body disagree (SEP-2243).
const HEADER_MISMATCH: i32 = -32020;
/// JSON-RPC 2.0 §5.1.
const INVALID_REQUEST: i32 = -32600;
/// Of the codes that servers may choose.
const CALL_DENIED: i32 = -32003;

/// A refusal with its reason.
pub(super) fn response(status: StatusCode, reason: Reason) -> Response<Body> {
    tracing::info!(reason = reason.code(), status = status.as_u16(), "refused");
    let body = serde_json::json!({ "error": reason.code(), "error_description": reason.message() });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A refusal of the guard, with its challenge.
pub(super) fn of(refused: &Refused) -> Response<Body> {
    tracing::info!(reason = refused.reason().code(), "refused");
    refused.response().map(Body::new)
}

/// A request that may not be made.
pub(super) fn unfit(unfit: Unfit) -> Response<Body> {
    match unfit {
        Unfit::Unread(reason) => response(error::status(reason), reason),
        Unfit::Token(refused) => of(&refused),
        Unfit::Message(reason, id) => message(reason, id.as_ref()),
    }
}

/// A message that is refused, in the words of JSON-RPC: clients show them, and tell the era of a server by the code.
fn message(reason: Reason, id: Option<&Id<'_>>) -> Response<Body> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other reasons are requests that JSON-RPC does not allow")]
    let (status, code) = match reason {
        Reason::HeadersDisagree => (StatusCode::BAD_REQUEST, HEADER_MISMATCH),
        Reason::CallDenied => (StatusCode::FORBIDDEN, CALL_DENIED),
        _ => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
    };
    let mut response = response(status, reason);
    let error = serde_json::json!({ "code": code, "message": reason.message(), "data": { "reason": reason.code() } });
    *response.body_mut() = Body::from(serde_json::json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string());
    response
}

/// A method that MCP does not have.
pub(super) fn method() -> Response<Body> {
    let mut response = response(StatusCode::METHOD_NOT_ALLOWED, Reason::MethodNotAllowed);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    response
}

/// This person has too many requests open: others go on, and so may they when some have ended.
pub(super) fn crowded() -> Response<Body> {
    let mut response = response(StatusCode::TOO_MANY_REQUESTS, Reason::TooManyRequests);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// The backend is away: the client should try again, and not sign in anew (I12).
pub(super) fn unreachable(status: StatusCode) -> Response<Body> {
    let mut response = response(status, Reason::BackendUnreachable);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// There is no token to call the backend with. Only what a renewal or a new sign-in would mend is the client's matter (I12).
pub(super) fn without_token(verifier: &Verifier, failure: &Failure) -> Response<Body> {
    let reason = failure.reason();
    if let Reason::TokenExpired | Reason::TokenRevoked | Reason::IdpGone = reason {
        let challenged = if reason == Reason::TokenExpired { reason } else { Reason::TokenRevoked };
        return of(&verifier.refuse(challenged));
    }
    let reference = failure.log("mcp");
    tracing::debug!(reference, "no token for the backend");
    let outage = reason.oauth() == OAuthError::TemporarilyUnavailable;
    let mut response = response(if outage { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY }, reason);
    if outage {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
