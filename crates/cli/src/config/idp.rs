//! `[idp]`, or several `[[idp]]`: from a provider's name and what its console says to what the server library takes.

mod credential;

use std::path::Path;

use deputy_protocol::claims::{TenantId, Tenants};
use deputy_protocol::resource::is_loopback_host;
use deputy_protocol::scope::Scope;
use deputy_protocol::{IdpName, Issuer};
use deputy_server::IdpConfig;
use deputy_server::config::{ClaimNames, Credential, Entra, GitHub, IdpKind, OAuth, RsaAlgorithm};
use url::Url;

use super::file::Idp;
use super::place::{Located, Place};
use super::presets::{self, ENTRA, GITHUB, OAUTH2, Preset};
use super::{Env, Problem, urls};

const FROM_CONSOLE: &str = "Copy the client secret from the identity provider's console.";
/// What sits in front of people's words for a tenant: the id is what tokens carry.
const TENANT_ID: &str = "tenant is the directory's id, a UUID such as \"11111111-2222-3333-4444-555555555555\": in the console under Overview, \
                         \"Directory (tenant) ID\".";
/// Where Entra and Graph are, by the name of the cloud.
const CLOUDS: &[(&str, &str, &str)] = &[
    ("global", "https://login.microsoftonline.com", GRAPH),
    ("us", "https://login.microsoftonline.us", "https://graph.microsoft.us"),
    ("china", "https://login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn"),
];
/// Graph of the global cloud and of external tenants.
const GRAPH: &str = "https://graph.microsoft.com";
/// What lets us ask Graph which groups somebody is in.
const GRAPH_SCOPE: &str = "User.Read";

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

