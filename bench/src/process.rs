//! What is measured runs as processes of its own, which end with this program, however it ends.

use std::fs::{File, read_to_string};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::Outcome;
use crate::http::Connection;
use crate::provider::{CLIENT_ID, CLIENT_SECRET, Provider};

/// How long a start may take: the peer imports a lot.
const START: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where clients believe it to be, without the scheme.
    pub(crate) host: String,
    child: Child,
}

/// Processor time that a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// Its own, in seconds.
    pub(crate) user: f64,
    /// The kernel's for it, in seconds.
    pub(crate) system: f64,
}

impl Cpu {
    /// Of a process (`self`: this one), from `/proc`; nothing where there is no `/proc`.
    pub(crate) fn of(process: &str) -> Self {
        let stat = read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // After the name, which may hold anything: state is field 3, so user and system time (14, 15) come 11 further.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        let mut ticks = fields.map(|ticks| ticks.parse::<f64>().unwrap_or_default() / 100.0);
        Self { user: ticks.next().unwrap_or_default(), system: ticks.next().unwrap_or_default() }
    }
}

/// A free port of loopback.
pub(crate) async fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

/// The gateway's configuration.
fn configuration(public_port: u16, port: u16, provider: &Provider, database: Option<&str>) -> String {
    let (issuer, backend) = (&provider.issuer, provider.backend());
    let store = database.unwrap_or("sqlite");
    format!(
        "store = \"{store}\"\npublic_url = \"http://localhost:{public_port}\"\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\n\
         trusted_proxies = [\"127.0.0.1\"]\n         [tokens]\ncode_lifetime = \"60s\"\n[idp]\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n\
         [access]\nallow = [\"domain:corp.test\"]\n[[server]]\npath = \"/mcp\"\nurl = \"{backend}\"\n"
    )
}

impl Process {
    /// Starts a gateway under `folder`; a second one under the same folder and for the same public port is its replica.
    pub(crate) async fn gateway(
        binary: &Path,
        folder: &Path,
        public: Option<u16>,
        provider: &Provider,
        database: Option<&str>,
    ) -> Outcome<Self> {
        let port = free_port().await?;
        let public = public.unwrap_or(port);
        let file = folder.join(format!("deputy-{port}.toml"));
        std::fs::write(&file, configuration(public, port, provider, database))?;
        let migrated = Command::new(binary)
            .args(["migrate", "--config"])
            .arg(&file)
            .env("DEPUTY_IDP_CLIENT_SECRET", CLIENT_SECRET)
            .output()?;
        if !migrated.status.success() {
            return Err(String::from_utf8_lossy(&migrated.stderr).into());
        }
        let mut command = Command::new(binary);
        command.args(["serve", "--log", "error", "--config"]).arg(file).env("DEPUTY_IDP_CLIENT_SECRET", CLIENT_SECRET);
        Self::start(command, folder, port, public, "/.well-known/oauth-authorization-server").await
    }

    /// Starts a server and waits until it answers. What it says goes to a file in `folder`.
    pub(crate) async fn start(mut command: Command, folder: &Path, port: u16, public: u16, probe: &str) -> Outcome<Self> {
        let log = folder.join(format!("log-{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut process = Self { address, host: format!("localhost:{public}"), child: command.spawn()? };
        let began = Instant::now();
        loop {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("{:?} ended: {status}\n{}", command.get_program(), read_to_string(log)?).into());
            }
            if let Ok(mut connection) = process.connect().await
                && connection.get(probe, "").await.is_ok_and(|answer| answer.status == 200)
            {
                return Ok(process);
            }
            if began.elapsed() > START {
                return Err(format!("{:?} does not answer\n{}", command.get_program(), read_to_string(log)?).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> Outcome<Connection> {
        Connection::open(self.address, &self.host).await
    }

    /// Connections to it.
    pub(crate) async fn connections(&self, count: usize) -> Outcome<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(self.connect().await?);
        }
        Ok(connections)
    }

    /// The port that its clients know.
    pub(crate) fn public_port(&self) -> Option<u16> {
        self.host.rsplit(':').next()?.parse().ok()
    }

    /// The memory that it holds, in MiB; nothing where there is no `/proc`.
    pub(crate) fn memory(&self) -> f64 {
        let status = read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
    }

    /// The processor time that it has used.
    pub(crate) fn cpu(&self) -> Cpu {
        Cpu::of(&self.child.id().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file system under a folder, as the kernel names it: what fsync costs depends on it.
pub(crate) fn file_system(folder: &Path) -> String {
    let mounts = read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let under = mounts.filter(|(mount, _)| folder.starts_with(mount));
    under.max_by_key(|(mount, _)| mount.len()).map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}
