//! `deputy check`: what a configuration means, and whether everything that it names is there and is what it says.
//!
//! What this module guarantees:
//! - Nothing is changed anywhere: no file, no table, no registration, no session that stays.
//! - What others answer is never repeated; a finding has words of its own, and a code that stays.

mod advice;
mod backend;
mod finding;
mod provider;
mod public;
mod report;
mod store;

#[cfg(test)]
mod tests;

use std::time::Duration;

use deputy_fetch::{Client as FetchClient, Limits};

use crate::config::Settings;
use crate::output;
pub(crate) use finding::{Code, Finding, Level};
pub(crate) use report::{human, json, refused};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the configuration says that deserves a second look. Nobody is asked.
pub(crate) fn offline(settings: &Settings) -> Vec<Finding> {
    let note = |note: &String| Finding::new(Code::Setting, Level::Warning, "the configuration", note.clone());
    settings.notes.iter().map(note).collect()
}

/// Tries out everything that the configuration names.
///
/// # Errors
/// When nothing can be asked at all.
pub(crate) async fn online(settings: &Settings) -> Result<Vec<Finding>, String> {
    let limits = Limits { time: PATIENCE, ..Limits::default() };
    let fetch = FetchClient::with_limits(limits).map_err(|error| error.to_string())?;
    output::progress("asking the identity providers, the MCP servers, the public URL and the store …");
    let config = &settings.server;
    let alone = config.idps.len() == 1;
    let providers = futures_util::future::join_all(config.idps.iter().map(|idp| provider::tried(idp, config, alone, &fetch)));
    let backends = futures_util::future::join_all(config.servers.iter().map(backend::tried));
    let (providers, backends, public, store) =
        tokio::join!(providers, backends, public::tried(config, &fetch), store::tried(config));
    output::progress_done();
    let mut findings = offline(settings);
    findings.extend(providers.into_iter().flatten().chain(backends.into_iter().flatten()).chain(public).chain(store));
    Ok(findings)
}
