//! The gateway: everything that the endpoints share, put together once at start.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use deputy_fetch::address::Reach;
use deputy_fetch::{Client as FetchClient, FetchError, GuardedClient, GuardedConfig};
use deputy_guard::Verifier;
use deputy_protocol::access::Rules;
use deputy_protocol::family::{Lifetimes, Policy};
use deputy_protocol::metadata::{AuthorizationServer, ProtectedResourceMetadata};
use deputy_protocol::resource::{Catalog, ProtectedResource, ResourceUri, is_loopback_host};
use deputy_protocol::web::{HostRule, Origins};
use deputy_protocol::{Issuer, Reason, TransactionId};
use moka::sync::Cache;
use tokio_util::task::TaskTracker;

use crate::clients::{Clients, Documents, Registered};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Consent, DocumentsConfig, ServerConfig, StoreConfig};
use crate::cookies::CookieStyle;
use crate::error::Failure;
use crate::idp::Providers;
use crate::keyring::{self, Keyring};
use crate::master;
use crate::proxy::backend_token::{BackendTokens, Sources as TokenSources};
use crate::proxy::told::Told;
use crate::proxy::{Limits, Proxy, ProxyConfig};
use crate::revocations::{POLL, Revoked};
use crate::seal::Seal;
use crate::sources::Sources;
use crate::store::{Postgres, Sqlite, Step, Store, StoreError, StoreResult, Sweep};
use crate::{dispatch, random};

/// How long the end waits for questions to the provider.
const SETTLE: Duration = Duration::from_secs(30);
/// How often what has ended is swept out of the store.
const SWEEP: Duration = Duration::from_secs(300);
/// Most transactions of which this process remembers that their answer came in.
const ANSWERED_MAX: u64 = 100_000;

/// A gateway that does not start, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {why}")]
    DataDir {
        /// The directory, or the file in it.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The identity provider is not what the configuration says.
    #[error("the identity provider cannot be used: {0}")]
    Idp(String),
    /// The store or the keys in it cannot be used.
    #[error("cannot start: {0}")]
    Failed(#[from] Failure),
}

/// A running gateway. Clones share everything; background work ends when the last clone goes.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Shared>);

/// What the endpoints share.
pub(crate) struct Shared {
    pub(crate) issuer: Issuer,
    pub(crate) catalog: Catalog,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) rules: Rules,
    pub(crate) contact: Option<String>,
    pub(crate) origins: Origins,
    pub(crate) hosts: HostRule,
    pub(crate) cookies: CookieStyle,
    pub(crate) sources: Sources,
    /// Whether decisions are remembered for those who ask for it.
    pub(crate) remembers: bool,
    pub(crate) seal: Arc<Seal>,
    pub(crate) clients: Clients,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) revoked: Arc<Revoked>,
    pub(crate) idps: Arc<Providers>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Transactions whose answer is in work or done here: spares the provider a second request. The store decides.
    pub(crate) answered: Cache<TransactionId, ()>,
    /// Questions to the provider that are under way: what becomes of them is known to this process alone.
    pub(crate) questions: TaskTracker,
    pub(crate) proxies: Vec<(String, Proxy)>,
    pub(crate) server_metadata: AuthorizationServer,
    pub(crate) resource_metadata: Vec<(String, ProtectedResourceMetadata)>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Shared {
    /// What the API behind this resource is called with, if not just with who is calling.
    pub(crate) fn backend_tokens(&self, resource: &ResourceUri) -> Option<&BackendTokens> {
        self.proxies.iter().find_map(|(_, proxy)| proxy.backend_tokens(resource))
    }
}

