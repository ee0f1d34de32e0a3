//! Clients: the metadata that they register, checked once, and what we know of one afterwards (RFC 7591; AS-43…47).

pub mod assertion;
pub mod document;
pub mod policy;

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Reason;
use crate::ids::ClientId;
use crate::redirect::{Destination, PrivateUse, RedirectUri};
use crate::time::Timestamp;

/// Most redirect URIs in one registration.
pub const REDIRECT_URIS_MAX: usize = 20;
/// Longest name that is shown, in characters.
const NAME_MAX: usize = 64;

/// How a client authenticates at the token endpoint (RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthMethod {
    /// Not at all: a public client, which PKCE and rotation protect.
    #[serde(rename = "none")]
    None,
    /// With a secret in the `Authorization` header.
    #[serde(rename = "client_secret_basic")]
    SecretBasic,
    /// With a secret in the form.
    #[serde(rename = "client_secret_post")]
    SecretPost,
    /// With an assertion that it signs with a key of its own (RFC 7523 §2.2).
    #[serde(rename = "private_key_jwt")]
    PrivateKeyJwt,
}

impl AuthMethod {
    /// Every method, as published in our metadata.
    pub const ALL: [Self; 4] = [Self::None, Self::SecretBasic, Self::SecretPost, Self::PrivateKeyJwt];

    /// The registered name of the method.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SecretBasic => "client_secret_basic",
            Self::SecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }
}

/// A client's name, fit to be shown: no control, direction or invisible characters, and not endless (AS-47, A-019).
///
/// It stays what the client says of itself; only an escaping template may render it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DisplayName(String);

impl DisplayName {
    /// Cleans a name; what is left of nothing is "Unnamed client".
    #[must_use]
    pub fn clean(raw: &str) -> Self {
        let visible: String =
            raw.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|&c| !is_deceptive(c)).collect();
        let collapsed = calm(&visible).split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        if !collapsed.chars().any(char::is_alphanumeric) {
            return Self("Unnamed client".to_owned());
        }
        match collapsed.char_indices().nth(NAME_MAX) {
            Some((cut, _)) => Self(format!("{}…", collapsed.get(..cut).unwrap_or_default().trim_end())),
            None => Self(collapsed),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Most marks that one letter may carry: real writing needs two, and towers of them cover the lines above and below.
const MARKS_MAX: usize = 2;

/// The text without the marks that are too many.
fn calm(text: &str) -> String {
    let mut marks = 0;
    let keep = |c: &char| {
        marks = if is_mark(*c) { marks + 1 } else { 0 };
        marks <= MARKS_MAX
    };
    text.chars().filter(keep).collect()
}

/// Marks that combine with the letter before them: the blocks that Unicode keeps for them.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Characters that change how their neighbours look, or cannot be seen: controls, direction marks, joiners, fillers, tags, private use.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2800}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// Client metadata as a client sends it to `/register` (RFC 7591 §2). Unknown members are ignored, repeated ones refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawMetadata {
    redirect_uris: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    client_name: Option<String>,
    application_type: Option<String>,
    client_uri: Option<String>,
    logo_uri: Option<String>,
    tos_uri: Option<String>,
    policy_uri: Option<String>,
    jwks_uri: Option<String>,
}

/// Client metadata that passed every rule: what a registration is.
///
/// Written compactly, because a sealed copy of it is the client's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// What the client calls itself.
    #[serde(rename = "n")]
    pub name: DisplayName,
    /// Where answers may go, as sent.
    #[serde(rename = "r")]
    pub redirect_uris: Vec<RedirectUri>,
    /// How it authenticates.
    #[serde(rename = "a")]
    pub auth_method: AuthMethod,
    /// Whether it registered for refresh tokens (AS-88).
    #[serde(rename = "f")]
    pub refresh: bool,
    /// `application_type`, when it sent one (SEP-837).
    #[serde(rename = "t", skip_serializing_if = "Option::is_none", default)]
    pub application_type: Option<ApplicationType>,
    /// When it registered.
    #[serde(rename = "i")]
    pub issued_at: Timestamp,
}

