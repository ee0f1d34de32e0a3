//! `deputy demo`: a provider, an MCP server and the gateway in one process, on this machine only, gone at the end.

pub(crate) mod call;
mod mcp;
mod welcome;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use deputy_protocol::access::Rules;
use deputy_protocol::client::policy::ClientPolicy;
use deputy_protocol::family::Lifetimes;
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::scope::{ScopeRules, Scopes};
use deputy_protocol::{IdpName, Issuer};
use deputy_server::config::Credential;
use deputy_server::{Config, Gateway, IdpConfig, ServerConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::devidp::{self, Idp};
use crate::signals;

/// How long open requests may go on when the demo ends.
const DRAIN: Duration = Duration::from_secs(1);

/// What the demo shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DemoOptions {
    /// The gateway's port; the provider takes the next one.
    pub(crate) port: u16,
    /// Drive one complete sign-in and end, instead of waiting for people.
    pub(crate) call: bool,
}

/// A port of this machine, by its IPv4 and, where there is one, its IPv6 loopback address: browsers read `localhost` as either.
struct Doors {
    port: u16,
    listeners: Vec<TcpListener>,
}

impl Doors {
    async fn open(port: u16, what: &str) -> anyhow::Result<Self> {
        let taken = || format!("port {port} is taken, and {what} needs it; end the other program, or choose with --port");
        let v4 = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.with_context(taken)?;
        let port = v4.local_addr()?.port();
        let mut listeners = vec![v4];
        match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
            Ok(v6) => listeners.push(v6),
            // Somebody else there would get half of the browsers' requests.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(error).with_context(taken),
            // A machine without IPv6.
            Err(_) => {}
        }
        Ok(Self { port, listeners })
    }

    fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    fn serve(self, router: &Router, tasks: &mut JoinSet<std::io::Result<()>>, end: &CancellationToken) {
        for listener in self.listeners {
            tasks.spawn(deputy_server::serve(listener, router.clone(), end.clone().cancelled_owned()));
        }
    }
}

/// Runs the demo until Ctrl-C, or with `call` until the sign-in is done.
///
/// # Errors
/// Says what is in the way, or which check of `--call` did not hold.
pub(crate) async fn run(options: DemoOptions) -> anyhow::Result<()> {
    // A driven sign-in needs no known address, and may run beside a demo.
    let (gateway_port, idp_port) = if options.call { (0, 0) } else { (options.port, options.port.saturating_add(1)) };
    let gateway_doors = Doors::open(gateway_port, "the gateway").await?;
    let idp_doors = Doors::open(idp_port, "the demo's identity provider").await?;
    let backend_doors = Doors::open(0, "the demo's MCP server").await?;
    let data = tempfile::Builder::new().prefix("deputy-demo-").tempdir().context("cannot make a temporary directory")?;

    let (origin, end, mut tasks) = (gateway_doors.origin(), CancellationToken::new(), JoinSet::new());
    let provider = Idp::new(&idp_doors.origin(), format!("{origin}/callback"))?;
    let backend = format!("http://127.0.0.1:{}/mcp", backend_doors.port);
    idp_doors.serve(&provider.router(), &mut tasks, &end);
    backend_doors.serve(&mcp::router(), &mut tasks, &end);
    let gateway = Box::pin(Gateway::start(config(&origin, &backend, &provider, &data)?)).await?;
    gateway_doors.serve(&gateway.router(), &mut tasks, &end);

    let outcome = if options.call { call::drive(&origin).await } else { welcome_and_wait(&origin, &provider).await };
    end.cancel();
    let drained = async { while tasks.join_next().await.is_some() {} };
    // A client's open event stream is no reason to keep a person waiting.
    let _ = tokio::time::timeout(DRAIN, drained).await;
    tasks.shutdown().await;
    drop(gateway);
    data.close().context("cannot remove the temporary directory")?;
    if outcome.is_ok() && !options.call {
        welcome::goodbye();
    }
    outcome
}

async fn welcome_and_wait(origin: &str, provider: &Idp) -> anyhow::Result<()> {
    // Before the welcome, so that nobody ends the demo past its cleaning up.
    let ended = signals::shutdown().map_err(anyhow::Error::msg)?;
    welcome::print(origin, provider.issuer());
    ended.await;
    Ok(())
}

fn config(origin: &str, backend: &str, provider: &Arc<Idp>, data: &tempfile::TempDir) -> anyhow::Result<Config> {
    Ok(Config {
        store: deputy_server::StoreConfig::Sqlite,
        public_url: Issuer::parse(origin)?,
        data_dir: data.path().join("data"),
        idps: vec![IdpConfig::openid(
            IdpName::parse("demo").context("a name")?,
            Issuer::parse(provider.issuer())?,
            devidp::CLIENT_ID.to_owned(),
            Credential::Secret(provider.secret()),
        )],
        access: Rules::parse(&["*"])?,
        contact: None,
        consent: deputy_server::Consent::Always,
        client_ids_after_rotation: deputy_server::config::CLIENT_IDS_AFTER_ROTATION,
        scopes: ScopeRules::default(),
        servers: vec![ServerConfig {
            path: "/mcp".to_owned(),
            url: backend.parse()?,
            name: "Demo tools".to_owned(),
            scopes: Scopes::parse("mcp")?,
            on_behalf_of: Vec::new(),
            credential: deputy_server::config::BackendCredential::default(),
            calls: CallRules::default(),
        }],
        tokens: Lifetimes::default(),
        allowed_hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        clients: Vec::new(),
        client_policy: ClientPolicy::default(),
        documents: deputy_server::DocumentsConfig::default(),
        allowed_origins: Vec::new(),
    })
}
