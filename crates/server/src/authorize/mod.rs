//! The authorization endpoint (RFC 6749 §3.1): from a client's request to the person's page.
//!
//! `GET /authorize` reads as the list of its checks; the order is the security argument. It stores nothing and asks nobody, so clients may
//! fetch it beforehand and twice (AS-70).

pub(crate) mod callback;
pub(crate) mod consent;
mod refusal;

use axum::response::Response;
use deputy_protocol::Reason;
use deputy_protocol::authorization::{AuthorizationRequest, client_state};
use deputy_protocol::params::Params;
use deputy_protocol::redirect::match_redirect;
use deputy_protocol::transaction::Pending;

use crate::clients;
use crate::dispatch::Incoming;
use crate::gateway::Shared;
use refusal::Refusal;

/// `GET /authorize`.
pub(crate) fn get(gateway: &Shared, request: &Incoming) -> Response {
    authorize(gateway, request).unwrap_or_else(|refusal| refusal.into_response(gateway, request, "authorize"))
}

fn authorize(gateway: &Shared, request: &Incoming) -> Result<Response, Refusal> {
    // Until the redirect URI is trusted, an error can only become a page (AS-55).
    let params = Params::parse(request.query.as_deref().unwrap_or_default().as_bytes())?;
    let client = clients::resolve(&gateway.seal, params.get("client_id").ok_or(Reason::ClientUnknown)?)?;
    let state = client_state(&params)?;
    let redirect = match_redirect(&client.registration.redirect_uris, params.get("redirect_uri"), state, &gateway.issuer)?;
    // From here on it may travel, with `state` and `iss` (AS-56).
    let asked = AuthorizationRequest::parse(&params, &gateway.catalog).map_err(|reason| Refusal::undecided(&redirect, reason))?;
    let pending = Pending::start(&client, redirect, asked, gateway.clock.now(), gateway.random()?);
    // Always our own page before the identity provider (CON-02).
    consent::show(gateway, request, pending)
}
