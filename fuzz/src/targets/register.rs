//! The body of `/register`, and the sealed client id that comes of it.

use std::sync::LazyLock;

use deputy_protocol::client::{ApplicationType, DisplayName, RawMetadata, Registration};
use deputy_protocol::ids::CLIENT_ID_MAX;
use deputy_protocol::redirect::{Destination, RedirectUri};
use deputy_server::probes::Boxes;
use serde_json::Value;

use super::NOW;

static BOXES: LazyLock<Boxes> = LazyLock::new(|| Boxes::new(&[7; 32]).unwrap());

pub fn run(json: &[u8]) {
    let Ok(raw) = RawMetadata::parse(json) else { return };
    let Ok(registration) = raw.check(NOW) else { return };
    let Some(said) = super::second_reading(json) else { return };
    redirects(&registration, &said);
    name(&registration.name);
    for link in ["client_uri", "logo_uri", "tos_uri", "policy_uri", "jwks_uri"] {
        if let Some(raw) = said[link].as_str() {
            assert!(matches!(url::Url::parse(raw).unwrap().scheme(), "http" | "https"), "{raw}");
        }
    }
    let copy: Registration = serde_json::from_slice(&serde_json::to_vec(&registration).unwrap()).unwrap();
    assert_eq!(copy, registration);
    if let Ok(client) = BOXES.register(registration.clone()) {
        assert!(client.id.as_str().len() <= CLIENT_ID_MAX);
        assert_eq!(BOXES.resolve(client.id.as_str()).unwrap().registration, registration);
    }
}

pub(super) fn redirects(registration: &Registration, said: &Value) {
    let sent: Vec<&str> = said["redirect_uris"].as_array().unwrap().iter().map(|uri| uri.as_str().unwrap()).collect();
    let kept: Vec<&str> = registration.redirect_uris.iter().map(RedirectUri::as_str).collect();
    assert_eq!(sent, kept);
    assert!((1..=20).contains(&kept.len()));
    for uri in &registration.redirect_uris {
        assert_eq!(RedirectUri::parse(uri.as_str()).as_ref(), Ok(uri));
        let read = url::Url::parse(uri.as_str()).unwrap();
        assert!(matches!(read.scheme(), "https" | "http" | "cursor"), "{read}");
        let web = registration.application_type == Some(ApplicationType::Web);
        assert!(!web || uri.destination() == Destination::Web);
    }
}

/// Nothing in a name moves or hides its neighbours: by Unicode's own list of what a reader cannot see.
pub(super) fn name(name: &DisplayName) {
    let text = name.as_str();
    assert!(!text.is_empty() && text.chars().count() <= 65, "{text:?}");
    assert!(text.trim() == text && !text.contains("  "), "{text:?}");
    for c in text.chars() {
        let hidden = c.is_control()
            || matches!(u32::from(c), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f
                | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe0fff | 0x600..=0x605 | 0x6dd | 0x70f | 0x8e2 | 0x110bd | 0x1bca0..=0x1bca3
                | 0x1d173..=0x1d17a | 0x13430..=0x1343f);
        assert!(!hidden, "{text:?} has U+{:04X}", u32::from(c));
        assert!(!c.is_whitespace() || c == ' ', "{text:?}");
    }
}
