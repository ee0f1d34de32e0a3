//! Serving a router on a listener, with an end. What a peer costs is bounded from its first byte to its last (A-230, A-231, I10).

mod activity;
mod stall;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::{BoxError, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::places::{Place, Places};
use crate::sources::{Peer, Source};
use activity::{Activity, Counted};
use stall::Stall;

/// Largest request head, in bytes. Long states and several sealed cookies fit.
const HEAD_MAX: usize = 96 * 1024;
/// Most streams at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// How long open requests may go on after shutdown began. Streams are cut then; clients reconnect.
const DRAIN: Duration = Duration::from_secs(10);
/// How long an idle peer has to answer our goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// How a peer begins that speaks HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What peers may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How long a new connection may say nothing.
    first_bytes: Duration,
    /// How long a connection may take to send a request head, idle time before it included, and how long HTTP/2 may have no stream.
    /// Load balancers keep connections for 60 seconds and expect us to keep them longer: else they send a request into a closing one.
    idle: Duration,
    /// How long a peer may leave an answer unread: a write may wait so long, and HTTP/2 without room for any of its open answers.
    unread: Duration,
    /// Most connections at once. Further ones wait in the kernel's queue (I10).
    connections: usize,
    /// Most connections from one address: half of all, so that nobody alone takes every place, and a reverse proxy or a hosted connector
    /// has room.
    of_one_address: usize,
}

impl Limits {
    const fn of(connections: usize) -> Self {
        Self {
            first_bytes: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            unread: Duration::from_secs(60),
            connections,
            of_one_address: connections / 2,
        }
    }
}

/// Most connections at once when the machine allows as many: a request that is passed on takes two descriptors.
pub const CONNECTIONS_MAX: usize = 8192;

/// Serves until `shutdown` completes, then lets open requests finish for a bounded time. Takes at most [`CONNECTIONS_MAX`] connections at
/// once.
///
/// # Errors
/// None at present: a failed accept is logged and the next one awaited.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
    serve_at_most(listener, router, CONNECTIONS_MAX, shutdown).await
}

/// Like [`serve`], for a machine that allows fewer connections.
///
/// # Errors
/// As [`serve`].
pub async fn serve_at_most(
    listener: TcpListener,
    router: Router,
    connections: usize,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    serve_within(listener, router, Limits::of(connections), shutdown).await;
    Ok(())
}

async fn serve_within(listener: TcpListener, router: Router, limits: Limits, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let addresses = Places::new(limits.of_one_address);
    let ending = CancellationToken::new();
    let server = Server { builder: builder(limits), router, limits, ending: ending.clone() };
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut shutdown => break,
        };
        let (stream, place) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                // Out of descriptors, most likely: wait for some to come free instead of spinning.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(peer) = stream.peer_addr().map(|peer| Peer(peer.ip())) else { continue };
        let Some(address) = addresses.take(Source::of(peer.0)) else {
            tracing::debug!("a connection more than one address may have");
            continue;
        };
        tokio::spawn(server.clone().connection(stream, peer, place, address));
    }
    drop(listener);
    ending.cancel();
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(DRAIN, places.acquire_many(all)).await.is_err() {
        tracing::info!("some requests were still open and are cut now");
    }
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(HEAD_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// What every connection shares.
#[derive(Clone)]
struct Server {
    builder: Builder<TokioExecutor>,
    router: Router,
    limits: Limits,
    ending: CancellationToken,
}

impl Server {
    /// One connection, from its first byte to its end. It keeps its places until then.
    async fn connection(self, stream: TcpStream, peer: Peer, _place: OwnedSemaphorePermit, _address: Place<Source>) {
        if tokio::time::timeout(self.limits.first_bytes, speaks(&stream)).await != Ok(true) {
            return;
        }
        // Small frames must leave at once: server-sent events are.
        let _ = stream.set_nodelay(true);
        let activity = Activity::new();
        let service = Counted::new(TowerToHyperService::new(self.router), peer, Arc::clone(&activity));
        let io = TokioIo::new(Stall::new(stream, self.limits.unread));
        let mut connection = std::pin::pin!(self.builder.serve_connection(io, service));
        let patience = tokio::select! {
            ended = connection.as_mut() => return told(ended),
            () = self.ending.cancelled() => DRAIN,
            () = activity.over(self.limits) => GOODBYE,
        };
        connection.as_mut().graceful_shutdown();
        told(tokio::time::timeout(patience, connection).await.unwrap_or(Ok(())));
    }
}

fn told(ended: Result<(), BoxError>) {
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
}

/// Whether a peer says something that can become a request. What could still be the beginning of HTTP/2 is waited for whole: the library
/// would wait for its rest without a limit.
async fn speaks(stream: &TcpStream) -> bool {
    let mut seen = [0; PREFACE.len()];
    loop {
        let said = match stream.peek(&mut seen).await {
            Ok(length) => seen.get(..length).unwrap_or_default(),
            Err(_) => return false,
        };
        if said.is_empty() {
            return false;
        }
        if said.len() == PREFACE.len() || !PREFACE.starts_with(said) {
            return true;
        }
        // What has arrived stays readable, so there is no event to wait for.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
