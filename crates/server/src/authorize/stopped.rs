//! A refusal of the provider's answer, shown at an address that holds nothing of it.
//!
//! The address of `/callback` may hold a live code of the provider: whoever follows a provider's link of somebody else's ends there, is
//! refused, and could be talked into passing the address on. So the refusal is a page of its own, which says why and no more.

use axum::response::Response;
use deputy_protocol::Reason;
use serde::{Deserialize, Serialize};

use super::refusal::{page, see_other};
use crate::dispatch::Incoming;
use crate::error::Failure;
use crate::gateway::Shared;
use crate::seal::Purpose;

/// Where the page is.
pub(crate) const PATH: &str = "/stopped";

/// What the page says. Sealed, so that nobody else writes on it.
#[derive(Debug, Serialize, Deserialize)]
struct Stopped {
    reason: String,
    reference: String,
}

/// Leaves the provider's answer behind. The fragment is ours: without one a browser keeps the old, where a link with
/// `response_mode=fragment` would have put the code.
pub(super) fn leave(gateway: &Shared, failure: &Failure, endpoint: &'static str) -> Response {
    let reference = failure.log(endpoint);
    let said = Stopped { reason: failure.reason().code().to_owned(), reference };
    match gateway.seal.seal(Purpose::Stopped, &said) {
        Ok(sealed) => see_other(&format!("{PATH}?about={sealed}#_")),
        Err(reason) => page(reason, &said.reference, None),
    }
}

/// `GET /stopped`.
pub(crate) fn get(gateway: &Shared, request: &Incoming) -> Response {
    let sealed = request.query.as_deref().and_then(|query| query.strip_prefix("about="));
    let said = sealed.and_then(|text| gateway.seal.open::<Stopped>(Purpose::Stopped, text));
    match said.and_then(|said| Some((Reason::named(&said.reason)?, said.reference))) {
        Some((reason, reference)) => page(reason, &reference, None),
        None => page(Reason::NotFound, &Failure::from(Reason::NotFound).log("stopped"), None),
    }
}
