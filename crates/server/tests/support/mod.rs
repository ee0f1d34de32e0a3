//! A whole deployment on loopback: provider, backend, gateway, clients and browsers.

pub mod backend;
pub mod clock;
pub mod http;
pub mod idp;
pub mod log;
pub mod postgres;
pub mod publisher;
pub mod replicas;
pub mod scripted;
pub mod streams;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::access::Rules;
use deputy_protocol::client::policy::ClientPolicy;
use deputy_protocol::family::Lifetimes;
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::scope::{ScopeRules, Scopes};
use deputy_protocol::secret::{ClientSecret, sha256};
use deputy_protocol::{IdpName, Issuer};
use deputy_server::clock::Clock as _;
use deputy_server::config::{CLIENT_IDS_AFTER_ROTATION, Credential};
use deputy_server::{
    Config, Consent, DocumentsConfig, Gateway, Grants, IdpConfig, MasterRotation, RotateError, ServerConfig, SigningKey,
    StartError, StoreConfig,
};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use backend::Backend;
use clock::TestClock;
use http::{Answer, Browser};
use idp::Idp;

/// Where honest clients get their answers. Nobody listens there: browsers stop before it.
pub const HONEST: &str = "http://localhost:5599/callback";
/// Where the attacker would get them.
pub const EVIL: &str = "https://evil.test/cb";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub struct World {
    pub origin: String,
    pub origin_port: u16,
    pub gateway: Gateway,
    /// The other gateways of this deployment, if there are any.
    others: Vec<Gateway>,
    pub idp: Arc<Idp>,
    pub backend: Arc<Backend>,
    pub clock: Arc<TestClock>,
    pub data: TempDir,
    store: StoreConfig,
    data_dir: PathBuf,
    /// Kept open, so that no other test gets the port between a stop and a start.
    door: std::net::TcpListener,
    serving: JoinHandle<std::io::Result<()>>,
}

/// The least that an MCP client says; 40 bytes.
pub const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub secret: Option<String>,
    pub redirect: String,
}

fn door() -> std::net::TcpListener {
    let door = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    door.set_nonblocking(true).expect("set");
    door
}

