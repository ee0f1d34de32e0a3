//! `deputy serve`: the gateway, from a checked configuration to the end of the process.

use deputy_server::idp::redirect_uri;
use deputy_server::{CONNECTIONS_MAX, Gateway, IdpConfig};
use tokio::net::TcpListener;

use crate::config::Settings;
use crate::{output, signals};

/// Runs the gateway until SIGINT or SIGTERM.
///
/// # Errors
/// Says in one line what happened and what to do.
pub(crate) async fn run(settings: Settings) -> Result<(), String> {
    remove_guard()?;
    let Settings { listen, server, notes, allow: _, deny: _ } = settings;
    for note in &notes {
        tracing::warn!(target: "deputy::config", "{note}");
    }
    // Both before the gateway starts: a second process must not touch the store, and a signal must not be lost.
    signals::outlive_full_files()?;
    let ended = signals::shutdown()?;
    let listener = TcpListener::bind(listen).await.map_err(|error| cannot_listen(&listen.to_string(), &error))?;
    let address = listener.local_addr().map_err(|error| cannot_listen(&listen.to_string(), &error))?;
    let endpoints: Vec<String> = server.servers.iter().map(|s| format!("{}{}", server.public_url, s.path)).collect();
    let alone = server.idps.len() == 1;
    let callback = |idp: &IdpConfig| (idp.name.to_string(), redirect_uri(server.public_url.as_str(), &idp.name, alone));
    let callbacks: Vec<(String, String)> = server.idps.iter().map(callback).collect();
    // The future of a start is large, and this is not the place to carry it on the stack.
    let gateway = Box::pin(Gateway::start(server)).await.map_err(|error| error.to_string())?;
    output::tell(&format!("listening on http://{address}"));
    for endpoint in endpoints {
        output::tell(&format!("MCP server for your clients: {endpoint}"));
    }
    for (name, callback) in callbacks {
        output::tell(&format!("redirect URI to register at the identity provider ({name}): {callback}"));
    }
    let shutdown = async move {
        ended.await;
        output::tell("shutting down: open requests may finish");
    };
    let served = deputy_server::serve_at_most(listener, gateway.router(), room(), shutdown).await;
    gateway.settle().await;
    served.map_err(|error| format!("serving ended: {error}"))
}

/// How many connections there is room for. A request that is passed on takes two descriptors; some are kept for the store and for the
/// identity provider.
fn room() -> usize {
    const WANTED: u64 = 4 * CONNECTIONS_MAX as u64;
    const KEPT: u64 = 128;
    let descriptors = rlimit::increase_nofile_limit(WANTED).unwrap_or(1024);
    let connections = usize::try_from(descriptors.saturating_sub(KEPT) / 2).unwrap_or(CONNECTIONS_MAX).clamp(64, CONNECTIONS_MAX);
    if connections < CONNECTIONS_MAX {
        tracing::warn!(target: "deputy::config", descriptors, connections, "few file descriptors are allowed; raise the limit (ulimit -n) for more connections");
    }
    connections
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds have no advice of their own")]
fn cannot_listen(address: &str, error: &std::io::Error) -> String {
    let advice = match error.kind() {
        std::io::ErrorKind::AddrInUse => "Another program listens there: end it, or set another `listen`.",
        std::io::ErrorKind::PermissionDenied => {
            "Ports below 1024 need a privilege: choose a higher one and let a reverse proxy pass requests on."
        }
        std::io::ErrorKind::AddrNotAvailable => "This machine has no such address: check `listen`.",
        _ => "Check `listen`.",
    };
    format!("cannot listen on {address}: {error}. {advice}")
}

/// A build for tests may run with one guard missing, and says so loudly. Other builds know nothing of this.
#[cfg(feature = "test-hooks")]
fn remove_guard() -> Result<(), String> {
    use deputy_protocol::hooks::{Guard, remove};
    let Ok(name) = std::env::var("DEPUTY_TEST_REMOVE_GUARD") else { return Ok(()) };
    let guards: Option<Vec<_>> = name.split(',').map(Guard::named).collect();
    let guards = guards.ok_or_else(|| {
        let known: Vec<_> = Guard::ALL.iter().map(|guard| guard.name()).collect();
        format!("DEPUTY_TEST_REMOVE_GUARD={name:?} names no guards. Guards: {}.", known.join(", "))
    })?;
    remove(&guards);
    let line = "!".repeat(72);
    output::tell(&format!("{line}\n!!  UNSAFE ON PURPOSE: the guard {name} is removed. For tests only.\n{line}"));
    Ok(())
}

#[cfg(not(feature = "test-hooks"))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as in a build for tests")]
fn remove_guard() -> Result<(), String> {
    Ok(())
}
