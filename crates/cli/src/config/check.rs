//! What the values mean, and which ones are refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deputy_protocol::Issuer;
use deputy_protocol::client::policy::ClientPolicy;
use deputy_protocol::family::Lifetimes;
use deputy_protocol::scope::ScopeRules;
use deputy_protocol::secret::ClientSecret;
use deputy_server::{ClientConfig, Config, Consent, DocumentsConfig, IdpConfig, ServerConfig, StoreConfig};
use ipnet::IpNet;
use url::Url;

use super::file::{File, Given, STORE_VARIABLE, Store};
use super::place::{Located, Place};
use super::{Env, Problem, Settings, access, clients, idp, network, scopes, secret, servers, tokens, urls};

const DATA_DIR: &str = "deputy-data";

/// Checks a file and turns it into settings. Relative paths in the file start at `base`.
pub(super) fn settings(file: File, base: &Path, env: Env<'_>) -> Result<Settings, Problem> {
    let (public_url, url) = urls::public_url(&needed(
        file.public_url,
        "public_url = \"https://mcp.example.com\"",
        "the origin under which clients reach deputy",
    )?)?;
    let listen = network::listen(file.listen.as_ref(), &url)?;
    let mut notes = Vec::new();
    let consent = consent(file.consent.as_ref(), &public_url, &mut notes)?;
    let wanted = idp::Wanted {
        memberships: access::asks_for_memberships(file.access.as_ref(), &file.scope),
        on_behalf: file.server.iter().any(|server| server.on_behalf_of.is_some()),
        scopes: &file.scope,
    };
    let idps = idp::providers(file.idp.0, wanted, base, env, &mut notes)?;
    let known = access::known(&idps);
    let access = access::access(file.access, &idps, &mut notes)?;
    let servers = servers::servers(&file.server, servers::Known { idps: &known, base, env })?;
    let scopes = scopes::scopes(&file.scope, &known)?;
    scopes::look_again(&file.scope, &scopes, &servers, &idps, &mut notes);
    into_server_config(Parts {
        listen,
        data_dir: data_dir(file.data_dir.as_ref(), base),
        store: store(file.given_store.as_ref(), file.store.as_ref(), base, env)?,
        servers,
        scopes,
        clients: clients::configured(&file.client, base, env)?,
        client_policy: clients::policy(&file.clients)?,
        documents: clients::fetching(&file.clients, base)?,
        client_ids_after_rotation: clients::ids_after_rotation(&file.clients)?,
        tokens: tokens::tokens(&file.tokens)?,
        allowed_hosts: network::hosts(&file.allowed_hosts)?,
        trusted_proxies: network::proxies(&file.trusted_proxies)?,
        allowed_origins: network::origins(&file.allowed_origins, &public_url)?,
        public_url,
        idps: idps.configs,
        access,
        consent,
        notes,
    })
}

/// Checked values, before the server library's types.
struct Parts {
    listen: SocketAddr,
    public_url: Issuer,
    data_dir: PathBuf,
    store: StoreConfig,
    idps: Vec<IdpConfig>,
    access: access::Checked,
    consent: Consent,
    servers: Vec<ServerConfig>,
    scopes: ScopeRules,
    clients: Vec<ClientConfig>,
    client_policy: ClientPolicy,
    documents: DocumentsConfig,
    client_ids_after_rotation: Duration,
    tokens: Lifetimes,
    allowed_hosts: Vec<String>,
    trusted_proxies: Vec<IpNet>,
    allowed_origins: Vec<String>,
    notes: Vec<String>,
}

fn into_server_config(parts: Parts) -> Result<Settings, Problem> {
    let Parts {
        listen,
        public_url,
        data_dir,
        store,
        idps,
        access,
        consent,
        servers,
        scopes,
        clients,
        client_policy,
        documents,
        client_ids_after_rotation,
        tokens,
        allowed_hosts,
        trusted_proxies,
        allowed_origins,
        notes,
    } = parts;
    let server = Config {
        public_url,
        data_dir,
        store,
        idps,
        access: access.rules,
        contact: access.contact,
        consent,
        servers,
        scopes,
        clients,
        client_policy,
        documents,
        client_ids_after_rotation,
        tokens,
        allowed_hosts,
        trusted_proxies,
        allowed_origins,
    };
    Ok(Settings { listen, server, allow: access.allow, deny: access.deny, notes })
}

/// A value that has no default.
pub(super) fn needed(value: Option<Located<String>>, line: &str, meaning: &str) -> Result<Located<String>, Problem> {
    match value {
        Some(found) if !found.value.trim().is_empty() => Ok(found),
        Some(empty) => Err(Problem::new(&empty.place, format!("{meaning} is empty. Write {line}."))),
        None => Err(Problem::new(&Place::File, format!("{meaning} is missing. Add {line}."))),
    }
}

fn store(given: Option<&Given>, raw: Option<&Located<Store>>, base: &Path, env: Env<'_>) -> Result<StoreConfig, Problem> {
    if let Some(Given(text)) = given {
        return store_url(text, &Place::Env(STORE_VARIABLE));
    }
    let Some(raw) = raw else { return Ok(StoreConfig::Sqlite) };
    match &raw.value {
        Store::Text(text) if text == "sqlite" => Ok(StoreConfig::Sqlite),
        Store::Text(text) if Url::parse(text).is_ok_and(|url| url.password().is_some()) => Err(Problem::new(
            &raw.place,
            "store has a password in it, and secrets do not stand in the file. Write store = { env = \"DATABASE_URL\" } or { file = \"…\" }, or \
             leave the password to ~/.pgpass or PGPASSWORD.",
        )),
        Store::Text(text) => store_url(text, &raw.place),
        Store::Secret(source) => {
            let source = Located { value: source.clone(), place: raw.place.clone() };
            store_url(secret::fetch(&source, base, env, "Write the whole URL of the database there.")?.expose(), &raw.place)
        }
    }
}

fn store_url(text: &str, place: &Place) -> Result<StoreConfig, Problem> {
    let good = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let wrong = || {
        Problem::new(
            place,
            "store is \"sqlite\" (the default) or the URL of a PostgreSQL database: \"postgres://deputy@db.internal/deputy\".",
        )
    };
    good.then(|| StoreConfig::Postgres(ClientSecret::from_text(text.to_owned()))).ok_or_else(wrong)
}

fn consent(raw: Option<&Located<String>>, public_url: &Issuer, notes: &mut Vec<String>) -> Result<Consent, Problem> {
    let Some(raw) = raw else { return Ok(Consent::Always) };
    match raw.value.as_str() {
        "always" => Ok(Consent::Always),
        "remember" if public_url.as_str().starts_with("https://") => Ok(Consent::Remember),
        "remember" => {
            notes.push(
                "consent = \"remember\" does nothing on plain http, where any program on the machine can set cookies: people are asked each time."
                    .to_owned(),
            );
            Ok(Consent::Remember)
        }
        "never" | "off" | "none" => Err(Problem::new(
            &raw.place,
            "consent cannot be switched off: without it, deputy would be a confused deputy. Use \"always\".",
        )),
        _ => Err(Problem::new(&raw.place, "consent must be \"always\" or \"remember\".")),
    }
}

fn data_dir(raw: Option<&Located<String>>, base: &Path) -> PathBuf {
    match raw {
        None => base.join(DATA_DIR),
        // What the environment says is relative to where deputy was started.
        Some(Located { value, place: Place::Env(_) }) => PathBuf::from(value),
        Some(Located { value, place: Place::Span(_) | Place::File }) => base.join(value),
    }
}
