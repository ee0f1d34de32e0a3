//! The identity provider's answer (CON-19…23, OC-03…07, OC-15, OC-18): from the state cookie to a code for the client.

use axum::response::Response;
use deputy_protocol::claims::Groups;
use deputy_protocol::family::Grant;
use deputy_protocol::hooks::{Guard, passes, removed};
use deputy_protocol::params::Params;
use deputy_protocol::secret::{AuthorizationCode, IdpState};
use deputy_protocol::transaction::{AwaitingIdp, IdpAnswer, NewGrant, SignedIn};
use deputy_protocol::web::OwnBrowser;
use deputy_protocol::{GrantId, Reason};
use serde::{Deserialize, Serialize};

use super::refusal::{Refusal, see_other};
use super::stopped::TurnedAway;
use super::{consent, finish, memory, stopped};
use crate::dispatch::Incoming;
use crate::error::Failure;
use crate::gateway::Shared;
use crate::idp::{IdpFailure, IdpTokens, Provider, SignIn, refusal_of};
use crate::seal::Purpose;
use crate::store::{Completed, Step};

const ENDPOINT: &str = "callback";

/// `GET /callback`.
pub(crate) async fn get(gateway: &Shared, request: &Incoming) -> Response {
    let (params, state) = match state_of(request) {
        Ok(read) => read,
        Err(reason) => return refused(gateway, request, reason.into()),
    };
    let finished = finish(gateway, request, &params, &state).await;
    // An outage may pass: the person can load the page again. Everything else uses the state up (CON-21).
    let outage = matches!(&finished, Err(Refusal::Page(failure)) if failure.is_outage());
    let mut response = finished.unwrap_or_else(|refusal| refused(gateway, request, refusal));
    if !outage {
        gateway.cookies.read(&request.headers).clear_state(response.headers_mut(), &state);
    }
    response
}

/// What a browser may load again stays where it is. Every other page of ours is shown at an address without the provider's code.
fn refused(gateway: &Shared, request: &Incoming, refusal: Refusal) -> Response {
    if let Refusal::Page(failure) = &refusal
        && !(failure.is_outage() || request.wants_json() || removed(Guard::CleanAddress))
    {
        return stopped::leave(gateway, failure, ENDPOINT);
    }
    refusal.into_response(gateway, request, ENDPOINT)
}

fn state_of(request: &Incoming) -> Result<(Params, IdpState), Reason> {
    let params = Params::parse(request.query.as_deref().unwrap_or_default().as_bytes())?;
    let state = params.get("state").and_then(IdpState::presented).ok_or(Reason::IdpStateMissing)?;
    Ok((params, state))
}

