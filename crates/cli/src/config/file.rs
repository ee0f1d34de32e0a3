//! The file as it is written, and the environment laid over it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::place::{Located, Place, Source};
use super::secret::SecretSource;
use super::{Env, Problem, suggest};

/// `deputy.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) public_url: Option<Located<String>>,
    pub(super) listen: Option<Located<String>>,
    pub(super) data_dir: Option<Located<String>>,
    pub(super) store: Option<Located<Store>>,
    pub(super) consent: Option<Located<String>>,
    /// The URL of the database, from `DEPUTY_STORE`.
    #[serde(skip)]
    pub(super) given_store: Option<Given>,
    #[serde(default)]
    pub(super) allowed_hosts: Vec<Located<String>>,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Located<String>>,
    #[serde(default)]
    pub(super) allowed_origins: Vec<Located<String>>,
    #[serde(default)]
    pub(super) idp: Idp,
    pub(super) access: Option<Access>,
    #[serde(default)]
    pub(super) server: Vec<Server>,
    #[serde(default)]
    pub(super) client: Vec<Client>,
    #[serde(default)]
    pub(super) clients: Clients,
    #[serde(default)]
    pub(super) tokens: Tokens,
}

/// `store`: "sqlite", a URL without a password, or where a URL with one lies.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Store {
    /// The words "sqlite", or a URL.
    Text(String),
    /// Where the URL lies.
    Secret(SecretSource),
}

/// `[idp]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Idp {
    pub(super) provider: Option<Located<String>>,
    pub(super) issuer: Option<Located<String>>,
    pub(super) client_id: Option<Located<String>>,
    pub(super) client_secret: Option<Located<SecretSource>>,
    pub(super) scopes: Option<Located<Vec<String>>>,
    pub(super) userinfo: Option<bool>,
    /// The secret itself, from `DEPUTY_IDP_CLIENT_SECRET`: it has no key in the file.
    #[serde(skip)]
    pub(super) given_secret: Option<Given>,
}

/// A secret that the environment gave.
pub(super) struct Given(pub(super) String);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given(…)")
    }
}

/// `[access]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Access {
    #[serde(default)]
    pub(super) allow: Vec<Located<String>>,
}

/// `[[server]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) path: Located<String>,
    pub(super) url: Located<String>,
    pub(super) name: Option<Located<String>>,
    pub(super) scopes: Option<Located<Vec<String>>>,
}

/// `[clients]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clients {
    pub(super) registration: Option<Located<String>>,
    pub(super) redirects: Option<Vec<Located<String>>>,
    #[serde(default)]
    pub(super) blocked: Vec<Located<String>>,
    pub(super) ids_after_rotation: Option<Located<String>>,
    pub(super) documents: Option<Located<Documents>>,
    pub(super) documents_proxy: Option<Located<String>>,
    pub(super) documents_ca: Option<Located<String>>,
}

/// `documents`: whether clients with metadata documents may come, or from which hosts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Documents {
    /// From everywhere, or not at all.
    All(bool),
    /// From these hosts.
    Hosts(Vec<String>),
}

/// `[[client]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) id: Located<String>,
    pub(super) name: Located<String>,
    pub(super) redirect_uris: Vec<Located<String>>,
    pub(super) secret: Option<Located<SecretSource>>,
    pub(super) secret_sha256: Option<Located<String>>,
    pub(super) jwks: Option<Located<Keys>>,
    pub(super) jwks_uri: Option<Located<IgnoredAny>>,
    pub(super) auth_method: Option<Located<String>>,
}

/// `jwks`: where the public keys of a client lie.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) file: String,
}

/// `[tokens]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) code_lifetime: Option<Located<String>>,
    pub(super) access_token_lifetime: Option<Located<String>>,
    pub(super) refresh_idle_lifetime: Option<Located<String>>,
    pub(super) refresh_absolute_lifetime: Option<Located<String>>,
    pub(super) refresh_grace: Option<Located<String>>,
    pub(super) recheck_after: Option<Located<String>>,
    pub(super) without_recheck: Option<Located<String>>,
}

/// The variable that carries the client secret itself.
pub(super) const SECRET_VARIABLE: &str = "DEPUTY_IDP_CLIENT_SECRET";

/// The variable that carries the URL of the database.
pub(super) const STORE_VARIABLE: &str = "DEPUTY_STORE";

/// Reads the file's form; what its values mean comes later.
pub(super) fn read(source: &Source) -> Result<File, Problem> {
    toml::from_str(source.text()).map_err(|error| {
        let place = error.span().map_or(Place::File, Place::Span);
        Problem::new(&place, explain(error.message()))
    })
}

/// Our own words for the parser's, where people meet them often. Its rendering is not used: it would quote the line.
fn explain(message: &str) -> String {
    let first_line = message.lines().next().unwrap_or_default();
    let mut quoted = first_line.split('`').skip(1).step_by(2);
    if first_line.starts_with("unknown field") {
        let unknown = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        return match suggest::nearest(unknown, known.iter().copied()) {
            Some(meant) => format!("unknown key `{unknown}`. Did you mean `{meant}`?"),
            None => format!("unknown key `{unknown}`. Known here: {}.", known.join(", ")),
        };
    }
    if first_line.starts_with("missing field") {
        return format!("`{}` is missing here.", quoted.next().unwrap_or_default());
    }
    format!("{}.", first_line.trim_end_matches('.'))
}

impl File {
    /// The environment's values replace the file's.
    pub(super) fn overlaid(mut self, env: Env<'_>) -> Self {
        let overlay = |slot: &mut Option<Located<String>>, variable: &'static str| {
            if let Some(value) = env(variable) {
                *slot = Some(Located { value, place: Place::Env(variable) });
            }
        };
        overlay(&mut self.public_url, "DEPUTY_PUBLIC_URL");
        overlay(&mut self.listen, "DEPUTY_LISTEN");
        overlay(&mut self.data_dir, "DEPUTY_DATA_DIR");
        self.given_store = env(STORE_VARIABLE).map(Given);
        overlay(&mut self.idp.issuer, "DEPUTY_IDP_ISSUER");
        overlay(&mut self.idp.client_id, "DEPUTY_IDP_CLIENT_ID");
        self.idp.given_secret = env(SECRET_VARIABLE).map(Given);
        self
    }
}
