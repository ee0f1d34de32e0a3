//! What the values mean, and which ones are refused.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use deputy_protocol::Issuer;
use deputy_protocol::client::policy::ClientPolicy;
use deputy_protocol::family::{Hearing, Lifetimes};
use deputy_protocol::scope::{Scope, ScopeRules, Scopes};
use deputy_protocol::secret::ClientSecret;
use deputy_protocol::web::Origins;
use deputy_server::{ClientConfig, Config, Consent, DocumentsConfig, IdpConfig, ServerConfig, StoreConfig};
use ipnet::IpNet;
use url::Url;

use super::duration::{DAY, bounded};
use super::file::{File, Given, STORE_VARIABLE, Server, Store, Tokens};
use super::place::{Located, Place};
use super::{Env, Problem, Settings, access, clients, idp, scopes, secret, urls};

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8000);
const DATA_DIR: &str = "deputy-data";
/// Checks a file and turns it into settings. Relative paths in the file start at `base`.
pub(super) fn settings(file: File, base: &Path, env: Env<'_>) -> Result<Settings, Problem> {
    let (public_url, url) = urls::public_url(&needed(
        file.public_url,
        "public_url = \"https://mcp.example.com\"",
        "the origin under which clients reach deputy",
    )?)?;
    let listen = listen(file.listen.as_ref(), &url)?;
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
    let servers = servers(&file.server)?;
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
        tokens: tokens(&file.tokens)?,
        allowed_hosts: hosts(&file.allowed_hosts)?,
        trusted_proxies: proxies(&file.trusted_proxies)?,
        allowed_origins: origins(&file.allowed_origins, &public_url)?,
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

/// plain http stays on this machine.
fn listen(raw: Option<&Located<String>>, public_url: &Url) -> Result<SocketAddr, Problem> {
    let Some(raw) = raw else { return Ok(LISTEN) };
    let problem = |text: &str| Problem::new(&raw.place, text);
    let address: SocketAddr = raw.value.parse().map_err(|_| {
        problem(
            "listen is an IP address and a port: \"127.0.0.1:8000\", \"[::1]:8000\", or \"0.0.0.0:8000\" for every interface.",
        )
    })?;
    if public_url.scheme() == "http" && !address.ip().is_loopback() {
        return Err(problem(
            "with a public_url of plain http, listen must stay on this machine (\"127.0.0.1:8000\"): others could read tokens on the way. For \
             the network, give public_url as https.",
        ));
    }
    Ok(address)
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

fn servers(raw: &[Server]) -> Result<Vec<ServerConfig>, Problem> {
    if raw.is_empty() {
        let text =
            "there is no MCP server to protect. Add: [[server]] with path = \"/mcp\" and url = \"http://127.0.0.1:9000/mcp\".";
        return Err(Problem::new(&Place::File, text));
    }
    let mut seen = HashSet::new();
    raw.iter().map(|server| one_server(server, &mut seen)).collect()
}

fn one_server<'a>(server: &'a Server, seen: &mut HashSet<&'a str>) -> Result<ServerConfig, Problem> {
    let path = server.path.value.as_str();
    let problem = |text: String| Problem::new(&server.path.place, text);
    let plain = |segment: &str| {
        let unreserved = segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        unreserved && !matches!(segment, "" | "." | "..")
    };
    if !path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain)) {
        let text = format!(
            "path {path:?} must begin with / and consist of letters, digits and - . _ ~ between single slashes, like \"/mcp\" or \"/team/wiki\"."
        );
        return Err(problem(text));
    }
    if is_ours(path) {
        return Err(problem(format!("path \"{path}\" is one of deputy's own addresses. Choose another, like \"/mcp\".")));
    }
    if !seen.insert(path) {
        return Err(problem(format!("path \"{path}\" is used by two servers. Each needs its own.")));
    }
    let name = match &server.name {
        Some(name) if name.value.trim().is_empty() => {
            return Err(Problem::new(&name.place, "name is empty. It is what people read on the consent page."));
        }
        Some(name) if name.value.chars().count() > 100 => {
            return Err(Problem::new(&name.place, "name is longer than 100 characters."));
        }
        Some(name) => name.value.trim().to_owned(),
        None => path.trim_start_matches('/').to_owned(),
    };
    Ok(ServerConfig {
        path: path.to_owned(),
        url: urls::backend(&server.url)?,
        name,
        scopes: server_scopes(server.scopes.as_ref())?,
        on_behalf_of: idp::on_behalf_of(server.on_behalf_of.as_ref())?,
    })
}

/// Whether deputy answers at this path itself, or below it.
fn is_ours(path: &str) -> bool {
    let first = |path: &str| path.split('/').nth(1).map(str::to_owned);
    deputy_server::routes::ROUTES.iter().any(|route| first(route.path) == first(path))
}

fn server_scopes(raw: Option<&Located<Vec<String>>>) -> Result<Scopes, Problem> {
    let defaults = ["mcp".to_owned()];
    let (listed, place) = raw.map_or((defaults.as_slice(), &Place::File), |raw| (raw.value.as_slice(), &raw.place));
    let parsed: Result<Scopes, _> = listed.iter().map(|scope| Scope::parse(scope)).collect();
    let scopes = parsed.map_err(|_| {
        Problem::new(
            place,
            "scopes must be words without spaces, quotes and backslashes, each its own entry: [\"read\", \"write\"].",
        )
    })?;
    if scopes.is_empty() {
        return Err(Problem::new(place, "scopes is empty. Leave it out for [\"mcp\"]."));
    }
    Ok(scopes)
}

