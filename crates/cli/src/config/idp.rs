//! `[idp]`, or several `[[idp]]`: from a provider's name and what its console says to what the server library takes.

mod credential;
mod entra;

use std::path::Path;

use deputy_protocol::scope::Scope;
use deputy_protocol::{IdpName, Issuer};
use deputy_server::IdpConfig;
use deputy_server::config::{ClaimNames, Credential, GitHub, IdpKind, OAuth, RsaAlgorithm};
use url::Url;

use super::file::{Idp, ScopeEntry};
use super::place::{Located, Place};
use super::presets::{self, ENTRA, GITHUB, OAUTH2, Preset};
use super::{Env, Problem, urls};
pub(super) use entra::on_behalf_of;

const FROM_CONSOLE: &str = "Copy the client secret from the identity provider's console.";
/// Providers where anybody can have an account.
const OPEN_HOSTS: &[&str] =
    &["accounts.google.com", "login.microsoftonline.com", "github.com", "token.actions.githubusercontent.com", "gitlab.com"];

/// What [`providers`] found.
#[derive(Debug)]
pub(super) struct Providers {
    pub(super) configs: Vec<IdpConfig>,
    /// The providers where anybody can have an account, and as people know them.
    pub(super) open: Vec<(IdpName, String)>,
}

/// What the rest of the file wants of providers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// A rule asks for organisations or teams, which GitHub tells on its own.
    pub(super) memberships: bool,
    /// A server's API is called in the name of people.
    pub(super) on_behalf: bool,
    /// What is said about scopes: some have scopes of the provider's behind them.
    pub(super) scopes: &'a [ScopeEntry],
}

impl<'a> Wanted<'a> {
    /// The provider's scopes that stand behind ours.
    fn mapped(self) -> impl Iterator<Item = &'a Located<String>> {
        self.scopes.iter().flat_map(|entry| &entry.idp)
    }
}

/// Reads every provider. One alone needs no name.
pub(super) fn providers(
    idps: Vec<Idp>,
    wanted: Wanted<'_>,
    base: &Path,
    env: Env<'_>,
    notes: &mut Vec<String>,
) -> Result<Providers, Problem> {
    let alone = idps.len() == 1;
    if let (false, Some(mapped)) = (alone, wanted.mapped().next()) {
        let text =
            "idp of a [[scope]] goes with one [idp] alone: of several, each knows its own scopes, and refuses those of others.";
        return Err(Problem::new(&mapped.place, text));
    }
    let mut found = Providers { configs: Vec::new(), open: Vec::new() };
    for idp in idps {
        let reader = Reader { base, env, alone, wanted };
        let (config, open) = reader.read(idp, notes)?;
        if open {
            found.open.push((config.name.clone(), where_from(&config)));
        }
        found.configs.push(config);
    }
    Ok(found)
}

/// What one provider is read with.
struct Reader<'a> {
    base: &'a Path,
    env: Env<'a>,
    alone: bool,
    wanted: Wanted<'a>,
}

