//! The end of the process, asked for from outside.

/// Completes with the first Ctrl-C, or SIGTERM where there is one. Make it before anything that must be cleaned up.
///
/// # Errors
/// Says that the machine does not let us watch for signals.
pub(crate) fn shutdown() -> Result<impl Future<Output = ()>, String> {
    #[cfg(unix)]
    let mut signals = {
        use tokio::signal::unix::{SignalKind, signal};
        let handler = |kind| signal(kind).map_err(|error| format!("cannot watch for signals: {error}"));
        (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?)
    };
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = signals.0.recv() => {}
            _ = signals.1.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
