//! The rules of deputy, pure: OAuth for MCP clients, the consent in front of it, and the states between.
//!
//! What this crate guarantees:
//! - It does no I/O, never waits, and has no clock and no randomness of its own: time and random bytes are parameters.
//!   The functions that serve production are therefore the ones that a model checker and the fuzzers run.
//! - A check produces a value and the next step demands that value: an error travels to a client only with a
//!   [`redirect::TrustedRedirect`], an identity provider is asked only with a [`consent::Approval`], a grant is made only from a
//!   [`claims::VerifiedIdentity`] that was [`access::Admitted`].
//! - Secrets do not print; the store sees [`secret::Digest`]s only.
//!
//! Proofs have no other maker. None of these compiles:
//!
//! ```compile_fail,E0451
//! # fn forge(pending: deputy_protocol::transaction::Pending) -> deputy_protocol::consent::Approval {
//! deputy_protocol::consent::Approval { pending }
//! # }
//! ```
//! ```compile_fail,E0423
//! # fn forge(identity: deputy_protocol::claims::VerifiedIdentity) -> deputy_protocol::access::Admitted {
//! deputy_protocol::access::Admitted(identity)
//! # }
//! ```
//! ```compile_fail,E0423
//! # fn forge() -> deputy_protocol::web::OwnBrowser {
//! deputy_protocol::web::OwnBrowser(())
//! # }
//! ```
//! ```compile_fail,E0423
//! # fn forge(record: deputy_protocol::family::CodeRecord) -> deputy_protocol::family::CheckedCode {
//! deputy_protocol::family::CheckedCode(record)
//! # }
//! ```
//! ```compile_fail,E0451
//! # use deputy_protocol::{Timestamp, client::assertion::Assertion, secret::Digest};
//! # fn forge(digest: Digest<Assertion>, ends: Timestamp) -> Assertion {
//! Assertion { digest, ends }
//! # }
//! ```
//! ```compile_fail,E0423
//! # fn forge() -> deputy_protocol::web::OwnPage {
//! deputy_protocol::web::OwnPage(())
//! # }
//! ```
//! ```compile_fail,E0451
//! # use deputy_protocol::{Issuer, redirect::{RedirectUri, TrustedRedirect}};
//! # fn forge(uri: RedirectUri, issuer: Issuer) -> TrustedRedirect {
//! TrustedRedirect { uri, state: None, issuer }
//! # }
//! ```
//! ```compile_fail,E0382
//! # fn twice(approval: deputy_protocol::consent::Approval, request: deputy_protocol::transaction::IdpRequest) {
//! let first = approval.ask_idp(request.clone());
//! let second = approval.ask_idp(request); // an approval is used up
//! # }
//! ```
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
pub mod mcp;
pub mod metadata;
pub mod params;
pub mod pkce;
pub mod redirect;
pub mod remember;
pub mod resource;
#[cfg(test)]
mod samples;
pub mod scope;
pub mod secret;
pub mod time;
pub mod transaction;
pub mod web;

pub use error::{OAuthError, Reason};
pub use ids::{ClientId, GrantId, IdpName, Issuer, TransactionId};
pub use time::Timestamp;
