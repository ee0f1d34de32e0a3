//! Client ID metadata documents: a client whose id is the https URL of its own metadata (AS-23…39).
//!
//! The rules alone: what such a URL looks like, and what the document behind it must say. The server fetches it.
//!
//! What this module guarantees:
//! - [`DocumentUrl`] is made by [`DocumentUrl::parse`] only; browsers, people and we read the same host in it.
//! - A document goes through the rules of a registration, and through more: whoever controls its URL vouches for it.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use super::{AuthMethod, Client, Proof, RawMetadata};
use crate::error::Reason;
use crate::ids::ClientId;
use crate::time::Timestamp;

/// Largest document (AS-31), in bytes.
pub const DOCUMENT_MAX: usize = 5 * 1024;

/// A client id that is the URL of a metadata document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DocumentUrl {
    id: ClientId,
    host: String,
}

impl DocumentUrl {
    /// Whether a client id claims to be one. Ids that we make never begin so (AS-39).
    #[must_use]
    pub fn is_meant(raw: &str) -> bool {
        raw.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
    }

    /// Accepts an https URL with a path, in the form that the URL standard gives it, without fragment and user name (AS-23).
    ///
    /// # Errors
    /// [`Reason::DocumentUrl`].
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        let id = ClientId::parse(raw).map_err(|_| Reason::DocumentUrl)?;
        let url = Url::parse(raw).map_err(|_| Reason::DocumentUrl)?;
        let host = url.host_str().unwrap_or_default();
        let plain = !raw.contains('\\') && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        // The standard's own form: no dot segments in any spelling, no default port, no capital letters in the host, no backslashes.
        let canonical = url.scheme() == "https" && url.as_str() == raw;
        let named = !host.is_empty() && !host.ends_with('.') && url.path() != "/";
        if plain && canonical && named { Ok(Self { id, host: host.to_owned() }) } else { Err(Reason::DocumentUrl) }
    }

    /// The URL as a client id: compared byte for byte.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// The host that vouches for the client (AS-34).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for DocumentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// What a document says beyond a registration.
#[derive(Deserialize)]
struct Members {
    client_id: Option<String>,
    client_name: Option<String>,
    client_secret: Option<IgnoredAny>,
    client_secret_expires_at: Option<IgnoredAny>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    jwks: Option<Jwks>,
}

#[derive(Deserialize)]
struct Jwks {
    #[serde(default)]
    keys: Vec<Jwk>,
}

