//! Failures on their way out: one reason for everybody, a detail for the log alone.

use std::fmt;

use axum::response::Response;
use deputy_protocol::{OAuthError, Reason};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use crate::store::StoreError;

/// How long a client should wait before it tries again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Why something failed. The detail goes to the log and nowhere else.
#[derive(Debug)]
pub struct Failure {
    reason: Reason,
    detail: Option<String>,
}

impl Failure {
    /// A failure with something for the operator to read.
    #[must_use]
    pub fn detailed(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: Some(detail.into()) }
    }

    /// A failure of our own.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::detailed(Reason::Internal, detail)
    }

    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether it may pass by itself.
    pub(crate) fn is_outage(&self) -> bool {
        self.reason.oauth() == OAuthError::TemporarilyUnavailable
    }

    /// Writes the one log line of a refusal, and gives the reference that a person can quote.
    pub(crate) fn log(&self, endpoint: &'static str) -> String {
        let reference = reference();
        let (reason, detail) = (self.reason.code(), self.detail.as_deref().unwrap_or_default());
        if matches!(self.reason, Reason::NotFound | Reason::SourceTooFast) {
            // Browsers ask for an icon, scanners for everything, and floods are not for the log.
            tracing::debug!(target: "deputy::refusal", endpoint, reason, reference, "refused");
        } else if matches!(self.reason.oauth(), OAuthError::ServerError | OAuthError::TemporarilyUnavailable) {
            tracing::warn!(target: "deputy::refusal", endpoint, reason, detail, reference, "failed");
        } else {
            tracing::info!(target: "deputy::refusal", endpoint, reason, detail, reference, "refused");
        }
        reference
    }
}

/// Eight letters that tie a page to a line of the log.
fn reference() -> String {
    let bytes: [u8; 4] = crate::random::bytes().unwrap_or_default();
    format!("{:08x}", u32::from_be_bytes(bytes))
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::detailed(Reason::StoreUnavailable, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{} ({detail})", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'static str,
    error_description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<&'a str>,
}

/// The status of a failure that is answered directly. Where HTTP has a better word than OAuth, HTTP's.
pub(crate) fn status(reason: Reason) -> StatusCode {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other reason has the status of its OAuth error")]
    let code = match reason {
        Reason::NotFound => 404,
        Reason::MethodNotAllowed => 405,
        Reason::RequestTooSlow => 408,
        Reason::RequestTooLarge => 413,
        Reason::MediaTypeUnsupported => 415,
        Reason::HostForeign => 421,
        Reason::SourceTooFast | Reason::TooManyRequests => 429,
        Reason::OriginForeign | Reason::ConsentNotOurPage | Reason::ConsentOtherBrowser | Reason::CallbackOtherBrowser => 403,
        Reason::TransactionExpired | Reason::TransactionUsed => 400,
        other => other.oauth().status(),
    };
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// At the token endpoint nobody learns whether a client exists; at `/authorize` clients look for these words (AS-49).
const CLIENT_REFUSED: &str = "The client is not registered here, or its authentication failed. Register it again, then retry.";

/// The JSON form of a failure (RFC 6749 §5.2, AS-77).
pub(crate) fn json(failure: &Failure, endpoint: &'static str, registration_endpoint: Option<&str>) -> Response {
    failure.log(endpoint);
    let reason = failure.reason;
    let error_description = if reason.oauth() == OAuthError::InvalidClient { CLIENT_REFUSED } else { reason.message() };
    let body = ErrorBody { error: reason.oauth().code(), error_description, registration_endpoint };
    let mut response = json_body(status(reason), &body);
    common_headers(response.headers_mut(), reason);
    response.extensions_mut().insert(reason);
    response
}

/// The status of a failure's page. 401 asks a browser for credentials, which nobody here has to give.
pub(crate) fn page_status(reason: Reason) -> StatusCode {
    match status(reason) {
        StatusCode::UNAUTHORIZED => StatusCode::BAD_REQUEST,
        other => other,
    }
}

/// `Retry-After` on what may pass by itself, a `Basic` challenge on failed client authentication (AS-77), a `Bearer` one where an initial
/// access token is due (RFC 6750 §3).
pub(crate) fn common_headers(headers: &mut HeaderMap, reason: Reason) {
    if reason.oauth() == OAuthError::TemporarilyUnavailable {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    if reason == Reason::InvitationMissing {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"deputy\""));
    }
    if reason == Reason::InvitationInvalid {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"deputy\", error=\"invalid_token\""));
    }
    if matches!(reason, Reason::ClientSecretWrong | Reason::ClientAuthMethod) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"deputy\""));
    }
}

/// A JSON answer that no cache keeps (AS-76).
pub(crate) fn json_body(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(axum::body::Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
