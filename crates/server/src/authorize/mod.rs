//! The authorization endpoint (RFC 6749 §3.1): from a client's request to the person's page.
//!
//! `GET /authorize` stores nothing and asks nobody but, once for all, the host of a client's metadata document; so clients may fetch it
//! beforehand and twice (AS-70).

pub(crate) mod callback;
pub(crate) mod consent;
pub(crate) mod finish;
mod memory;
mod refusal;
pub(crate) mod stopped;

use axum::response::Response;
use deputy_protocol::Reason;
use deputy_protocol::authorization::begin;
use deputy_protocol::params::Params;
use deputy_protocol::remember::Asked;

use crate::dispatch::Incoming;
use crate::error::Failure;
use crate::gateway::Shared;
use refusal::Refusal;

/// A page of refusal, for a request that is not even read.
pub(crate) fn refuse(reason: Reason) -> Response {
    refusal::page(reason, &Failure::from(reason).log("source"), None, None)
}

/// `GET /authorize`.
pub(crate) async fn get(gateway: &Shared, request: &Incoming) -> Response {
    authorize(gateway, request).await.unwrap_or_else(|refusal| refusal.into_response(gateway, request, "authorize"))
}

async fn authorize(gateway: &Shared, request: &Incoming) -> Result<Response, Refusal> {
    let params = Params::parse(request.query.as_deref().unwrap_or_default().as_bytes())?;
    let client = gateway.clients.resolve(params.get("client_id").ok_or(Reason::ClientUnknown)?).await?;
    gateway.clients.policy().may_redirect(&client, params.get("redirect_uri"))?;
    let pending = begin(&params, &client, &gateway.issuer, &gateway.catalog, gateway.clock.now(), gateway.random()?)?;
    // Always our own page before the identity provider (CON-02), unless this very request was decided on it before (CON-32).
    match memory::look(gateway, request, &params, pending).await {
        Asked::Person(pending) => consent::show(gateway, request, pending, &client.proof),
        Asked::Memory(approval) => {
            let idp = approval.account().and_then(|account| gateway.idps.of(account.idp())).ok_or(Reason::IdpGone)?;
            consent::ask_idp(gateway, request, approval, idp, "consent_remembered").await
        }
    }
}
