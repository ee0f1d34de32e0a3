//! Trying out what a configuration names, before anybody depends on it: for `deputy check`. Nothing is changed anywhere.

use std::path::Path;
use std::sync::Arc;

use deputy_fetch::Client as FetchClient;
use deputy_protocol::Issuer;
use url::Url;

use crate::clock::SystemClock;
use crate::config::{IdpConfig, StoreConfig};
pub use crate::idp::trial::{CredentialTrial, IdpTrial};
use crate::idp::{Provider, redirect_uri};
pub use crate::proxy::trial::BackendTrial;
use crate::store::{Postgres, Sqlite};

/// Tries a provider: what it publishes, and whether it takes our credential.
pub async fn provider(config: IdpConfig, public_url: &Issuer, alone: bool, fetch: &FetchClient) -> IdpTrial {
    let redirect_uri = redirect_uri(public_url.as_str(), &config.name, alone);
    Provider::new(config, redirect_uri, fetch.clone(), Arc::new(SystemClock)).trial(&SystemClock).await
}

/// Tries an MCP server: says hello, and goodbye.
///
/// # Errors
/// Why it cannot be reached.
pub async fn backend(url: &Url) -> Result<BackendTrial, String> {
    crate::proxy::trial::greet(url).await
}

/// What is there of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreTrial {
    /// It can be used.
    Ready,
    /// It is made at the first start.
    NotYet,
}

/// Tries the store.
///
/// # Errors
/// Why it cannot be used.
pub async fn store(config: &StoreConfig, data_dir: &Path) -> Result<StoreTrial, String> {
    match config {
        StoreConfig::Sqlite => {
            let path = data_dir.join("deputy.sqlite");
            if !path.exists() {
                return Ok(StoreTrial::NotYet);
            }
            Sqlite::look(&path).await.map(|()| StoreTrial::Ready).map_err(|error| error.to_string())
        }
        StoreConfig::Postgres(url) => Postgres::open(url).await.map(|_| StoreTrial::Ready).map_err(|error| error.to_string()),
    }
}
