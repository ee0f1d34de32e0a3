//! Whether a request is meant for us: DNS rebinding ends here (PX-02, A-218).

use deputy_protocol::Reason;
use deputy_protocol::web::HostRule;
use http::header::HOST;
use http::{HeaderMap, HeaderName, Request};

/// The value of a header that may stand once: nothing if it is missing, an error if it is repeated or not text.
pub(crate) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Judges the host that a request names, in its `Host` header, in its URI (as HTTP/2 has it), or in both.
pub(crate) fn check<B>(rule: &HostRule, request: &Request<B>) -> Result<(), Reason> {
    let in_uri = request.uri().authority().map(http::uri::Authority::as_str);
    let in_header = only(request.headers(), &HOST).map_err(|()| Reason::HostForeign)?;
    rule.check(in_header.or(in_uri))?;
    rule.check(in_uri.or(in_header))
}
