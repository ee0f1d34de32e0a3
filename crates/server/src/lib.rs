//! deputy as a library: authorization server, identity provider login, gateway and store behind one [`Gateway`].
//!
//! What this crate guarantees:
//! - The safety property of `SECURITY.md`: a code leaves only into a browser that was shown the request, approved it on our page, and
//!   itself finished the provider's login for it.
//! - Anonymous requests write nothing; the store is first written when a person has signed in.
//! - Nothing reaches a backend without a [`deputy_guard::Permit`], and the issuer and resources come from configuration, never from a
//!   request.
#![forbid(unsafe_code)]

mod authorize;
mod clients;
pub mod clock;
pub mod config;
mod cookies;
mod dispatch;
mod error;
mod gateway;
mod grants;
mod host;
pub mod idp;
mod keyring;
mod keys;
mod master;
mod metadata;
mod pages;
mod places;
#[cfg(feature = "test-hooks")]
pub mod probes;
mod proxy;
pub mod random;
mod register;
mod revocations;
mod revoke;
pub mod routes;
mod seal;
mod serve;
mod sources;
mod store;
mod token;
pub mod trial;
mod upload;

pub use clients::{ClientKeys, WrongKeys, invite};
pub use config::{ClientAuth, ClientConfig, Config, Consent, DocumentsConfig, IdpConfig, ServerConfig, StoreConfig, WrongClient};
pub use error::Failure;
pub use gateway::{Gateway, StartError, migrate};
pub use grants::{EndError, Ended, Grants};
pub use keyring::{KeyUse, RotateError, SigningKey};
pub use keys::{master_keys, replace_signing_keys, rotate_master, rotate_signing_key, signing_keys};
pub use master::{MasterKey, MasterRotation, MasterUse};
pub use serve::{CONNECTIONS_MAX, serve, serve_at_most};
pub use store::{LivingGrant, StoreError};
