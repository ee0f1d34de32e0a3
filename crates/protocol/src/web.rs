//! Who may call over the web: the rules for `Host` and `Origin` (PX-01, PX-02, A-217, A-218) and for our own pages.
//!
//! What this module guarantees:
//! - Everything is compared exactly, after the one normalisation that the URL standard gives; no suffixes, no patterns.
//! - [`OwnPage`] is made by [`Origins::own_page`] only, and [`AllowedOrigin`], which a CORS answer needs, by [`OriginRule::check`] only.

use url::{Origin, Url};

use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::resource::is_loopback_host;

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// An origin in the form that browsers send: `https://host[:port]`. `None` for `null`, patterns and anything else.
fn serialized(raw: &str) -> Option<String> {
    let url = Url::parse(raw).ok()?;
    let web = matches!(url.scheme(), "http" | "https");
    let text = url.origin().ascii_serialization();
    (web && text == raw && !raw.contains('*')).then_some(text)
}

/// What `public_url` and the configuration say about hosts and origins; the three rules are made from it.
#[derive(Clone, Debug)]
pub struct Origins {
    own: String,
    hosts: HostRule,
    origins: OriginRule,
}

impl Origins {
    /// Reads `public_url` and the further web origins that may call the MCP endpoints.
    ///
    /// # Errors
    /// [`Reason::UrlInvalid`] for a `public_url` that is no http(s) URL, or an origin not written as browsers send it.
    pub fn new(public_url: &str, further: &[String]) -> Result<Self, Reason> {
        let url = Url::parse(public_url).map_err(|_| Reason::UrlInvalid)?;
        let (Origin::Tuple(_, _, port), Some(host), true) =
            (url.origin(), url.host_str(), matches!(url.scheme(), "http" | "https"))
        else {
            return Err(Reason::UrlInvalid);
        };
        let own = url.origin().ascii_serialization();
        let further: Vec<String> = further.iter().map(|raw| serialized(raw)).collect::<Option<_>>().ok_or(Reason::UrlInvalid)?;
        let loopback = is_loopback_host(host);
        let names: Vec<String> = if loopback { LOOPBACK.map(str::to_owned).to_vec() } else { vec![host.to_owned()] };
        let hosts = HostRule { names, port, port_may_be_missing: url.port().is_none(), further: Vec::new() };
        let origins = OriginRule { exact: std::iter::once(own.clone()).chain(further).collect(), any_loopback: loopback };
        Ok(Self { own, hosts, origins })
    }

    /// Our own origin, as browsers send it.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// The rule for `Host`.
    #[must_use]
    pub fn host_rule(&self) -> HostRule {
        self.hosts.clone()
    }

    /// The rule for `Origin` at the MCP endpoints.
    #[must_use]
    pub fn origin_rule(&self) -> OriginRule {
        self.origins.clone()
    }

    /// Whether the cookies that a browser sends us are ours alone. On https the `__Host-` prefix holds that. On plain http, which is for
    /// loopback only, cookies ignore the port: any program that serves pages on this machine can set one of ours, copied from its own
    /// sign-in. There the code leaves only after a decision on our last page.
    #[must_use]
    pub fn cookies_are_ours(&self) -> Option<OwnBrowser> {
        passes(Guard::LastPage, self.own.starts_with("https://")).then_some(OwnBrowser(()))
    }

    /// Whether a form was sent from our own page: `Origin` is ours or, where a browser sends none, `Sec-Fetch-Site: same-origin` (which
    /// scripts cannot set). A page with `Referrer-Policy: no-referrer` makes browsers send `Origin: null`, which is refused.
    ///
    /// # Errors
    /// [`Reason::ConsentNotOurPage`] for another origin, or when the browser says neither.
    pub fn own_page(&self, origin: Option<&str>, sec_fetch_site: Option<&str>) -> Result<OwnPage, Reason> {
        let ours = match origin {
            Some(origin) => origin == self.own && sec_fetch_site.is_none_or(|site| site == "same-origin"),
            None => sec_fetch_site == Some("same-origin"),
        };
        if passes(Guard::OwnPage, ours) { Ok(OwnPage(())) } else { Err(Reason::ConsentNotOurPage) }
    }
}

