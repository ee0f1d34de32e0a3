//! The files in the data directory: readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use deputy_protocol::Timestamp;
use zeroize::Zeroizing;

use super::{MasterRotation, Ring};
use crate::error::Failure;
use crate::gateway::StartError;
use crate::random;

const FILE: &str = "master.key";
/// More than the longest file that there is.
const LENGTH_MAX: u64 = 4096;

fn failed(path: &Path, why: impl std::fmt::Display) -> StartError {
    StartError::DataDir { path: path.display().to_string(), why: why.to_string() }
}

/// Reads the master secrets, and makes the first one on the first start.
pub(crate) fn load_or_create(data_dir: &Path, now: Timestamp) -> Result<Ring, StartError> {
    if !data_dir.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|error| failed(data_dir, error))?;
    }
    match load(data_dir)? {
        Some(ring) => Ok(ring),
        None => create(data_dir, now),
    }
}

/// Reads the master secrets, if there are any yet.
pub(crate) fn load(data_dir: &Path) -> Result<Option<Ring>, StartError> {
    let path = data_dir.join(FILE);
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
    match File::open(&path).and_then(|file| file.take(LENGTH_MAX).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&path, error)),
        Ok(_) => owner_only(&path)?,
    }
    let damaged =
        || failed(&path, "it does not hold a master secret; restore it from a backup, or remove it and lose all sign-ins");
    Ring::parse(&bytes).map(Some).ok_or_else(damaged)
}

/// Writes a new secret beside its place, makes it durable and links it there, so that of two starts at once one wins and both agree.
fn create(data_dir: &Path, now: Timestamp) -> Result<Ring, StartError> {
    let path = data_dir.join(FILE);
    let ring = Ring::begin(fresh()?, now);
    let draft = write_draft(data_dir, &ring)?;
    let linked = fs::hard_link(&draft, &path);
    // A draft left behind is harmless: it never became the secret.
    let _ = fs::remove_file(&draft);
    match linked {
        // What counts is what is there now, whoever wrote it.
        Ok(()) => sync(data_dir).and_then(|()| load_or_create(data_dir, now)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load_or_create(data_dir, now),
        Err(error) => Err(failed(&path, error)),
    }
}

/// Makes a rotation; what is `needed` stays. Of two at once, one is told to come back. Gateways that run go on with what they read.
pub(crate) fn rotate(
    data_dir: &Path,
    how: MasterRotation,
    now: Timestamp,
    needed: impl Fn(&[u8; 32]) -> bool,
) -> Result<Ring, StartError> {
    let path = data_dir.join(FILE);
    let none = || failed(&path, "there is none yet: the first gateway that starts makes it");
    if load(data_dir)?.is_none() {
        return Err(none());
    }
    let alone = File::open(data_dir).map_err(|error| failed(data_dir, error))?;
    alone.try_lock().map_err(|_| failed(&path, "another rotation is under way"))?;
    let ring = load(data_dir)?.ok_or_else(none)?;
    let ring = ring.rotated(how, fresh()?, now, needed).map_err(|refused| failed(&path, refused))?;
    let draft = write_draft(data_dir, &ring)?;
    let replaced = same_owner(&draft, &path).and_then(|()| fs::rename(&draft, &path));
    replaced.map_err(|error| {
        let _ = fs::remove_file(&draft);
        failed(&path, error)
    })?;
    sync(data_dir)?;
    Ok(ring)
}

/// Whoever rotates may be root, and the gateway that has to read the file is not.
fn same_owner(draft: &Path, path: &Path) -> std::io::Result<()> {
    let (now, before) = (fs::metadata(draft)?, fs::metadata(path)?);
    if (now.uid(), now.gid()) == (before.uid(), before.gid()) {
        return Ok(());
    }
    chown(draft, Some(before.uid()), Some(before.gid()))
}

fn fresh() -> Result<Zeroizing<[u8; 32]>, StartError> {
    Ok(Zeroizing::new(random::bytes::<32>().map_err(Failure::from)?))
}

fn write_draft(data_dir: &Path, ring: &Ring) -> Result<PathBuf, StartError> {
    // A name of its own, and never a file that is there: in containers, every process has the same number.
    let name = u64::from_be_bytes(random::bytes().map_err(Failure::from)?);
    let draft = data_dir.join(format!("{FILE}.{name:016x}"));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
        file.write_all(ring.text().as_bytes())?;
        file.sync_all()
    });
    written.map(|()| draft.clone()).map_err(|error| failed(&draft, error))
}

fn sync(data_dir: &Path) -> Result<(), StartError> {
    File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(|error| failed(data_dir, error))
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

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn secrets(ring: &Ring) -> Vec<[u8; 32]> {
        std::iter::once(ring.first()).chain(ring.others()).map(|master| *master.secret()).collect()
    }

    #[test]
    fn the_secret_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        assert!(load(&data).expect("nothing").is_none());
        let first = load_or_create(&data, NOW).expect("made");
        assert_eq!(secrets(&first), secrets(&load_or_create(&data, NOW).expect("read")));
        let path = data.join(FILE);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        let refused = load_or_create(&data, NOW).map(drop).expect_err("others can read it").to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn many_who_start_at_once_agree_on_what_is_on_the_disk() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().expect("a directory");
            let made: Vec<_> = std::thread::scope(|scope| {
                let starts: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| secrets(&load_or_create(dir.path(), NOW).expect("made")))).collect();
                starts.into_iter().map(|start| start.join().expect("an end")).collect()
            });
            let there = secrets(&load(dir.path()).expect("read").expect("there"));
            assert!(made.iter().all(|made| *made == there));
            assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 1, "no draft is left");
        }
    }

    #[test]
    fn a_damaged_secret_is_refused_not_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(FILE), b"short").expect("written");
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o600)).expect("set");
        assert!(load_or_create(dir.path(), NOW).is_err());
        assert!(rotate(dir.path(), MasterRotation::ForgetOld, NOW, |_| false).is_err());
        assert_eq!(fs::read(dir.path().join(FILE)).expect("there"), b"short");
    }

    #[test]
    fn a_rotation_keeps_what_was_and_stays_private() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(rotate(dir.path(), MasterRotation::TakeOver, NOW, |_| false).is_err(), "there is none yet");
        fs::write(dir.path().join(FILE), [7; 32]).expect("written");
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o600)).expect("set");
        let ring = rotate(dir.path(), MasterRotation::TakeOver, NOW, |_| false).expect("rotated");
        assert_eq!(secrets(&ring).get(1), Some(&[7; 32]));
        assert_eq!(secrets(&load(dir.path()).expect("read").expect("there")), secrets(&ring));
        assert_eq!(fs::metadata(dir.path().join(FILE)).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 1, "no draft is left");
        let path = dir.path().join(FILE);
        // Only root can give a file away.
        if chown(&path, Some(4321), Some(4321)).is_ok() {
            rotate(dir.path(), MasterRotation::TakeOver, NOW, |_| false).expect("rotated");
            let owner = fs::metadata(&path).expect("there");
            assert_eq!((owner.uid(), owner.gid(), owner.mode() & 0o777), (4321, 4321, 0o600), "the gateway can still read it");
        }
        let alone = File::open(dir.path()).expect("opened");
        alone.lock().expect("locked");
        let refused = rotate(dir.path(), MasterRotation::TakeOver, NOW, |_| false).map(drop).expect_err("not alone").to_string();
        assert!(refused.contains("another rotation"), "{refused}");
    }
}
