//! What a configuration means, in words: for `deputy check`.

use std::fmt::Write as _;

use deputy_fetch::Egress;
use deputy_protocol::claims::TenantId;
use deputy_protocol::client::policy::{DocumentPolicy, RegistrationPolicy};
use deputy_protocol::mcp::rules::{CallRule, Otherwise, Pattern, Then};
use deputy_protocol::redirect::{PrivateUse, RedirectRule, RedirectUri};
use deputy_protocol::scope::ScopeRule;
use deputy_server::config::{BackendCredential, Credential, IdpKind};
use deputy_server::idp::redirect_uri;
use deputy_server::{ClientAuth, ClientConfig, Consent, IdpConfig, StoreConfig};

use crate::config::{Settings, show_duration};

/// A provider, and how deputy comes to it.
fn provider(idp: &IdpConfig) -> String {
    let whom = match &idp.kind {
        IdpKind::OpenId { issuer } => issuer.to_string(),
        IdpKind::Entra(entra) => {
            let tenants: Vec<&str> = entra.tenants.allowed().iter().map(TenantId::as_str).collect();
            format!("{}, tenant {}", entra.origin, tenants.join(" and "))
        }
        IdpKind::GitHub(github) if github.memberships => format!("{}, organisations and teams included", github.web),
        IdpKind::GitHub(github) => github.web.to_string(),
        IdpKind::OAuth(oauth) => oauth.authorization_endpoint.to_string(),
    };
    let how = match &idp.credential {
        Credential::None => "without a credential",
        Credential::Secret(_) => "by a secret",
        Credential::Key(_) => "by a private key",
        Credential::File(_) => "by an assertion in a file",
        Credential::Managed(_) => "by a managed identity of Azure",
    };
    let offline = if idp.offline_access { ", and offline_access if it knows that" } else { "" };
    format!("{} at {whom} (client {} {how}, asks for {}{offline})", idp.name, idp.client_id, idp.scopes.join(" "))
}

/// One rule about calls, in words.
fn call_rule(rule: &CallRule) -> String {
    let listed = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let people = rule.people.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = match (rule.methods.is_empty(), rule.names.is_empty()) {
        (true, _) => "everything".to_owned(),
        (false, true) => listed(&rule.methods),
        (false, false) => format!("{} of {}", listed(&rule.methods), listed(&rule.names)),
    };
    let who = if people.is_empty() { String::new() } else { format!(" for {people}") };
    match &rule.then {
        Then::Deny => format!("no {what}{who}"),
        Then::Allow(scopes) if scopes.is_empty() => format!("{what}{who}"),
        Then::Allow(scopes) => format!("{what}{who}, with a token that has {scopes}"),
    }
}

/// What is said about a scope.
fn scope(rule: &ScopeRule) -> String {
    let words = rule.description.as_ref().map(|words| format!("   \"{words}\"")).unwrap_or_default();
    let whom = if rule.grants_to.is_some() { "those whom its grants_to names" } else { "everybody who may come in" };
    let implied = if rule.implies.is_empty() { String::new() } else { format!(", contains {}", rule.implies) };
    let behind = if rule.idp.is_empty() { String::new() } else { format!(", stands for {} at the provider", rule.idp.join(" ")) };
    format!("{}{words}, for {whom}{implied}{behind}", rule.name.as_str())
}

