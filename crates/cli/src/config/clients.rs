//! `[[client]]`, clients that the operator registers, and `[clients]`, who else may come.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use deputy_fetch::{Certificates, Egress, ProxyUrl};
use deputy_protocol::ClientId;
use deputy_protocol::client::AuthMethod;
use deputy_protocol::client::document::DocumentUrl;
use deputy_protocol::client::policy::{ClientPolicy, DocumentPolicy, RegistrationPolicy};
use deputy_protocol::redirect::{Destination, KNOWN_CLIENTS, LOOPBACK, PrivateUse, RedirectRule, RedirectUri};
use deputy_protocol::secret::{ClientSecret, Digest};
use deputy_server::config::CLIENT_IDS_AFTER_ROTATION;
use deputy_server::{ClientAuth, ClientConfig, ClientKeys, DocumentsConfig, WrongClient};

use super::duration::{DAY, bounded};
use super::file::{Client, Clients, Documents};
use super::place::{Located, Place};
use super::{Env, Problem, secret, suggest};

/// What to do about a secret that is refused.
const ADVICE: &str = "Make one with: openssl rand -base64 32";

/// The longest key file, in bytes.
const KEYS_MAX: u64 = 64 * 1024;

/// Checks the clients that the operator registered.
pub(super) fn configured(raw: &[Client], base: &Path, env: Env<'_>) -> Result<Vec<ClientConfig>, Problem> {
    let mut seen = HashSet::new();
    let one = |client: &Client| {
        let checked = one_client(client, base, env)?;
        if seen.insert(client.id.value.clone()) {
            return Ok(checked);
        }
        Err(Problem::new(&client.id.place, format!("id {:?} is used by two clients. Each needs its own.", client.id.value)))
    };
    raw.iter().map(one).collect()
}

/// Checks what the operator says about other clients.
pub(super) fn policy(raw: &Clients) -> Result<ClientPolicy, Problem> {
    let registration = raw.registration.as_ref().map(registration).transpose()?.unwrap_or_default();
    let redirects = raw.redirects.as_ref().map(|all| all.iter().map(redirect).collect::<Result<_, _>>()).transpose()?;
    let documents = raw.documents.as_ref().map(documents).transpose()?.unwrap_or_default();
    let blocked = raw.blocked.iter().map(blocked).collect::<Result<_, _>>()?;
    let private_use = raw.private_use.as_ref().map(|all| private_use(all)).transpose()?.unwrap_or_default();
    Ok(ClientPolicy { registration, documents, redirects, private_use, blocked })
}

/// Checks how metadata documents are fetched.
pub(super) fn fetching(raw: &Clients, base: &Path) -> Result<DocumentsConfig, Problem> {
    let egress = match &raw.documents_proxy {
        None => Egress::Direct,
        Some(proxy) => {
            let refused = |why| Problem::new(&proxy.place, format!("documents_proxy is {why}."));
            Egress::Proxy(ProxyUrl::parse(&proxy.value).map_err(refused)?)
        }
    };
    let certificates = raw.documents_ca.as_ref().map(|file| certificates(file, base)).transpose()?.unwrap_or_default();
    Ok(DocumentsConfig { egress, certificates })
}

fn certificates(file: &Located<String>, base: &Path) -> Result<Certificates, Problem> {
    let path = base.join(&file.value);
    let refused = |why: String| Problem::new(&file.place, format!("documents_ca: {} cannot be used: {why}.", path.display()));
    let pem = std::fs::read(&path).map_err(|error| refused(error.to_string()))?;
    Certificates::from_pem(&pem).map_err(refused)
}

/// How long registrations count after a rotation of the master secret.
pub(super) fn ids_after_rotation(raw: &Clients) -> Result<Duration, Problem> {
    let why = "Afterwards clients that registered before the rotation of the master secret register anew.";
    bounded("ids_after_rotation", raw.ids_after_rotation.as_ref(), CLIENT_IDS_AFTER_ROTATION, 0..=400 * DAY, why)
}

fn registration(raw: &Located<String>) -> Result<RegistrationPolicy, Problem> {
    match raw.value.as_str() {
        "open" => Ok(RegistrationPolicy::Open),
        "invited" => Ok(RegistrationPolicy::Invited),
        "off" => Ok(RegistrationPolicy::Off),
        _ => Err(Problem::new(&raw.place, "registration must be \"open\", \"invited\" or \"off\".")),
    }
}

