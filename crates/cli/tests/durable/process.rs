//! The binary as a process of its own, on one port and one data directory through all its lives.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::backend::Backend;
use crate::clock::TestClock;
use crate::idp::{CLIENT_ID, CLIENT_SECRET, Faults, Idp};

/// How long a start may take before the test gives up.
const START: Duration = Duration::from_secs(20);

/// A deployment whose gateway can die.
pub struct Deployment {
    pub origin: String,
    pub data: TempDir,
    child: Mutex<Option<Child>>,
    _idp: Arc<Idp>,
    _backend: Arc<Backend>,
}

/// A port that no outgoing connection of this machine takes while the gateway is dead: below the ephemeral ones.
fn free_port() -> u16 {
    let offset = u16::from_be_bytes(deputy_server::random::bytes().unwrap()) % 10_000;
    let mut ports = (20_000..30_000).cycle().skip(usize::from(offset)).take(10_000);
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

impl Deployment {
    pub async fn start() -> Self {
        let idp = Idp::start(Arc::new(TestClock::new())).await;
        // The process has the machine's clock, so the provider must have it as well.
        let claims = |claims: &mut Value| {
            let now = time::OffsetDateTime::now_utc().unix_timestamp();
            claims["iat"] = now.into();
            claims["exp"] = (now + 300).into();
        };
        idp.misbehave(Faults { claims: Some(Arc::new(claims)), ..Faults::default() });
        let (backend, backend_url) = Backend::start().await;
        let (data, port) = (tempfile::tempdir().unwrap(), free_port());
        let origin = format!("http://localhost:{port}");
        let file = format!(
            "public_url = \"{origin}\"\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\n[idp]\nissuer = \"{}\"\n\
             client_id = \"{CLIENT_ID}\"\n[access]\nallow = [\"domain:corp.test\"]\n[[server]]\npath = \"/mcp\"\nurl = \"{backend_url}\"\n",
            idp.issuer
        );
        std::fs::write(data.path().join("deputy.toml"), file).unwrap();
        let deployment = Self { origin, data, child: Mutex::new(None), _idp: idp, _backend: backend };
        deployment.restart();
        deployment
    }

    #[cfg(target_os = "linux")]
    pub fn database(&self, file: &str) -> PathBuf {
        self.data.path().join("data").join(file)
    }

    #[cfg(target_os = "linux")]
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().as_ref().expect("a process").id()
    }

    /// Whether the process still runs.
    #[cfg(target_os = "linux")]
    pub fn runs(&self) -> bool {
        self.child.lock().unwrap().as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// SIGKILL, and the end of it.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts the process again on the same data, and returns when it says that it listens.
    pub fn restart(&self) {
        let config: PathBuf = self.data.path().join("deputy.toml");
        let mut child = Command::new(env!("CARGO_BIN_EXE_deputy"))
            .args(["serve", "--log", "error", "--config"])
            .arg(config)
            .env("DEPUTY_IDP_CLIENT_SECRET", CLIENT_SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (listens, listening) = mpsc::channel();
        // Reads on to the end, so that the process never waits for a reader.
        std::thread::spawn(move || {
            let mut said = Vec::new();
            for line in lines.map_while(Result::ok) {
                if line.starts_with("listening on ") {
                    let _ = listens.send(Ok(()));
                }
                said.push(line);
            }
            let _ = listens.send(Err(said.join("\n")));
        });
        *self.child.lock().unwrap() = Some(child);
        match listening.recv_timeout(START) {
            Ok(Ok(())) => {}
            Ok(Err(said)) => panic!("it ended: {said}"),
            Err(_) => panic!("it does not listen"),
        }
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.kill();
    }
}
