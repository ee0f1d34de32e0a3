//! What a POST asks for, and whether it may be done: judged on the bytes that the backend will read (requirements §2.3, steps 4 to 7).
//!
//! What this module guarantees: a [`Judged`] request is one JSON-RPC message that every reader takes for the same (or a batch, of a version
//! that has them), its headers say nothing else, the server's rules let this person call that, and the token has the scopes for it.

use axum::body::Body;
use bytes::Bytes;
use deputy_guard::{Permit, Refused, Verifier};
use deputy_protocol::Reason;
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::mcp::{self, Era, Id, Message};
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use http::request::Parts;

use super::Limits;
use crate::host::only;
use crate::upload;

pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The one version whose clients send batches. Who sends no version is taken for one of them.
const WITH_BATCHES: &str = "2025-03-26";

/// A request that may be made, and by whom.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) permit: Permit,
    pub(super) head: Parts,
    pub(super) body: Bytes,
    pub(super) era: Era,
}

/// Why a request may not be made.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It is no request that we read.
    Unread(Reason),
    /// It is a message that is refused; with its id, so that the client can tell which.
    Message(Reason, Option<Id<'static>>),
    /// The token does not suffice.
    Token(Box<Refused>),
}

/// Reads and judges a request.
pub(super) async fn judge(
    verifier: &Verifier,
    rules: &CallRules,
    limits: &Limits,
    permit: Permit,
    (head, body): (Parts, Body),
) -> Result<Judged, Unfit> {
    // Only POST has a body in MCP.
    if head.method != Method::POST {
        return Ok(Judged { permit, head, body: Bytes::new(), era: Era::Legacy });
    }
    readable(&head.headers, limits)?;
    let body = upload::whole(body, limits.request_body, limits.request_time).await;
    let body = body.map_err(|failure| Unfit::Unread(failure.reason()))?;
    let era = called(verifier, rules, &permit, &head.headers, &body)?;
    Ok(Judged { permit, head, body, era })
}

/// Whether a body is large, or of a size that nobody said.
pub(super) fn may_be_large(method: &Method, headers: &HeaderMap, limits: &Limits) -> bool {
    *method == Method::POST && announced(headers).is_none_or(|length| length > limits.large_body)
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body that we cannot read, or that another would read in another character set, is a body that we cannot judge.
fn readable(headers: &HeaderMap, limits: &Limits) -> Result<(), Unfit> {
    let unread = |reason| Err(Unfit::Unread(reason));
    if announced(headers).is_some_and(|length| length > limits.request_body) {
        return unread(Reason::RequestTooLarge);
    }
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding == "identity");
    let Ok(media_type) = only(headers, &CONTENT_TYPE) else {
        return unread(Reason::HeaderRepeated);
    };
    let mut parts = media_type.unwrap_or_default().split(';').map(str::trim);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let mut charsets =
        parts.filter_map(|parameter| parameter.split_once('=')).filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
    let utf_8 = charsets.all(|(_, charset)| charset.trim_matches('"').eq_ignore_ascii_case("utf-8"));
    if plain && json && utf_8 { Ok(()) } else { unread(Reason::MediaTypeUnsupported) }
}

/// What the messages call, and whether this permit suffices for it.
fn called(verifier: &Verifier, rules: &CallRules, permit: &Permit, headers: &HeaderMap, body: &[u8]) -> Result<Era, Unfit> {
    let body = mcp::peek(body).map_err(|reason| Unfit::Message(reason, None))?;
    let header = |name: &HeaderName| only(headers, name).map_err(|()| Unfit::Message(Reason::HeadersDisagree, None));
    let repeated = mcp::Headers { version: header(&VERSION)?, method: header(&METHOD)?, name: header(&NAME)? };
    let era = match &body {
        mcp::Body::One(message) => mcp::agrees(repeated, message).map_err(|reason| refused(reason, message))?,
        mcp::Body::Batch(messages) => {
            let legacy = messages.iter().all(|message| mcp::era(repeated.version, message) == Ok(Era::Legacy));
            if !legacy || repeated.version.is_some_and(|version| version != WITH_BATCHES) {
                return Err(Unfit::Message(Reason::BatchRefused, None));
            }
            Era::Legacy
        }
    };
    let needed = rules.judge(&body, permit.criteria()).map_err(|reason| match &body {
        mcp::Body::One(message) => refused(reason, message),
        mcp::Body::Batch(_) => Unfit::Message(reason, None),
    })?;
    verifier.require(permit, &needed).map_err(|refused| Unfit::Token(Box::new(refused)))?;
    Ok(era)
}

fn refused(reason: Reason, message: &Message<'_>) -> Unfit {
    Unfit::Message(reason, message.id().map(|id| id.clone().into_owned()))
}
