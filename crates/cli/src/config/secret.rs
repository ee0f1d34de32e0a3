//! Secrets: where they may come from, and which ones are refused.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use deputy_protocol::secret::ClientSecret;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::place::{Located, Place};
use super::{Env, Problem};

/// The shortest secret, in bytes.
const LEAST: usize = 8;
/// The longest secret file, in bytes.
const MOST: u64 = 64 * 1024;

/// Values from manuals and sample files, without case and punctuation.
const SAMPLES: &[&str] = &[
    "changeme",
    "changeit",
    "changethis",
    "pleasechangeme",
    "secret",
    "mysecret",
    "supersecret",
    "topsecret",
    "clientsecret",
    "yourclientsecret",
    "yoursecret",
    "yoursecrethere",
    "password",
    "passw0rd",
    "password1",
    "password123",
    "placeholder",
    "example",
    "examplesecret",
    "default",
    "defaultsecret",
    "insecure",
    "replaceme",
    "replacethis",
    "notasecret",
    "test1234",
    "testsecret",
    "12345678",
    "123456789",
    "1234567890",
    "todotodo",
    "admin123",
    "adminadmin",
    "qwertyuiop",
    "deadbeef",
];

/// Where a secret lies.
#[derive(Clone, Debug)]
pub(super) enum SecretSource {
    /// In a file of its own.
    File(String),
    /// In an environment variable.
    Env(String),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

const NOT_INLINE: &str = "a secret does not belong in this file. Write { file = \"/path/to/secret\" } or { env = \"VARIABLE\" } \
                          instead, and replace a secret that was written here";

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ file = \"…\" } or { env = \"…\" }")
    }

    // Whatever stands there inline may be a secret, so none of these repeats it.
    fn visit_str<E: Error>(self, _: &str) -> Result<SecretSource, E> {
        Err(E::custom(NOT_INLINE))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretSource, E> {
        Err(E::custom(NOT_INLINE))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SecretSource, E> {
        Err(E::custom(NOT_INLINE))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        let wrong = || A::Error::custom("a secret has exactly one key, file or env: { file = \"/path/to/secret\" }");
        let source = match map.next_key::<String>()?.as_deref() {
            Some("file") => SecretSource::File(map.next_value()?),
            Some("env") => SecretSource::Env(map.next_value()?),
            _ => return Err(wrong()),
        };
        if map.next_key::<String>()?.is_some() { Err(wrong()) } else { Ok(source) }
    }
}

/// Fetches a secret from where it lies and judges it; `advice` says how to get a good one.
pub(super) fn fetch(source: &Located<SecretSource>, base: &Path, env: Env<'_>, advice: &str) -> Result<ClientSecret, Problem> {
    let (text, name) = read(source, base, env)?;
    judge(text.trim_end_matches(['\r', '\n']), &name, &source.place, advice)
}

/// Fetches a secret of several lines, such as a private key in PEM. What is in it, its reader judges.
pub(super) fn fetch_lines(source: &Located<SecretSource>, base: &Path, env: Env<'_>) -> Result<ClientSecret, Problem> {
    read(source, base, env).map(|(text, _)| ClientSecret::from_text(text))
}

/// What lies there, and what to call it.
fn read(source: &Located<SecretSource>, base: &Path, env: Env<'_>) -> Result<(String, String), Problem> {
    let place = &source.place;
    match &source.value {
        SecretSource::Env(name) => {
            let text = env(name).ok_or_else(|| Problem::new(place, format!("the environment variable {name} is not set.")))?;
            Ok((text, format!("the secret in the environment variable {name}")))
        }
        SecretSource::File(path) => {
            let path = base.join(path);
            Ok((read_file(&path, place)?, format!("the secret in {}", path.display())))
        }
    }
}

/// A secret that was given directly: by an overlaying environment variable.
pub(super) fn given(text: &str, place: &Place, advice: &str) -> Result<ClientSecret, Problem> {
    judge(text.trim_end_matches(['\r', '\n']), "the secret", place, advice)
}

fn judge(text: &str, name: &str, place: &Place, advice: &str) -> Result<ClientSecret, Problem> {
    let bare: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let mut characters = text.chars();
    let first = characters.next();
    let wrong = if text.trim().is_empty() {
        "is empty"
    } else if text.trim() != text || text.chars().any(char::is_control) {
        "has spaces around it, or several lines"
    } else if text.len() < LEAST {
        "is shorter than 8 bytes"
    } else if SAMPLES.contains(&bare.as_str()) || characters.all(|c| Some(c) == first) {
        "is a well-known sample value"
    } else {
        return Ok(ClientSecret::from_text(text.to_owned()));
    };
    Err(Problem::new(place, format!("{name} {wrong}. {advice}")))
}

fn read_file(path: &Path, place: &Place) -> Result<String, Problem> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| Problem::new(place, format!("the secret file {shown} cannot be read: {error}."));
    let file = File::open(path).map_err(unreadable)?;
    refuse_open_to_all(&file, path, place)?;
    let mut text = String::new();
    file.take(MOST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MOST {
        return Err(Problem::new(place, format!("the secret file {shown} is larger than 64 KiB. Is it the right one?")));
    }
    Ok(text)
}

/// A secret that every user of the machine can read is none.
#[cfg(unix)]
fn refuse_open_to_all(file: &File, path: &Path, place: &Place) -> Result<(), Problem> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let metadata =
        file.metadata().map_err(|error| Problem::new(place, format!("the secret file {shown} cannot be examined: {error}.")))?;
    if !metadata.is_file() {
        return Err(Problem::new(place, format!("the secret file {shown} is not a file.")));
    }
    if metadata.permissions().mode() & 0o007 == 0 {
        return Ok(());
    }
    let text = format!(
        "the secret file {shown} is open to every user of this machine. Run: chmod o= '{shown}' (for a mounted secret, set mode 0400 in Docker or \
         defaultMode 0440 in Kubernetes)."
    );
    Err(Problem::new(place, text))
}

#[cfg(not(unix))]
fn refuse_open_to_all(_: &File, _: &Path, _: &Place) -> Result<(), Problem> {
    Ok(())
}
