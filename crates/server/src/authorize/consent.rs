//! The consent page and the decision (CON-04…08, CON-30…38; decision 2).

use axum::response::{IntoResponse as _, Response};
use deputy_protocol::client::Proof;
use deputy_protocol::consent::{Approval, Decision, Ticket, decide};
use deputy_protocol::hooks::{Guard, removed};
use deputy_protocol::params::Params;
use deputy_protocol::pkce::Verifier;
use deputy_protocol::secret::{BrowserKey, IdpState, Nonce};
use deputy_protocol::transaction::{AwaitingIdp, IdpRequest, Pending};
use deputy_protocol::{OAuthError, Reason};
use http::header::{HeaderName, ORIGIN};

use super::refusal::{Refusal, see_other};
use crate::dispatch::Incoming;
use crate::gateway::Shared;
use crate::idp::Provider;
use crate::pages;
use crate::seal::Purpose;

pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Shows the page, and marks this browser as the one that was shown it. Nothing that the callback accepts exists yet (CON-17, CON-22).
pub(super) fn show(gateway: &Shared, request: &Incoming, pending: Pending, proof: &Proof) -> Result<Response, Refusal> {
    if removed(Guard::ConsentPage) {
        return without_asking(gateway, request, pending);
    }
    let resource = gateway.catalog.by_uri(pending.resource()).ok_or(Reason::ResourceUnknown)?;
    let key = BrowserKey::new(&gateway.random()?);
    let id = pending.id().clone();
    let ticket = Ticket::new(pending, &key);
    let sealed = gateway.seal.seal(Purpose::Ticket, &ticket)?;
    let pending = ticket.pending();
    let uri = pending.redirect().uri();
    tracing::info!(target: "deputy::event", event = "consent_shown", transaction = %id, client_name = pending.client_name().as_str(), redirect_host = uri.host());
    let mut response = pages::consent(&pages::ConsentView {
        client_name: pending.client_name(),
        client_proof: proof.into(),
        redirect: uri,
        server_name: &resource.name,
        resource: &resource.uri,
        scopes: pending.scopes(),
        scope_rules: gateway.catalog.scope_rules(),
        idps: &gateway.idps.iter().map(pages::IdpChoice::of).collect::<Vec<_>>(),
        remember: gateway.remembers && pending.may_be_remembered(),
        ticket: &sealed,
        action: "/consent",
    })
    .into_response();
    gateway.cookies.read(&request.headers).set_ownership(response.headers_mut(), &id, &key);
    Ok(response)
}

/// `POST /consent`.
pub(crate) async fn post(gateway: &Shared, request: &Incoming) -> Response {
    let judged = judge(gateway, request);
    match judged {
        Ok(Decision::Approved(approval)) => {
            let chosen = approval.chosen().map_or_else(|| gateway.idps.only(), |name| gateway.idps.named(name.as_str()));
            let asked = match chosen {
                Some(idp) => ask_idp(gateway, request, *approval, idp, "consent_approved").await,
                None => Err(Reason::DecisionMissing.into()),
            };
            asked.unwrap_or_else(|refusal| refusal.into_response(gateway, request, "consent"))
        }
        Ok(Decision::Denied(redirect, id)) => {
            tracing::info!(target: "deputy::event", event = "consent_denied", transaction = %id);
            let mut response = see_other(&redirect.with_error(OAuthError::AccessDenied, Reason::ConsentDenied));
            gateway.cookies.read(&request.headers).clear_ownership(response.headers_mut(), &id);
            response
        }
        Err(reason) => Refusal::from(reason).into_response(gateway, request, "consent"),
    }
}

fn judge(gateway: &Shared, request: &Incoming) -> Result<Decision, Reason> {
    let own_page = gateway.origins.own_page(request.header(&ORIGIN), request.header(&SEC_FETCH_SITE))?;
    if request.media_type() != "application/x-www-form-urlencoded" {
        return Err(Reason::MediaTypeUnsupported);
    }
    let form = Params::parse(&request.body)?;
    let ticket: Ticket = gateway.seal.open(Purpose::Ticket, form.require("ticket")?).ok_or(Reason::TicketInvalid)?;
    let key = gateway.cookies.read(&request.headers).ownership(ticket.pending().id());
    decide(ticket, own_page, key.as_ref(), &form, gateway.clock.now())
}

/// Approved: a fresh request to the provider, remembered in this browser alone, on the very response that leaves for it (CON-18).
pub(super) async fn ask_idp(
    gateway: &Shared,
    request: &Incoming,
    approval: Approval,
    idp: &Provider,
    event: &'static str,
) -> Result<Response, Refusal> {
    let awaiting = approval.ask_idp(fresh(gateway, idp)?);
    // The provider may be away. Then the page says so, the decision stands, and the person can press the button again.
    let location = idp.authorization_url(awaiting.request(), &gateway.catalog.scope_rules().at_idp(awaiting.scopes())).await?;
    tracing::info!(target: "deputy::event", event, transaction = %awaiting.id());
    leave(gateway, request, &awaiting, &location)
}

/// A request that nobody has seen.
pub(super) fn fresh(gateway: &Shared, idp: &Provider) -> Result<IdpRequest, Reason> {
    Ok(IdpRequest {
        state: IdpState::new(&gateway.random()?),
        nonce: Nonce::new(&gateway.random()?),
        verifier: Verifier::new(&gateway.random()?),
        idp: idp.name().clone(),
    })
}

/// The browser leaves for the provider, with the state that its answer must come back to.
pub(super) fn leave(gateway: &Shared, request: &Incoming, awaiting: &AwaitingIdp, location: &str) -> Result<Response, Refusal> {
    let sealed = gateway.seal.seal(Purpose::StateCookie, awaiting)?;
    let mut response = see_other(location);
    let jar = gateway.cookies.read(&request.headers);
    jar.clear_ownership(response.headers_mut(), awaiting.id());
    jar.set_state(response.headers_mut(), awaiting.id(), &awaiting.request().state, &sealed);
    #[cfg(feature = "test-hooks")]
    super::callback::share_between_browsers(&awaiting.request().state, &sealed);
    Ok(response)
}

/// What a server with the flaw of GHSA-c2jp-c369-7pvx does.
#[cfg(feature = "test-hooks")]
fn without_asking(gateway: &Shared, request: &Incoming, pending: Pending) -> Result<Response, Refusal> {
    use futures_util::FutureExt as _;
    let idp = gateway.idps.only().ok_or(Reason::IdpUnavailable)?;
    let asked = ask_idp(gateway, request, Approval::without_asking(pending), idp, "consent_skipped").now_or_never();
    asked.unwrap_or_else(|| Err(Reason::IdpUnavailable.into()))
}

#[cfg(not(feature = "test-hooks"))]
fn without_asking(_: &Shared, _: &Incoming, _: Pending) -> Result<Response, Refusal> {
    Err(Reason::Internal.into())
}
