//! What is measured at the gateway.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::figure::Figure;
use crate::flood::{self, From};
use crate::http::Connection;
use crate::load::{Round, round};
use crate::process::Process;
use crate::provider::Provider;
use crate::visitor::{self, Code, Session};

/// Connections, each with one request under way.
pub(crate) const CONNECTIONS: usize = 64;
/// Rounds of each part.
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(1);
/// Revocations that are timed.
const REVOCATIONS: u32 = 20;
/// A revocation that takes longer has not worked.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How often the other process is asked whether it knows of a revocation.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// The gateway under load, and what stands around it.
pub(crate) struct Bench {
    /// How long a round is.
    pub(crate) lasts: Duration,
    /// The stubs.
    pub(crate) provider: Arc<Provider>,
    /// Where all data lies.
    pub(crate) folder: PathBuf,
    gateway: Process,
    binary: PathBuf,
    database: Option<String>,
}

/// How long codes are prepared for a round: well under the minute for which the first one lives.
pub(crate) fn preparation(lasts: Duration) -> Duration {
    (lasts * 2).min(Duration::from_secs(30))
}

/// Codes from complete sign-ins, as many as come about in a while.
pub(crate) async fn codes(server: &Process, lasts: Duration) -> Outcome<RefCell<VecDeque<Code>>> {
    let codes = RefCell::new(VecDeque::new());
    let mut connections = server.connections(CONNECTIONS).await?;
    let sign_in = async |connection: &mut Connection| {
        let code = visitor::sign_in(connection, &server.host).await?;
        codes.borrow_mut().push_back(code);
        Ok(true)
    };
    round(server, &mut connections, lasts, sign_in).await?;
    Ok(codes)
}

/// Redeems codes that are prepared before each round; a round lasts as long as they do.
pub(crate) async fn redemptions(server: &Process, lasts: Duration) -> Outcome<Vec<Round>> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let codes = codes(server, preparation(lasts)).await?;
        // New ones: servers close what was idle for so long.
        let mut connections = server.connections(CONNECTIONS).await?;
        let redeem = async |connection: &mut Connection| {
            let Some(code) = codes.borrow_mut().pop_front() else { return Ok(false) };
            visitor::redeem(connection, code).await.map(|_| true)
        };
        rounds.push(round(server, &mut connections, lasts.max(preparation(lasts)), redeem).await?);
    }
    Ok(rounds)
}

/// Refreshes, each with the token that the last one gave.
pub(crate) async fn refreshes(server: &Process, lasts: Duration) -> Outcome<Vec<Round>> {
    let first = server.connections(CONNECTIONS).await?.into_iter();
    let sessions = first.map(async |mut connection| sign_in(&mut connection, server).await);
    let sessions = try_join_all(sessions).await?;
    let connections = server.connections(CONNECTIONS).await?;
    let mut workers: Vec<_> = connections.into_iter().zip(sessions).collect();
    rounds(server, &mut workers, lasts, async |(connection, session)| visitor::refresh(connection, session).await.map(|()| true))
        .await
}

async fn sign_in(connection: &mut Connection, server: &Process) -> Outcome<Session> {
    let code = visitor::sign_in(connection, &server.host).await?;
    visitor::redeem(connection, code).await
}

fn name(what: &str) -> String {
    format!("{what} {CONNECTIONS} conns")
}

/// A warm-up, then the rounds.
async fn rounds<W>(
    server: &Process,
    workers: &mut [W],
    lasts: Duration,
    step: impl AsyncFn(&mut W) -> Outcome<bool>,
) -> Outcome<Vec<Round>> {
    round(server, workers, WARM_UP, &step).await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rounds.push(round(server, workers, lasts, &step).await?);
    }
    Ok(rounds)
}

