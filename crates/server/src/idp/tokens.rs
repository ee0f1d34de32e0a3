//! The answer of the provider's token endpoint, read strictly (RFC 6749 §5.1; A-131).

use std::fmt;
use std::time::Duration;

use deputy_fetch::Answer;
use deputy_protocol::secret::ClientSecret;
use deputy_protocol::{Reason, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::IdpFailure;
use super::metadata::status_failure;

/// What a token lives when the provider says nothing sensible, and the longest that we believe.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The provider's tokens. They are sealed into the store and leave this process only towards the provider or, one day, a backend.
#[derive(Serialize, Deserialize)]
pub struct IdpTokens {
    #[serde(serialize_with = "exposed", deserialize_with = "unsealed")]
    access_token: ClientSecret,
    #[serde(
        default,
        serialize_with = "exposed_option",
        deserialize_with = "unsealed_option",
        skip_serializing_if = "Option::is_none"
    )]
    refresh_token: Option<ClientSecret>,
    expires_at: Timestamp,
    /// Whether the access token has no end, and its provider can be asked with it as often as one likes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lasts: bool,
}

/// Whether access tokens of a provider may have no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Whatever it says.
    No,
    /// If it names none and sends nothing to renew them with.
    UnlessItEnds,
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

/// Only ever called on the way out of a sealed box.
fn unsealed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClientSecret, D::Error> {
    String::deserialize(deserializer).map(ClientSecret::from_text)
}

fn unsealed_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ClientSecret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(ClientSecret::from_text))
}

impl IdpTokens {
    /// The token that renews these, once.
    pub(crate) fn refresh_token(&self) -> Option<&ClientSecret> {
        self.refresh_token.as_ref()
    }

    /// Whether the provider can be asked again.
    #[must_use]
    pub fn can_be_renewed(&self) -> bool {
        self.refresh_token.is_some() || self.lasts
    }

    /// The access token, while it counts.
    pub(super) fn access_token(&self, now: Timestamp) -> Option<&ClientSecret> {
        Some(&self.access_token).filter(|_| now < self.expires_at)
    }

    /// The access token, if the provider can be asked with it whenever one likes: asking does not use it up.
    pub(crate) fn lasting(&self) -> Option<&ClientSecret> {
        Some(&self.access_token).filter(|_| self.lasts)
    }

    /// The same again.
    pub(super) fn again(&self) -> Self {
        Self {
            access_token: self.access_token.clone(),
            refresh_token: self.refresh_token.clone(),
            expires_at: self.expires_at,
            lasts: self.lasts,
        }
    }

    /// These, when the refresh token was sent and its answer is lost: it is not sent again (I9).
    #[must_use]
    pub fn without_refresh(self) -> Self {
        Self { refresh_token: None, ..self }
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
    /// Entra: what a new sign-in has to ask for (learn.microsoft.com, "Claims challenges, claims requests, and client capabilities").
    claims: Option<String>,
    #[serde(default, deserialize_with = "numbers")]
    error_codes: Vec<u64>,
}

/// A list of numbers; anything else is none, and spoils nothing.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    let said = serde_json::Value::deserialize(deserializer)?;
    Ok(said.as_array().map(|list| list.iter().filter_map(serde_json::Value::as_u64).collect()).unwrap_or_default())
}

/// The longest that is passed on, in bytes: it goes into a URL.
const WANTS_MAX: usize = 2048;

/// A successful token answer.
pub(super) struct TokenAnswer {
    pub(super) access_token: ClientSecret,
    pub(super) id_token: Option<ClientSecret>,
    refresh_token: Option<ClientSecret>,
    lifetime: Duration,
    /// Whether it said when the access token ends.
    ends: bool,
}

impl TokenAnswer {
    /// Reads an answer. GitHub reports errors with status 200, so an `error` member counts whatever the status.
    pub(super) fn read(answer: &Answer) -> Result<Self, IdpFailure> {
        let malformed = |detail: &str| IdpFailure::refused(Reason::IdpAnswerMalformed, format!("the token endpoint {detail}"));
        if let Some(code) = error_code(answer) {
            return Err(IdpFailure { wants: wants(answer), ..error_answer(answer, &code) });
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
            id_token: secret(raw.id_token),
            refresh_token: secret(raw.refresh_token),
            lifetime: lifetime(raw.expires_in.as_ref()),
            ends: raw.expires_in.is_some_and(|said| !said.is_null()),
        })
    }

    /// The ID token, without which nobody signs in.
    pub(super) fn signed_in(&self) -> Result<&ClientSecret, IdpFailure> {
        let detail = "the token endpoint sent no ID token; is the scope openid configured?";
        self.id_token.as_ref().ok_or_else(|| IdpFailure::refused(Reason::IdpAnswerMalformed, detail))
    }

    pub(super) fn into_tokens(self, lasting: Lasting, now: Timestamp) -> IdpTokens {
        let lasts = lasting == Lasting::UnlessItEnds && !self.ends && self.refresh_token.is_none();
        IdpTokens {
            access_token: self.access_token,
            refresh_token: self.refresh_token,
            expires_at: now.after(self.lifetime),
            lasts,
        }
    }

    /// The access token alone, with its end.
    pub(super) fn into_access_token(self, now: Timestamp) -> (ClientSecret, Timestamp) {
        (self.access_token, now.after(self.lifetime))
    }

    /// What replaces `old`. A provider that sends no new refresh token means us to keep the old one (RFC 6749 §6, A-115).
    pub(super) fn into_renewed(self, old: &IdpTokens, now: Timestamp) -> IdpTokens {
        let renewed = self.into_tokens(Lasting::No, now);
        IdpTokens { refresh_token: renewed.refresh_token.or_else(|| old.refresh_token.clone()), ..renewed }
    }
}

