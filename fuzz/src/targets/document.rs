//! Client metadata documents: the URL that is a client's id, a line break, then the document.

use deputy_protocol::Issuer;
use deputy_protocol::client::document::{DOCUMENT_MAX, DocumentUrl, read};
use deputy_protocol::client::{AuthMethod, Proof, RawMetadata};
use deputy_protocol::redirect::match_redirect;
use url::Url;

use super::NOW;

pub fn run(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (raw, json) = (&input[..end], &input[end + 1..]);
    let Ok(raw) = std::str::from_utf8(raw) else { return };
    let Ok(url) = DocumentUrl::parse(raw) else { return };
    one_reading(&url, raw);
    let Ok(document) = read(&url, json, NOW) else { return };
    let client = document.client;
    assert!(json.len() <= DOCUMENT_MAX);
    assert_eq!(client.id.as_str(), raw);
    assert_eq!(client.proof, Proof::Document { host: url.host().to_owned() });
    assert!(matches!(client.registration.auth_method, AuthMethod::None | AuthMethod::PrivateKeyJwt));
    let Some(said) = super::second_reading(json) else { return };
    assert_eq!(said["client_id"], raw);
    assert!(said["client_name"].is_string() && said.get("client_secret").is_none_or(serde_json::Value::is_null));
    super::register::name(&client.registration.name);
    super::register::redirects(&client.registration, &said);
    // What a document may say, a registration may say.
    assert_eq!(RawMetadata::parse(json).map(drop), Ok(()));
    let issuer = Issuer::parse("https://mcp.test").unwrap();
    for uri in &client.registration.redirect_uris {
        assert!(match_redirect(&client.registration.redirect_uris, Some(uri.as_str()), None, &issuer).is_ok(), "{uri:?}");
    }
}

/// People, browsers and we read the same host in it.
fn one_reading(url: &DocumentUrl, raw: &str) {
    let read = Url::parse(raw).unwrap();
    assert_eq!(read.as_str(), raw);
    assert_eq!((read.scheme(), read.host_str()), ("https", Some(url.host())));
    assert!(read.username().is_empty() && read.password().is_none() && read.fragment().is_none());
    assert!(raw.is_ascii() && raw.starts_with("https://") && !raw.contains(['\\', '#', ' ']));
    assert!(DocumentUrl::is_meant(raw));
}
