//! Configuration: from `deputy.toml` and the environment to what the server library takes.
//!
//! What this module guarantees:
//! - A key that nobody reads is an error, with its place and the likely meaning; nothing is silently ignored.
//! - Secrets never stand in the file, and never in an error.
//! - Plain http exists for loopback hosts only, in every URL.

mod access;
mod calls;
mod check;
mod clients;
mod duration;
mod file;
mod idp;
mod network;
mod place;
mod presets;
mod scopes;
mod secret;
mod servers;
mod suggest;
mod tokens;
mod urls;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

pub(crate) use duration::{parse as parse_duration, show as show_duration};
pub(crate) use place::{Place, Source};
pub(crate) use presets::{known as known_provider, names as provider_names, open_to_everybody};

/// Everything that `serve` and `check` need.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// What the server library takes.
    pub(crate) server: deputy_server::Config,
    /// The access rules as written, to be shown.
    pub(crate) allow: Vec<String>,
    /// Whom they keep out, as written.
    pub(crate) deny: Vec<String>,
    /// What is allowed but deserves a second look.
    pub(crate) notes: Vec<String>,
}

/// A configuration that is refused: one line that says where, what, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Something wrong at a place; a [`Source`] turns it into a [`ConfigError`].
#[derive(Debug)]
pub(crate) struct Problem {
    place: Place,
    text: String,
}

impl Problem {
    pub(crate) fn new(place: &Place, text: impl Into<String>) -> Self {
        Self { place: place.clone(), text: text.into() }
    }
}

/// Reads environment variables; a parameter, so that tests need no real ones.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the file at `path`, lays the environment over it, and checks everything.
pub(crate) fn load(path: &Path, env: Env<'_>) -> Result<Settings, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError(cannot_read(&name, &error)))?;
    // A bare file name has the empty path as its parent, which joins as the working directory does.
    let base = path.parent().unwrap_or(Path::new(""));
    parse(Source::new(name, text), base, env)
}

/// [`load`] for a text that was read already. Relative paths in it start at `base`.
pub(crate) fn parse(source: Source, base: &Path, env: Env<'_>) -> Result<Settings, ConfigError> {
    let checked = file::read(&source).and_then(|file| check::settings(file.overlaid(env), base, env));
    checked.map_err(|problem| ConfigError(source.describe(&problem.place, &problem.text)))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds have no advice of their own")]
fn cannot_read(name: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "{name}: there is no such file. Write one (`deputy serve --help` shows the smallest useful), or name it with -c."
            )
        }
        std::io::ErrorKind::PermissionDenied => format!("{name}: this user may not read it. Check its owner and mode."),
        _ => format!("{name}: cannot be read: {error}"),
    }
}
