//! Where the answers of clients in use go, as data. An operator names them instead of writing the addresses down.

use super::{Destination, RedirectUri};

/// One client, or a family of them.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownClient {
    /// Its name in a configuration.
    pub name: &'static str,
    /// Its redirect URIs, to the letter; on loopback with any port.
    exact: &'static [&'static str],
    /// Addresses below which it adds one path segment of its own.
    below: &'static [&'static str],
}

/// The word for whatever listens on the person's own machine.
pub const LOOPBACK: &str = "loopback";

/// Clients in use.
pub const KNOWN_CLIENTS: &[KnownClient] = &[
    // support.claude.com, "Building custom connectors": both addresses.
    KnownClient {
        name: "claude",
        exact: &["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"],
        below: &[],
    },
    // Its metadata document, claude.ai/oauth/claude-code-client-metadata.
    KnownClient { name: "claude-code", exact: &["http://localhost/callback", "http://127.0.0.1/callback"], below: &[] },
    // developers.openai.com, Apps SDK, "Authentication": one address for each connector, and the one from before.
    KnownClient {
        name: "chatgpt",
        exact: &["https://chatgpt.com/connector_platform_oauth_redirect"],
        below: &["https://chatgpt.com/connector/oauth/"],
    },
    // What it registers: microsoft/vscode, src/vs/base/common/oauth.ts.
    KnownClient {
        name: "vscode",
        exact: &["https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect", "http://127.0.0.1/", "http://localhost/"],
        below: &[],
    },
    // All three in one registration: the application, its agents on the web, and what listens on loopback.
    KnownClient {
        name: "cursor",
        exact: &[
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ],
        below: &[],
    },
    // openai/codex: another path for each run.
    KnownClient { name: "codex", exact: &["http://127.0.0.1/callback"], below: &["http://127.0.0.1/callback/"] },
    // opencode.ai/oauth/opencode/client.json
    KnownClient { name: "opencode", exact: &["http://127.0.0.1:19876/mcp/oauth/callback"], below: &[] },
    // modelcontextprotocol/inspector, "Authorization".
    KnownClient {
        name: "inspector",
        exact: &[
            "http://localhost:6274/oauth/callback",
            "http://localhost:6274/oauth/callback/debug",
            "http://127.0.0.1:6276/oauth/callback",
        ],
        below: &[],
    },
];

/// Web pages of clients that hand the answer on to a program on the person's own machine.
const FORWARDERS: &[&str] = &["vscode.dev", "insiders.vscode.dev"];

/// Whether an answer that goes to this host goes on to a program.
pub(super) fn is_forwarder(host: &str) -> bool {
    FORWARDERS.contains(&host)
}

impl KnownClient {
    /// The client of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KNOWN_CLIENTS.iter().find(|known| known.name == name)
    }

    fn accepts(&self, uri: &RedirectUri) -> bool {
        let exactly = |known: &&str| RedirectUri::parse(known).is_ok_and(|known| known.accepts(uri));
        self.exact.iter().any(exactly) || self.below.iter().any(|start| is_below(start, uri))
    }

    /// Its addresses that only a program which claimed their scheme gets.
    pub fn private_use(&self) -> impl Iterator<Item = RedirectUri> {
        let parsed = self.exact.iter().filter_map(|raw| RedirectUri::parse(raw).ok());
        parsed.filter(|uri| uri.destination() == Destination::PrivateUse)
    }
}

/// Whether `uri` is `start`, on loopback with any port, and one plain segment more.
fn is_below(start: &str, uri: &RedirectUri) -> bool {
    let Some((known, given)) = super::without_port(start).zip(super::without_port(uri.as_str())) else {
        return uri.as_str().strip_prefix(start).is_some_and(is_segment);
    };
    known.0 == given.0 && given.1.strip_prefix(known.1).is_some_and(is_segment)
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Where the operator lets answers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectRule {
    /// To this address; on loopback with any port.
    Exact(RedirectUri),
    /// To this client's addresses.
    Known(&'static KnownClient),
    /// To any address on the person's own machine.
    Loopback,
}

impl RedirectRule {
    /// Reads an address, the name of a known client, or [`LOOPBACK`].
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        match KnownClient::named(raw) {
            Some(known) => Some(Self::Known(known)),
            None if raw == LOOPBACK => Some(Self::Loopback),
            None => RedirectUri::of_operator(raw).ok().map(Self::Exact),
        }
    }

    /// Whether answers may go there.
    #[must_use]
    pub fn allows(&self, uri: &RedirectUri) -> bool {
        match self {
            Self::Exact(known) => known.accepts(uri),
            Self::Known(known) => known.accepts(uri),
            Self::Loopback => uri.destination() == Destination::Loopback,
        }
    }

    /// As it is written in a configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(uri) => uri.as_str(),
            Self::Known(known) => known.name,
            Self::Loopback => LOOPBACK,
        }
    }
}

/// Redirect URIs with a private-use scheme that clients may register, to the letter (AS-42; RFC 8252 §7.1). Those of known clients unless
/// the operator says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateUse(Vec<RedirectUri>);

