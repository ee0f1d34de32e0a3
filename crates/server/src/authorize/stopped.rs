//! A refusal of the provider's answer, shown at an address that holds nothing of it.
//!
//! The address of `/callback` may hold a live code of the provider: whoever follows a provider's link of somebody else's ends there, is
//! refused, and could be talked into passing the address on. So the refusal is a page of its own, which says why and no more. Only who signed in
//! and may not come in is told more: as whom, and whom to ask. None of that goes to the client.

use axum::response::Response;
use deputy_protocol::claims::VerifiedIdentity;
use deputy_protocol::redirect::TrustedRedirect;
use deputy_protocol::transaction::TRANSACTION_LIFETIME;
use deputy_protocol::{Reason, Timestamp};
use serde::{Deserialize, Serialize};

use super::refusal::{Refusal, page, see_other};
use crate::dispatch::Incoming;
use crate::error::Failure;
use crate::gateway::Shared;
use crate::idp::Provider;
use crate::pages::PersonView;
use crate::seal::Purpose;

/// Where the page is.
pub(crate) const PATH: &str = "/stopped";
/// Longest address of the page. A longer one would be refused by some proxies; then there is no way back to the client on it.
const ADDRESS_MAX: usize = 4000;

/// What the page says. Sealed, so that nobody else writes on it.
#[derive(Debug, Serialize, Deserialize)]
struct Stopped {
    reason: String,
    reference: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<Person>,
}

/// Whom the page is for.
#[derive(Debug, Serialize, Deserialize)]
struct Person {
    account: String,
    idp_host: String,
    back: Option<TrustedRedirect>,
    /// Until when the page says so: its address stays in the browser's history.
    until: Timestamp,
}

/// Somebody who signed in and may not come in.
#[derive(Clone, Debug)]
pub(super) struct TurnedAway {
    reason: Reason,
    account: String,
    idp_host: String,
    redirect: TrustedRedirect,
}

impl TurnedAway {
    /// Keeps what the page would say.
    pub(super) fn prepared(idp: &Provider, identity: &VerifiedIdentity, redirect: &TrustedRedirect) -> Self {
        let account = match (identity.name(), identity.said_email()) {
            (Some(name), Some(email)) if name != email => format!("{name} ({email})"),
            (Some(one), _) | (None, Some(one)) => one.to_owned(),
            (None, None) => identity.subject().sub().to_owned(),
        };
        Self { reason: Reason::SubjectNotAllowed, account, idp_host: idp.display_host().to_owned(), redirect: redirect.clone() }
    }

    /// The refusal of this person.
    pub(super) fn because(self, reason: Reason) -> Refusal {
        Refusal::TurnedAway(Box::new(Self { reason, ..self }))
    }

    pub(super) fn failure(&self) -> Failure {
        self.reason.into()
    }
}

/// Leaves the provider's answer behind. The fragment is ours: without one a browser keeps the old, where a link with
/// `response_mode=fragment` would have put the code.
pub(super) fn leave(gateway: &Shared, failure: &Failure, endpoint: &'static str) -> Response {
    let reference = failure.log(endpoint);
    let said = Stopped { reason: failure.reason().code().to_owned(), reference, person: None };
    match address(gateway, &said) {
        Ok(address) => see_other(&address),
        Err(reason) => page(reason, &said.reference, None, None),
    }
}

/// Leaves the provider's answer behind, for a page that tells who signed in and takes the error to the client when the person wishes.
pub(super) fn turn_away(gateway: &Shared, away: TurnedAway, endpoint: &'static str) -> Response {
    let reference = away.failure().log(endpoint);
    let TurnedAway { reason, account, idp_host, redirect } = away;
    let until = gateway.clock.now().after(TRANSACTION_LIFETIME);
    let with = |back| Stopped {
        reason: reason.code().to_owned(),
        reference: reference.clone(),
        person: Some(Person { account: account.clone(), idp_host: idp_host.clone(), back, until }),
    };
    let whole = address(gateway, &with(Some(redirect)));
    let fitting = whole.and_then(|whole| if whole.len() <= ADDRESS_MAX { Ok(whole) } else { address(gateway, &with(None)) });
    match fitting {
        Ok(address) => see_other(&address),
        Err(reason) => page(reason, &reference, None, None),
    }
}

fn address(gateway: &Shared, said: &Stopped) -> Result<String, Reason> {
    Ok(format!("{PATH}?about={}#_", gateway.seal.seal(Purpose::Stopped, said)?))
}

/// `GET /stopped`.
pub(crate) fn get(gateway: &Shared, request: &Incoming) -> Response {
    let sealed = request.query.as_deref().and_then(|query| query.strip_prefix("about="));
    let said = sealed.and_then(|text| gateway.seal.open::<Stopped>(Purpose::Stopped, text));
    let Some((reason, said)) = said.and_then(|said| Some((Reason::named(&said.reason)?, said))) else {
        return page(Reason::NotFound, &Failure::from(Reason::NotFound).log("stopped"), None, None);
    };
    let person = said.person.filter(|person| gateway.clock.now() < person.until);
    let view = person.as_ref().map(|person| PersonView {
        account: &person.account,
        idp_host: &person.idp_host,
        contact: gateway.contact.as_deref(),
    });
    page(reason, &said.reference, person.as_ref().and_then(|person| person.back.as_ref()), view)
}
