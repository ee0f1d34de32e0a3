//! The last page, on plain-http loopback only: there any local program can put a cookie of ours into a browser, so the person says once more,
//! knowing the account, that it was they (A-039, CON-30). Nothing is written before.

use axum::response::{IntoResponse as _, Response};
use deputy_protocol::consent::{LastDecision, decide_last};
use deputy_protocol::params::Params;
use deputy_protocol::transaction::SignedIn;
use deputy_protocol::{OAuthError, Reason};
use http::header::ORIGIN;
use serde::{Deserialize, Serialize};

use super::callback::{SealedTokens, complete};
use super::consent::SEC_FETCH_SITE;
use super::refusal::{Refusal, see_other};
use crate::dispatch::Incoming;
use crate::gateway::Shared;
use crate::pages;
use crate::routes::FINISH_MAX;
use crate::seal::Purpose;

/// What the page's form carries, sealed.
#[derive(Serialize, Deserialize)]
struct LastTicket {
    signed_in: SignedIn,
    tokens: SealedTokens,
}

/// Shows the page.
pub(super) fn show(gateway: &Shared, signed_in: SignedIn, tokens: SealedTokens) -> Result<Response, Refusal> {
    let resource = gateway.catalog.by_uri(signed_in.pending().resource()).ok_or(Reason::ResourceUnknown)?;
    let ticket = LastTicket { signed_in, tokens };
    let sealed = gateway.seal.seal(Purpose::LastPage, &ticket)?;
    let (pending, identity) = (ticket.signed_in.pending(), ticket.signed_in.identity());
    let idp = gateway.idps.of(identity.subject().idp()).ok_or(Reason::IdpGone)?;
    tracing::info!(target: "deputy::event", event = "last_page_shown", transaction = %pending.id());
    let page = pages::finish(&pages::FinishView {
        account: identity.verified_email().or(identity.name()).unwrap_or_else(|| identity.subject().sub()),
        idp_host: idp.display_host(),
        client_name: pending.client_name(),
        redirect: pending.redirect().uri(),
        server_name: &resource.name,
        resource: &resource.uri,
        scopes: ticket.signed_in.scopes(),
        scope_rules: gateway.catalog.scope_rules(),
        ticket: &sealed,
    });
    Ok(page.into_response())
}

/// `POST /finish`.
pub(crate) async fn post(gateway: &Shared, request: &Incoming) -> Response {
    let finished = match judge(gateway, request) {
        Ok((LastDecision::Finished(signed_in, browser), tokens)) => complete(gateway, request, *signed_in, browser, tokens).await,
        Ok((LastDecision::Denied(redirect, id), _)) => {
            tracing::info!(target: "deputy::event", event = "last_page_denied", transaction = %id);
            Ok(see_other(&redirect.with_error(OAuthError::AccessDenied, Reason::ConsentDenied)))
        }
        Err(reason) => Err(reason.into()),
    };
    finished.unwrap_or_else(|refusal| refusal.into_response(gateway, request, "finish"))
}

fn judge(gateway: &Shared, request: &Incoming) -> Result<(LastDecision, SealedTokens), Reason> {
    let own_page = gateway.origins.own_page(request.header(&ORIGIN), request.header(&SEC_FETCH_SITE))?;
    if request.media_type() != "application/x-www-form-urlencoded" {
        return Err(Reason::MediaTypeUnsupported);
    }
    let form = Params::parse_within(&request.body, FINISH_MAX)?;
    let ticket: LastTicket = gateway.seal.open(Purpose::LastPage, form.require("ticket")?).ok_or(Reason::TicketInvalid)?;
    Ok((decide_last(ticket.signed_in, &own_page, &form, gateway.clock.now())?, ticket.tokens))
}