/// `application_type` of OpenID Connect registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationType {
    /// Runs on the person's machine.
    Native,
    /// Runs on a web server.
    Web,
}

impl RawMetadata {
    /// Reads the body of a registration request.
    ///
    /// # Errors
    /// [`Reason::RegistrationMalformed`] unless it is a JSON object whose members have the right types.
    pub fn parse(json: &[u8]) -> Result<Self, Reason> {
        // serde_json skips over broken UTF-8 in members that nobody reads (RFC 8259 §8.1).
        let text = std::str::from_utf8(json).map_err(|_| Reason::RegistrationMalformed)?;
        // serde would also read a list as this struct, member by member.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Reason::RegistrationMalformed);
        }
        serde_json::from_str(text).map_err(|_| Reason::RegistrationMalformed)
    }

    /// Applies every rule at once (AS-40…47). What the client did not say is filled in and returned to it.
    ///
    /// # Errors
    /// One of the `Registration…` reasons.
    pub fn check(self, now: Timestamp) -> Result<Registration, Reason> {
        self.check_among(&PrivateUse::default(), now)
    }

    /// [`RawMetadata::check`], with the private-use redirect URIs that the operator allows.
    ///
    /// # Errors
    /// One of the `Registration…` reasons.
    pub fn check_among(self, private_use: &PrivateUse, now: Timestamp) -> Result<Registration, Reason> {
        let application_type = match self.application_type.as_deref() {
            None => None,
            Some("native") => Some(ApplicationType::Native),
            Some("web") => Some(ApplicationType::Web),
            Some(_) => return Err(Reason::RegistrationMalformed),
        };
        let redirect_uris = check_redirects(self.redirect_uris.unwrap_or_default(), application_type, private_use)?;
        // RFC 7591 §2: the default is client_secret_basic, so a secret is issued to whoever does not say `none`.
        let auth_method = match self.token_endpoint_auth_method.as_deref() {
            None | Some("client_secret_basic") => AuthMethod::SecretBasic,
            Some("client_secret_post") => AuthMethod::SecretPost,
            Some("none") => AuthMethod::None,
            // Who registers itself has no keys here that anybody vouches for.
            Some(_) => return Err(Reason::RegistrationAuthMethod),
        };
        let refresh = check_grants(self.grant_types.as_deref(), self.response_types.as_deref())?;
        for uri in [self.client_uri, self.logo_uri, self.tos_uri, self.policy_uri, self.jwks_uri].into_iter().flatten() {
            check_link(&uri)?;
        }
        let name = DisplayName::clean(&self.client_name.unwrap_or_default());
        Ok(Registration { name, redirect_uris, auth_method, refresh, application_type, issued_at: now })
    }
}

fn check_redirects(
    raw: Vec<String>,
    application_type: Option<ApplicationType>,
    private_use: &PrivateUse,
) -> Result<Vec<RedirectUri>, Reason> {
    if raw.is_empty() || raw.len() > REDIRECT_URIS_MAX {
        return Err(Reason::RegistrationRedirects);
    }
    let uris = raw.iter().map(|raw| private_use.parse(raw)).collect::<Result<Vec<_>, _>>()?;
    let for_web = application_type == Some(ApplicationType::Web);
    if for_web && uris.iter().any(|uri| uri.destination() != Destination::Web) {
        return Err(Reason::RegistrationRedirectNotForWeb);
    }
    Ok(uris)
}

/// Whether refresh tokens were asked for. A client that names no grant types gets both, and is told so: nobody is logged out because
/// a client left out a default. Grant types that do not exist here are left out of what is returned (A-156).
fn check_grants(grants: Option<&[String]>, responses: Option<&[String]>) -> Result<bool, Reason> {
    let code = responses.is_none_or(|types| types.iter().any(|t| t == "code"));
    let Some(grants) = grants else { return if code { Ok(true) } else { Err(Reason::RegistrationGrantTypes) } };
    let has = |wanted: &str| grants.iter().any(|grant| grant == wanted);
    if code && has("authorization_code") { Ok(has("refresh_token")) } else { Err(Reason::RegistrationGrantTypes) }
}

