//! The headers of everything that a browser shows or follows.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Which pages learn where the browser came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Referrer {
    /// Our own pages: without it a form's POST carries `Origin: null`, and the check of its origin would refuse everybody.
    OwnPages,
    /// Nobody (RFC 9700 §4.2, AS-68).
    Nobody,
}

/// Whether the window that opened this one stays connected to it.
///
/// A browser applies `Cross-Origin-Opener-Policy` to every response on the way, redirects included, and what it cut stays cut. Web
/// clients that sign in with a popup wait for a message from their own callback page at the end of that way. Cutting is therefore for
/// pages where the way ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opener {
    /// The way leads on to the client: the consent page, redirects, an error that can return to the client.
    Kept,
    /// The way ends here.
    Cut,
}

/// `form-action` is missing on purpose: Chromium applies it to the whole chain of redirects after the POST, to the identity provider and
/// to the client's own scheme, and would stop the sign-in (CON-37).
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'";

const ALWAYS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Adds the security headers of a page or of a redirect: framed by nobody, kept by nobody, read as nothing else.
pub(crate) fn secure_headers(headers: &mut HeaderMap, referrer: Referrer, opener: Opener) {
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = match referrer {
        Referrer::OwnPages => "same-origin",
        Referrer::Nobody => "no-referrer",
    };
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(policy));
    if opener == Opener::Cut {
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    }
}
