//! The log: to stderr, as text for people or as JSON lines for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, LogOptions};

/// Starts logging.
///
/// # Errors
/// Says what is wrong with the filter.
pub(crate) fn start(options: &LogOptions) -> Result<(), String> {
    let filter = EnvFilter::try_new(&options.filter).map_err(|_| {
        format!(
            "--log {:?} is not understood. Write a level (info, debug) or levels by part: \"info,deputy_server=debug\".",
            options.filter
        )
    })?;
    let terminal = io::stderr().is_terminal();
    let format = options.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(terminal).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    started.map_err(|error| format!("logging cannot start: {error}"))
}
