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
use serde_json::value::RawValue;
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
    jwks: Option<Box<RawValue>>,
    jwks_uri: Option<String>,
}

/// A document that was found good.
#[derive(Clone, Debug)]
pub struct Document {
    /// The client that it is about.
    pub client: Client,
    /// How that client proves that it is itself.
    pub auth: DocumentAuth,
}

/// How a client with a document proves that it is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentAuth {
    /// Not at all.
    None,
    /// With an assertion, signed with one of its keys.
    Keys {
        /// Its keys.
        keys: DocumentKeys,
        /// Whether it has to. A document that allows `none` beside `private_key_jwt` lets its client come without (AS-33).
        required: bool,
    },
}

/// The keys of a client with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentKeys {
    /// They stand in the document: a key set as JSON.
    Here(String),
    /// They are to be fetched from this URL.
    At(String),
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
pub fn read(url: &DocumentUrl, body: &[u8], now: Timestamp) -> Result<Document, Reason> {
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
    let auth = auth(members, metadata.token_endpoint_auth_method.as_deref())?;
    // What a registration may say of its own; a document may say more.
    metadata.token_endpoint_auth_method = Some(AuthMethod::None.as_str().to_owned());
    let mut registration = metadata.check(now)?;
    if matches!(auth, DocumentAuth::Keys { .. }) {
        registration.auth_method = AuthMethod::PrivateKeyJwt;
    }
    let client = Client { id: url.id.clone(), registration, proof: Proof::Document { host: url.host.clone() } };
    Ok(Document { client, auth })
}

fn refuse_secrets(members: &Members, method: Option<&str>) -> Result<(), Reason> {
    let jwks = members.jwks.as_ref().map(|raw| serde_json::from_str::<Jwks>(raw.get())).transpose();
    let jwks = jwks.map_err(|_| Reason::DocumentMalformed)?;
    let secret = members.client_secret.is_some() || members.client_secret_expires_at.is_some();
    let symmetric = method.is_some_and(|method| method.starts_with("client_secret_"));
    let private_key = jwks.is_some_and(|jwks| jwks.keys.iter().any(Jwk::is_secret));
    if secret || symmetric || private_key { Err(Reason::DocumentSecret) } else { Ok(()) }
}

/// How the client authenticates. A document has nowhere to keep a shared secret, so one that says nothing of methods and keys means `none`, not
/// the default of RFC 7591 §2; one that says nothing of methods and names keys means them. Where it allows both methods it is the client that
/// chooses, request by request.
fn auth(members: Members, method: Option<&str>) -> Result<DocumentAuth, Reason> {
    let [none, keys] = [AuthMethod::None, AuthMethod::PrivateKeyJwt].map(AuthMethod::as_str);
    let listed = members.token_endpoint_auth_methods_supported.unwrap_or_default();
    let unsaid = if members.jwks.is_some() || members.jwks_uri.is_some() { keys } else { none };
    let said = method.or_else(|| listed.is_empty().then_some(unsaid));
    let allows = |wanted: &str| said == Some(wanted) || listed.iter().any(|method| method == wanted);
    let published = match (members.jwks, members.jwks_uri) {
        _ if !allows(keys) => None,
        // RFC 7591 §2: not both.
        (Some(_), Some(_)) => return Err(Reason::DocumentKeys),
        (Some(here), None) => Some(DocumentKeys::Here(here.get().to_owned())),
        (None, Some(at)) => Some(DocumentKeys::At(at)),
        (None, None) => None,
    };
    match published {
        Some(keys) => Ok(DocumentAuth::Keys { keys, required: !allows(none) }),
        None if allows(none) => Ok(DocumentAuth::None),
        None if allows(keys) => Err(Reason::DocumentKeys),
        None => Err(Reason::DocumentAuthMethod),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const URL: &str = "https://app.test/client.json";
    const NOW: Timestamp = Timestamp::from_seconds(7);

    fn document(edit: impl Fn(&mut Value)) -> Result<Document, Reason> {
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
        let client = document(|_| ()).unwrap().client;
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
    fn as_32_as_33_a_168_no_secrets_in_public() {
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
        assert!(document(|json| json["jwks"] = json!({ "keys": [{ "kty": "EC", "x": "x" }] })).is_ok());
        for member in ["d", "p", "q", "k"] {
            let published = document(|json| json["jwks"] = json!({ "keys": [{ "kty": "RSA", member: "x" }] }));
            assert_eq!(published.err(), Some(Reason::DocumentSecret), "{member}");
        }
    }

    #[test]
    fn as_33_a_169_who_names_keys_proves_itself_with_them_unless_it_may_come_without() {
        let auth = |methods: &[&str], members: Value| {
            let read = document(|json| {
                let (first, listed) = methods.split_first().unwrap();
                json["token_endpoint_auth_method"] = (*first).into();
                json["token_endpoint_auth_methods_supported"] = json!(listed);
                json.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            });
            read.map(|document| (document.auth, document.client.registration.auth_method))
        };
        let at = || json!({ "jwks_uri": "https://app.test/keys" });
        let keys = |required: bool| {
            let keys = DocumentKeys::At("https://app.test/keys".to_owned());
            Ok((DocumentAuth::Keys { keys, required }, AuthMethod::PrivateKeyJwt))
        };
        for (methods, required) in [
            (&["private_key_jwt"][..], true),
            (&["private_key_jwt", "private_key_jwt"], true),
            (&["private_key_jwt", "private_key_jwt", "none"], false),
            (&["none", "private_key_jwt"], false),
            (&["tls_client_auth", "private_key_jwt"], true),
        ] {
            assert_eq!(auth(methods, at()), keys(required), "{methods:?}");
        }
        assert_eq!(auth(&["none"], at()), Ok((DocumentAuth::None, AuthMethod::None)));
        assert_eq!(auth(&["none", "private_key_jwt"], json!({})), Ok((DocumentAuth::None, AuthMethod::None)));
        assert_eq!(auth(&["private_key_jwt"], json!({})), Err(Reason::DocumentKeys));
        assert_eq!(auth(&["tls_client_auth"], at()), Err(Reason::DocumentAuthMethod));
        // What is left unsaid: keys mean themselves, a list means what is in it, and nothing means none.
        let unsaid = |members: Value| document(|json| json.as_object_mut().unwrap().extend(members.as_object().unwrap().clone()));
        let listed = |methods: Value| {
            let mut members = at();
            members["token_endpoint_auth_methods_supported"] = methods;
            members
        };
        for (members, required) in
            [(at(), true), (listed(json!(["private_key_jwt"])), true), (listed(json!(["none", "private_key_jwt"])), false)]
        {
            let read = unsaid(members.clone()).unwrap().auth;
            assert!(matches!(read, DocumentAuth::Keys { required: it, .. } if it == required), "{members} {read:?}");
        }
        assert_eq!(unsaid(json!({})).unwrap().auth, DocumentAuth::None);
        assert_eq!(unsaid(listed(json!(["tls_client_auth"]))).err(), Some(Reason::DocumentAuthMethod));
        let here = json!({ "jwks": { "keys": [{ "kty": "EC" }] } });
        let read = auth(&["private_key_jwt"], here.clone()).unwrap().0;
        let DocumentAuth::Keys { keys: DocumentKeys::Here(text), required: true } = read else { panic!("{read:?}") };
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), here["jwks"]);
        let both = json!({ "jwks": { "keys": [] }, "jwks_uri": "https://app.test/keys" });
        assert_eq!(auth(&["private_key_jwt"], both), Err(Reason::DocumentKeys));
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
