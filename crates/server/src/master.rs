//! The master secret and the files in the data directory: readable by their owner only.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::Failure;
use crate::gateway::StartError;
use crate::random;

const FILE: &str = "master.key";

fn failed(path: &Path, why: impl std::fmt::Display) -> StartError {
    StartError::DataDir { path: path.display().to_string(), why: why.to_string() }
}

/// Reads the master secret, and makes it on the first start.
pub(crate) fn load_or_create(data_dir: &Path) -> Result<Zeroizing<[u8; 32]>, StartError> {
    if !data_dir.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|error| failed(data_dir, error))?;
    }
    let path = data_dir.join(FILE);
    match read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => create(data_dir, &path),
        Err(error) => Err(failed(&path, error)),
        Ok(bytes) => {
            owner_only(&path)?;
            let secret = <[u8; 32]>::try_from(bytes.as_slice()).ok();
            secret.map(Zeroizing::new).ok_or_else(|| {
                failed(&path, "it must hold exactly 32 bytes; restore it from a backup, or remove it and lose all sign-ins")
            })
        }
    }
}

fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    fs::File::open(path)?.take(64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a new secret beside its place, makes it durable and links it there, so that of two starts at once one wins and both agree.
fn create(data_dir: &Path, path: &Path) -> Result<Zeroizing<[u8; 32]>, StartError> {
    let secret = Zeroizing::new(random::bytes::<32>().map_err(Failure::from)?);
    let draft = data_dir.join(format!("{FILE}.{}", std::process::id()));
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).and_then(|mut file| {
        file.write_all(secret.as_slice())?;
        file.sync_all()
    });
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    // A draft left behind is harmless: it never became the secret.
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => {
            fs::File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(|error| failed(data_dir, error))?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load_or_create(data_dir),
        Err(error) => Err(failed(path, error)),
    }
}

/// Makes sure that a file exists and that only its owner can read it.
pub(crate) fn private_file(path: &Path) -> Result<(), StartError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| failed(path, error))?;
    owner_only(path)
}

/// Refuses a file that others can read.
fn owner_only(path: &Path) -> Result<(), StartError> {
    let mode = fs::metadata(path).map_err(|error| failed(path, error))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(failed(path, format!("others can read it (mode {mode:04o}); run: chmod 600 {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        let first = load_or_create(&data).expect("made");
        assert_eq!(*first, *load_or_create(&data).expect("read"));
        let path = data.join(FILE);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        let refused = load_or_create(&data).expect_err("others can read it").to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_damaged_secret_is_refused_not_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(FILE), b"short").expect("written");
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o600)).expect("set");
        assert!(load_or_create(dir.path()).is_err());
    }
}