/// Reads every provider. One alone needs no name. `memberships` says whether a rule asks for organisations or teams.
pub(super) fn providers(
    idps: Vec<Idp>,
    memberships: bool,
    base: &Path,
    env: Env<'_>,
    notes: &mut Vec<String>,
) -> Result<Providers, Problem> {
    let alone = idps.len() == 1;
    let mut found = Providers { configs: Vec::new(), open: Vec::new() };
    for idp in idps {
        let reader = Reader { base, env, alone, memberships };
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
    /// Whether a rule asks what people belong to at GitHub.
    memberships: bool,
}

impl Reader<'_> {
    fn read(&self, idp: Idp, notes: &mut Vec<String>) -> Result<(IdpConfig, bool), Problem> {
        let provider = idp.provider.as_ref().map_or("oidc", |provider| provider.value.as_str()).to_owned();
        let name = self.name(&idp, &provider)?;
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
        let github = GitHub { web: parsed(web)?, api: parsed(api)?, memberships: self.memberships };
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

    /// Microsoft Entra ID.
    fn entra(&self, idp: &Idp, name: IdpName) -> Result<(IdpConfig, bool), Problem> {
        if let Some(issuer) = &idp.issuer {
            let text = "issuer is not needed with provider = \"entra\": it is made from tenant. Take it out.";
            return Err(Problem::new(&issuer.place, text));
        }
        let (origin, template, graph) = entra_origin(idp)?;
        let graph = asks_graph(idp)?.then_some(graph);
        let tenants = Tenants::new(&template, tenants(idp)?).ok_or_else(|| Problem::new(&Place::File, TENANT_ID))?;
        let credential = self.credential(idp, RsaAlgorithm::Ps256)?;
        let config = IdpConfig::entra(name, Entra { origin, tenants, graph: graph.clone() }, client_id(idp)?, credential);
        let mut scopes = scopes(idp.scopes.as_ref())?.unwrap_or_else(|| config.scopes.clone());
        if graph.is_some() && !scopes.iter().any(|scope| scope == GRAPH_SCOPE) {
            scopes.push(GRAPH_SCOPE.to_owned());
        }
        one_resource(&scopes, idp.scopes.as_ref())?;
        Ok((IdpConfig { scopes, ..config }, false))
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

/// Whether Graph is to be asked about people in more groups than a token lists.
fn asks_graph(idp: &Idp) -> Result<bool, Problem> {
    match &idp.groups {
        None => Ok(false),
        Some(groups) if groups.value == "graph" => Ok(true),
        Some(other) => {
            let text =
                "groups is \"graph\", which asks Microsoft Graph about people in more groups than a token lists, or is left out.";
            Err(Problem::new(&other.place, text))
        }
    }
}

/// Where Entra is, how it writes issuers, and where Graph is.
fn entra_origin(idp: &Idp) -> Result<(Issuer, String, Issuer), Problem> {
    if let Some(authority) = &idp.authority {
        let (origin, url) = urls::origin("authority", authority)?;
        // An external tenant names its issuer by its id, wherever it is asked.
        let external = url.host_str().is_some_and(|host| host.ends_with(".ciamlogin.com"));
        let template = if external {
            "https://{tenantid}.ciamlogin.com/{tenantid}/v2.0".to_owned()
        } else {
            format!("{origin}/{{tenantid}}/v2.0")
        };
        // A provider on this machine is one to develop against, and is its own Graph.
        let graph = if url.host_str().is_some_and(is_loopback_host) { Ok(origin.clone()) } else { Issuer::parse(GRAPH) };
        let graph = graph.map_err(|_| Problem::new(&authority.place, "authority has no Graph."))?;
        return Ok((origin, template, graph));
    }
    let (cloud, place) = idp.cloud.as_ref().map_or(("global", &Place::File), |cloud| (cloud.value.as_str(), &cloud.place));
    let known = CLOUDS.iter().find(|(name, ..)| *name == cloud);
    let known = known.and_then(|(_, origin, graph)| Some((Issuer::parse(origin).ok()?, Issuer::parse(graph).ok()?)));
    let (origin, graph) = known.ok_or_else(|| Problem::new(place, "cloud is \"global\" (the default), \"us\" or \"china\"."))?;
    let template = format!("{origin}/{{tenantid}}/v2.0");
    Ok((origin, template, graph))
}

/// The tenants, by their ids. Words such as `common` admit everybody's tenant and are none.
fn tenants(idp: &Idp) -> Result<Vec<TenantId>, Problem> {
    let (raw, place): (&[String], &Place) = match (&idp.tenant, &idp.tenants) {
        (Some(_), Some(both)) => return Err(Problem::new(&both.place, "tenant or tenants, not both.")),
        (Some(tenant), None) => (std::slice::from_ref(&tenant.value), &tenant.place),
        (None, Some(tenants)) => (&tenants.value, &tenants.place),
        (None, None) => return Err(Problem::new(&Place::File, format!("tenant is missing under [idp]. {TENANT_ID}"))),
    };
    if let Some(word) = raw.iter().find(|tenant| matches!(tenant.as_str(), "common" | "organizations" | "consumers")) {
        let text = format!(
            "\"{word}\" lets in people of every tenant in the world. List those that may come: tenants = [\"…\", \"…\"], by their ids."
        );
        return Err(Problem::new(place, text));
    }
    let parsed: Option<Vec<TenantId>> = raw.iter().map(|tenant| TenantId::parse(tenant)).collect();
    parsed.filter(|tenants| !tenants.is_empty()).ok_or_else(|| Problem::new(place, TENANT_ID))
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

/// Entra gives an access token for one resource at a time (AADSTS28000): what stands before a scope's last slash names it, and nothing means
/// Graph.
fn one_resource(scopes: &[String], raw: Option<&Located<Vec<String>>>) -> Result<(), Problem> {
    const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];
    let apis = scopes.iter().filter(|scope| !OPENID.contains(&scope.as_str()));
    let mut resources = apis.map(|scope| scope.rsplit_once('/').map_or(GRAPH, |(resource, _)| resource));
    let first = resources.next();
    match (resources.find(|other| Some(*other) != first), raw) {
        (Some(other), Some(raw)) => {
            let text = format!(
                "scopes are for two resources, {} and {other}. Entra gives a token for one at a time.",
                first.unwrap_or_default()
            );
            Err(Problem::new(&raw.place, text))
        }
        _ => Ok(()),
    }
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