/// Proof that the browser which brings an answer back is the one that approved: either nobody else can put a cookie of ours into a browser
/// ([`Origins::cookies_are_ours`]), or a person said so on our last page ([`decide_last`](crate::consent::decide_last)).
#[derive(Debug)]
pub struct OwnBrowser(());

impl OwnBrowser {
    pub(crate) const fn by_last_page(_: &OwnPage) -> Self {
        Self(())
    }
}

/// Proof that a request came from one of our own pages.
#[derive(Debug)]
pub struct OwnPage(());

/// Which `Host` is us: DNS rebinding ends here (PX-02, A-218).
#[derive(Clone, Debug)]
pub struct HostRule {
    names: Vec<String>,
    port: u16,
    port_may_be_missing: bool,
    further: Vec<String>,
}

impl HostRule {
    /// The same rule, which takes these values too, exactly: for a reverse proxy that does not pass the original on.
    #[must_use]
    pub fn also(self, further: &[String]) -> Self {
        Self { further: further.to_vec(), ..self }
    }

    /// Judges the one `Host` of a request.
    ///
    /// # Errors
    /// [`Reason::HostForeign`] for another name or port, or none.
    pub fn check(&self, host: Option<&str>) -> Result<(), Reason> {
        let host = host.ok_or(Reason::HostForeign)?;
        let ours = self.names.iter().any(|name| self.names_us(host, name)) || self.further.iter().any(|further| further == host);
        if ours { Ok(()) } else { Err(Reason::HostForeign) }
    }

    fn names_us(&self, host: &str, name: &str) -> bool {
        let Some((start, rest)) = host.split_at_checked(name.len()) else { return false };
        let port_fits = match rest.strip_prefix(':') {
            Some(port) => port == self.port.to_string(),
            None => rest.is_empty() && self.port_may_be_missing,
        };
        start.eq_ignore_ascii_case(name) && port_fits
    }
}

/// Which web origins may call the MCP endpoints (PX-01, A-217).
#[derive(Clone, Debug)]
pub struct OriginRule {
    exact: Vec<String>,
    any_loopback: bool,
}

/// A web origin that may call and may read the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(String);

impl AllowedOrigin {
    /// The origin as its browser sent it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OriginRule {
    /// Judges the `Origin` of a request. Without one it is no browser's request, and fine. On a loopback deployment pages on this
    /// machine may call from any port (the Inspector does); their requests need a token like all others.
    ///
    /// # Errors
    /// [`Reason::OriginForeign`] for any other origin, and for `null`.
    pub fn check(&self, origin: Option<&str>) -> Result<Option<AllowedOrigin>, Reason> {
        let Some(raw) = origin else { return Ok(None) };
        let origin = serialized(raw).ok_or(Reason::OriginForeign)?;
        let allowed = self.exact.contains(&origin) || (self.any_loopback && names_loopback(&origin));
        if allowed { Ok(Some(AllowedOrigin(origin))) } else { Err(Reason::OriginForeign) }
    }
}