/// Links of a client are neither fetched nor shown, but a script in one is refused rather than ignored (A-051).
fn check_link(raw: &str) -> Result<(), Reason> {
    let url = Url::parse(raw).map_err(|_| Reason::RegistrationUri)?;
    if matches!(url.scheme(), "https" | "http") { Ok(()) } else { Err(Reason::RegistrationUri) }
}

/// A client that was found: whoever asks under this id.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its id, as presented.
    pub id: ClientId,
    /// What it registered.
    pub registration: Registration,
    /// Who vouches for that.
    pub proof: Proof,
}

/// Who vouches for what a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nobody: it registered itself.
    None,
    /// Whoever controls the host that its metadata document lives at.
    Document {
        /// The host.
        host: String,
    },
    /// The operator of this deployment, who registered it in the configuration.
    Operator,
}

/// The body of a successful registration (RFC 7591 §3.2.1).
#[derive(Debug, Serialize)]
pub struct RegistrationResponse<'a> {
    client_id: &'a str,
    client_id_issued_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    /// Zero: a derived secret does not expire before its client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
    client_name: &'a str,
    redirect_uris: &'a [RedirectUri],
    token_endpoint_auth_method: AuthMethod,
    grant_types: &'static [&'static str],
    response_types: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    application_type: Option<ApplicationType>,
}