fn tokens(raw: &Tokens) -> Result<Lifetimes, Problem> {
    let default = Lifetimes::default();
    let access_token = bounded(
        "access_token_lifetime",
        raw.access_token_lifetime.as_ref(),
        default.access_token,
        10..=3600,
        "A short life bounds what a stolen token is worth; clients refresh by themselves.",
    )?;
    let refresh_absolute = bounded(
        "refresh_absolute_lifetime",
        raw.refresh_absolute_lifetime.as_ref(),
        default.refresh_absolute,
        60..=400 * DAY,
        "After it, people sign in again.",
    )?;
    // A shorter absolute lifetime alone shortens the idle one too, as nothing outlives its grant.
    let idle_default = default.refresh_idle.min(refresh_absolute);
    let refresh_idle = bounded("refresh_idle_lifetime", raw.refresh_idle_lifetime.as_ref(), idle_default, 60..=400 * DAY, "")?;
    let lifetimes = Lifetimes {
        code: bounded("code_lifetime", raw.code_lifetime.as_ref(), default.code, 1..=60, "A code is redeemed at once.")?,
        access_token,
        refresh_idle,
        refresh_absolute,
        refresh_grace: bounded(
            "refresh_grace",
            raw.refresh_grace.as_ref(),
            default.refresh_grace,
            0..=300,
            "It forgives lost responses and clients that refresh twice at once.",
        )?,
        hearing: hearing(raw, access_token, refresh_absolute)?,
    };
    ordered(raw, &lifetimes)?;
    Ok(lifetimes)
}

/// How often the provider is asked again. A token never outlives its word by more than a lifetime, so an old word makes short tokens.
fn hearing(raw: &Tokens, access_token: Duration, absolute: Duration) -> Result<Hearing, Problem> {
    let default = Hearing::default();
    let (most, longest) = (access_token / 2, default.silence.min(absolute));
    Ok(Hearing {
        age: bounded(
            "recheck_after",
            raw.recheck_after.as_ref(),
            default.age.min(most),
            0..=most.as_secs(),
            "At most half of access_token_lifetime: a refresh asks the provider whether the person may still sign in.",
        )?,
        silence: bounded(
            "without_recheck",
            raw.without_recheck.as_ref(),
            longest,
            60..=absolute.as_secs(),
            "After it, people sign in again about whom the provider cannot be asked; it gave no refresh token.",
        )?,
        ..default
    })
}

fn ordered(raw: &Tokens, lifetimes: &Lifetimes) -> Result<(), Problem> {
    let place = |raw: &Option<Located<String>>| raw.as_ref().map_or(Place::File, |raw| raw.place.clone());
    let check = |fine: bool, place: Place, text: &str| if fine { Ok(()) } else { Err(Problem::new(&place, text)) };
    let longest: Duration = lifetimes.refresh_absolute;
    check(
        lifetimes.refresh_idle <= longest,
        place(&raw.refresh_idle_lifetime),
        "refresh_idle_lifetime must not be longer than refresh_absolute_lifetime.",
    )?;
    check(
        lifetimes.access_token <= lifetimes.refresh_idle,
        place(&raw.refresh_idle_lifetime),
        "refresh_idle_lifetime must not be shorter than access_token_lifetime.",
    )
}

fn hosts(raw: &[Located<String>]) -> Result<Vec<String>, Problem> {
    let host = |raw: &Located<String>| {
        // A host with an optional port: what remains of a URL that consists of nothing else.
        let url = Url::parse(&format!("https://{}", raw.value)).ok();
        let bare = url.is_some_and(|url| {
            url.path() == "/" && url.username().is_empty() && url.query().is_none() && url.fragment().is_none()
        });
        if bare && !raw.value.contains(['/', '*', '@', '?', '#']) {
            Ok(raw.value.clone())
        } else {
            Err(Problem::new(
                &raw.place,
                "allowed_hosts takes host names with an optional port, without wildcards: \"mcp.internal:8443\".",
            ))
        }
    };
    raw.iter().map(host).collect()
}

fn proxies(raw: &[Located<String>]) -> Result<Vec<IpNet>, Problem> {
    let proxy = |raw: &Located<String>| {
        let net = raw.value.parse().ok().or_else(|| raw.value.parse::<IpAddr>().ok().map(IpNet::from));
        let every = |net: &IpNet| net.prefix_len() == 0;
        net.filter(|net| !every(net)).ok_or_else(|| {
            let text =
                "trusted_proxies takes addresses and networks: \"127.0.0.1\", \"10.0.0.0/8\". Everybody cannot be trusted.";
            Problem::new(&raw.place, text)
        })
    };
    raw.iter().map(proxy).collect()
}

fn origins(raw: &[Located<String>], public_url: &Issuer) -> Result<Vec<String>, Problem> {
    let origin = |raw: &Located<String>| {
        let one = std::slice::from_ref(&raw.value);
        Origins::new(public_url.as_str(), one).map(|_| raw.value.clone()).map_err(|_| {
            Problem::new(
                &raw.place,
                "allowed_origins takes web origins as browsers send them: \"https://app.example.com\", without path or wildcard.",
            )
        })
    };
    raw.iter().map(origin).collect()
}
