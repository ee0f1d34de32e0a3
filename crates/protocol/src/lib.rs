//! The rules of deputy, pure: OAuth for MCP clients, the consent in front of it, and the states between.
//!
//! What this crate guarantees:
//! - It does no I/O, never waits, and has no clock and no randomness of its own: time and random bytes are parameters.
//!   The functions that serve production are therefore the ones that a model checker and the fuzzers run.
//! - A check produces a value and the next step demands that value: an error travels to a client only with a
//!   [`redirect::TrustedRedirect`], an identity provider is asked only with a [`consent::Approval`], a grant is made only from a
//!   [`claims::VerifiedIdentity`] that was [`access::Admitted`].
//! - Secrets do not print; the store sees [`secret::Digest`]s only.
#![forbid(unsafe_code)]

pub mod access;
pub mod access_token;
pub mod authorization;
pub mod challenge;
pub mod claims;
pub mod client;
pub mod consent;
pub mod error;
pub mod family;
pub mod hooks;
pub mod ids;
pub mod metadata;
pub mod params;
pub mod pkce;
pub mod redirect;
pub mod resource;
pub mod scope;
pub mod secret;
pub mod time;
pub mod transaction;
pub mod web;

pub use error::{OAuthError, Reason};
pub use ids::{ClientId, GrantId, Issuer, TransactionId};
pub use time::Timestamp;