impl Gateway {
    /// Starts a gateway: opens the store, loads the keys, asks the provider for its metadata.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong. A provider that is merely away is no reason not to start: sign-ins answer 503 until it is back.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_at(config, Arc::new(SystemClock)).await
    }

    /// [`Gateway::start`] under another clock.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub async fn start_at(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let shared = assemble(config, clock).await?;
        for idp in shared.idps.iter() {
            idp.discover().await.map_err(|why| StartError::Idp(format!("{}: {why}", idp.name())))?;
        }
        // Before the first request: a restart brings nothing back that was revoked.
        let known = shared.revoked.follow(shared.store.as_ref(), 0, shared.clock.now()).await.map_err(Failure::from)?;
        let shared = Arc::new(shared);
        tokio::spawn(follow_store(Arc::downgrade(&shared), known));
        tokio::spawn(sweep(Arc::downgrade(&shared)));
        Ok(Self(shared))
    }

    /// Everything that the gateway answers, as one router to serve or to mount at the root of an origin.
    pub fn router(&self) -> Router {
        dispatch::router(Arc::clone(&self.0))
    }

    /// The issuer, which is also the origin.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// Waits for what was asked of the provider, half a minute at most: an answer that nobody hears costs somebody a sign-in. To be called when
    /// nothing is served any more.
    pub async fn settle(&self) {
        self.0.questions.close();
        let _ = tokio::time::timeout(SETTLE, self.0.questions.wait()).await;
    }

    /// How many rows each table holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_rows(&self) -> Result<Vec<(&'static str, i64)>, StoreError> {
        self.0.store.count().await
    }

    /// Forgets what has ended, now instead of when it is due.
    #[cfg(feature = "test-hooks")]
    pub async fn forget(&self) {
        self.0.revoked.prune();
        self.0.forget().await;
    }

    /// Learns of what other processes revoked and which keys they made, now instead of within the second.
    ///
    /// # Errors
    /// When the store cannot be read.
    #[cfg(feature = "test-hooks")]
    pub async fn catch_up(&self) -> Result<(), Failure> {
        self.0.revoked.catch_up(self.0.store.as_ref(), 0).await?;
        self.0.keyring.follow(self.0.store.as_ref(), &self.0.seal, self.0.clock.now()).await
    }

    /// Signs what only a faulty gateway would say, for tests of those who check it.
    ///
    /// # Errors
    /// [`Reason::Internal`] when it cannot be written.
    #[cfg(feature = "test-hooks")]
    pub fn sign_anything(&self, claims: &serde_json::Value) -> Result<String, Reason> {
        self.0.keyring.sign(claims, self.0.clock.now())
    }
}