impl Bench {
    /// Starts the stubs and the gateway.
    pub(crate) async fn start(arguments: &Arguments, folder: &Path) -> Outcome<Self> {
        let provider = Provider::start().await?;
        let database = arguments.database.clone();
        let gateway = Process::gateway(&arguments.deputy, folder, None, &provider, database.as_deref()).await?;
        let (binary, folder) = (arguments.deputy.clone(), folder.to_owned());
        Ok(Self { lasts: arguments.lasts(), provider, folder, gateway, binary, database })
    }

    /// What the gateway keeps its state in.
    fn store(&self) -> &'static str {
        if self.database.is_some() { "postgres" } else { "sqlite" }
    }

    /// The figure of a part that writes, and its bar on each store.
    fn rate(&self, what: &str, rounds: &[Round], sqlite: f64, postgres: f64) -> Figure {
        let bar = if self.database.is_some() { postgres } else { sqlite };
        Figure::rate(&name(&format!("{what} {}", self.store())), rounds, Some(bar))
    }

    /// Durable refreshes.
    pub(crate) async fn refresh(&self) -> Outcome<Figure> {
        let rounds = refreshes(&self.gateway, self.lasts).await?;
        Ok(self.rate("refresh", &rounds, 5000.0, 3000.0))
    }

    /// Codes for tokens.
    pub(crate) async fn redeem(&self) -> Outcome<Figure> {
        let rounds = redemptions(&self.gateway, self.lasts).await?;
        Ok(self.rate("redeem", &rounds, 5000.0, 3000.0))
    }

    /// From registration to tokens.
    pub(crate) async fn flows(&self) -> Outcome<Figure> {
        let mut connections = self.gateway.connections(CONNECTIONS).await?;
        let flow = async |connection: &mut Connection| sign_in(connection, &self.gateway).await.map(|_| true);
        let rounds = rounds(&self.gateway, &mut connections, self.lasts, flow).await?;
        Ok(self.rate("flows", &rounds, 500.0, 500.0))
    }

    /// Registrations.
    pub(crate) async fn register(&self) -> Outcome<Figure> {
        let mut connections = self.gateway.connections(CONNECTIONS).await?;
        let register = async |connection: &mut Connection| {
            connection.post("/register", visitor::JSON, visitor::METADATA).await?.expect(201).map(|_| true)
        };
        let rounds = rounds(&self.gateway, &mut connections, self.lasts, register).await?;
        Ok(Figure::rate(&name("register"), &rounds, Some(20_000.0)))
    }

    /// Floods without credentials, while people sign in.
    pub(crate) async fn flood(&self) -> Outcome<Vec<Figure>> {
        let mut figures = flood::flood(&self.gateway, From::One, self.lasts).await?;
        figures.extend(flood::flood(&self.gateway, From::Many, self.lasts).await?);
        Ok(figures)
    }

    /// From a revocation's acknowledgement by one process to the first refusal by another on the same data.
    pub(crate) async fn revocation(&self) -> Outcome<Figure> {
        let replica =
            Process::gateway(&self.binary, &self.folder, self.gateway.public_port(), &self.provider, self.database.as_deref())
                .await?;
        let (mut here, mut there) = (self.gateway.connect().await?, replica.connect().await?);
        let mut times = Vec::new();
        for turn in 0..REVOCATIONS {
            let session = sign_in(&mut here, &self.gateway).await?;
            match visitor::call(&mut there, &session).await? {
                200 => {}
                other => return Err(format!("{other} before the revocation").into()),
            }
            // The other process reads its feed at intervals: come at another moment of it each time.
            tokio::time::sleep(Duration::from_secs(1) * turn / REVOCATIONS).await;
            visitor::revoke(&mut here, &session).await?;
            let acknowledged = Instant::now();
            while visitor::call(&mut there, &session).await? != 401 {
                if acknowledged.elapsed() > GIVE_UP {
                    return Err("a revocation never reached the other process".into());
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
            times.push(acknowledged.elapsed().as_secs_f64());
        }
        Ok(Figure::times(&format!("revocation {} 2 processes, {REVOCATIONS} times, median", self.store()), times, Some(2.0)))
    }
}