/// The members of a key that nobody may publish (RFC 7518 §6).
#[derive(Deserialize)]
struct Jwk {
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

impl Jwk {
    const fn is_secret(&self) -> bool {
        self.d.is_some() || self.p.is_some() || self.q.is_some() || self.k.is_some()
    }
}

/// Reads the document that was found at a URL.
///
/// # Errors
/// [`Reason::DocumentMalformed`] for no JSON object, one that is too large, or one without a name (AS-26); [`Reason::DocumentOtherClient`]
/// when it names another id (AS-25); [`Reason::DocumentSecret`] (AS-32); [`Reason::DocumentAuthMethod`]; and those of
/// [`RawMetadata::check`].
pub fn read(url: &DocumentUrl, body: &[u8], now: Timestamp) -> Result<Client, Reason> {
    if body.len() > DOCUMENT_MAX {
        return Err(Reason::DocumentMalformed);
    }
    let mut metadata = RawMetadata::parse(body).map_err(|_| Reason::DocumentMalformed)?;
    let members: Members = serde_json::from_slice(body).map_err(|_| Reason::DocumentMalformed)?;
    if members.client_id.as_deref() != Some(url.id.as_str()) {
        return Err(Reason::DocumentOtherClient);
    }
    if members.client_name.is_none() {
        return Err(Reason::DocumentMalformed);
    }
    refuse_secrets(&members, metadata.token_endpoint_auth_method.as_deref())?;
    metadata.token_endpoint_auth_method = Some(auth_method(&members, metadata.token_endpoint_auth_method.as_deref())?);
    let registration = metadata.check(now)?;
    Ok(Client { id: url.id.clone(), registration, proof: Proof::Document { host: url.host.clone() } })
}

fn refuse_secrets(members: &Members, method: Option<&str>) -> Result<(), Reason> {
    let secret = members.client_secret.is_some() || members.client_secret_expires_at.is_some();
    let symmetric = method.is_some_and(|method| method.starts_with("client_secret_"));
    let private_key = members.jwks.as_ref().is_some_and(|jwks| jwks.keys.iter().any(Jwk::is_secret));
    if secret || symmetric || private_key { Err(Reason::DocumentSecret) } else { Ok(()) }
}

/// How the client authenticates: not at all, if it allows that. A document has nowhere to keep a shared secret, so leaving the method out
/// means `none` here, not the default of RFC 7591 §2. Keys are not built yet (AS-33).
fn auth_method(members: &Members, method: Option<&str>) -> Result<String, Reason> {
    let none = AuthMethod::None.as_str();
    let allows = members.token_endpoint_auth_methods_supported.as_ref().is_some_and(|all| all.iter().any(|m| m == none));
    if method.is_none_or(|method| method == none) || allows { Ok(none.to_owned()) } else { Err(Reason::DocumentAuthMethod) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const URL: &str = "https://app.test/client.json";
    const NOW: Timestamp = Timestamp::from_seconds(7);

    fn document(edit: impl Fn(&mut Value)) -> Result<Client, Reason> {
        let mut json = json!({ "client_id": URL, "client_name": "App", "redirect_uris": ["https://app.test/cb"] });
        edit(&mut json);
        read(&DocumentUrl::parse(URL)?, json.to_string().as_bytes(), NOW)
    }

    #[test]
    fn as_23_a_167_a_url_in_one_form_only() {
        for good in [URL, "https://app.test:8443/a?b=c", "https://xn--bcher-kva.test/c", "https://app.test/a/"] {
            assert_eq!(DocumentUrl::parse(good).map(|url| url.to_string()), Ok(good.to_owned()));
        }
        assert_eq!(DocumentUrl::parse("https://app.test:8443/a").unwrap().host(), "app.test");
        for bad in [
            "http://app.test/c",
            "HTTPS://app.test/c",
            "https://APP.test/c",
            "https://app.test",
            "https://app.test/",
            "https://app.test./c",
            "https://app.test:443/c",
            "https://app.test/c#f",
            "https://app.test/c#",
            "https://u@app.test/c",
            "https://u:p@app.test/c",
            "https://:p@app.test/c",
            "https://app.test/a/../c",
            "https://app.test/a/%2e%2E/c",
            "https://app.test/./c",
            "https://app.test\\c",
            "https:app.test/c",
            "https:///app.test/c",
            "https://bücher.test/c",
            "https://app.test/a b",
            " https://app.test/c",
            "https://app.test/c\n",
            "https://0x7f.1/c",
            "",
        ] {
            assert_eq!(DocumentUrl::parse(bad), Err(Reason::DocumentUrl), "{bad}");
        }
    }

    #[test]
    fn as_39_our_own_ids_are_never_meant() {
        for (raw, meant) in
            [("https://a/b", true), ("HTTPS://a/b", true), ("http://a/b", false), ("dc_https", false), ("https:/", false)]
        {
            assert_eq!(DocumentUrl::is_meant(raw), meant, "{raw}");
        }
    }

    #[test]
    fn as_25_as_26_a_157_a_document_is_of_its_url_and_whole() {
        let client = document(|_| ()).unwrap();
        assert_eq!((client.id.as_str(), client.proof), (URL, Proof::Document { host: "app.test".to_owned() }));
        assert_eq!(client.registration.auth_method, AuthMethod::None);
        for id in ["https://app.test/client.json/", "https://APP.test/client.json", "https://app.test:443/client.json", ""] {
            assert_eq!(document(|json| json["client_id"] = id.into()).err(), Some(Reason::DocumentOtherClient), "{id}");
        }
        let without = |member: &str| document(|json| drop(json.as_object_mut().unwrap().remove(member))).err();
        assert_eq!(without("client_id"), Some(Reason::DocumentOtherClient));
        assert_eq!(without("client_name"), Some(Reason::DocumentMalformed));
        assert_eq!(without("redirect_uris"), Some(Reason::RegistrationRedirects));
        let url = DocumentUrl::parse(URL).unwrap();
        for body in ["[]", "", "null", "{\"client_id\":\"a\",\"client_id\":\"b\"}"] {
            assert_eq!(read(&url, body.as_bytes(), NOW).err(), Some(Reason::DocumentMalformed), "{body}");
        }
        let padded = |bytes: usize| {
            let body = json!({ "client_id": URL, "client_name": "App", "redirect_uris": ["https://app.test/cb"] }).to_string();
            let padding = " ".repeat(bytes - body.len());
            read(&DocumentUrl::parse(URL).unwrap(), format!("{body}{padding}").as_bytes(), NOW).map(drop)
        };
        assert_eq!((padded(5120), padded(5121)), (Ok(()), Err(Reason::DocumentMalformed)), "AS-31");
    }

    #[test]
    fn as_32_as_33_a_168_no_secrets_and_no_method_that_is_not_built() {
        let secrets: [fn(&mut Value); 6] = [
            |json| json["client_secret"] = "s".into(),
            |json| json["client_secret_expires_at"] = 0.into(),
            |json| json["token_endpoint_auth_method"] = "client_secret_basic".into(),
            |json| json["token_endpoint_auth_method"] = "client_secret_jwt".into(),
            |json| json["jwks"] = json!({ "keys": [{ "kty": "EC" }, { "kty": "EC", "d": "x" }] }),
            |json| json["jwks"] = json!({ "keys": [{ "kty": "oct", "k": "x" }] }),
        ];
        for (number, edit) in secrets.into_iter().enumerate() {
            assert_eq!(document(edit).err(), Some(Reason::DocumentSecret), "{number}");
        }
        let method = |method: &'static str| document(|json| json["token_endpoint_auth_method"] = method.into());
        assert!(method("none").is_ok());
        assert_eq!(method("private_key_jwt").err(), Some(Reason::DocumentAuthMethod));
        let either = document(|json| {
            json["token_endpoint_auth_method"] = "private_key_jwt".into();
            json["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt", "none"]);
        });
        assert_eq!(either.unwrap().registration.auth_method, AuthMethod::None);
        let only_keys = document(|json| {
            json["token_endpoint_auth_method"] = "private_key_jwt".into();
            json["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
        });
        assert_eq!(only_keys.err(), Some(Reason::DocumentAuthMethod));
        assert!(document(|json| json["jwks"] = json!({ "keys": [{ "kty": "EC", "x": "x" }] })).is_ok());
        for member in ["d", "p", "q", "k"] {
            let published = document(|json| json["jwks"] = json!({ "keys": [{ "kty": "RSA", member: "x" }] }));
            assert_eq!(published.err(), Some(Reason::DocumentSecret), "{member}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What is accepted is what a browser reads.
        #[test]
        fn as_23_an_accepted_url_is_its_own_reading(raw in "https://[a-zA-Z0-9.:@\\[\\]%_-]{1,12}/[a-z./%2eE?#\\\\-]{0,10}") {
            if let Ok(document) = DocumentUrl::parse(&raw) {
                let url = Url::parse(&raw).unwrap();
                prop_assert_eq!(url.as_str(), &raw);
                prop_assert_eq!(url.host_str().unwrap(), document.host());
                let (authority, path) = raw["https://".len()..].split_once('/').unwrap();
                prop_assert!(!raw.contains(['#', '\\']) && !authority.contains('@'));
                prop_assert!(path.split('?').next().unwrap().split('/').all(|segment| !matches!(segment, "." | "..")));
            }
        }
    }
}