async fn assemble(config: Config, clock: Arc<dyn Clock>) -> Result<Shared, StartError> {
    let issuer = config.public_url;
    let catalog = catalog(&issuer, &config.servers)?.with_scope_rules(config.scopes);
    let hierarchy = catalog.scope_rules().hierarchy();
    let origins = Origins::new(issuer.as_str(), &config.allowed_origins)
        .map_err(|reason| StartError::Config(format!("public_url or allowed_origins: {reason}")))?;
    if origins.own() != issuer.as_str() {
        // One spelling of the issuer everywhere; a path would not be where clients look for metadata.
        let own = origins.own();
        return Err(StartError::Config(format!(
            "public_url must be written \"{own}\": an origin, without path and trailing slash"
        )));
    }
    let hosts = origins.host_rule().also(&config.allowed_hosts);
    let masters = master::load_or_create(&config.data_dir, clock.now())?;
    let seal = Arc::new(Seal::new(&masters).map_err(Failure::from)?);
    let registered = Registered::new(Arc::clone(&seal), Arc::clone(&clock), config.client_ids_after_rotation);
    let unfetchable = |error: FetchError| StartError::Failed(Failure::internal(error.to_string()));
    let guarded = guarded(&issuer, config.documents);
    let fetch = || GuardedClient::new(&guarded).map_err(unfetchable);
    let documents = Documents::new(fetch()?, fetch()?, Arc::clone(&clock));
    let clients = Clients::new(registered, documents, config.clients, config.client_policy).map_err(StartError::Config)?;
    let store = open_store(&config.store, &config.data_dir).await?;
    let keyring = Arc::new(Keyring::load(store.as_ref(), &seal, clock.now()).await?);
    let revoked = Arc::new(Revoked::new(config.tokens.access_token));
    let fetch = FetchClient::new().map_err(unfetchable)?;
    let groups = |issuers: &[Issuer]| {
        let calls = catalog.iter().flat_map(|resource| resource.calls.groups(issuers));
        let named = config.access.groups(issuers).chain(catalog.scope_rules().groups(issuers)).chain(calls);
        named.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let idps = Providers::new(config.idps, issuer.as_str(), groups, &fetch, &clock).map_err(StartError::Config)?;
    let idps = Arc::new(idps);
    let backends = TokenSources {
        idps: Arc::clone(&idps),
        store: Arc::clone(&store),
        seal: Arc::clone(&seal),
        revoked: Arc::clone(&revoked),
    };
    let mut proxies = Vec::new();
    for (resource, server) in catalog.iter().zip(&config.servers) {
        let verifier = Verifier::new(
            issuer.clone(),
            resource.uri.clone(),
            resource.scopes.clone(),
            Arc::clone(keyring.public()),
            Arc::clone(&revoked) as Arc<dyn deputy_guard::Revocations>,
        )
        .with_hierarchy(hierarchy.clone());
        let proxy = Proxy::new(ProxyConfig {
            resource: resource.clone(),
            backend: backend_uri(server)?,
            verifier: Arc::new(verifier),
            clients: Arc::clone(clients.policy()),
            hosts: hosts.clone(),
            origins: origins.origin_rule(),
            seal: Arc::clone(&seal),
            clock: Arc::clone(&clock),
            told: Told::of(server, &issuer, &keyring).map_err(StartError::Config)?,
            tokens: BackendTokens::of(server, &backends).map_err(StartError::Config)?,
            limits: Limits::default(),
        });
        proxies.push((resource.path.clone(), proxy.map_err(Failure::from)?));
    }
    let resource_metadata = catalog.iter().map(|r| (r.path.clone(), ProtectedResourceMetadata::new(r, &issuer))).collect();
    Ok(Shared {
        server_metadata: AuthorizationServer::new(&issuer, &catalog, clients.policy()),
        resource_metadata,
        cookies: CookieStyle::of(issuer.as_str()),
        sources: Sources::new(config.trusted_proxies),
        remembers: config.consent == Consent::Remember && origins.cookies_are_ours().is_some(),
        issuer,
        catalog,
        lifetimes: config.tokens,
        rules: config.access,
        contact: config.contact,
        origins,
        hosts,
        clients,
        seal,
        keyring,
        store,
        revoked,
        idps,
        clock,
        questions: TaskTracker::new(),
        answered: Cache::builder().max_capacity(ANSWERED_MAX).time_to_live(Duration::from_secs(600)).build(),
        proxies,
    })
}

/// How documents are fetched. Documents on loopback are for a deployment that is there itself, and so for nobody else (AS-30).
fn guarded(issuer: &Issuer, documents: DocumentsConfig) -> GuardedConfig {
    let host = url::Url::parse(issuer.as_str()).ok().and_then(|url| url.host_str().map(is_loopback_host));
    let reach = if host == Some(true) { Reach::PublicAndLoopback } else { Reach::Public };
    GuardedConfig { reach, egress: documents.egress, certificates: documents.certificates }
}

fn catalog(issuer: &Issuer, servers: &[ServerConfig]) -> Result<Catalog, StartError> {
    if servers.is_empty() {
        return Err(StartError::Config("there is no [[server]] to protect: add one with path and url".to_owned()));
    }
    let resource = |server: &ServerConfig| {
        let uri = ResourceUri::parse(&format!("{issuer}{}", server.path))
            .map_err(|_| StartError::Config(format!("the server path {} is not a URL path", server.path)))?;
        // What the parser changes would be another path than the one that is compared with requests.
        if uri.as_str() != format!("{issuer}{}", server.path) || server.scopes.is_empty() {
            return Err(StartError::Config(format!(
                "the server at {}: the path must be written canonically and there must be a scope",
                server.path
            )));
        }
        Ok(ProtectedResource {
            uri,
            path: server.path.clone(),
            name: server.name.clone(),
            scopes: server.scopes.clone(),
            calls: server.calls.clone(),
        })
    };
    Ok(Catalog::new(servers.iter().map(resource).collect::<Result<_, _>>()?))
}

fn backend_uri(server: &ServerConfig) -> Result<http::Uri, StartError> {
    server
        .url
        .as_str()
        .parse()
        .map_err(|_| StartError::Config(format!("the backend of {} is not an http(s) URL: {}", server.path, server.url)))
}

pub(crate) async fn open_store(config: &StoreConfig, data_dir: &Path) -> Result<Arc<dyn Store>, StartError> {
    let failed = |error: StoreError| StartError::Failed(error.into());
    match config {
        StoreConfig::Sqlite => {
            let path = data_dir.join("deputy.sqlite");
            master::private_file(&path)?;
            Ok(Arc::new(Sqlite::open(&path).await.map_err(failed)?))
        }
        StoreConfig::Postgres(url) => Ok(Arc::new(Postgres::open(url).await.map_err(failed)?)),
    }
}

/// Brings the tables of a PostgreSQL database up to date; those of SQLite are at each start. Replicas of the version before go on working.
///
/// # Errors
/// When the database cannot be reached, or will not.
pub async fn migrate(store: &StoreConfig) -> Result<(), StoreError> {
    match store {
        StoreConfig::Sqlite => Ok(()),
        StoreConfig::Postgres(url) => Postgres::migrate(url).await,
    }
}

/// Keeps the revoked set and the signing keys in step with the store, until the gateway is gone.
async fn follow_store(shared: std::sync::Weak<Shared>, known: i64) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = known;
    loop {
        ticks.tick().await;
        let Some(gateway) = shared.upgrade() else { return };
        gateway.revoked.prune();
        let now = gateway.clock.now();
        match gateway.revoked.follow(gateway.store.as_ref(), last, now).await {
            Ok(sequence) => last = sequence,
            Err(error) => tracing::warn!(target: "deputy::store", %error, "cannot read the revocation feed; trying again"),
        }
        if let Err(error) = gateway.keyring.follow(gateway.store.as_ref(), &gateway.seal, now).await {
            tracing::warn!(target: "deputy::store", %error, "cannot read the signing keys; going on with those that are known");
        }
    }
}