async fn finish(gateway: &Shared, request: &Incoming, params: &Params, state: &IdpState) -> Result<Response, Refusal> {
    // This browser approved exactly this transaction: on success and on error alike (decision 2).
    let idp = gateway.idps.at(&request.path).ok_or(Reason::NotFound)?;
    let answer = awaited(gateway, request, state)?.answered(state, idp.name(), gateway.clock.now())?;
    // Whoever answers must be the one we asked; otherwise nothing of the answer counts, not even its error (OC-05).
    idp.check_issuer(params.get("iss")).await?;
    let ended = gateway.store.is_complete(answer.id()).await.map_err(Failure::from)?;
    if !passes(Guard::StateSingleUse, !ended) {
        return Err(Reason::TransactionUsed.into());
    }
    if let Some(error) = params.get("error") {
        return Err(Refusal::client(answer.redirect(), refusal_of(error)));
    }
    let code = params.get("code").ok_or(Reason::IdpAnswerMalformed)?;
    let signed_in = match redeem_once(gateway, idp, &answer, code).await? {
        Redeemed::SignedIn(signed_in) => *signed_in,
        Redeemed::Wants(claims) => return ask_again(gateway, request, idp, answer, &claims).await,
    };
    if signed_in.identity.memberships().groups == Groups::Elsewhere {
        tracing::warn!(
            target: "deputy::event", event = "groups_elsewhere", idp = idp.name().as_str(),
            "somebody is in more groups than the provider lists: rules that name a group do not let them in, and keep them out. With Entra, \
             groups = \"graph\" in [idp] asks Microsoft Graph, and a groups claim of \"groups assigned to the application\" is short"
        );
    }
    let turned_away = TurnedAway::prepared(idp, &signed_in.identity, answer.redirect());
    let admitted = gateway.rules.admit(signed_in.identity).map_err(|reason| turned_away.clone().because(reason))?;
    if let Some(backend) = gateway.backend_tokens(answer.resource()) {
        match Box::pin(backend.try_out(idp, &signed_in.tokens, gateway.clock.now())).await {
            Ok(()) => {}
            Err(IdpFailure { outage: false, wants: Some(claims), .. }) => {
                return ask_again(gateway, request, idp, answer, &claims).await;
            }
            Err(failed) if failed.reason == Reason::BackendTokenRefused => return Err(turned_away.because(failed.reason)),
            Err(failed) => return Err(failed.into()),
        }
    }
    let tokens = SealedTokens::of(gateway, &signed_in.tokens)?;
    let signed_in = answer.signed_in(admitted, &gateway.catalog).map_err(|reason| turned_away.because(reason))?;
    match signed_in.may_leave(&gateway.origins) {
        Some(browser) => complete(gateway, request, signed_in, browser, tokens).await,
        None => finish::show(gateway, signed_in, tokens),
    }
}

/// The transaction that this browser approved under this state.
fn awaited(gateway: &Shared, request: &Incoming, state: &IdpState) -> Result<AwaitingIdp, Reason> {
    let sealed = gateway.cookies.read(&request.headers).state(state);
    #[cfg(feature = "test-hooks")]
    let sealed = sealed
        .or_else(|| shared_between_browsers(state))
        .or_else(|| passes(Guard::StateMatch, false).then(|| gateway.cookies.read(&request.headers).any_state())?);
    sealed.and_then(|text| gateway.seal.open(Purpose::StateCookie, &text)).ok_or(Reason::CallbackOtherBrowser)
}

/// The provider's tokens as they will be stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SealedTokens {
    sealed: String,
    renewable: bool,
}

impl SealedTokens {
    fn of(gateway: &Shared, tokens: &IdpTokens) -> Result<Self, Reason> {
        Ok(Self { sealed: gateway.seal.seal(Purpose::AtRest, tokens)?, renewable: tokens.can_be_renewed() })
    }
}

/// What came of the provider's code.
enum Redeemed {
    /// Somebody signed in.
    SignedIn(Box<SignIn>),
    /// The provider wants more of the person first, and says what.
    Wants(String),
}

/// The provider wants a second factor, a newer password, another device: a new sign-in there and no failure here, once.
async fn ask_again(
    gateway: &Shared,
    request: &Incoming,
    idp: &Provider,
    answer: IdpAnswer,
    claims: &str,
) -> Result<Response, Refusal> {
    let redirect = answer.redirect().clone();
    let asked = consent::fresh(gateway, idp)?;
    let awaiting = answer.ask_again(asked).ok_or_else(|| Refusal::client(&redirect, Reason::IdpDenied))?;
    tracing::info!(target: "deputy::event", event = "idp_wants_more", transaction = %awaiting.id());
    // The answer that came is done with; the next one has a state and a code of its own.
    gateway.answered.invalidate(awaiting.id());
    let scopes = gateway.catalog.scope_rules().at_idp(awaiting.scopes());
    let location = idp.authorization_url_for(awaiting.request(), &scopes, Some(claims)).await?;
    consent::leave(gateway, request, &awaiting, &location)
}