impl Default for PrivateUse {
    fn default() -> Self {
        Self(KNOWN_CLIENTS.iter().flat_map(KnownClient::private_use).collect())
    }
}

impl PrivateUse {
    /// These, and no other.
    #[must_use]
    pub const fn of(uris: Vec<RedirectUri>) -> Self {
        Self(uris)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &RedirectUri> {
        self.0.iter()
    }

    /// Whether answers may go there, as far as the scheme is concerned.
    #[must_use]
    pub fn allows(&self, uri: &RedirectUri) -> bool {
        uri.destination() != Destination::PrivateUse || self.0.contains(uri)
    }

    /// Reads a redirect URI of somebody who may use no other.
    ///
    /// # Errors
    /// As [`RedirectUri::parse`].
    pub fn parse(&self, raw: &str) -> Result<RedirectUri, crate::Reason> {
        let listed = self.0.iter().find(|known| known.as_str() == raw).cloned();
        let uri = listed.map_or_else(|| RedirectUri::parse(raw), Ok)?;
        if self.allows(&uri) { Ok(uri) } else { Err(crate::Reason::RegistrationRedirectScheme) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    fn rule(raw: &str) -> RedirectRule {
        RedirectRule::parse(raw).unwrap()
    }

    fn allows(name: &str, uri: &str) -> bool {
        rule(name).allows(&RedirectUri::of_operator(uri).unwrap())
    }

    #[test]
    fn known_clients_are_written_as_they_can_be_registered() {
        for known in KNOWN_CLIENTS {
            assert!(known.exact.iter().all(|raw| RedirectUri::parse(raw).is_ok()), "{}", known.name);
            assert!(known.below.iter().all(|raw| raw.ends_with('/') && RedirectUri::parse(raw).is_ok()), "{}", known.name);
            assert_eq!(rule(known.name).as_str(), known.name);
        }
    }

    #[test]
    fn as_42_a_name_stands_for_its_clients_addresses_and_for_no_other() {
        for (name, uri) in [
            ("claude", "https://claude.com/api/mcp/auth_callback"),
            ("claude-code", "http://localhost:3118/callback"),
            ("chatgpt", "https://chatgpt.com/connector/oauth/aB3-_x"),
            ("vscode", "http://127.0.0.1:33418/"),
            ("cursor", "cursor://anysphere.cursor-mcp/oauth/callback"),
            ("codex", "http://127.0.0.1:4000/callback/Jr2k9"),
            ("loopback", "http://[::1]:1/any"),
            ("https://app.test/cb", "https://app.test/cb"),
        ] {
            assert!(allows(name, uri), "{name} {uri}");
        }
        for (name, uri) in [
            ("claude", "https://claude.ai/api/mcp/auth_callback2"),
            ("claude", "https://claude.ai.evil.test/api/mcp/auth_callback"),
            ("chatgpt", "https://chatgpt.com/connector/oauth/"),
            ("chatgpt", "https://chatgpt.com/connector/oauth/a/b"),
            ("chatgpt", "https://chatgpt.com/connector/oauth/a?next=x"),
            ("chatgpt", "https://chatgpt.com.evil.test/connector/oauth/a"),
            ("codex", "http://localhost:4000/callback/Jr2k9"),
            ("codex", "http://127.0.0.1:4000/callback/a/b"),
            ("loopback", "https://app.test/cb"),
            ("cursor", "cursor://anysphere.cursor-mcp/oauth/callback/x"),
        ] {
            assert!(!RedirectUri::of_operator(uri).is_ok_and(|uri| rule(name).allows(&uri)), "{name} {uri}");
        }
        assert_eq!(RedirectRule::parse("curser"), None);
    }

    #[test]
    fn as_42_private_use_is_a_list_and_some_schemes_are_never_on_it() {
        let known = PrivateUse::default();
        assert!(
            known.parse("cursor://anysphere.cursor-mcp/oauth/callback").is_ok() && known.parse("https://app.test/cb").is_ok()
        );
        assert_eq!(known.parse("com.corp.app:/oauth"), Err(Reason::RegistrationRedirectScheme));
        let own = PrivateUse::of(vec![RedirectUri::of_operator("com.corp.app:/oauth").unwrap()]);
        assert!(own.parse("com.corp.app:/oauth").is_ok());
        for other in ["com.corp.app:/oauth2", "com.corp.app:/oauth?x", "cursor://anysphere.cursor-mcp/oauth/callback"] {
            assert_eq!(own.parse(other), Err(Reason::RegistrationRedirectScheme), "{other}");
        }
        for never in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "blob:https://a.test/b",
            "about:blank",
            "filesystem:https://a.test/x",
            "view-source:https://a.test/",
            "intent://x#Intent;end",
            "ws://a.test/",
            "wss://a.test/",
            "ftp://a.test/",
            "mailto:a@b.test",
            "http://app.test/cb",
            "chrome://settings",
            "ms-settings:x",
            "com.corp.app:/oauth#f",
            "COM.corp.app:/oauth",
            "com.corp.app:/oauth?code=x",
            "com.corp.app:oauth",
            "com.corp.app://u@host/x",
            "com.corp.app:/a b",
        ] {
            assert!(RedirectUri::of_operator(never).is_err(), "{never}");
        }
    }
}