/// Forgets what has ended, until the gateway is gone.
async fn sweep(shared: std::sync::Weak<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(gateway) = shared.upgrade() else { return };
        gateway.forget().await;
    }
}

impl Shared {
    async fn forget(&self) {
        if let Err(error) = self.sweep_out().await {
            tracing::warn!(target: "deputy::store", %error, "cannot sweep; trying again later");
        }
    }

    /// Forgets what has ended, a little at a time, so that nobody waits for it.
    async fn sweep_out(&self) -> StoreResult<()> {
        let now = self.clock.now();
        let Some(sweep) = Sweep::at(now, self.store.newest_sign_in().await?, self.revoked.keep()) else { return Ok(()) };
        while self.store.take(Step::Sweep(sweep)).await? {}
        for kid in keyring::over(&self.store.signing_keys().await?, sweep.keys) {
            self.store.take(Step::ForgetSigningKey(kid)).await?;
        }
        for grant in self.store.idle_grants(now).await? {
            self.store.take(Step::ForgetIdle(grant, now)).await?;
        }
        Ok(())
    }

    /// What is allowed today.
    pub(crate) fn policy(&self) -> Policy<'_> {
        Policy { rules: &self.rules, catalog: &self.catalog }
    }

    /// Random bytes, as endpoints need them.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Reason> {
        random::bytes()
    }
}