/// Sends the provider's code to its token endpoint, once per transaction (A-036, OC-15).
async fn redeem_once(gateway: &Shared, idp: &Provider, answer: &IdpAnswer, code: &str) -> Result<Redeemed, Refusal> {
    let first = gateway.answered.entry(answer.id().clone()).or_insert(()).is_fresh();
    if !passes(Guard::StateSingleUse, first) {
        return Err(Reason::TransactionUsed.into());
    }
    let asked = answer.request();
    // On the heap: it is large, and every request of the data path would carry its size.
    let redeemed = Box::pin(idp.redeem(code, &asked.verifier, &asked.nonce, gateway.clock.now())).await;
    match redeemed {
        Ok(signed_in) => Ok(Redeemed::SignedIn(Box::new(signed_in))),
        Err(IdpFailure { outage: false, wants: Some(claims), .. }) => Ok(Redeemed::Wants(claims)),
        Err(failed) => {
            if failed.outage {
                gateway.answered.invalidate(answer.id());
            }
            Err(failed.into())
        }
    }
}

/// The one write of a sign-in: state used, grant, the provider's tokens, the code. Only then does the code leave.
pub(super) async fn complete(
    gateway: &Shared,
    request: &Incoming,
    signed_in: SignedIn,
    browser: OwnBrowser,
    tokens: SealedTokens,
) -> Result<Response, Refusal> {
    let kept = memory::keep(gateway, request, &signed_in, &browser)?;
    let (memory, known) = kept.map(|kept| (kept.memory, kept.cookie)).unzip();
    let new = signed_in.grant(browser, GrantId::new(gateway.random()?), gateway.clock.now());
    let code = AuthorizationCode::new(&gateway.random()?);
    let location = new.redirect.with_code(&code);
    let completed = Completed { memory, ..completed(gateway, new, tokens, &code) };
    let grant = completed.grant.clone();
    if !gateway.store.take(Step::Complete(Box::new(completed))).await.map_err(Failure::from)? {
        return Err(Reason::TransactionUsed.into());
    }
    tracing::info!(target: "deputy::event", event = "signed_in", grant = %grant.id, subject = grant.subject, client_name = grant.client_name.as_str());
    let mut response = see_other(&location);
    if let Some(known) = known {
        gateway.cookies.set_known(response.headers_mut(), &known);
    }
    Ok(response)
}

fn completed(gateway: &Shared, new: NewGrant, idp: SealedTokens, code: &AuthorizationCode) -> Completed {
    let grant = Grant::of(&new, &gateway.lifetimes);
    Completed {
        transaction: new.transaction,
        transaction_ends: new.transaction_ends,
        grant,
        idp_tokens: idp.sealed,
        renewable: idp.renewable,
        code: code.digest(),
        redirect_uri: new.redirect.uri().clone(),
        challenge: new.challenge,
        refresh: new.refresh,
        code_ends: new.granted_at.after(gateway.lifetimes.code),
        memory: None,
    }
}

/// What a server with the flaw of GHSA-rww4-4w9c-7733 has: transactions that any browser can finish.
#[cfg(feature = "test-hooks")]
mod flaw {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use deputy_protocol::hooks::{Guard, removed};
    use deputy_protocol::secret::IdpState;

    static SHARED: LazyLock<Mutex<HashMap<[u8; 32], String>>> = LazyLock::new(Mutex::default);

    pub(crate) fn share_between_browsers(state: &IdpState, sealed: &str) {
        if removed(Guard::StateCookie) {
            SHARED.lock().unwrap_or_else(PoisonError::into_inner).insert(*state.digest().as_bytes(), sealed.to_owned());
        }
    }

    pub(crate) fn shared_between_browsers(state: &IdpState) -> Option<String> {
        SHARED.lock().unwrap_or_else(PoisonError::into_inner).get(state.digest().as_bytes()).cloned()
    }
}

#[cfg(feature = "test-hooks")]
pub(crate) use flaw::share_between_browsers;
#[cfg(feature = "test-hooks")]
use flaw::shared_between_browsers;
