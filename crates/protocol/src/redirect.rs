//! Redirect URIs: what may be registered, the one matcher, and the proof that a redirect is trusted (AS-40…42, AS-55, CON-13…15).
//!
//! What this module guarantees:
//! - A redirect URI is kept and compared as the text that was sent. It is accepted only when the WHATWG parser, the one that browsers
//!   use, writes it back unchanged: there is then no second reading of it (dot segments, case, default ports, numeric hosts).
//! - Comparison is exact; only the port of a loopback URI may differ (RFC 8252 §7.3, RFC 9700 §2.1).
//! - Nothing is sent to a client without a [`TrustedRedirect`], which only [`match_redirect`] makes.

mod known;

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{OAuthError, Reason};
use crate::hooks::{Guard, passes};
use crate::ids::Issuer;
use crate::resource::is_loopback_host;

/// The longest redirect URI, in bytes.
pub const REDIRECT_URI_MAX: usize = 2048;
/// The longest `state` of a client, in bytes: it must fit into cookies until the provider answers.
pub const STATE_MAX: usize = 4096;

pub use known::{KNOWN_CLIENTS, KnownClient, LOOPBACK, PrivateUse, RedirectRule};

/// Private-use redirect URIs of clients in use, accepted to the letter (AS-42; RFC 8252 §7.1).
const KNOWN_PRIVATE_USE: &[&str] = &["cursor://anysphere.cursor-mcp/oauth/callback"];
/// Schemes that browsers or machines keep for themselves: none is a program that somebody wrote for sign-ins.
const NEVER_PRIVATE_USE: &[&str] = &[
    "about",
    "blob",
    "chrome",
    "data",
    "edge",
    "file",
    "filesystem",
    "ftp",
    "http",
    "https",
    "intent",
    "javascript",
    "mailto",
    "sms",
    "ssh",
    "tel",
    "urn",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// A redirect URI that may be registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

/// Where a redirect URI leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A web server.
    Web,
    /// A program on the person's own machine, over loopback http. Any local program can listen there.
    Loopback,
    /// A program that claimed a private-use scheme.
    PrivateUse,
}

/// The parameters of our answers, and of the response modes that we do not have.
const ANSWER: [&str; 7] = ["code", "state", "iss", "error", "error_description", "error_uri", "response"];