impl Reader<'_> {
    fn read(&self, idp: Idp, notes: &mut Vec<String>) -> Result<(IdpConfig, bool), Problem> {
        let provider = idp.provider.as_ref().map_or("oidc", |provider| provider.value.as_str()).to_owned();
        let name = self.name(&idp, &provider)?;
        if self.wanted.on_behalf && provider != ENTRA {
            let place = idp.provider.as_ref().map_or(Place::File, |provider| provider.place.clone());
            let text = "on_behalf_of of a [[server]] goes with provider = \"entra\" alone: no other provider gives such tokens.";
            return Err(Problem::new(&place, text));
        }
        let (config, open) = match provider.as_str() {
            ENTRA => self.entra(&idp, name)?,
            GITHUB => self.github(&idp, name)?,
            _ => self.preset(&idp, name, &provider)?,
        };
        if matches!(config.credential, Credential::None) {
            let text =
                "[idp] has no client_secret: deputy signs in at the provider as a public client. Most providers want a secret.";
            notes.push(text.to_owned());
        }
        let label = idp.label.map(|label| label.value).or_else(|| config.label.clone());
        let parameters = parameters(idp.parameters, config.parameters.clone())?;
        Ok((IdpConfig { label, parameters, ..config }, open))
    }

    fn name(&self, idp: &Idp, provider: &str) -> Result<IdpName, Problem> {
        let Some(name) = &idp.name else {
            return match IdpName::parse(provider) {
                Some(name) => Ok(name),
                None => Err(Problem::new(&Place::File, "an [[idp]] has no name.")),
            };
        };
        IdpName::parse(&name.value).ok_or_else(|| {
            let text = "name is 1 to 32 lower-case letters, digits and hyphens: it stands in the redirect URI to register at the provider.";
            Problem::new(&name.place, text)
        })
    }

    /// GitHub, or a server of one's own.
    fn github(&self, idp: &Idp, name: IdpName) -> Result<(IdpConfig, bool), Problem> {
        let (web, api) = match &idp.url {
            None => ("https://github.com".to_owned(), "https://api.github.com".to_owned()),
            Some(url) => {
                let (origin, _) = urls::origin("url", url)?;
                (origin.to_string(), format!("{origin}/api/v3"))
            }
        };
        let place = idp.url.as_ref().map_or(Place::File, |url| url.place.clone());
        let parsed =
            |raw: String| Issuer::parse(&raw).map_err(|_| Problem::new(&place, "url must be the address of a GitHub server."));
        let open = idp.url.is_none();
        let github = GitHub { web: parsed(web)?, api: parsed(api)?, memberships: self.wanted.memberships };
        let config = IdpConfig::github(name, github, client_id(idp)?, self.credential(idp, RsaAlgorithm::Rs256)?);
        let scopes = idp.scopes.as_ref().map_or_else(|| config.scopes.clone(), |scopes| scopes.value.clone());
        Ok((IdpConfig { scopes, ..config }, open))
    }

    /// A provider without ID tokens.
    fn oauth(&self, idp: &Idp, name: IdpName, preset: Preset, place: &Place) -> Result<(IdpConfig, bool), Problem> {
        let address = |key: &str, given: &Option<Located<String>>, known: &Option<String>| {
            let raw = given.clone().or_else(|| known.clone().map(|value| Located { value, place: place.clone() }));
            let missing = || Problem::new(place, format!("{key} is missing: it is in the provider's documentation."));
            urls::endpoint(key, &raw.ok_or_else(missing)?)
        };
        let claims = idp.claims.as_ref().map(|claims| claims.value.clone()).or_else(|| preset.claims.clone());
        let missing = || {
            Problem::new(
                place,
                "claims is missing: write claims = { id = \"id\" }, with what the provider calls its lasting name for a person.",
            )
        };
        let claims = claims.ok_or_else(missing)?;
        let oauth = OAuth {
            issuer: issuer(idp, &preset, place)?,
            authorization_endpoint: address(
                "authorization_endpoint",
                &idp.authorization_endpoint,
                &preset.authorization_endpoint,
            )?,
            token_endpoint: address("token_endpoint", &idp.token_endpoint, &preset.token_endpoint)?,
            userinfo_endpoint: address("userinfo_endpoint", &idp.userinfo_endpoint, &preset.userinfo_endpoint)?,
            claims: ClaimNames {
                id: claims.id,
                email: claims.email,
                email_verified: claims.email_verified,
                name: claims.name,
                groups: claims.groups,
            },
        };
        let openid = IdpConfig::openid(name, oauth.issuer.clone(), client_id(idp)?, self.credential(idp, RsaAlgorithm::Rs256)?);
        let config = IdpConfig {
            label: preset.label,
            kind: IdpKind::OAuth(Box::new(oauth)),
            scopes: idp.scopes.as_ref().map_or(preset.scopes, |scopes| scopes.value.clone()),
            offline_access: false,
            parameters: preset.parameters.into_iter().collect(),
            ..openid
        };
        Ok((config, preset.open_to_everybody))
    }

    /// A provider of which a file says what is known.
    fn preset(&self, idp: &Idp, name: IdpName, provider: &str) -> Result<(IdpConfig, bool), Problem> {
        let place = idp.provider.as_ref().map_or(Place::File, |provider| provider.place.clone());
        let preset = presets::named(provider).map_err(|text| Problem::new(&place, text))?;
        for (key, value) in
            [("tenant", &idp.tenant), ("cloud", &idp.cloud), ("authority", &idp.authority), ("groups", &idp.groups)]
        {
            if let Some(value) = value {
                return Err(Problem::new(&value.place, format!("{key} is for provider = \"entra\".")));
            }
        }
        if let Some(tenants) = &idp.tenants {
            return Err(Problem::new(&tenants.place, "tenants is for provider = \"entra\"."));
        }
        if preset.is_oauth2() || provider == OAUTH2 {
            return self.oauth(idp, name, preset, &place);
        }
        let issuer = issuer(idp, &preset, &place)?;
        let open = preset.open_to_everybody || is_open(&issuer);
        let credential = self.credential(idp, RsaAlgorithm::Rs256)?;
        let config = IdpConfig::openid(name, issuer, client_id(idp)?, credential);
        let config = IdpConfig {
            label: preset.label.clone(),
            // Who lists scopes has chosen; some providers refuse one that they do not know.
            offline_access: idp.scopes.is_none() && preset.offline_access,
            scopes: scopes(idp.scopes.as_ref())?.unwrap_or(preset.scopes),
            userinfo: idp.userinfo.unwrap_or(preset.userinfo),
            parameters: preset.parameters.into_iter().collect(),
            ..config
        };
        Ok((config, open))
    }
}

