//! What a gateway needs to know, already checked for form: the binary reads it from TOML, a Rust program builds it.

mod clients;
mod idp;

use std::path::PathBuf;
use std::time::Duration;

use deputy_fetch::{Certificates, Egress};
use deputy_protocol::Issuer;
use deputy_protocol::access::Rules;
use deputy_protocol::client::policy::ClientPolicy;
use deputy_protocol::family::Lifetimes;
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::scope::{ScopeRules, Scopes};
use deputy_protocol::secret::ClientSecret;
use ipnet::IpNet;

pub use clients::{ClientAuth, ClientConfig, WrongClient};
pub use idp::{
    AssertionKey, ClaimNames, Credential, Entra, GitHub, IdpConfig, IdpKind, ManagedIdentity, OAuth, RsaAlgorithm, WrongKey,
};

/// What [`Config::client_ids_after_rotation`] is by default: a year.
pub const CLIENT_IDS_AFTER_ROTATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The configuration of one gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// The origin under which people and clients reach the gateway, without a trailing slash: `https://mcp.example.com`. It is the issuer.
    pub public_url: Issuer,
    /// Where the master key lives, and the database unless `store` says otherwise. Created with access for the owner only.
    pub data_dir: PathBuf,
    /// Where the state is kept.
    pub store: StoreConfig,
    /// The identity providers: at least one.
    pub idps: Vec<IdpConfig>,
    /// Who may come in.
    pub access: Rules,
    /// Whom people are told to ask who may not come in: an e-mail address, a name, a place.
    pub contact: Option<String>,
    /// How often people are asked.
    pub consent: Consent,
    /// The MCP servers to protect: at least one.
    pub servers: Vec<ServerConfig>,
    /// What is said about single scopes of theirs.
    pub scopes: ScopeRules,
    /// The clients that the operator registered.
    pub clients: Vec<ClientConfig>,
    /// Which other clients may come.
    pub client_policy: ClientPolicy,
    /// How clients' metadata documents are fetched.
    pub documents: DocumentsConfig,
    /// How long the id of a client that registered itself counts after the master secret that sealed it was replaced: at most 400 days.
    pub client_ids_after_rotation: Duration,
    /// How long things live.
    pub tokens: Lifetimes,
    /// Further `Host` values to accept, for a reverse proxy that does not pass the original on.
    pub allowed_hosts: Vec<String>,
    /// The proxies in front of us whose `X-Forwarded-For` says for whom they ask. It counts for limits per source, and for nothing else.
    pub trusted_proxies: Vec<IpNet>,
    /// Web origins whose pages may call the MCP endpoints, beside our own.
    pub allowed_origins: Vec<String>,
}

/// How clients' metadata documents are fetched. Which are taken says the [`ClientPolicy`].
#[derive(Clone, Debug, Default)]
pub struct DocumentsConfig {
    /// How requests leave this machine. No variable of the environment changes it.
    pub egress: Egress,
    /// Certificates that are trusted beside those of the machine.
    pub certificates: Certificates,
}

/// How often people are asked whether a client may act for them (decision 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consent {
    /// Each time a client wants to sign in.
    #[default]
    Always,
    /// Not again within [`MEMORY_LIFETIME`](deputy_protocol::remember::MEMORY_LIFETIME), if the person wishes it, and only where all of
    /// these hold (CON-32): the very same request, by the same browser and account, of a client that proves who it is and that is answered at
    /// a web server, and no other site sent the browser. On plain http people are asked each time.
    Remember,
}

/// Where the state is kept.
#[derive(Clone, Debug, Default)]
pub enum StoreConfig {
    /// One SQLite file in the data directory, for one machine.
    #[default]
    Sqlite,
    /// A PostgreSQL database, by its URL: for any number of identical replicas, which share the master key too.
    Postgres(ClientSecret),
}

/// One MCP server behind the gateway.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Its path on our origin, for example `/mcp`.
    pub path: String,
    /// Where it listens.
    pub url: url::Url,
    /// What people call it.
    pub name: String,
    /// The scopes that exist there.
    pub scopes: Scopes,
    /// How it is told who is calling, and what it is called with.
    pub credential: BackendCredential,
    /// The scopes of the one API behind it that is called in the name of the person, such as `api://BACKEND/Tools.Call`: it is sent a token made
    /// for it. Every provider must be [`Entra`] with `on_behalf`.
    pub on_behalf_of: Vec<String>,
    /// Who may call what there.
    pub calls: CallRules,
}

/// How a backend is told who is calling, and what it is called with. What the client sent of either never gets there.
#[derive(Clone, Debug, Default)]
pub enum BackendCredential {
    /// In headers, `x-deputy-subject` and others. Whoever can reach the backend without us can write them.
    #[default]
    Headers,
    /// In a JWT of one minute, as `Authorization: Bearer`: `iss` is this deployment, `aud` the backend's address without its query, the keys are
    /// published at `/jwks`.
    Assertion,
    /// In headers, and with this token as `Authorization: Bearer`, the same for everybody.
    Static(ClientSecret),
    /// Not at all.
    None,
}
