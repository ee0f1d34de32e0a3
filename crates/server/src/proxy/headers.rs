//! What of a request's headers goes to the backend, and what the backend learns about the caller (PX-11, PX-17, A-186, A-196, A-204).

use std::fmt::Write as _;

use deputy_guard::Permit;
use deputy_protocol::Reason;
use deputy_protocol::scope::Scopes;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};

/// Headers that may stand once; a second one would be read differently by the next reader.
const ONCE: [&str; 2] = ["content-type", "last-event-id"];

/// Headers that pass as often as they come.
const ANY_NUMBER: [&str; 7] = ["accept", "accept-language", "user-agent", "traceparent", "tracestate", "baggage", "x-request-id"];

/// The protocol's own headers, `Mcp-Param-*` among them; each may stand once.
pub(super) const PROTOCOL_PREFIX: &str = "mcp-";

/// Builds the backend's headers: a list of what passes, and who is calling.
///
/// # Errors
/// As [`passing`].
pub(crate) fn for_backend(inbound: &HeaderMap, permit: &Permit, allowed: &Scopes) -> Result<HeaderMap, Reason> {
    let mut outbound = passing(inbound)?;
    identify(&mut outbound, permit, allowed);
    Ok(outbound)
}

/// What of a request's headers passes. Everything else stays here: credentials, cookies, forwarded and identity headers, hop-by-hop headers
/// and those that `Connection` names.
///
/// # Errors
/// [`Reason::HeaderRepeated`] for a second one of those that may stand once.
pub(super) fn passing(inbound: &HeaderMap) -> Result<HeaderMap, Reason> {
    let hop_by_hop = named_in_connection(inbound);
    let mut outbound = HeaderMap::new();
    for (name, value) in inbound {
        let once = ONCE.contains(&name.as_str()) || name.as_str().starts_with(PROTOCOL_PREFIX);
        if (!once && !ANY_NUMBER.contains(&name.as_str())) || hop_by_hop.contains(name) {
            continue;
        }
        if outbound.append(name.clone(), value.clone()) && once {
            return Err(Reason::HeaderRepeated);
        }
    }
    Ok(outbound)
}

/// The headers that a `Connection` header makes hop-by-hop (RFC 9110 §7.6.1).
pub(super) fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| HeaderName::try_from(name.trim()).ok()).collect()
}

/// Says who is calling, each thing exactly once. The scopes are those that the permit `allowed`: a backend knows of no hierarchy (RS-13).
fn identify(headers: &mut HeaderMap, permit: &Permit, allowed: &Scopes) {
    let scopes: Vec<String> = allowed.iter().map(encoded).collect();
    let said = [
        ("x-deputy-subject", Some(encoded(permit.subject()))),
        ("x-deputy-email", permit.email().map(encoded)),
        ("x-deputy-name", permit.name().map(encoded)),
        ("x-deputy-client", Some(encoded(permit.client().as_str()))),
        ("x-deputy-client-name", permit.client_name().map(encoded)),
        ("x-deputy-scope", Some(scopes.join(" "))),
    ];
    for (name, value) in said {
        // Encoded text is visible ASCII, so it is always a valid value.
        if let Some(Ok(value)) = value.filter(|value| !value.is_empty()).map(HeaderValue::try_from) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Percent-encodes what is not visible ASCII, and the percent sign, so that decoding gives the text back.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
