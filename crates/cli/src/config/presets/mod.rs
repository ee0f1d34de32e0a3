//! What is known of providers, as data: a file for each, which says where each of its values comes from.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::suggest;

/// What a provider calls what it says about a person.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) id: String,
    pub(super) email: Option<String>,
    pub(super) email_verified: Option<String>,
    pub(super) name: Option<String>,
    pub(super) groups: Option<String>,
}

/// One file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Preset {
    /// What people call the provider; by default its host.
    pub(super) label: Option<String>,
    /// Its issuer. What stands in braces, the operator says.
    pub(super) issuer: Option<String>,
    /// Where a provider without ID tokens sends people, gives tokens, and says whose they are.
    pub(super) authorization_endpoint: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) userinfo_endpoint: Option<String>,
    /// What it calls what it says there.
    pub(super) claims: Option<Claims>,
    /// The scopes to ask for.
    pub(super) scopes: Vec<String>,
    /// Whether to ask for `offline_access` where the provider says that it knows it.
    #[serde(default = "yes")]
    pub(super) offline_access: bool,
    /// Whether the userinfo endpoint knows more than the ID token.
    #[serde(default)]
    pub(super) userinfo: bool,
    /// Whether anybody can have an account there.
    #[serde(default)]
    pub(super) open_to_everybody: bool,
    /// Further parameters of the request that sends people there.
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, String>,
    /// What stands in braces when the operator says nothing.
    #[serde(default)]
    pub(super) defaults: BTreeMap<String, String>,
}

const fn yes() -> bool {
    true
}

const FILES: &[(&str, &str)] = &[
    ("google", include_str!("google.toml")),
    ("okta", include_str!("okta.toml")),
    ("auth0", include_str!("auth0.toml")),
    ("keycloak", include_str!("keycloak.toml")),
    ("cognito", include_str!("cognito.toml")),
    ("gitlab", include_str!("gitlab.toml")),
    ("workos", include_str!("workos.toml")),
    ("authentik", include_str!("authentik.toml")),
    ("zitadel", include_str!("zitadel.toml")),
    ("discord", include_str!("discord.toml")),
    ("oidc", include_str!("oidc.toml")),
    (OAUTH2, include_str!("oauth2.toml")),
];

/// The providers that have rooms of their own in the code.
pub(super) const ENTRA: &str = "entra";
pub(super) const GITHUB: &str = "github";
/// Whoever has neither metadata nor ID tokens.
pub(super) const OAUTH2: &str = "oauth2";

/// The names that `provider` may have.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    [ENTRA, GITHUB].into_iter().chain(FILES.iter().map(|(name, _)| *name))
}

/// The preset of this name.
///
/// # Errors
/// What to write instead.
pub(super) fn named(name: &str) -> Result<Preset, String> {
    let Some((_, text)) = FILES.iter().find(|(known, _)| *known == name) else {
        let meant = suggest::nearest(name, names()).map(|meant| format!(" Did you mean \"{meant}\"?")).unwrap_or_default();
        let known: Vec<&str> = names().collect();
        return Err(format!(
            "there is no provider \"{name}\".{meant} Known are {}; any OpenID provider works as \"oidc\".",
            known.join(", ")
        ));
    };
    // The files are part of the program, and a test reads all of them.
    toml::from_str(text).map_err(|error| format!("the preset \"{name}\" cannot be read: {}", error.message()))
}

/// Whether there is a provider of this name.
///
/// # Errors
/// What to write instead.
pub(crate) fn known(name: &str) -> Result<(), String> {
    if [ENTRA, GITHUB].contains(&name) { Ok(()) } else { named(name).map(drop) }
}

/// Whether anybody can have an account at this provider.
pub(crate) fn open_to_everybody(name: &str) -> bool {
    name == GITHUB || named(name).is_ok_and(|preset| preset.open_to_everybody)
}

impl Preset {
    /// Whether it is a provider without ID tokens.
    pub(super) fn is_oauth2(&self) -> bool {
        self.userinfo_endpoint.is_some()
    }

    /// What stands in braces in the issuer.
    pub(super) fn blanks(&self) -> impl Iterator<Item = &str> {
        let issuer = self.issuer.as_deref().unwrap_or_default();
        issuer.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deputy_protocol::Issuer;

    #[test]
    fn every_preset_can_be_read_and_says_where_its_values_come_from() {
        for (name, text) in FILES {
            let preset = named(name).unwrap();
            assert!(["oidc", OAUTH2].contains(name) || text.contains("https://"), "{name}: no source");
            let issuer = preset.blanks().fold(preset.issuer.clone().unwrap_or_default(), |issuer, blank| {
                let value = if blank == "url" { "https://id.example.com" } else { "some.example.com" };
                issuer.replace(&format!("{{{blank}}}"), value)
            });
            assert!(preset.issuer.is_none() || Issuer::parse(&issuer).is_ok(), "{name}: {issuer}");
            assert!(preset.is_oauth2() || *name == OAUTH2 || preset.scopes.iter().any(|scope| scope == "openid"), "{name}");
            assert!(preset.defaults.keys().all(|known| preset.blanks().any(|blank| blank == known)), "{name}");
        }
    }

    #[test]
    fn a_typing_error_is_found() {
        assert!(named("gogle").unwrap_err().contains("Did you mean \"google\"?"));
        assert!(named("entar").unwrap_err().contains("Did you mean \"entra\"?"));
    }
}
