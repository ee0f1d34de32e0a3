//! The binary as processes of their own, on the same ports and the same store through all their lives.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backend::Backend;
use crate::clock::TestClock;
use crate::idp::{CLIENT_ID, CLIENT_SECRET, Faults, Idp};
use crate::proxy::Proxy;
use crate::record::Witness;

/// How long a start may take before the test gives up.
const START: Duration = Duration::from_secs(20);

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The URL of a PostgreSQL database, or SQLite.
    pub store: Option<String>,
    /// How many processes share the store.
    pub processes: usize,
    /// Lines under `[tokens]`.
    pub tokens: &'static str,
    /// Whether a proxy of ours stands between the processes and the provider.
    pub proxied: bool,
    /// Where the data lies, or in a temporary folder.
    pub data: Option<PathBuf>,
    /// More of the environment.
    pub env: Vec<(&'static str, String)>,
    /// By how many seconds the clock of each process is ahead (with libfaketime in `env`).
    pub ahead: Vec<i64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { store: None, processes: 1, tokens: "", proxied: false, data: None, env: Vec::new(), ahead: Vec::new() }
    }
}

/// One process, in all its lives.
#[derive(Debug)]
struct Process {
    port: u16,
    child: Mutex<Option<Child>>,
}

/// A deployment whose processes can die.
pub struct Deployment {
    pub origin: String,
    pub data: TempDir,
    /// Between the processes and the provider.
    pub to_provider: Option<Proxy>,
    env: Vec<(&'static str, String)>,
    clocks: Vec<i64>,
    processes: Vec<Process>,
    said: Arc<Mutex<Vec<String>>>,
    /// By how many seconds the provider's clock is ahead of the machine's.
    pub ahead: Arc<AtomicI64>,
    idp: Arc<Idp>,
    backend: Arc<Backend>,
}

/// A port that no outgoing connection of this machine takes while its owner is dead: below the ephemeral ones.
pub fn free_port() -> u16 {
    let offset = u16::from_be_bytes(deputy_server::random::bytes().unwrap()) % 10_000;
    let mut ports = (20_000..30_000).cycle().skip(usize::from(offset)).take(10_000);
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// The provider, with the machine's clock as the processes have it, and behind `issuer` when that is a proxy's.
fn configure(idp: &Idp, issuer: &str, ahead: &Arc<AtomicI64>) {
    let (at, ahead) = (issuer.to_owned(), Arc::clone(ahead));
    let claims = move |claims: &mut Value| {
        let now = time::OffsetDateTime::now_utc().unix_timestamp() + ahead.load(Ordering::SeqCst);
        claims["iss"] = json!(at);
        claims["iat"] = now.into();
        claims["exp"] = (now + 300).into();
    };
    let at = issuer.to_owned();
    let discovery = move |document: &mut Value| {
        document["issuer"] = json!(at);
        document["token_endpoint"] = json!(format!("{at}/token"));
        document["jwks_uri"] = json!(format!("{at}/keys"));
    };
    idp.misbehave(Faults { claims: Some(Arc::new(claims)), discovery: Some(Arc::new(discovery)), ..Faults::default() });
}

impl Deployment {
    pub async fn start() -> Self {
        Self::planned(Plan::default()).await
    }

    pub async fn planned(plan: Plan) -> Self {
        let idp = Idp::start(Arc::new(TestClock::new())).await;
        let to_provider = match plan.proxied {
            true => Some(Proxy::start(idp.issuer.trim_start_matches("http://").to_owned()).await),
            false => None,
        };
        let issuer = to_provider.as_ref().map_or_else(|| idp.issuer.clone(), |proxy| format!("http://127.0.0.1:{}", proxy.port));
        let ahead = Arc::default();
        configure(&idp, &issuer, &ahead);
        let (backend, backend_url) = Backend::start().await;
        let data = tempfile::tempdir().unwrap();
        let mut ports = Vec::new();
        while ports.len() < plan.processes {
            let port = free_port();
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        let origin = format!("http://localhost:{}", ports[0]);
        let folder = plan.data.unwrap_or_else(|| data.path().join("data"));
        let store = plan.store.as_ref().map(|url| format!("store = \"{url}\"\n")).unwrap_or_default();
        let file = format!(
            "public_url = \"{origin}\"\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"{}\"\n{store}[idp]\nissuer = \"{issuer}\"\n\
             client_id = \"{CLIENT_ID}\"\n[access]\nallow = [\"domain:corp.test\"]\n[tokens]\n{}\n[[server]]\npath = \"/mcp\"\n\
             url = \"{backend_url}\"\n",
            ports[0],
            folder.display(),
            plan.tokens
        );
        std::fs::write(data.path().join("deputy.toml"), file).unwrap();
        let processes = ports.into_iter().map(|port| Process { port, child: Mutex::default() }).collect();
        let (env, clocks) = (plan.env, plan.ahead);
        let deployment = Self { origin, data, to_provider, env, clocks, processes, said: Arc::default(), ahead, idp, backend };
        if plan.store.is_some() {
            deployment.migrate();
        }
        for at in 0..plan.processes {
            deployment.restart_at(at);
        }
        deployment
    }

    fn command(&self, at: usize) -> Command {
        let port = self.processes[at].port;
        // A copy, where somebody may build the next one in the meantime.
        let binary = std::env::var_os("DEPUTY_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_deputy").into());
        let mut command = Command::new(binary);
        command.env("DEPUTY_IDP_CLIENT_SECRET", CLIENT_SECRET).env("DEPUTY_LISTEN", format!("127.0.0.1:{port}"));
        command
            .env("DEPUTY_CONFIG", self.data.path().join("deputy.toml"))
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command.envs(self.clocks.get(at).map(|ahead| ("FAKETIME", format!("{ahead:+}"))));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn migrate(&self) {
        let done = self.command(0).arg("migrate").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    #[cfg(target_os = "linux")]
    pub fn database(&self, file: &str) -> PathBuf {
        self.data.path().join("data").join(file)
    }

    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    /// Where a process listens.
    pub fn port(&self, at: usize) -> u16 {
        self.processes[at].port
    }

    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> u32 {
        self.processes[0].child.lock().unwrap().as_ref().expect("a process").id()
    }

    /// Whether the process still runs.
    pub fn runs(&self) -> bool {
        self.runs_at(0)
    }

    pub fn runs_at(&self, at: usize) -> bool {
        self.processes[at].child.lock().unwrap().as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// What the provider, the protected server and the log saw.
    pub fn witness(&self) -> Witness {
        Witness { provider: self.idp.refreshes(), backend: self.backend.requests(), said: self.said.lock().unwrap().clone() }
    }

    /// SIGKILL, and the end of it.
    pub fn kill(&self) {
        self.kill_at(0);
    }

    pub fn kill_at(&self, at: usize) {
        if let Some(mut child) = self.processes[at].child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts the process again on the same data, and returns when it says that it listens.
    pub fn restart(&self) {
        self.restart_at(0);
    }

    pub fn restart_at(&self, at: usize) {
        let mut child = self.command(at).args(["serve", "--log", "warn"]).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (listens, listening) = mpsc::channel();
        let said = Arc::clone(&self.said);
        // Reads on to the end, so that the process never waits for a reader.
        std::thread::spawn(move || {
            let mut last = String::new();
            for line in lines.map_while(Result::ok) {
                if line.starts_with("listening on ") {
                    let _ = listens.send(Ok(()));
                    continue;
                }
                if line.starts_with('{') || line.contains("panicked") {
                    said.lock().unwrap().push(line.clone());
                }
                last = line;
            }
            let _ = listens.send(Err(last));
        });
        *self.processes[at].child.lock().unwrap() = Some(child);
        match listening.recv_timeout(START) {
            Ok(Ok(())) => {}
            Ok(Err(said)) => panic!("it ended: {said}"),
            Err(_) => panic!("it does not listen"),
        }
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        (0..self.processes.len()).for_each(|at| self.kill_at(at));
    }
}