fn documents(raw: &Located<Documents>) -> Result<DocumentPolicy, Problem> {
    let hosts = match &raw.value {
        Documents::All(true) => return Ok(DocumentPolicy::Open),
        Documents::All(false) => return Ok(DocumentPolicy::Off),
        Documents::Hosts(hosts) => hosts,
    };
    if !hosts.is_empty() && hosts.iter().all(|host| is_host(host)) {
        return Ok(DocumentPolicy::Hosts(hosts.clone()));
    }
    let text =
        "documents is true, false, or a list of hosts: [\"claude.ai\", \"chatgpt.com\"], without https://, port and wildcards.";
    Err(Problem::new(&raw.place, text))
}

/// As a host stands in a client_id: what is written otherwise would never be equal to one.
fn is_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let url = DocumentUrl::parse(&format!("https://{host}/x"));
    !host.contains('*') && !host.ends_with('.') && url.is_ok_and(|url| url.host() == host)
}

fn redirect(raw: &Located<String>) -> Result<RedirectRule, Problem> {
    RedirectRule::parse(&raw.value).ok_or_else(|| no_redirect(raw))
}

/// Names of known clients, and addresses with a private-use scheme.
fn private_use(all: &[Located<String>]) -> Result<PrivateUse, Problem> {
    let mut uris = Vec::new();
    for raw in all {
        match RedirectRule::parse(&raw.value) {
            Some(RedirectRule::Known(known)) => uris.extend(known.private_use()),
            Some(RedirectRule::Exact(uri)) if uri.destination() == Destination::PrivateUse => uris.push(uri),
            Some(RedirectRule::Exact(_) | RedirectRule::Loopback) => {
                let text = "private_use is for schemes of programs, like \"com.example.app:/callback\", and names of known clients. Others are \
                            always accepted; redirects narrows them.";
                return Err(Problem::new(&raw.place, text));
            }
            None => return Err(no_redirect(raw)),
        }
    }
    Ok(PrivateUse::of(uris))
}

/// What is no redirect URI may be a name with a typing error.
fn no_redirect(raw: &Located<String>) -> Problem {
    let names = || KNOWN_CLIENTS.iter().map(|known| known.name).chain([LOOPBACK]);
    if raw.value.contains(':') {
        let reason = RedirectUri::parse(&raw.value).err().map(|reason| reason.to_string()).unwrap_or_default();
        return Problem::new(&raw.place, format!("no client can have this redirect URI. {reason}"));
    }
    let meant = suggest::nearest(&raw.value, names()).map(|meant| format!(" Did you mean \"{meant}\"?")).unwrap_or_default();
    let known: Vec<&str> = names().collect();
    Problem::new(
        &raw.place,
        format!(
            "there is no known client \"{}\".{meant} Known are {}; others by their redirect URI.",
            raw.value,
            known.join(", ")
        ),
    )
}

/// An id or a host; what is neither would keep nobody out.
fn blocked(raw: &Located<String>) -> Result<String, Problem> {
    let address = raw.value.contains("://");
    // What has a dot or a port is meant as a host, and only its one form is ever equal to a host.
    let host = raw.value.contains(['.', ':']);
    let fits = match (address, host) {
        (true, _) => DocumentUrl::parse(&raw.value).is_ok(),
        (false, true) => is_host(&raw.value),
        (false, false) => ClientId::parse(&raw.value).is_ok(),
    };
    if fits && !raw.value.contains('*') {
        return Ok(raw.value.clone());
    }
    let text =
        "blocked takes client ids, and hosts of clients with a metadata document: \"clients.example.com\", without wildcards.";
    Err(Problem::new(&raw.place, text))
}

fn one_client(client: &Client, base: &Path, env: Env<'_>) -> Result<ClientConfig, Problem> {
    if client.name.value.trim().is_empty() {
        return Err(Problem::new(&client.name.place, "name is empty. It is what people read on the consent page."));
    }
    let auth = auth(client, base, env)?;
    let redirects: Vec<String> = client.redirect_uris.iter().map(|uri| uri.value.clone()).collect();
    ClientConfig::new(&client.id.value, &client.name.value, &redirects, auth)
        .map_err(|wrong| Problem::new(place(client, &wrong), format!("{wrong}.")))
}