impl RedirectUri {
    /// Accepts `https`, `http` on a loopback host, or a known private-use URI, in canonical form.
    ///
    /// # Errors
    /// [`Reason::RegistrationRedirectScheme`] for other schemes, [`Reason::RegistrationRedirects`] for everything else.
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        if KNOWN_PRIVATE_USE.contains(&raw) {
            return Ok(Self(raw.to_owned()));
        }
        let malformed = Reason::RegistrationRedirects;
        let url = Url::parse(raw).map_err(|_| malformed)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Reason::RegistrationRedirectScheme);
        }
        let host = url.host_str().ok_or(malformed)?;
        if url.scheme() == "http" && !is_loopback_host(host) {
            return Err(Reason::RegistrationRedirectScheme);
        }
        let canonical = url.as_str() == raw || url.as_str().strip_suffix('/') == Some(raw);
        let plain = !raw.contains(['#', '\\']) && !host.contains('*') && url.username().is_empty() && url.password().is_none();
        // A client reads each parameter of an answer once (RFC 6749 §4.1.2); which of two it reads would be the registrant's choice.
        let own = url.query_pairs().any(|(name, _)| ANSWER.contains(&&*name));
        if canonical && plain && !own && raw.len() <= REDIRECT_URI_MAX { Ok(Self(raw.to_owned())) } else { Err(malformed) }
    }

    /// [`RedirectUri::parse`], and what an operator may allow beyond: any private-use scheme that is nobody else's.
    ///
    /// # Errors
    /// As [`RedirectUri::parse`].
    pub fn of_operator(raw: &str) -> Result<Self, Reason> {
        Self::parse(raw).or_else(|reason| Self::private_use(raw).ok_or(reason))
    }

    /// A URI with a private-use scheme, in the one form that the URL standard gives it (RFC 8252 §7.1).
    fn private_use(raw: &str) -> Option<Self> {
        let url = Url::parse(raw).ok()?;
        let kept = NEVER_PRIVATE_USE.contains(&url.scheme()) || url.scheme().starts_with("ms-");
        let plain = url.as_str() == raw
            && !url.cannot_be_a_base()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && raw.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'*'));
        let own = url.query_pairs().any(|(name, _)| ANSWER.contains(&&*name));
        (!kept && plain && !own && raw.len() <= REDIRECT_URI_MAX).then(|| Self(raw.to_owned()))
    }

    /// The URI as registered or as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it leads.
    #[must_use]
    pub fn destination(&self) -> Destination {
        if self.0.starts_with("https://") {
            Destination::Web
        } else if self.0.starts_with("http://") {
            Destination::Loopback
        } else {
            Destination::PrivateUse
        }
    }

    /// Whether the answer stays at a web server: neither a program gets it, nor a page that is known to hand it to one.
    #[must_use]
    pub fn stays_on_the_web(&self) -> bool {
        self.destination() == Destination::Web && !known::is_forwarder(&self.host())
    }

    /// The host to show to a person; for a private-use URI, its scheme.
    #[must_use]
    pub fn host(&self) -> String {
        let url = Url::parse(&self.0).ok();
        let host = url.as_ref().and_then(Url::host_str);
        match self.destination() {
            Destination::Web | Destination::Loopback => host.unwrap_or_default().to_owned(),
            Destination::PrivateUse => self.0.split(':').next().unwrap_or_default().to_owned(),
        }
    }

    /// Whether it leads back to this deployment. On loopback, all names of this machine are one.
    fn is_of(&self, issuer: &Issuer) -> bool {
        let place = |raw: &str| {
            let url = Url::parse(raw).ok()?;
            let host = url.host_str()?;
            let host = if is_loopback_host(host) { "localhost" } else { host };
            Some((url.scheme().to_owned(), host.to_owned(), url.port_or_known_default()?))
        };
        place(&self.0).is_some_and(|it| Some(it) == place(issuer.as_str()))
    }

    /// Whether `presented` is this registered URI: to the letter, or on loopback with another port.
    #[must_use]
    pub fn accepts(&self, presented: &Self) -> bool {
        if self.0 == presented.0 {
            return true;
        }
        without_port(&self.0).is_some_and(|known| Some(known) == without_port(&presented.0))
    }
}

/// Host and rest of a canonical loopback URI. The host is one of three forms, and the port is canonical digits.
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let after_scheme = uri.strip_prefix("http://")?;
    let authority_end = after_scheme.find(['/', '?']).unwrap_or(after_scheme.len());
    let (authority, rest) = after_scheme.split_at_checked(authority_end)?;
    let host = ["localhost", "127.0.0.1", "[::1]"]
        .into_iter()
        .find(|host| authority.strip_prefix(host).is_some_and(|port| port.is_empty() || port.starts_with(':')))?;
    Some((host, rest))
}

impl TryFrom<String> for RedirectUri {
    type Error = Reason;

    /// What we kept: it was accepted once, by whatever the operator allowed then.
    fn try_from(raw: String) -> Result<Self, Reason> {
        Self::of_operator(&raw)
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client's own `state`, returned verbatim (RFC 6749 §4.1.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientState(String);

impl ClientState {
    /// Takes a `state` of at most [`STATE_MAX`] bytes.
    ///
    /// # Errors
    /// [`Reason::StateTooLong`].
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        if raw.len() <= STATE_MAX { Ok(Self(raw.to_owned())) } else { Err(Reason::StateTooLong) }
    }
}

impl fmt::Debug for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientState(…)")
    }
}

