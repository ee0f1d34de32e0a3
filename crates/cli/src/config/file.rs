//! The file as it is written, and the environment laid over it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::place::{Located, Place, Source};
use super::presets::Claims;
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
    pub(super) idp: Idps,
    pub(super) access: Option<Access>,
    #[serde(default)]
    pub(super) server: Vec<Server>,
    #[serde(default)]
    pub(super) scope: Vec<ScopeEntry>,
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

/// `[idp]`, or several `[[idp]]`.
#[derive(Debug)]
pub(super) struct Idps(pub(super) Vec<Idp>);

impl Default for Idps {
    /// One of which nothing is known yet: the environment may say it all.
    fn default() -> Self {
        Self(vec![Idp::default()])
    }
}

impl<'de> Deserialize<'de> for Idps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Idps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table [idp], or several [[idp]]")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Idps, A::Error> {
                Idp::deserialize(MapAccessDeserializer::new(map)).map(|idp| Idps(vec![idp]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Idps, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Idps)
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// One provider.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Idp {
    pub(super) provider: Option<Located<String>>,
    pub(super) name: Option<Located<String>>,
    pub(super) label: Option<Located<String>>,
    pub(super) issuer: Option<Located<String>>,
    pub(super) tenant: Option<Located<String>>,
    pub(super) tenants: Option<Located<Vec<String>>>,
    pub(super) cloud: Option<Located<String>>,
    pub(super) authority: Option<Located<String>>,
    pub(super) groups: Option<Located<String>>,
    pub(super) url: Option<Located<String>>,
    pub(super) domain: Option<Located<String>>,
    pub(super) realm: Option<Located<String>>,
    pub(super) region: Option<Located<String>>,
    pub(super) pool: Option<Located<String>>,
    pub(super) application: Option<Located<String>>,
    pub(super) authorization_endpoint: Option<Located<String>>,
    pub(super) token_endpoint: Option<Located<String>>,
    pub(super) userinfo_endpoint: Option<Located<String>>,
    pub(super) claims: Option<Located<Claims>>,
    pub(super) client_id: Option<Located<String>>,
    pub(super) client_secret: Option<Located<SecretSource>>,
    pub(super) private_key: Option<Located<SecretSource>>,
    pub(super) key_id: Option<Located<String>>,
    pub(super) certificate: Option<Located<InFile>>,
    pub(super) assertion: Option<Located<InFile>>,
    pub(super) managed_identity: Option<Located<String>>,
    pub(super) scopes: Option<Located<Vec<String>>>,
    pub(super) userinfo: Option<bool>,
    pub(super) parameters: Option<Located<BTreeMap<String, String>>>,
    /// The secret itself, from `DEPUTY_IDP_CLIENT_SECRET`: it has no key in the file.
    #[serde(skip)]
    pub(super) given_secret: Option<Given>,
}

impl Idp {
    /// What fills a preset's blank.
    pub(super) fn blank(&self, name: &str) -> Option<&Located<String>> {
        match name {
            "url" => self.url.as_ref(),
            "domain" => self.domain.as_ref(),
            "realm" => self.realm.as_ref(),
            "region" => self.region.as_ref(),
            "pool" => self.pool.as_ref(),
            "application" => self.application.as_ref(),
            _ => None,
        }
    }
}

/// A secret that the environment gave.
pub(super) struct Given(pub(super) String);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given(…)")
    }
}

/// `[access]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Access {
    #[serde(default)]
    pub(super) allow: Vec<Located<String>>,
    #[serde(default)]
    pub(super) deny: Vec<Located<String>>,
    pub(super) contact: Option<Located<String>>,
}

/// `[[server]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) path: Located<String>,
    pub(super) url: Located<String>,
    pub(super) name: Option<Located<String>>,
    pub(super) scopes: Option<Located<Vec<String>>>,
    pub(super) credential: Option<Located<String>>,
    pub(super) bearer: Option<Located<SecretSource>>,
    pub(super) on_behalf_of: Option<Located<Vec<String>>>,
    pub(super) default: Option<Located<String>>,
    #[serde(default)]
    pub(super) hide_denied: bool,
    #[serde(default)]
    pub(super) rule: Vec<CallRuleEntry>,
}

/// `[[server.rule]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallRuleEntry {
    pub(super) tools: Option<Vec<Located<String>>>,
    pub(super) prompts: Option<Vec<Located<String>>>,
    pub(super) resources: Option<Vec<Located<String>>>,
    pub(super) methods: Option<Vec<Located<String>>>,
    #[serde(default)]
    pub(super) people: Vec<Located<String>>,
    #[serde(default)]
    pub(super) scopes: Vec<Located<String>>,
    pub(super) allow: Option<Located<bool>>,
}

/// `[[scope]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopeEntry {
    pub(super) name: Located<String>,
    pub(super) description: Option<Located<String>>,
    pub(super) grants_to: Option<Vec<Located<String>>>,
    #[serde(default)]
    pub(super) implies: Vec<Located<String>>,
    #[serde(default)]
    pub(super) idp: Vec<Located<String>>,
}

/// `[clients]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clients {
    pub(super) registration: Option<Located<String>>,
    pub(super) redirects: Option<Vec<Located<String>>>,
    pub(super) private_use: Option<Vec<Located<String>>>,
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
    pub(super) jwks: Option<Located<InFile>>,
    pub(super) jwks_uri: Option<Located<IgnoredAny>>,
    pub(super) auth_method: Option<Located<String>>,
}

/// Where something lies that is no secret, or that somebody else renews.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InFile {
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
        // Of several, nobody could say which is meant.
        if let [idp] = self.idp.0.as_mut_slice() {
            overlay(&mut idp.issuer, "DEPUTY_IDP_ISSUER");
            overlay(&mut idp.client_id, "DEPUTY_IDP_CLIENT_ID");
            idp.given_secret = env(SECRET_VARIABLE).map(Given);
        }
        self
    }
}
