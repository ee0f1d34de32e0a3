//! `provider = "entra"`: its clouds, its tenants and for which API a token is.

use deputy_protocol::claims::{TenantId, Tenants};
use deputy_protocol::resource::is_loopback_host;
use deputy_protocol::scope::Scope;
use deputy_protocol::{IdpName, Issuer};
use deputy_server::IdpConfig;
use deputy_server::config::{Credential, Entra, RsaAlgorithm};

use super::{Reader, client_id, scopes};
use crate::config::file::Idp;
use crate::config::place::{Located, Place};
use crate::config::{Problem, urls};

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
/// The scopes that are for no API.
const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];

impl Reader<'_> {
    /// Microsoft Entra ID.
    pub(super) fn entra(&self, idp: &Idp, name: IdpName) -> Result<(IdpConfig, bool), Problem> {
        if let Some(issuer) = &idp.issuer {
            let text = "issuer is not needed with provider = \"entra\": it is made from tenant. Take it out.";
            return Err(Problem::new(&issuer.place, text));
        }
        let (origin, template, graph) = entra_origin(idp)?;
        let graph = asks_graph(idp)?.then_some(graph);
        let tenants = Tenants::new(&template, tenants(idp)?).ok_or_else(|| Problem::new(&Place::File, TENANT_ID))?;
        let credential = self.credential(idp, RsaAlgorithm::Ps256)?;
        let client_id = client_id(idp)?;
        let entra = Entra { origin, tenants, graph, on_behalf: self.wanted.on_behalf };
        if entra.on_behalf && matches!(credential, Credential::None) {
            let place = idp.client_id.as_ref().map_or(&Place::File, |id| &id.place);
            let text = "on_behalf_of of a [[server]] needs a credential here: client_secret, private_key, assertion or managed_identity.";
            return Err(Problem::new(place, text));
        }
        let api = entra.api_scope(&client_id);
        let config = IdpConfig::entra(name, entra, client_id, credential);
        let mut scopes = scopes(idp.scopes.as_ref())?.unwrap_or_else(|| config.scopes.clone());
        // Whoever lists a scope of the registration's own API may do so under another name than we know.
        let listed = scopes.iter().any(|scope| api.as_ref() == Some(scope) || (self.wanted.on_behalf && is_of_an_api(scope)));
        scopes.extend(api.filter(|_| !listed));
        one_resource(&scopes, idp.scopes.as_ref(), self.wanted.mapped())?;
        Ok((IdpConfig { scopes, ..config }, false))
    }
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

/// Entra gives an access token for one resource at a time (AADSTS28000): what stands before a scope's last slash names it, and nothing means
/// Graph.
fn one_resource<'a>(
    scopes: &'a [String],
    raw: Option<&'a Located<Vec<String>>>,
    mapped: impl Iterator<Item = &'a Located<String>>,
) -> Result<(), Problem> {
    let place = raw.map_or(&Place::File, |raw| &raw.place);
    let all = scopes.iter().map(|scope| (scope, place)).chain(mapped.map(|scope| (&scope.value, &scope.place)));
    let mut resources = all.filter(|(scope, _)| is_of_an_api(scope)).map(|(scope, place)| (resource(scope), place));
    let Some((first, _)) = resources.next() else { return Ok(()) };
    match resources.find(|(other, _)| *other != first) {
        None => Ok(()),
        Some((other, place)) => {
            let text = format!("scopes are for two resources, {first} and {other}. Entra gives a token for one at a time.");
            Err(Problem::new(place, text))
        }
    }
}

fn is_of_an_api(scope: &str) -> bool {
    !OPENID.contains(&scope)
}

fn resource(scope: &str) -> &str {
    scope.rsplit_once('/').map_or(GRAPH, |(resource, _)| resource)
}

/// The scopes of the one API that a server calls in the name of people.
pub(in crate::config) fn on_behalf_of(raw: Option<&Located<Vec<String>>>) -> Result<Vec<String>, Problem> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let problem = |text: &str| Problem::new(&raw.place, text);
    let first = raw.value.first().map(|scope| resource(scope));
    if first.is_none() || raw.value.iter().any(|scope| Scope::parse(scope).is_err() || !is_of_an_api(scope)) {
        return Err(problem("on_behalf_of is the scope of the API behind this server: [\"api://BACKEND/Tools.Call\"]."));
    }
    if raw.value.iter().any(|scope| Some(resource(scope)) != first) {
        return Err(problem("on_behalf_of names two APIs. Entra gives a token for one at a time."));
    }
    Ok(raw.value.clone())
}