fn place<'a>(client: &'a Client, wrong: &WrongClient) -> &'a Place {
    match wrong {
        WrongClient::Redirect(uri, _) => {
            client.redirect_uris.iter().find(|known| known.value == *uri).map_or(&client.id.place, |known| &known.place)
        }
        WrongClient::Method(_) => client.auth_method.as_ref().map_or(&client.id.place, |method| &method.place),
        WrongClient::Id | WrongClient::IdReserved | WrongClient::IdNotForBasic | WrongClient::RedirectCount => &client.id.place,
    }
}

/// How the client authenticates: as it says, or as what it has allows.
fn auth(client: &Client, base: &Path, env: Env<'_>) -> Result<ClientAuth, Problem> {
    let method = client.auth_method.as_ref().map(method).transpose()?;
    let wrong = |text: &str| {
        let place = client.auth_method.as_ref().map_or(&client.id.place, |method| &method.place);
        Err(Problem::new(place, text))
    };
    match (digest(client, base, env)?, keys(client, base)?, method) {
        (None, None, None | Some(AuthMethod::None)) => Ok(ClientAuth::Public),
        (None, None, Some(AuthMethod::SecretBasic | AuthMethod::SecretPost)) => {
            wrong("this auth_method needs a secret: secret = { file = \"…\" }, { env = \"…\" }, or secret_sha256 = \"…\".")
        }
        (None, None, Some(AuthMethod::PrivateKeyJwt)) => {
            wrong("auth_method private_key_jwt needs the client's public keys: jwks = { file = \"…\" }.")
        }
        (Some(digest), None, by) => Ok(ClientAuth::Secret { digest, by }),
        (None, Some(keys), None | Some(AuthMethod::PrivateKeyJwt)) => Ok(ClientAuth::Keys(keys)),
        (None, Some(_), Some(_)) => wrong("a client with jwks authenticates by private_key_jwt alone."),
        (Some(_), Some(_), _) => wrong("the client has a secret and jwks. Keep one."),
    }
}

/// The client's public keys.
fn keys(client: &Client, base: &Path) -> Result<Option<ClientKeys>, Problem> {
    if let Some(uri) = &client.jwks_uri {
        let text = "keys are not fetched for a [[client]]: save them into a file, and write jwks = { file = \"…\" }.";
        return Err(Problem::new(&uri.place, text));
    }
    let Some(source) = &client.jwks else { return Ok(None) };
    let path = base.join(&source.value.file);
    let problem = |why: String| Problem::new(&source.place, format!("the key file {}: {why}.", path.display()));
    let bytes = read(&path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    ClientKeys::parse(&bytes).map(Some).map_err(|wrong| problem(wrong.to_string()))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(KEYS_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn method(raw: &Located<String>) -> Result<AuthMethod, Problem> {
    AuthMethod::ALL.into_iter().find(|method| method.as_str() == raw.value).ok_or_else(|| {
        let known = AuthMethod::ALL.map(AuthMethod::as_str).join("\", \"");
        Problem::new(&raw.place, format!("auth_method must be one of \"{known}\", or left out."))
    })
}

/// The digest of the client's secret; the secret itself is not kept.
fn digest(client: &Client, base: &Path, env: Env<'_>) -> Result<Option<Digest<ClientSecret>>, Problem> {
    match (&client.secret, &client.secret_sha256) {
        (None, None) => Ok(None),
        (Some(source), None) => secret::fetch(source, base, env, ADVICE).map(|secret| Some(secret.digest())),
        (None, Some(hex)) => match bytes(&hex.value) {
            Some(bytes) => Ok(Some(Digest::from_stored(bytes))),
            // What stands there may be the secret itself, so it is not repeated.
            None => Err(Problem::new(
                &hex.place,
                "secret_sha256 must be 64 hexadecimal digits, as from: printf %s \"$SECRET\" | sha256sum",
            )),
        },
        (Some(_), Some(hex)) => Err(Problem::new(&hex.place, "the client has both secret and secret_sha256. Keep one.")),
    }
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