fn local(door: &std::net::TcpListener) -> String {
    format!("http://localhost:{}", door.local_addr().expect("an address").port())
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(edit: impl FnOnce(&mut Config)) -> Self {
        Self::try_with(edit).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn try_with(edit: impl FnOnce(&mut Config)) -> Result<Self, StartError> {
        let clock = Arc::new(TestClock::new());
        let idp = Idp::start(Arc::clone(&clock)).await;
        Self::with_idp(idp, clock, edit).await
    }

    /// A gateway whose public address is https, as behind a proxy that ends TLS.
    pub async fn secure_with(edit: impl FnOnce(&mut Config)) -> Self {
        let clock = Arc::new(TestClock::new());
        let idp = Idp::start(Arc::clone(&clock)).await;
        let door = door();
        let origin = format!("https://p{}.test", door.local_addr().expect("an address").port());
        let data = tempfile::tempdir().expect("a directory");
        Self::behind(door, origin, data, idp, clock, edit).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn with_idp(idp: Arc<Idp>, clock: Arc<TestClock>, edit: impl FnOnce(&mut Config)) -> Result<Self, StartError> {
        let door = door();
        let origin = local(&door);
        Self::behind(door, origin, tempfile::tempdir().expect("a directory"), idp, clock, edit).await
    }

    async fn behind(
        door: std::net::TcpListener,
        origin: String,
        data: TempDir,
        idp: Arc<Idp>,
        clock: Arc<TestClock>,
        edit: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        let (backend, backend_url) = Backend::start().await;
        let listener = tokio::net::TcpListener::from_std(door.try_clone().expect("a second handle")).expect("a listener");
        let origin_port = listener.local_addr().expect("an address").port();
        let mut config = Config {
            store: replicas::store().await,
            public_url: Issuer::parse(&origin).expect("an issuer"),
            data_dir: data.path().join("data"),
            idps: vec![IdpConfig {
                scopes: vec!["openid".to_owned(), "email".to_owned()],
                ..IdpConfig::openid(
                    IdpName::parse("idp").expect("a name"),
                    Issuer::parse(&idp.issuer).expect("an issuer"),
                    idp::CLIENT_ID.to_owned(),
                    Credential::Secret(ClientSecret::from_text(idp::CLIENT_SECRET.to_owned())),
                )
            }],
            access: Rules::parse(&["*"]).expect("rules"),
            contact: None,
            consent: Consent::Always,
            scopes: ScopeRules::default(),
            servers: vec![ServerConfig {
                path: "/mcp".to_owned(),
                url: backend_url.parse().expect("a URL"),
                name: "Test tools".to_owned(),
                scopes: Scopes::parse("read write").expect("scopes"),
                on_behalf_of: Vec::new(),
                credential: deputy_server::config::BackendCredential::default(),
                calls: CallRules::default(),
            }],
            clients: Vec::new(),
            client_policy: ClientPolicy::default(),
            documents: DocumentsConfig::default(),
            client_ids_after_rotation: CLIENT_IDS_AFTER_ROTATION,
            tokens: Lifetimes::default(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
        };
        edit(&mut config);
        let (store, data_dir) = (config.store.clone(), config.data_dir.clone());
        let gateways = replicas::start(config, &clock).await?;
        let serving = tokio::spawn(deputy_server::serve(listener, replicas::in_turn(&gateways), std::future::pending()));
        let mut others = gateways;
        let gateway = others.remove(0);
        Ok(Self { origin, origin_port, gateway, others, idp, backend, clock, data, store, data_dir, door, serving })
    }

    /// The URL of the database, when it is PostgreSQL.
    pub fn postgres(&self) -> Option<&str> {
        match &self.store {
            StoreConfig::Sqlite => None,
            StoreConfig::Postgres(url) => Some(url.expose()),
        }
    }

    /// Stops, loses its database, and starts with the keys that it has: at the same address, for the same provider.
    pub async fn without_database(self) -> Self {
        self.serving.abort();
        let _ = self.serving.await;
        drop((self.gateway, self.others));
        for name in ["deputy.sqlite", "deputy.sqlite-wal", "deputy.sqlite-shm"] {
            let _ = std::fs::remove_file(self.data_dir.join(name));
        }
        let store = replicas::store().await;
        let started = Self::behind(self.door, self.origin, self.data, self.idp, self.clock, |config| config.store = store).await;
        started.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Stops, and starts at the same address with another configuration.
    pub async fn restarted(self, edit: impl FnOnce(&mut Config)) -> Self {
        self.serving.abort();
        let _ = self.serving.await;
        drop((self.gateway, self.others));
        let store = self.store;
        let edit = |config: &mut Config| {
            config.store = store;
            edit(config);
        };
        let started = Self::behind(self.door, self.origin, self.data, self.idp, self.clock, edit).await;
        started.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same with one of its gateways: for what each process keeps to itself.
    pub async fn alone(mut self) -> Self {
        self.others.clear();
        self.serving.abort();
        let _ = (&mut self.serving).await;
        let listener = tokio::net::TcpListener::from_std(self.door.try_clone().expect("a second handle")).expect("a listener");
        self.serving = tokio::spawn(deputy_server::serve(listener, self.gateway.router(), std::future::pending()));
        self
    }

    /// Does something to the database behind everybody's back.
    pub async fn sql(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        match self.postgres() {
            None => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.data_dir.join("deputy.sqlite"));
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("connected");
                connection.execute(statement).await.expect("done");
            }
            Some(url) => {
                let mut connection = sqlx::PgConnection::connect(url).await.expect("connected");
                connection.execute(statement).await.expect("done");
            }
        }
    }

    /// Another process of the same deployment, at its own port: after a restart, or beside the first.
    pub async fn again(&self) -> Self {
        self.again_with(|_| ()).await
    }

    /// Another process on this store, with another data directory.
    pub async fn try_again_in(&self, data_dir: PathBuf) -> Result<Self, StartError> {
        let (store, origin) = (self.store.clone(), Issuer::parse(&self.origin).expect("an issuer"));
        let again = Self::with_idp(Arc::clone(&self.idp), Arc::clone(&self.clock), move |config| {
            config.data_dir = data_dir;
            config.store = store;
            config.public_url = origin;
        });
        again.await
    }

    /// What `deputy grants` works with.
    pub async fn grants(&self) -> Grants {
        Grants::open(&self.store, &self.data_dir).await.expect("a store")
    }

    /// What `deputy clients invite` does.
    pub fn invite(&self, seconds: u64) -> String {
        let now = deputy_server::clock::Clock::now(self.clock.as_ref());
        let invitation = deputy_server::invite(&self.data_dir, std::time::Duration::from_secs(seconds), now);
        invitation.unwrap_or_else(|error| panic!("{error}")).expose().to_owned()
    }

    /// What `deputy keys rotate` does.
    pub async fn rotate_signing_key(&self) -> Result<SigningKey, RotateError> {
        deputy_server::rotate_signing_key(&self.store, &self.data_dir, self.clock.as_ref()).await
    }

    /// What `deputy keys rotate --master` does.
    pub async fn rotate_master(&self, how: MasterRotation) {
        let now = self.clock.now();
        deputy_server::rotate_master(&self.store, &self.data_dir, how, now).await.unwrap_or_else(|error| panic!("{error}"));
        if how == MasterRotation::ForgetOld {
            deputy_server::replace_signing_keys(&self.store, &self.data_dir, now).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// [`World::again`], under another configuration.
    pub async fn again_with(&self, edit: impl FnOnce(&mut Config)) -> Self {
        let (data_dir, store) = (self.data_dir.clone(), self.store.clone());
        let origin = Issuer::parse(&self.origin).expect("an issuer");
        let again = Self::with_idp(Arc::clone(&self.idp), Arc::clone(&self.clock), move |config| {
            config.data_dir = data_dir;
            config.store = store;
            config.public_url = origin;
            edit(config);
        });
        again.await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub async fn register_with(&self, metadata: Value) -> Client {
        let answer = http::post_json(&self.at("/register"), &metadata).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let body = answer.json();
        Client {
            id: body["client_id"].as_str().expect("an id").to_owned(),
            secret: body["client_secret"].as_str().map(str::to_owned),
            redirect: metadata["redirect_uris"][0].as_str().expect("a redirect").to_owned(),
        }
    }

    pub async fn register(&self, redirect: &str) -> Client {
        let metadata = json!({"client_name": "Test client", "redirect_uris": [redirect], "token_endpoint_auth_method": "none"});
        self.register_with(metadata).await
    }

    /// A good authorization request, with parameters replaced, added or (empty) removed.
    pub fn authorize_url(&self, client: &Client, changes: &[(&str, &str)]) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
        let resource = self.at("/mcp");
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", client.id.as_str()),
            ("redirect_uri", client.redirect.as_str()),
            ("state", "client-state"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ];
        for (name, value) in changes {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name, value));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        format!("{}?{}", self.at("/authorize"), http::form(&pairs))
    }

    /// Opens the page, approves, signs in at the provider: up to the redirect that carries the code.
    pub async fn approve(&self, browser: &mut Browser, client: &Client) -> Answer {
        let page = browser.open(&self.authorize_url(client, &[]), &client.redirect).await;
        let sent = browser.decide(&self.origin, &page.ticket(), "approve").await;
        assert_eq!(sent.status, 303, "{}", sent.text());
        browser.open(sent.location().expect("the provider").as_str(), &client.redirect).await
    }

    /// The code of one complete sign-in.
    pub async fn code(&self, client: &Client) -> String {
        let answer = self.approve(&mut Browser::default(), client).await;
        answer.sent("code").unwrap_or_else(|| panic!("no code: {} {:?} {}", answer.status, answer.location(), answer.text()))
    }

    pub async fn token(&self, pairs: &[(&str, &str)]) -> Answer {
        http::post_form(&self.at("/token"), pairs).await
    }

    pub async fn redeem(&self, client: &Client, code: &str) -> Answer {
        let form = [("grant_type", "authorization_code"), ("client_id", &client.id), ("code", code), ("code_verifier", VERIFIER)];
        self.token(&form).await
    }

    pub async fn refresh(&self, client: &Client, token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("client_id", &client.id), ("refresh_token", token)]).await
    }

    /// Registers, signs in, redeems: (client, access token, refresh token).
    pub async fn signed_in(&self) -> (Client, String, String) {
        let client = self.register(HONEST).await;
        let tokens = self.redeem(&client, &self.code(&client).await).await;
        assert_eq!(tokens.status, 200, "{}", tokens.text());
        let text = |name: &str| tokens.json()[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        (client, text("access_token"), text("refresh_token"))
    }

    /// Calls the protected resource at this process of the deployment that is known as another's.
    pub async fn call_at(&self, known_as: &Self, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("host", known_as.origin.trim_start_matches("http://")),
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        http::send(::http::Method::POST, &format!("http://127.0.0.1:{}/mcp", self.origin_port), &headers, PING).await
    }

    /// Gives every gateway of this deployment the time to read the store. One that is away has nothing new to say.
    pub async fn catch_up(&self) {
        for gateway in self.others.iter().chain([&self.gateway]) {
            let _ = gateway.catch_up().await;
        }
    }

    /// Calls the protected resource. Where there are several gateways, after each of them had the time to learn of revocations.
    pub async fn call(&self, token: &str) -> Answer {
        if !self.others.is_empty() {
            self.catch_up().await;
        }
        let authorization = format!("Bearer {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        http::send(::http::Method::POST, &self.at("/mcp"), &headers, PING).await
    }

    pub async fn rows(&self) -> Vec<(&'static str, i64)> {
        self.gateway.count_rows().await.expect("rows")
    }
}
