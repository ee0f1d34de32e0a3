//! Redirect URIs: a registered one and a presented one, a line each. Held against the URL standard's reading and a second matcher.

use deputy_protocol::Issuer;
use deputy_protocol::redirect::{RedirectUri, match_redirect};
use deputy_protocol::secret::AuthorizationCode;
use url::Url;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let (registered, presented) = (RedirectUri::parse(first), RedirectUri::parse(second));
    for uri in [&registered, &presented].into_iter().flatten() {
        same_reading(uri);
    }
    let Ok(registered) = registered else { return };
    let issuer = Issuer::parse("https://mcp.test").unwrap();
    let matched = match_redirect(std::slice::from_ref(&registered), Some(second), None, &issuer);
    let expected = presented.as_ref().is_ok_and(|presented| reference(registered.as_str(), presented.as_str()));
    assert_eq!(matched.is_ok(), expected, "{first:?} {second:?}");
    assert!(registered.accepts(&registered));
    if let (Ok(presented), Ok(trusted)) = (&presented, &matched) {
        assert!(presented.accepts(&registered), "not symmetric: {first:?} {second:?}");
        let went = Url::parse(&trusted.with_code(&AuthorizationCode::new(&[1; 32]))).unwrap();
        let meant = Url::parse(second).unwrap();
        assert_eq!(
            (went.scheme(), went.host(), went.port(), went.path()),
            (meant.scheme(), meant.host(), meant.port(), meant.path())
        );
    }
}

/// The parts of a URI as RFC 3986 appendix B divides it, with no correction of any kind.
#[derive(PartialEq)]
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

fn parts(uri: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = uri.split_once("://")?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[after_brackets..].rfind(':') {
        Some(colon) => (&authority[..after_brackets + colon], Some(&authority[after_brackets + colon + 1..])),
        None => (authority, None),
    };
    Some(Parts { scheme, host, port, path, query })
}

/// A browser takes the URI apart as the letters have it.
fn same_reading(uri: &RedirectUri) {
    let raw = uri.as_str();
    let (browser, letters) = (Url::parse(raw).unwrap(), parts(raw).unwrap());
    assert_eq!(browser.scheme(), letters.scheme, "{raw}");
    assert_eq!(browser.host_str(), Some(letters.host), "{raw}");
    assert_eq!(browser.port().map(|port| port.to_string()).as_deref(), letters.port, "{raw}");
    assert!(browser.path() == letters.path || (browser.path() == "/" && letters.path.is_empty()), "{raw}");
    assert_eq!(browser.query(), letters.query, "{raw}");
    assert!(browser.fragment().is_none() && browser.username().is_empty() && browser.password().is_none(), "{raw}");
    assert!(raw.is_ascii() && raw.bytes().all(|b| b > 0x20 && b != 0x7f && b != b'\\'), "{raw:?}");
    let loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&letters.host);
    assert!(letters.scheme != "http" || loopback, "{raw}");
    if letters.scheme != "cursor" {
        assert_eq!(uri.host(), letters.host, "the person is shown another host than the browser goes to");
    }
}

/// The rule, written a second time: the same to the letter, or on loopback http all but the port.
fn reference(registered: &str, presented: &str) -> bool {
    let (Some(a), Some(b)) = (parts(registered), parts(presented)) else { return false };
    let loopback = a.scheme == "http" && b.scheme == "http";
    a == b || (loopback && Parts { port: None, ..a } == Parts { port: None, ..b })
}
