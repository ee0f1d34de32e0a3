//! The answer of the provider's token endpoint, read strictly (RFC 6749 §5.1; A-131).

use std::fmt;
use std::time::Duration;

use deputy_fetch::Answer;
use deputy_protocol::secret::ClientSecret;
use deputy_protocol::{Reason, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize, Serializer};

use super::IdpFailure;
use super::metadata::status_failure;

/// What a token lives when the provider says nothing sensible, and the longest that we believe.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The provider's tokens. They are sealed into the store and leave this process only towards the provider or, one day, a backend.
#[derive(Serialize)]
pub struct IdpTokens {
    #[serde(serialize_with = "exposed")]
    access_token: ClientSecret,
    #[serde(serialize_with = "exposed_option", skip_serializing_if = "Option::is_none")]
    refresh_token: Option<ClientSecret>,
    expires_at: Timestamp,
}

/// Only ever called on the way into a sealed box.
fn exposed<S: Serializer>(secret: &ClientSecret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn exposed_option<S: Serializer>(secret: &Option<ClientSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose()),
        None => serializer.serialize_none(),
    }
}

impl fmt::Debug for IdpTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdpTokens").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct RawAnswer {
    access_token: Option<String>,
    token_type: Option<String>,
    id_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawError {
    error: String,
}

/// A successful token answer.
pub(super) struct TokenAnswer {
    pub(super) access_token: ClientSecret,
    pub(super) id_token: ClientSecret,
    refresh_token: Option<ClientSecret>,
    lifetime: Duration,
}

impl TokenAnswer {
    /// Reads an answer. GitHub reports errors with status 200, so an `error` member counts whatever the status.
    pub(super) fn read(answer: &Answer) -> Result<Self, IdpFailure> {
        let malformed = |detail: &str| IdpFailure::refused(Reason::IdpAnswerMalformed, format!("the token endpoint {detail}"));
        if let Ok(RawError { error }) = answer.json::<RawError>() {
            return Err(error_answer(answer.status, &error));
        }
        if answer.status != StatusCode::OK {
            return Err(status_failure("the token endpoint", answer.status));
        }
        let raw: RawAnswer = answer.json().map_err(|error| malformed(&format!("sent no readable JSON: {error}")))?;
        if !raw.token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(malformed("sent a token of an unknown type"));
        }
        let secret = |text: Option<String>| text.filter(|text| !text.is_empty()).map(ClientSecret::from_text);
        Ok(Self {
            access_token: secret(raw.access_token).ok_or_else(|| malformed("sent no access token"))?,
            id_token: secret(raw.id_token).ok_or_else(|| malformed("sent no ID token; is the scope openid configured?"))?,
            refresh_token: secret(raw.refresh_token),
            lifetime: lifetime(raw.expires_in.as_ref()),
        })
    }

    pub(super) fn into_tokens(self, now: Timestamp) -> IdpTokens {
        IdpTokens { access_token: self.access_token, refresh_token: self.refresh_token, expires_at: now.after(self.lifetime) }
    }
}

/// Only the code of an error is kept, and only if it looks like one: the rest is the provider's prose.
fn error_answer(status: StatusCode, error: &str) -> IdpFailure {
    let code =
        if error.len() <= 64 && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') { error } else { "(unreadable)" };
    let detail = format!("the token endpoint answered {status} {code}");
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || code == "temporarily_unavailable" {
        IdpFailure::outage(detail)
    } else {
        IdpFailure::refused(Reason::IdpError, detail)
    }
}

/// Seconds as a number or as digits; anything else is a default, and nothing is immortal.
fn lifetime(raw: Option<&serde_json::Value>) -> Duration {
    let seconds = raw.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    seconds.map_or(DEFAULT_LIFETIME, Duration::from_secs).min(LONGEST_LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(status: u16, body: &str) -> Result<TokenAnswer, IdpFailure> {
        let status = StatusCode::from_u16(status).expect("a status");
        TokenAnswer::read(&Answer { status, media_type: String::new(), body: body.to_owned().into() })
    }

    #[test]
    fn a_131_odd_answers_fail_or_become_sane() {
        let good = json!({"access_token": "a", "id_token": "i", "token_type": "BEARER", "expires_in": 60});
        assert_eq!(read(200, &good.to_string()).expect("good").lifetime, Duration::from_secs(60));
        for (member, value) in [
            ("access_token", json!("")),
            ("id_token", json!(null)),
            ("token_type", json!("mac")),
            ("error", json!("invalid_grant")),
        ] {
            let mut odd = good.clone();
            odd[member] = value;
            assert!(read(200, &odd.to_string()).is_err(), "{odd}");
        }
        for (raw, seconds) in [
            (json!(-1), 3600),
            (json!("3600"), 3600),
            (json!(1e12), 3600),
            (json!(3.5), 3600),
            (json!(999_999_999), 86400),
            (json!(null), 3600),
        ] {
            let mut odd = good.clone();
            odd["expires_in"] = raw;
            assert_eq!(read(200, &odd.to_string()).expect("sane").lifetime, Duration::from_secs(seconds), "{odd}");
        }
        for (status, body) in [(201, good.to_string()), (200, "<html>".to_owned()), (302, String::new())] {
            assert!(read(status, &body).is_err_and(|failure| !failure.outage), "{status}");
        }
        assert!(read(503, "").is_err_and(|failure| failure.outage));
        assert!(
            read(400, r#"{"error":"invalid_grant","error_description":"<b>"}"#)
                .is_err_and(|failure| !failure.detail.contains("<b>"))
        );
    }
}