fn names_loopback(origin: &str) -> bool {
    Url::parse(origin).is_ok_and(|url| url.host_str().is_some_and(is_loopback_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(public_url: &str) -> Origins {
        Origins::new(public_url, &["https://inspector.example.com".to_owned()]).unwrap()
    }

    #[test]
    fn a_218_only_our_own_host() {
        let rule = origins("https://mcp.example.com").host_rule();
        for host in ["mcp.example.com", "MCP.example.com", "mcp.example.com:443"] {
            assert_eq!(rule.check(Some(host)), Ok(()), "{host}");
        }
        for host in [
            "evil.test",
            "mcp.example.com:80",
            "mcp.example.com.",
            "a.mcp.example.com",
            "mcp.example.com.evil.test",
            "",
            "localhost",
        ] {
            assert_eq!(rule.check(Some(host)), Err(Reason::HostForeign), "{host}");
        }
        for host in
            ["mcp.example.com:", "mcp.example.com:0443", "mcp.example.com:443:443", "u@mcp.example.com", "é", "203.0.113.1"]
        {
            assert_eq!(rule.check(Some(host)), Err(Reason::HostForeign), "{host}");
        }
        assert_eq!(rule.check(None), Err(Reason::HostForeign));
        let behind = rule.also(&["10.0.0.1:8000".to_owned()]);
        assert!(behind.check(Some("10.0.0.1:8000")).is_ok() && behind.check(Some("mcp.example.com")).is_ok());
        assert!(behind.check(Some("10.0.0.1")).is_err() && behind.check(Some("evil.test")).is_err());
    }

    #[test]
    fn a_218_loopback_names_agree_on_our_port() {
        let rule = origins("http://localhost:8000").host_rule();
        for host in ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"] {
            assert_eq!(rule.check(Some(host)), Ok(()), "{host}");
        }
        for host in ["localhost", "localhost:8001", "127.0.0.2:8000", "evil.test:8000", "localhost.evil.test:8000", "::1:8000"] {
            assert_eq!(rule.check(Some(host)), Err(Reason::HostForeign), "{host}");
        }
    }

    #[test]
    fn a_217_only_listed_origins() {
        let rule = origins("https://mcp.example.com").origin_rule();
        assert_eq!(rule.check(None), Ok(None));
        for origin in ["https://mcp.example.com", "https://inspector.example.com"] {
            assert_eq!(rule.check(Some(origin)).unwrap().unwrap().as_str(), origin);
        }
        for origin in [
            "https://evil.test",
            "null",
            "",
            "http://mcp.example.com",
            "https://mcp.example.com:8443",
            "https://mcp.example.com/",
            "https://mcp.example.com.evil.test",
            "http://localhost:6274",
            "https://mcp.example.com, https://evil.test",
            "HTTPS://mcp.example.com",
        ] {
            assert_eq!(rule.check(Some(origin)), Err(Reason::OriginForeign), "{origin}");
        }
    }

    #[test]
    fn a_217_a_loopback_deployment_takes_pages_of_this_machine() {
        let rule = origins("http://localhost:8000").origin_rule();
        for origin in
            ["http://localhost:6274", "http://127.0.0.1:1", "http://[::1]:6274", "http://localhost", "http://localhost:8000"]
        {
            assert!(rule.check(Some(origin)).unwrap().is_some(), "{origin}");
        }
        for origin in [
            "http://localhost.evil.test",
            "http://evil.test:8000",
            "null",
            "file://",
            "http://localhost:6274/x",
            "ftp://localhost",
        ] {
            assert_eq!(rule.check(Some(origin)), Err(Reason::OriginForeign), "{origin}");
        }
    }

    #[test]
    fn a_010_a_decision_comes_from_our_own_page() {
        let ours = origins("http://localhost:8000");
        for (origin, site) in [
            (Some("http://localhost:8000"), None),
            (Some("http://localhost:8000"), Some("same-origin")),
            (None, Some("same-origin")),
        ] {
            assert!(ours.own_page(origin, site).is_ok(), "{origin:?} {site:?}");
        }
        for (origin, site) in [
            (None, None),
            (None, Some("none")),
            (None, Some("same-site")),
            (None, Some("cross-site")),
            (Some("null"), Some("same-origin")),
            (Some("http://localhost:8001"), Some("same-origin")),
            (Some("http://127.0.0.1:8000"), None),
            (Some("https://inspector.example.com"), None),
            (Some("http://localhost:8000"), Some("cross-site")),
        ] {
            assert_eq!(ours.own_page(origin, site).unwrap_err(), Reason::ConsentNotOurPage, "{origin:?} {site:?}");
        }
    }

    #[test]
    fn configuration_is_checked() {
        for public_url in ["mcp.example.com", "ftp://h", "data:,", "/mcp"] {
            assert!(Origins::new(public_url, &[]).is_err(), "{public_url}");
        }
        for further in ["https://h/", "null", "*", "https://*.h"] {
            assert!(Origins::new("https://a", &[further.to_owned()]).is_err(), "{further}");
        }
    }

    #[test]
    fn our_origin_is_as_browsers_write_it() {
        assert_eq!(origins("https://MCP.example.com:443/").own(), "https://mcp.example.com");
        assert_eq!(origins("http://localhost:8000").own(), "http://localhost:8000");
    }
}
