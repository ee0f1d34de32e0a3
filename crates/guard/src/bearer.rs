//! The access token of a request: from the `Authorization` header and from nowhere else (RFC 6750 §2.1, RS-16, A-182).

use deputy_protocol::Reason;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The one bearer token.
///
/// # Errors
/// [`Reason::TokenMissing`] without credentials, or with those of another scheme; [`Reason::AuthorizationMalformed`] for two headers or
/// something that is no credentials at all (RS-15).
pub(crate) fn token(headers: &HeaderMap) -> Result<&str, Reason> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Reason::TokenMissing)?;
    if values.next().is_some() {
        return Err(Reason::AuthorizationMalformed);
    }
    let value = value.to_str().map_err(|_| Reason::AuthorizationMalformed)?;
    let (scheme, credentials) = value.split_once(' ').ok_or(Reason::AuthorizationMalformed)?;
    let credentials = credentials.trim_matches(' ');
    if scheme.is_empty() || credentials.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Reason::AuthorizationMalformed);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Reason::TokenMissing);
    }
    if is_b64token(credentials) { Ok(credentials) } else { Err(Reason::AuthorizationMalformed) }
}

/// `b64token` of RFC 6750 §2.1.
fn is_b64token(raw: &str) -> bool {
    let body = raw.trim_end_matches('=');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.bytes().all(allowed)
}