/// Proof that a client registered this redirect URI, with all that an answer there needs. Without one, an error can only become a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrustedRedirect {
    uri: RedirectUri,
    state: Option<ClientState>,
    issuer: Issuer,
}

/// Finds the registered URI that `presented` means. The only maker of [`TrustedRedirect`], sealed copies of one apart.
///
/// # Errors
/// [`Reason::RedirectMissing`] (it is always required, A-057) and [`Reason::RedirectNotRegistered`].
pub fn match_redirect(
    registered: &[RedirectUri],
    presented: Option<&str>,
    state: Option<ClientState>,
    issuer: &Issuer,
) -> Result<TrustedRedirect, Reason> {
    let presented = presented.ok_or(Reason::RedirectMissing)?;
    // To the letter, or what could have been registered.
    let known = registered.iter().find(|known| known.as_str() == presented).cloned();
    let uri = known.map_or_else(|| RedirectUri::parse(presented), Ok).map_err(|_| Reason::RedirectNotRegistered)?;
    // An answer to ourselves would be a link of ours, made by a stranger.
    if uri.is_of(issuer) {
        return Err(Reason::RedirectNotRegistered);
    }
    if passes(Guard::RedirectMatch, registered.iter().any(|known| known.accepts(&uri))) {
        Ok(TrustedRedirect { uri, state, issuer: issuer.clone() })
    } else {
        Err(Reason::RedirectNotRegistered)
    }
}

impl TrustedRedirect {
    /// The redirect URI that will be used, with its real port.
    #[must_use]
    pub fn uri(&self) -> &RedirectUri {
        &self.uri
    }

    /// The `Location` that carries a code to the client.
    #[must_use]
    pub fn with_code(&self, code: &crate::secret::AuthorizationCode) -> String {
        self.location(&[("code", code.expose())])
    }

    /// The `Location` that carries an error to the client.
    #[must_use]
    pub fn with_error(&self, error: OAuthError, reason: Reason) -> String {
        self.location(&[("error", error.code()), ("error_description", reason.message())])
    }

    /// Every answer states the issuer, exactly once (RFC 9207 §2, AS-07), and returns `state` as it came.
    fn location(&self, answer: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer);
        if let Some(state) = &self.state {
            query.append_pair("state", &state.0);
        }
        query.append_pair("iss", self.issuer.as_str());
        let divider = if self.uri.0.contains('?') { '&' } else { '?' };
        format!("{}{divider}{}", self.uri, query.finish())
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(raw: &str) -> RedirectUri {
        RedirectUri::parse(raw).unwrap()
    }

    fn matches(registered: &str, presented: &str) -> bool {
        let issuer = Issuer::parse("https://as.test").unwrap();
        match_redirect(&[uri(registered)], Some(presented), None, &issuer).is_ok()
    }

    #[test]
    fn an_answer_is_said_once_and_not_to_ourselves() {
        for name in ANSWER {
            let raw = format!("https://app.test/cb?x=1&{name}=y");
            assert_eq!(RedirectUri::parse(&raw), Err(Reason::RegistrationRedirects), "{raw}");
        }
        for raw in ["https://app.test/cb?c%6fde=y", "http://localhost/cb?iss"] {
            assert_eq!(RedirectUri::parse(raw), Err(Reason::RegistrationRedirects), "{raw}");
        }
        assert!(RedirectUri::parse("https://app.test/cb?codes=y&xstate=z").is_ok());
        let issuer = Issuer::parse("http://localhost:8000").unwrap();
        let registered = ["http://localhost/cb", "http://127.0.0.1/cb", "http://[::1]/cb"].map(uri);
        let to = |raw: &str| match_redirect(&registered, Some(raw), None, &issuer).map(drop);
        for own in ["http://localhost:8000/cb", "http://127.0.0.1:8000/cb", "http://[::1]:8000/cb"] {
            assert_eq!(to(own), Err(Reason::RedirectNotRegistered), "{own}");
        }
        assert_eq!(to("http://localhost:8001/cb"), Ok(()));
    }