impl<'a> RegistrationResponse<'a> {
    /// States what was registered.
    #[must_use]
    pub fn new(client: &'a Client, secret: Option<&'a str>) -> Self {
        let registration = &client.registration;
        let grant_types: &[&str] =
            if registration.refresh { &["authorization_code", "refresh_token"] } else { &["authorization_code"] };
        Self {
            client_id: client.id.as_str(),
            client_id_issued_at: registration.issued_at,
            client_secret: secret,
            client_secret_expires_at: secret.map(|_| 0),
            client_name: registration.name.as_str(),
            redirect_uris: &registration.redirect_uris,
            token_endpoint_auth_method: registration.auth_method,
            grant_types,
            response_types: ["code"],
            application_type: registration.application_type,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn register(metadata: &Value) -> Result<Registration, Reason> {
        RawMetadata::parse(metadata.to_string().as_bytes())?.check(NOW)
    }

    #[test]
    fn cursor_registers_three_uris_at_once() {
        let uris = [
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ];
        let registration = register(&json!({"redirect_uris": uris, "token_endpoint_auth_method": "none"})).unwrap();
        let echoed: Vec<_> = registration.redirect_uris.iter().map(RedirectUri::as_str).collect();
        assert_eq!(echoed, uris);
        assert!(registration.refresh);
    }

    #[test]
    fn a_146_malformed_metadata_is_refused() {
        for (metadata, reason) in [
            (json!({}), Reason::RegistrationRedirects),
            (json!({"redirect_uris": []}), Reason::RegistrationRedirects),
            (json!({"redirect_uris": "https://a.test/cb"}), Reason::RegistrationMalformed),
            (json!({"redirect_uris": vec!["https://a.test/cb"; 100]}), Reason::RegistrationRedirects),
            (json!({"redirect_uris": [1]}), Reason::RegistrationMalformed),
            (json!({"redirect_uris": ["https://a.test/cb"], "client_name": 1}), Reason::RegistrationMalformed),
            (json!({"redirect_uris": ["https://a.test/cb"], "logo_uri": "javascript:x"}), Reason::RegistrationUri),
            (
                json!({"redirect_uris": ["https://a.test/cb"], "token_endpoint_auth_method": "private_key_jwt"}),
                Reason::RegistrationAuthMethod,
            ),
            (json!({"redirect_uris": ["https://a.test/cb"], "response_types": ["token"]}), Reason::RegistrationGrantTypes),
            (json!({"redirect_uris": ["https://a.test/cb"], "grant_types": ["password"]}), Reason::RegistrationGrantTypes),
        ] {
            assert_eq!(register(&metadata).err(), Some(reason), "{metadata}");
        }
        let twice = br#"{"redirect_uris":["https://a.test/cb"],"redirect_uris":["https://evil.test/cb"]}"#;
        assert_eq!(RawMetadata::parse(twice).err(), Some(Reason::RegistrationMalformed));
        for raw in [&b"{\"redirect_uris\":[\"https://a.test/cb\"],\"x\":\"\xaf\"}"[..], b"[[\"https://a.test/cb\"]]"] {
            assert_eq!(RawMetadata::parse(raw).err(), Some(Reason::RegistrationMalformed), "{raw:?}");
        }
        // An unknown member is skipped without recursion, however deep.
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(RawMetadata::parse(deep.as_bytes()).is_ok());
        assert!(register(&json!({"redirect_uris": ["https://a.test/cb"], "software_statement": "x.y.z", "foo": {}})).is_ok());
    }

    #[test]
    fn a_055_a_web_client_has_no_loopback_redirect() {
        let loopback = json!(["http://localhost/cb"]);
        assert_eq!(
            register(&json!({"redirect_uris": loopback, "application_type": "web"})).err(),
            Some(Reason::RegistrationRedirectNotForWeb)
        );
        assert!(register(&json!({"redirect_uris": loopback, "application_type": "native"})).is_ok());
        assert!(register(&json!({"redirect_uris": loopback})).is_ok());
        assert_eq!(
            register(&json!({"redirect_uris": ["http://app.test/cb"], "application_type": "native"})).err(),
            Some(Reason::RegistrationRedirectScheme)
        );
    }

    #[test]
    fn a_156_what_does_not_exist_here_is_not_registered() {
        let registration = register(
            &json!({"redirect_uris": ["https://a.test/cb"], "grant_types": ["authorization_code", "implicit", "password"]}),
        )
        .unwrap();
        assert!(!registration.refresh);
        let client = Client { id: ClientId::parse("x").unwrap(), registration, proof: Proof::None };
        let response = serde_json::to_value(RegistrationResponse::new(&client, None)).unwrap();
        assert_eq!(response["grant_types"], json!(["authorization_code"]));
        assert!(response.get("client_secret").is_none());
    }

    #[test]
    fn a_019_names_are_cleaned() {
        assert_eq!(DisplayName::clean("Cla\u{202e}edu\u{200b}").as_str(), "Claedu");
        assert_eq!(DisplayName::clean(" \u{200b}\t\n").as_str(), "Unnamed client");
        assert_eq!(DisplayName::clean("Visual  Studio\tCode").as_str(), "Visual Studio Code");
        assert_eq!(DisplayName::clean(&"x".repeat(5000)).as_str().chars().count(), NAME_MAX + 1);
        assert_eq!(DisplayName::clean("<script>").as_str(), "<script>");
        for nothing in ["\u{2800}\u{2800}", "\u{1d173}", "\u{1bca0}", "\u{13430}", "...", "\u{301}\u{301}"] {
            assert_eq!(DisplayName::clean(nothing).as_str(), "Unnamed client", "{nothing:?}");
        }
        assert_eq!(DisplayName::clean("e\u{301}\u{302}\u{303}\u{304}f\u{301}").as_str(), "e\u{301}\u{302}f\u{301}");
    }

    #[test]
    fn a_registration_has_up_to_twenty_addresses() {
        let many = |count: usize| {
            let uris: Vec<String> = (0..count).map(|n| format!("https://a.test/{n}")).collect();
            register(&json!({ "redirect_uris": uris })).map(|registration| registration.redirect_uris.len())
        };
        assert_eq!(many(20), Ok(20));
        assert_eq!(many(21), Err(Reason::RegistrationRedirects));
        assert_eq!(DisplayName::clean("App").to_string(), "App");
    }
}
