//! The resource server's side: from a request's headers to a [`Permit`], or to the answer that a client can act on.
//!
//! What this crate guarantees:
//! - A [`Permit`] is made by [`Verifier::verify`] only, from one `Authorization` header with one access token of ours, for this resource.
//!   There is no other way to get one:
//!
//! ```compile_fail,E0451
//! let permit = deputy_guard::Permit { token: todo!() };
//! ```
//! ```compile_fail,E0277
//! let permit: deputy_guard::Permit = Default::default();
//! ```
//! - [`jws::verify`] is the only place that decides about a signature; the claims are judged afterwards, by pure rules.
//! - A token's signature is checked once; its time and its revocation at every request.
#![forbid(unsafe_code)]

mod bearer;
pub mod jws;
mod layer;
mod permit;
mod refused;
#[cfg(test)]
mod tests;
mod verifier;

pub use layer::{Clock, Protect, Protected, protect};
pub use permit::Permit;
pub use refused::Refused;
pub use verifier::{Keys, NothingRevoked, Revocations, Verifier};