/// What the provider wants of a new sign-in, if it is what such a wish looks like: a JSON object.
fn wants(answer: &Answer) -> Option<String> {
    let claims = answer.json::<RawError>().ok()?.claims.filter(|claims| claims.len() <= WANTS_MAX)?;
    deputy_fetch::object::<serde_json::Map<String, serde_json::Value>>(claims.as_bytes()).ok().map(|_| claims)
}

/// The code of an error answer, whatever its status.
pub(super) fn error_code(answer: &Answer) -> Option<String> {
    answer.json::<RawError>().ok().map(|raw| raw.error)
}

/// Entra's own numbers of an error (AADSTS…), a few at most.
pub(super) fn error_numbers(answer: &Answer) -> Vec<u64> {
    answer.json::<RawError>().map(|raw| raw.error_codes.into_iter().take(4).collect()).unwrap_or_default()
}

/// What may be logged of an error answer: only the code is kept, and only if it looks like one; the rest is the provider's prose.
pub(super) fn error_detail(answer: &Answer, code: &str) -> String {
    let plain = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let numbers: String = error_numbers(answer).iter().map(|number| format!(" AADSTS{number}")).collect();
    format!("the token endpoint answered {} {}{numbers}", answer.status, if plain { code } else { "(unreadable)" })
}

/// Whether an answer means "later".
pub(super) fn passes_by_itself(status: StatusCode, code: Option<&str>) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || code == Some("temporarily_unavailable")
}

fn error_answer(answer: &Answer, code: &str) -> IdpFailure {
    let detail = error_detail(answer, code);
    if passes_by_itself(answer.status, Some(code)) {
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
        TokenAnswer::read(&Answer { status, media_type: String::new(), date: None, body: body.to_owned().into() })
    }

    #[test]
    fn a_131_odd_answers_fail_or_become_sane() {
        let good = json!({"access_token": "a", "id_token": "i", "token_type": "BEARER", "expires_in": 60});
        assert_eq!(read(200, &good.to_string()).expect("good").lifetime, Duration::from_secs(60));
        for (member, value) in [("access_token", json!("")), ("token_type", json!("mac")), ("error", json!("invalid_grant"))] {
            let mut odd = good.clone();
            odd[member] = value;
            assert!(read(200, &odd.to_string()).is_err(), "{odd}");
        }
        for id_token in [json!(null), json!("")] {
            let mut odd = good.clone();
            odd["id_token"] = id_token;
            assert!(read(200, &odd.to_string()).expect("an answer").signed_in().is_err(), "{odd}");
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

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn tokens(answer: &serde_json::Value) -> IdpTokens {
        read(200, &answer.to_string()).expect("an answer").into_tokens(Lasting::No, NOW)
    }

    #[test]
    fn a_115_an_old_refresh_token_is_kept_until_there_is_a_new_one() {
        let answer = |refresh_token: serde_json::Value| {
            let answer =
                json!({"access_token": "new", "token_type": "Bearer", "refresh_token": refresh_token, "refresh_expires_in": 0});
            read(200, &answer.to_string()).expect("an answer")
        };
        let old = || tokens(&json!({"access_token": "a", "token_type": "Bearer", "refresh_token": "old"}));
        let kept = |tokens: &IdpTokens| tokens.refresh_token().map(|token| token.expose().to_owned());
        for (sent, kept_then) in [(json!("new"), "new"), (json!(null), "old"), (json!(""), "old")] {
            let renewed = answer(sent.clone()).into_renewed(&old(), NOW);
            assert_eq!((kept(&renewed).as_deref(), renewed.access_token.expose()), (Some(kept_then), "new"), "{sent}");
            assert_eq!(renewed.expires_at, NOW.after(DEFAULT_LIFETIME), "no immortal token");
        }
        assert_eq!(kept(&answer(json!(null)).into_renewed(&old().without_refresh(), NOW)), None);
    }

    #[test]
    fn tokens_come_back_out_of_a_box_and_never_print() {
        let old =
            tokens(&json!({"access_token": "ACCESS", "token_type": "Bearer", "refresh_token": "REFRESH", "expires_in": 60}));
        let boxed = serde_json::to_vec(&old).expect("serialised");
        let back: IdpTokens = serde_json::from_slice(&boxed).expect("read back");
        assert_eq!(serde_json::to_vec(&back).expect("serialised"), boxed);
        assert!(back.can_be_renewed());
        let printed = format!("{back:?}");
        assert!(!printed.contains("ACCESS") && !printed.contains("REFRESH"), "{printed}");
        let spent = serde_json::to_vec(&back.without_refresh()).expect("serialised");
        let spent: IdpTokens = serde_json::from_slice(&spent).expect("read back");
        assert!(!spent.can_be_renewed());
    }
}