    #[test]
    fn as_35_the_host_that_a_person_is_shown() {
        for (raw, host) in [
            ("https://app.test:8443/cb", "app.test"),
            ("http://127.0.0.1:5000/cb", "127.0.0.1"),
            ("http://[::1]/cb", "[::1]"),
            ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor"),
        ] {
            assert_eq!(uri(raw).host(), host, "{raw}");
        }
    }

    #[test]
    fn a_code_travels_with_state_and_issuer() {
        let issuer = Issuer::parse("https://as.test").unwrap();
        let state = Some(ClientState::parse("a b").unwrap());
        let trusted = match_redirect(&[uri("https://app.test/cb?x=1")], Some("https://app.test/cb?x=1"), state, &issuer).unwrap();
        let code = crate::secret::AuthorizationCode::new(&[7; 32]);
        let location = format!("https://app.test/cb?x=1&code={}&state=a+b&iss=https%3A%2F%2Fas.test", code.expose());
        assert_eq!(trusted.with_code(&code), location);
    }

    #[test]
    fn what_clients_register_is_accepted() {
        for raw in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://insiders.vscode.dev/redirect",
            "http://127.0.0.1/",
            "http://127.0.0.1:33418/",
            "http://localhost/callback",
            "http://localhost:3118/callback",
            "http://[::1]:8080/cb?x=1",
            "https://app.test",
            "cursor://anysphere.cursor-mcp/oauth/callback",
        ] {
            assert!(RedirectUri::parse(raw).is_ok(), "{raw}");
        }
    }

    #[test]
    fn a_051_script_file_and_foreign_schemes_are_refused() {
        for raw in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:https://a/b",
            "about:blank",
            "http://app.test/cb",
            "http://10.0.0.1/cb",
            "evilapp://x",
            "cursor://x",
            "cursor://anysphere.cursor-mcp/oauth/callback2",
            "http://localhost.evil.test/cb",
            "http://127.0.0.1.evil.test/cb",
            "http://localhost@evil.test/cb",
        ] {
            assert!(RedirectUri::parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn what_a_browser_would_read_differently_is_refused() {
        for raw in [
            "https://app.test/cb#f",
            "https://app.test/cb#",
            "https://u@app.test/cb",
            "https://app.test/a/../cb",
            "https://app.test/a/%2e%2e/cb",
            "HTTPS://app.test/cb",
            "https://APP.test/cb",
            "https://app.test:443/cb",
            " https://app.test/cb",
            "https://app.test/cb ",
            "https://app.test\\cb",
            "https:/app.test/cb",
            "https://app.test/c b",
            "http://127.1/cb",
            "http://2130706433/cb",
            "http://localhost:80/cb",
            "http://localhost:*/cb",
            "https://*.app.test/cb",
            "https://äpp.test/cb",
            "https://app.test/\ncb",
            "//app.test/cb",
            "/cb",
            "",
            "https://",
            "http://0x7f.1/",
            "https://app.test/ü",
        ] {
            assert!(RedirectUri::parse(raw).is_err(), "{raw}");
        }
        assert!(RedirectUri::parse(&format!("https://app.test/{}", "a".repeat(REDIRECT_URI_MAX))).is_err());
    }

    #[test]
    fn a_048_a_049_near_misses_are_refused() {
        for presented in [
            "https://app.test/cb/",
            "https://app.test/CB",
            "https://app.test/cb/x",
            "https://app.test/cb?a=1",
            "https://app.test/cb#f",
            "https://app.test:8443/cb",
            "http://app.test/cb",
            "https://sub.app.test/cb",
            "https://app.test.evil.test/cb",
            "https://app.test/cb/../x",
            "https://app.test/%63b",
            "https://app.test//cb",
            "https://app.test/cb;x",
            "https://user@app.test/cb",
            "https://app.test./cb",
            "https://evil.test/cb",
            "https://app.test",
            "",
        ] {
            assert!(!matches("https://app.test/cb", presented), "{presented}");
        }
        assert!(matches("https://app.test/cb", "https://app.test/cb"));
    }

    #[test]
    fn a_053_a_056_only_the_port_of_a_loopback_uri_may_differ() {
        assert!(matches("http://127.0.0.1/cb", "http://127.0.0.1:53076/cb"));
        assert!(matches("http://127.0.0.1:1/cb", "http://127.0.0.1/cb"));
        assert!(matches("http://localhost:3118/cb", "http://localhost:9/cb"));
        assert!(matches("http://[::1]/cb?a=1", "http://[::1]:7/cb?a=1"));
        for (registered, presented) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb2"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb?x=1"),
            ("http://127.0.0.1:1/cb", "http://localhost:1/cb"),
            ("http://127.0.0.1:1/cb", "http://[::1]:1/cb"),
            ("http://localhost/cb", "https://localhost/cb"),
            ("https://localhost/cb", "https://localhost:8443/cb"),
        ] {
            assert!(!matches(registered, presented), "{registered} {presented}");
        }
    }

    #[test]
    fn a_046_a_076_answers_carry_state_verbatim_and_iss_once() {
        let issuer = Issuer::parse("https://as.test").unwrap();
        let state = "\"><script>\r\nä+ %20&iss=evil";
        let trusted = match_redirect(
            &[uri("https://app.test/cb?x=1")],
            Some("https://app.test/cb?x=1"),
            Some(ClientState::parse(state).unwrap()),
            &issuer,
        )
        .unwrap();
        let location = trusted.with_error(OAuthError::AccessDenied, Reason::ConsentDenied);
        assert!(location.starts_with("https://app.test/cb?x=1&error=access_denied&"));
        let pairs: Vec<(String, String)> = Url::parse(&location).unwrap().query_pairs().into_owned().collect();
        assert_eq!(pairs.iter().filter(|(k, _)| k == "iss").count(), 1);
        assert!(pairs.contains(&("iss".to_owned(), "https://as.test".to_owned())));
        assert!(pairs.contains(&("state".to_owned(), state.to_owned())));
        assert!(ClientState::parse(&"s".repeat(STATE_MAX + 1)).is_err());
    }

    proptest! {
        /// Whatever is accepted, a browser goes to the host that we show.
        #[test]
        fn an_accepted_uri_has_one_reading(raw in "(https|http)://[a-z0-9.\\[\\]:@%\\\\/*-]{1,24}[/?]?[ -~]{0,16}") {
            if let Ok(accepted) = RedirectUri::parse(&raw) {
                let read = Url::parse(&raw).unwrap();
                prop_assert_eq!(read.host_str().unwrap(), accepted.host());
                prop_assert!(read.scheme() == "https" || is_loopback_host(read.host_str().unwrap()));
                prop_assert!(read.fragment().is_none() && read.username().is_empty());
            }
        }

        /// The loopback rule never reaches beyond the port.
        #[test]
        fn a_match_keeps_everything_but_the_port(a in "http://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:[1-9][0-9]{0,3})?(/[a-z/?=]{0,6})?",
                                                 b in "http://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:[1-9][0-9]{0,3})?(/[a-z/?=]{0,6})?") {
            if let (Ok(registered), Ok(presented)) = (RedirectUri::parse(&a), RedirectUri::parse(&b))
                && registered.accepts(&presented) && a != b {
                let (x, y) = (Url::parse(&a).unwrap(), Url::parse(&b).unwrap());
                prop_assert_eq!(x.host_str(), y.host_str());
                prop_assert_eq!(x.path(), y.path());
                prop_assert_eq!(x.query(), y.query());
            }
        }
    }
}
