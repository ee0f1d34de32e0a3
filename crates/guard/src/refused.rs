//! The answer to a request without a permit.

use std::fmt;

use bytes::Bytes;
use deputy_protocol::Reason;
use deputy_protocol::challenge::Challenge;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;

/// A refusal with the challenge that tells the client what to do (RS-02, RS-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(Challenge);

impl Refused {
    pub(crate) fn new(challenge: Challenge) -> Self {
        Self(challenge)
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason()
    }

    /// The challenge.
    #[must_use]
    pub fn challenge(&self) -> &Challenge {
        &self.0
    }

    /// The HTTP response: status, `WWW-Authenticate`, and the same as JSON for those who read bodies.
    #[must_use]
    pub fn response(&self) -> Response<Full<Bytes>> {
        let error = self.0.error().unwrap_or("unauthorized");
        let body = serde_json::json!({ "error": error, "error_description": self.reason().message() });
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::UNAUTHORIZED);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A challenge is visible ASCII throughout, so this never is the bare scheme.
        let challenge = HeaderValue::try_from(self.0.to_string()).unwrap_or(HeaderValue::from_static("Bearer"));
        headers.insert(WWW_AUTHENTICATE, challenge);
        response
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl std::error::Error for Refused {}
