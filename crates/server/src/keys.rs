//! What an operator does with keys, beside the gateways that run: signing keys through their store, master secrets through the data directory.

use std::path::Path;

use deputy_protocol::Timestamp;

use crate::clock::Clock;
use crate::config::StoreConfig;
use crate::error::Failure;
use crate::gateway::{StartError, open_store};
use crate::keyring::{self, RotateError, SigningKey};
use crate::master::{self, MasterKey, MasterRotation, Ring};
use crate::seal::Seal;

/// Lists the signing keys of a deployment, oldest first; its gateways may be running.
///
/// # Errors
/// When the store cannot be read.
pub async fn signing_keys(store: &StoreConfig, data_dir: &Path, now: Timestamp) -> Result<Vec<SigningKey>, StartError> {
    let store = open_store(store, data_dir).await?;
    keyring::list(store.as_ref(), now).await.map_err(|error| StartError::Failed(error.into()))
}

/// Adds a signing key, which takes over in two minutes; running gateways follow within a second or two.
///
/// # Errors
/// [`RotateError`], also when another rotation is under way.
pub async fn rotate_signing_key(store: &StoreConfig, data_dir: &Path, clock: &dyn Clock) -> Result<SigningKey, RotateError> {
    let seal = Seal::new(&master::load_or_create(data_dir, clock.now())?).map_err(Failure::from)?;
    let store = open_store(store, data_dir).await?;
    keyring::rotate(store.as_ref(), &seal, clock.now()).await
}

/// Puts a new signing key in the place of all others, at once: what they signed is refused.
///
/// # Errors
/// When the store cannot be written, or the data directory not be used.
pub async fn replace_signing_keys(store: &StoreConfig, data_dir: &Path, now: Timestamp) -> Result<(), StartError> {
    let seal = Seal::new(&master::load_or_create(data_dir, now)?).map_err(Failure::from)?;
    let store = open_store(store, data_dir).await?;
    Ok(keyring::replace(store.as_ref(), &seal, now).await?)
}

/// Lists the master secrets of a deployment, the one that seals first; none before the first start.
///
/// # Errors
/// When the data directory cannot be used.
pub fn master_keys(data_dir: &Path) -> Result<Vec<MasterKey>, StartError> {
    master::load(data_dir)?.map_or_else(|| Ok(Vec::new()), |ring| shown(&ring))
}

/// Rotates the master secret. Gateways follow when they start again. An old one stays as long as a signing key lies under it.
///
/// # Errors
/// When the data directory or the store cannot be used, or the rotation is refused.
pub async fn rotate_master(
    store: &StoreConfig,
    data_dir: &Path,
    how: MasterRotation,
    now: Timestamp,
) -> Result<Vec<MasterKey>, StartError> {
    let forgets = how == MasterRotation::TakeOver && master::load(data_dir)?.is_some();
    let keys = if forgets {
        open_store(store, data_dir).await?.signing_keys().await.map_err(|error| StartError::Failed(error.into()))?
    } else {
        Vec::new()
    };
    shown(&master::rotate(data_dir, how, now, |secret| keyring::lies_under(&keys, secret))?)
}

fn shown(ring: &Ring) -> Result<Vec<MasterKey>, StartError> {
    Ok(ring.list().map_err(Failure::from)?)
}