/// The answer of `deputy check`.
pub(crate) fn settings(settings: &Settings) -> String {
    let mut text = String::new();
    let config = &settings.server;
    let public_url = &config.public_url;
    let mut row = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {name:<16} {value}");
    };
    row("issuer", public_url.as_str());
    row("listens on", &format!("http://{}", settings.listen));
    let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    match &config.store {
        StoreConfig::Sqlite => row("data in", &data_dir.display().to_string()),
        StoreConfig::Postgres(_) => row("data in", &format!("PostgreSQL; the master key in {}", data_dir.display())),
    }
    let alone = config.idps.len() == 1;
    for idp in &config.idps {
        row("provider", &provider(idp));
        let callback = redirect_uri(public_url.as_str(), &idp.name, alone);
        row("register there", &format!("{callback}   as redirect URI of client {}", idp.client_id));
    }
    row("lets in", &settings.allow.join(", "));
    if !settings.deny.is_empty() {
        row("but not", &settings.deny.join(", "));
    }
    if let Some(contact) = &config.contact {
        row("others ask", contact);
    }
    for server in &config.servers {
        row(
            "server",
            &format!("{public_url}{}   \"{}\", scopes {}, goes to {}", server.path, server.name, server.scopes, server.url),
        );
        let told = match &server.credential {
            BackendCredential::Headers => continue,
            BackendCredential::Assertion => "who is calling stands in a JWT of ours, as bearer token",
            BackendCredential::Static(_) => "who is calling stands in headers, and everybody comes with one bearer token",
            BackendCredential::None => "it is not told who is calling",
        };
        row("told", &format!("{}   {told}", server.path));
    }
    for server in config.servers.iter().filter(|server| !server.calls.is_empty()) {
        for rule in &server.calls.rules {
            row("calls", &format!("{}   {}", server.path, call_rule(rule)));
        }
        let otherwise = match server.calls.otherwise {
            Otherwise::Allow => "whatever else there is may be called",
            Otherwise::Deny => "nothing else may be called",
        };
        let hidden = if server.calls.hides { "; tools that somebody may not call are not shown to them" } else { "" };
        row("calls", &format!("{}   {otherwise}{hidden}", server.path));
    }
    for rule in config.scopes.iter() {
        row("scope", &scope(rule));
    }
    for client in &config.clients {
        let uris: Vec<&str> = client.redirect_uris().iter().map(RedirectUri::as_str).collect();
        row("client", &format!("{}   \"{}\", {}, answers go to {}", client.id(), client.name(), auth(client), uris.join(" ")));
    }
    let policy = &config.client_policy;
    let kept = show_duration(config.client_ids_after_rotation);
    let how = match policy.registration {
        RegistrationPolicy::Open => "register themselves",
        RegistrationPolicy::Invited => "register themselves with an invitation, which `deputy clients invite` makes",
        RegistrationPolicy::Off => "may not register themselves",
    };
    let registering = format!("{how}; an id counts for {kept} after a rotation of the master secret");
    row("other clients", if policy.takes_registrations() { &registering } else { how });
    row("with documents", &documents(&policy.documents, &config.documents.egress));
    if let Some(redirects) = &policy.redirects {
        let uris: Vec<&str> = redirects.iter().map(RedirectRule::as_str).collect();
        row("answers to them", &format!("go to these addresses alone: {}", uris.join(" ")));
    }
    if policy.private_use != PrivateUse::default() {
        let uris: Vec<&str> = policy.private_use.iter().map(RedirectUri::as_str).collect();
        row("own schemes", &if uris.is_empty() { "none".to_owned() } else { uris.join(" ") });
    }
    if !policy.blocked.is_empty() {
        row("kept out", &policy.blocked.join(", "));
    }
    let tokens = &config.tokens;
    let show = show_duration;
    row(
        "lifetimes",
        &format!(
            "code {}, access token {}, refresh grace {}",
            show(tokens.code),
            show(tokens.access_token),
            show(tokens.refresh_grace)
        ),
    );
    row("signed in for", &format!("{} when unused, {} in all", show(tokens.refresh_idle), show(tokens.refresh_absolute)));
    row(
        "provider asked",
        &format!(
            "again at a refresh, when its word is older than {}; signed in for {} where it cannot be asked",
            show(tokens.hearing.age),
            show(tokens.hearing.silence)
        ),
    );
    row("consent", consent(config.consent));
    let nets: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    let of = if nets.is_empty() {
        "of public addresses; behind a proxy, name it in trusted_proxies, or nobody is limited".to_owned()
    } else {
        format!("of public addresses, as X-Forwarded-For of {} says", nets.join(", "))
    };
    row("limits", &format!("floods and guesses {of}"));
    format!("The configuration is valid.\n\n{}", text.trim_end())
}

const fn consent(consent: Consent) -> &'static str {
    match consent {
        Consent::Always => "asked every time",
        Consent::Remember => {
            "not asked again for 30 days, if a person wishes that: for the very same request, browser and account, of clients that prove who they \
             are and are answered at a web server, and only when no other site sent the browser. A revoked grant is asked about again."
        }
    }
}

/// Who comes with a metadata document, and how it is fetched.
fn documents(policy: &DocumentPolicy, egress: &Egress) -> String {
    let who = match policy {
        DocumentPolicy::Off => return "clients with a metadata document may not come".to_owned(),
        DocumentPolicy::Open => "clients of any public https host come with their metadata document".to_owned(),
        DocumentPolicy::Hosts(hosts) => format!("clients come with a metadata document of {}", hosts.join(", ")),
    };
    match egress {
        Egress::Direct => format!("{who}, fetched directly"),
        Egress::Proxy(proxy) => format!("{who}, fetched through {proxy}; the proxy decides what can be reached"),
    }
}

/// How a client of the operator authenticates.
fn auth(client: &ClientConfig) -> String {
    match client.auth() {
        ClientAuth::Public => "without a secret".to_owned(),
        ClientAuth::Secret { by: Some(method), .. } => method.as_str().to_owned(),
        ClientAuth::Keys(keys) => format!("private_key_jwt (public keys: {})", keys.count()),
        ClientAuth::Secret { by: None, .. } => "client_secret_basic or client_secret_post".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, parse};

    #[test]
    fn check_says_what_to_register_and_what_to_give_to_clients() {
        let file = "public_url = \"https://mcp.example.com\"\n[idp]\nissuer = \"https://login.example.com\"\nclient_id = \"deputy\"\n\
                    client_secret = { env = \"S\" }\n[access]\nallow = [\"domain:example.com\"]\n[[server]]\npath = \"/mcp\"\n\
                    url = \"http://127.0.0.1:9000/mcp\"\n";
        let env = |name: &str| (name == "S").then(|| "correct-horse-battery".to_owned());
        let text = settings(&parse(Source::new("deputy.toml", file), std::path::Path::new("/etc/deputy"), &env).unwrap());
        for said in [
            "https://mcp.example.com/callback",
            "https://mcp.example.com/mcp",
            "access token 5m",
            "30d when unused, 90d in all",
            "older than 1m; signed in for 12h",
            "domain:example.com",
        ] {
            assert!(text.contains(said), "{said} not in\n{text}");
        }
        assert!(!text.contains("correct-horse-battery"));
    }
}