fn client_id(idp: &Idp) -> Result<String, Problem> {
    let line = "client_id = \"…\" under [idp], from the provider's console";
    let found = super::check::needed(idp.client_id.clone(), line, "the client_id of deputy at the identity provider")?;
    Ok(found.value)
}

/// The issuer, as the operator or the preset says it.
fn issuer(idp: &Idp, preset: &Preset, place: &Place) -> Result<Issuer, Problem> {
    if let Some(issuer) = &idp.issuer {
        return urls::idp_issuer(issuer);
    }
    let Some(pattern) = &preset.issuer else {
        let line = "issuer = \"https://login.example.com\" under [idp]";
        return Err(Problem::new(&Place::File, format!("the identity provider's issuer is missing. Add {line}.")));
    };
    let mut text = pattern.clone();
    for blank in preset.blanks() {
        let given = idp.blank(blank).map(|value| value.value.trim_end_matches('/').to_owned());
        let Some(value) = given.or_else(|| preset.defaults.get(blank).cloned()) else {
            let text =
                format!("{blank} is missing: this provider's issuer is {pattern}. Add {blank} = \"…\", or issuer in full.");
            return Err(Problem::new(place, text));
        };
        text = text.replace(&format!("{{{blank}}}"), &value);
    }
    urls::idp_issuer(&Located { value: text, place: place.clone() })
}

/// What people know a provider by.
fn where_from(config: &IdpConfig) -> String {
    let host = match &config.kind {
        IdpKind::OpenId { issuer } => Url::parse(issuer.as_str()).ok().and_then(|url| url.host_str().map(str::to_owned)),
        IdpKind::Entra(_) | IdpKind::GitHub(_) | IdpKind::OAuth(_) => None,
    };
    config.label.clone().or(host).unwrap_or_else(|| config.name.to_string())
}

/// Whether anybody can have an account there, whatever the provider was called.
fn is_open(issuer: &Issuer) -> bool {
    let host = Url::parse(issuer.as_str()).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| OPEN_HOSTS.contains(&host.as_str()))
}

fn scopes(raw: Option<&Located<Vec<String>>>) -> Result<Option<Vec<String>>, Problem> {
    let Some(raw) = raw else { return Ok(None) };
    if let Some(bad) = raw.value.iter().find(|scope| Scope::parse(scope).is_err()) {
        let text = format!("{bad:?} is no scope. List them one by one: scopes = [\"openid\", \"email\"].");
        return Err(Problem::new(&raw.place, text));
    }
    if !raw.value.iter().any(|scope| scope == "openid") {
        let text = "scopes must contain \"openid\": without it the provider does not say who signed in.";
        return Err(Problem::new(&raw.place, text));
    }
    Ok(Some(raw.value.clone()))
}

/// The preset's parameters with the operator's laid over them. Ours are ours.
fn parameters(
    raw: Option<Located<std::collections::BTreeMap<String, String>>>,
    preset: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, Problem> {
    const OURS: &[&str] = &[
        "response_type",
        "response_mode",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "resource",
        "request",
        "request_uri",
    ];
    let Some(raw) = raw else { return Ok(preset) };
    if let Some(ours) = raw.value.keys().find(|name| OURS.contains(&name.as_str())) {
        return Err(Problem::new(&raw.place, format!("parameters cannot contain {ours}: deputy sends its own.")));
    }
    let mut all: std::collections::BTreeMap<String, String> = preset.into_iter().collect();
    all.extend(raw.value);
    // An empty one takes the preset's away.
    Ok(all.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}
