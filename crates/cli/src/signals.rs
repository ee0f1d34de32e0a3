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

/// Lets a write beyond the limit on the size of files (`ulimit -f`) fail, which is a 503 for as long as it lasts, instead of ending the
/// process: the default of SIGXFSZ. A handler stays for the life of the process.
///
/// # Errors
/// Says that the machine does not let us watch for signals.
pub(crate) fn outlive_full_files() -> Result<(), String> {
    #[cfg(all(unix, not(any(target_arch = "mips", target_arch = "mips64"))))]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // The same number on every Unix that we know of, but Linux on MIPS.
        const SIGXFSZ: i32 = 25;
        drop(signal(SignalKind::from_raw(SIGXFSZ)).map_err(|error| format!("cannot watch for signals: {error}"))?);
    }
    Ok(())
}
