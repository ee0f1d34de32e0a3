//! What a protected resource answers to a request that it does not let in: `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1).
//!
//! Written for naive parsers (RS-19): one line, `Bearer` first, every value in double quotes, no escapes, and no `scope=` in the
//! description (a test in [`crate::error`] holds the last one).

use std::fmt::{self, Write as _};

use crate::error::Reason;
use crate::resource::ResourceUri;
use crate::scope::Scopes;

/// Where the metadata of `resource` lives: its path goes behind the well-known prefix, on the same origin (RFC 9728 §3.1, RS-20).
#[must_use]
pub fn metadata_url(resource: &ResourceUri) -> String {
    const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
    let uri = resource.as_str();
    let authority = uri.find("://").map_or(0, |at| at + 3);
    let path = uri.get(authority..).and_then(|rest| rest.find(['/', '?'])).map_or(uri.len(), |at| authority + at);
    let (origin, rest) = uri.split_at(path);
    format!("{origin}{WELL_KNOWN}{rest}")
}

/// A refusal in the terms of RFC 6750.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    reason: Reason,
    metadata: String,
    scopes: Scopes,
}

impl Challenge {
    /// The challenge for a request that was refused for `reason`. `scopes` is what the client should ask for.
    #[must_use]
    pub fn new(reason: Reason, resource: &ResourceUri, scopes: &Scopes) -> Self {
        Self { reason, metadata: metadata_url(resource), scopes: scopes.clone() }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The HTTP status: 400 for a malformed request (RS-15), 403 for too little scope (RS-12), otherwise 401.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.error() {
            Some("invalid_request") => 400,
            Some("insufficient_scope") => 403,
            _ => 401,
        }
    }

    /// The error code; none when no credentials were sent (RFC 6750 §3, RS-11).
    #[must_use]
    pub fn error(&self) -> Option<&'static str> {
        if self.reason == Reason::TokenMissing {
            None
        } else if self.reason == Reason::AuthorizationMalformed {
            Some("invalid_request")
        } else if self.reason == Reason::ScopeInsufficient {
            Some("insufficient_scope")
        } else {
            Some("invalid_token")
        }
    }
}

/// The value of the `WWW-Authenticate` header.
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer resource_metadata=\"")?;
        // A URL has no quote; a backslash can stand in a query. Neither may end the quoted string.
        for character in self.metadata.chars() {
            match character {
                '"' => f.write_str("%22")?,
                '\\' => f.write_str("%5C")?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')?;
        let scopes: Vec<&str> = self.scopes.iter().filter(|scope| *scope != "offline_access").collect();
        if !scopes.is_empty() {
            write!(f, ", scope=\"{}\"", scopes.join(" "))?;
        }
        if let Some(error) = self.error() {
            write!(f, ", error=\"{error}\", error_description=\"{}\"", self.reason.message())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(reason: Reason, resource: &str, scopes: &str) -> Challenge {
        Challenge::new(reason, &ResourceUri::parse(resource).unwrap(), &Scopes::parse(scopes).unwrap())
    }

    #[test]
    fn rs_11_without_credentials_there_is_no_error() {
        let bare = challenge(Reason::TokenMissing, "https://h/mcp", "read write");
        let text = r#"Bearer resource_metadata="https://h/.well-known/oauth-protected-resource/mcp", scope="read write""#;
        assert_eq!((bare.status(), bare.to_string().as_str()), (401, text));
    }

    #[test]
    fn rs_10_rs_12_rs_15_each_refusal_has_its_code() {
        let full = challenge(Reason::TokenExpired, "https://h/mcp", "mcp");
        let text = concat!(
            r#"Bearer resource_metadata="https://h/.well-known/oauth-protected-resource/mcp", scope="mcp", "#,
            r#"error="invalid_token", error_description="The access token has expired.""#
        );
        assert_eq!((full.status(), full.to_string().as_str()), (401, text));
        for (reason, status, error) in [
            (Reason::AuthorizationMalformed, 400, "invalid_request"),
            (Reason::ScopeInsufficient, 403, "insufficient_scope"),
            (Reason::TokenRevoked, 401, "invalid_token"),
            (Reason::TokenAudience, 401, "invalid_token"),
        ] {
            let challenge = challenge(reason, "https://h/mcp", "mcp");
            assert_eq!(challenge.status(), status);
            assert!(challenge.to_string().contains(&format!("error=\"{error}\"")), "{challenge}");
        }
    }

    #[test]
    fn rs_05_offline_access_is_never_asked_for() {
        let text = challenge(Reason::TokenMissing, "https://h/mcp", "mcp offline_access").to_string();
        assert!(text.ends_with(r#"scope="mcp""#), "{text}");
        assert!(!challenge(Reason::TokenMissing, "https://h/mcp", "offline_access").to_string().contains("scope="));
    }

    #[test]
    fn rs_19_no_value_can_break_out_of_its_quotes() {
        for reason in Reason::ALL {
            let text = challenge(*reason, r#"https://h/a"b\c?d"e\f"#, "mcp").to_string();
            assert!(text.starts_with("Bearer resource_metadata=\"https://h/.well-known/oauth-protected-resource/a"), "{text}");
            assert!(!text.contains('\\') && text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{text}");
            assert_eq!(text.matches('"').count() % 2, 0, "{text}");
            assert_eq!(text.matches("scope=").count(), 1, "{text}");
        }
    }

    #[test]
    fn rs_20_the_metadata_is_on_the_same_origin() {
        let of = |raw: &str| metadata_url(&ResourceUri::parse(raw).unwrap());
        assert_eq!(of("https://h"), "https://h/.well-known/oauth-protected-resource");
        assert_eq!(of("http://localhost:8000/a/mcp"), "http://localhost:8000/.well-known/oauth-protected-resource/a/mcp");
        assert_eq!(of("https://h/mcp?a=/b"), "https://h/.well-known/oauth-protected-resource/mcp?a=/b");
    }
}
