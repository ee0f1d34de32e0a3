//! One run from `/authorize` to a code: pending, then awaiting the identity provider, then a grant.
//!
//! What this module guarantees:
//! - Each state owns what that step may know, and a transition consumes it. The next state cannot be made without the proof it demands:
//!   [`Approval`](crate::consent::Approval) for [`AwaitingIdp`], [`IdpAnswer`] and [`Admitted`] for [`SignedIn`], and [`OwnBrowser`] on top
//!   for [`NewGrant`].
//! - Until the provider has answered, a transaction lives sealed in the page and in cookies; nothing is stored (decision 1).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::Admitted;
use crate::authorization::AuthorizationRequest;
use crate::claims::VerifiedIdentity;
use crate::client::{Client, DisplayName};
use crate::consent::ApprovedBy;
use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::ids::{ClientId, GrantId, IdpName, TransactionId};
use crate::pkce::{Challenge, Verifier};
use crate::redirect::TrustedRedirect;
use crate::remember::may_remember;
use crate::resource::{Catalog, ResourceUri};
use crate::scope::Scopes;
use crate::secret::{IdpState, Nonce};
use crate::time::Timestamp;
use crate::web::{Origins, OwnBrowser};

/// How long a transaction may take, from the page to the provider's answer (CON-21, A-043).
pub const TRANSACTION_LIFETIME: Duration = Duration::from_secs(600);

/// A valid request that nobody has decided yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    id: TransactionId,
    client: ClientId,
    client_name: DisplayName,
    redirect: TrustedRedirect,
    challenge: Challenge,
    resource: ResourceUri,
    scopes: Scopes,
    refresh: bool,
    started: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    may_be_remembered: bool,
}

impl Pending {
    /// Starts a transaction for a checked request.
    #[must_use]
    pub fn start(
        client: &Client,
        redirect: TrustedRedirect,
        request: AuthorizationRequest,
        now: Timestamp,
        random: [u8; 16],
    ) -> Self {
        Self {
            id: TransactionId::new(now, random),
            may_be_remembered: may_remember(client, &redirect),
            client: client.id.clone(),
            client_name: client.registration.name.clone(),
            redirect,
            challenge: request.challenge,
            resource: request.resource,
            scopes: request.scopes,
            refresh: client.registration.refresh,
            started: now,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &TransactionId {
        &self.id
    }

    /// What the client calls itself.
    #[must_use]
    pub fn client_name(&self) -> &DisplayName {
        &self.client_name
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Where the answer goes.
    #[must_use]
    pub fn redirect(&self) -> &TrustedRedirect {
        &self.redirect
    }

    /// The resource that is asked for.
    #[must_use]
    pub fn resource(&self) -> &ResourceUri {
        &self.resource
    }

    /// The scopes that are asked for.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Whether a decision about it may be remembered.
    #[must_use]
    pub fn may_be_remembered(&self) -> bool {
        self.may_be_remembered
    }

    pub(crate) fn into_redirect(self) -> TrustedRedirect {
        self.redirect
    }

    pub(crate) fn still_open(&self, now: Timestamp) -> Result<(), Reason> {
        if passes(Guard::TransactionLifetime, now < self.started.after(TRANSACTION_LIFETIME)) {
            Ok(())
        } else {
            Err(Reason::TransactionExpired)
        }
    }
}

/// What we send to the identity provider, fresh for each transaction (CON-16, OC-02).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdpRequest {
    /// Comes back in the callback's URL and must equal the one in the state cookie.
    pub state: IdpState,
    /// Comes back in the ID token.
    pub nonce: Nonce,
    /// Proves at the provider's token endpoint that the code is ours.
    pub verifier: Verifier,
    /// Whom we ask, recorded before the redirect (OC-04, OC-05).
    pub idp: IdpName,
}

/// An approved transaction whose answer the provider owes us. Lives sealed in the state cookie of the browser that approved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AwaitingIdp {
    pending: Pending,
    request: IdpRequest,
    by: ApprovedBy,
    /// Whether the provider was asked before, and wanted more than it got.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

impl AwaitingIdp {
    pub(crate) fn new(pending: Pending, request: IdpRequest, by: ApprovedBy) -> Self {
        Self { pending, request, by, again: false }
    }

    /// The transaction's id.
    #[must_use]
    pub fn id(&self) -> &TransactionId {
        &self.pending.id
    }

    /// What was sent to the provider.
    #[must_use]
    pub fn request(&self) -> &IdpRequest {
        &self.request
    }

    /// What was approved.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.pending.scopes
    }

    /// The provider came back to this browser with `state`, at the address that is known to `idp` alone.
    ///
    /// # Errors
    /// [`Reason::CallbackOtherBrowser`] when it is another transaction's state (CON-19), [`Reason::IdpIssuerMismatch`] when another provider
    /// was asked (OC-04), [`Reason::TransactionExpired`].
    pub fn answered(self, state: &IdpState, idp: &IdpName, now: Timestamp) -> Result<IdpAnswer, Reason> {
        if !passes(Guard::StateMatch, self.request.state.matches(state)) {
            return Err(Reason::CallbackOtherBrowser);
        }
        if self.request.idp != *idp {
            return Err(Reason::IdpIssuerMismatch);
        }
        self.pending.still_open(now)?;
        Ok(IdpAnswer { pending: self.pending, request: self.request, by: self.by, again: self.again })
    }
}

/// Proof that the provider's answer came to the browser that approved this transaction, in time.
#[derive(Debug)]
pub struct IdpAnswer {
    pending: Pending,
    request: IdpRequest,
    by: ApprovedBy,
    again: bool,
}

impl IdpAnswer {
    /// What was sent to the provider.
    #[must_use]
    pub fn request(&self) -> &IdpRequest {
        &self.request
    }

    /// The transaction's id.
    #[must_use]
    pub fn id(&self) -> &TransactionId {
        &self.pending.id
    }

    /// What the client asked to reach.
    #[must_use]
    pub fn resource(&self) -> &ResourceUri {
        &self.pending.resource
    }

    /// Where a refusal goes from here on: the person approved, so it may travel.
    #[must_use]
    pub fn redirect(&self) -> &TrustedRedirect {
        &self.pending.redirect
    }

    /// The provider wants more of the person, such as a second factor: this browser may be sent there once more, with a fresh request. `None`
    /// when it was before.
    #[must_use]
    pub fn ask_again(self, request: IdpRequest) -> Option<AwaitingIdp> {
        (!self.again).then_some(AwaitingIdp { pending: self.pending, request, by: self.by, again: true })
    }

    /// The person signed in and may come in: with as much of what was approved as this person may have.
    ///
    /// # Errors
    /// [`Reason::ScopesNotAllowed`] when that is nothing.
    pub fn signed_in(self, admitted: Admitted, catalog: &Catalog) -> Result<SignedIn, Reason> {
        let Self { pending, by, .. } = self;
        let scopes = catalog.scopes_for(&pending.resource, &pending.scopes, &admitted.identity().known())?;
        Ok(SignedIn { pending, admitted, by, scopes })
    }
}

/// A transaction whose person signed in; nothing is stored yet. Where the last page is needed, it lives sealed in that page.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignedIn {
    pending: Pending,
    admitted: Admitted,
    by: ApprovedBy,
    scopes: Scopes,
}

impl SignedIn {
    /// What was asked and approved.
    #[must_use]
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Who signed in.
    #[must_use]
    pub fn identity(&self) -> &VerifiedIdentity {
        self.admitted.identity()
    }

    /// The scopes that the client gets: at most what was approved.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Whether the person asked that the decision be remembered.
    #[must_use]
    pub fn remember(&self) -> bool {
        matches!(self.by, ApprovedBy::PersonForLonger)
    }

    /// Whether the code may leave at once, or only after our last page: on plain http, where others can plant cookies, and when a decision
    /// was remembered for another account than the one that signed in (CON-39).
    #[must_use]
    pub fn may_leave(&self, origins: &Origins) -> Option<OwnBrowser> {
        let own_account = match &self.by {
            ApprovedBy::Person | ApprovedBy::PersonForLonger => true,
            ApprovedBy::Memory(account) => account == self.identity().subject(),
        };
        if passes(Guard::AccountMatch, own_account) { origins.cookies_are_ours() } else { None }
    }

    pub(crate) fn into_pending(self) -> Pending {
        self.pending
    }

    /// The transaction ends in a grant.
    #[must_use]
    pub fn grant(self, _: OwnBrowser, id: GrantId, now: Timestamp) -> NewGrant {
        let Pending { id: transaction, client, client_name, redirect, challenge, resource, refresh, started, .. } = self.pending;
        NewGrant {
            id,
            transaction,
            transaction_ends: started.after(TRANSACTION_LIFETIME),
            admitted: self.admitted,
            client,
            client_name,
            redirect,
            challenge,
            resource,
            scopes: self.scopes,
            refresh,
            granted_at: now,
        }
    }
}

/// What one completed transaction gives: to be stored in one write, with the transaction marked as used.
#[derive(Debug)]
pub struct NewGrant {
    /// The grant's id.
    pub id: GrantId,
    /// The transaction that it ends.
    pub transaction: TransactionId,
    /// When the transaction's id may be forgotten: it is refused as expired from then on.
    pub transaction_ends: Timestamp,
    /// Who signed in.
    pub admitted: Admitted,
    /// For which client.
    pub client: ClientId,
    /// What the client calls itself.
    pub client_name: DisplayName,
    /// Where the code goes.
    pub redirect: TrustedRedirect,
    /// What the client must prove at the token endpoint.
    pub challenge: Challenge,
    /// For which resource.
    pub resource: ResourceUri,
    /// With which scopes.
    pub scopes: Scopes,
    /// Whether refresh tokens are issued.
    pub refresh: bool,
    /// When.
    pub granted_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{NOW, awaiting, idp_name, idp_request, pending, signed_in};

    #[test]
    fn con_19_con_21_only_the_answer_that_was_asked_for_and_in_time() {
        let answered = |state: u8, later: u64| {
            awaiting().answered(&IdpState::new(&[state; 32]), &idp_name(), NOW.after(Duration::from_secs(later))).map(drop)
        };
        assert_eq!(answered(1, 599), Ok(()));
        assert_eq!(answered(1, 600), Err(Reason::TransactionExpired));
        assert_eq!(answered(2, 0), Err(Reason::CallbackOtherBrowser));
    }

    #[test]
    fn a_provider_that_wants_more_is_asked_once_more() {
        let answered = |awaiting: AwaitingIdp| awaiting.answered(&idp_request().state, &idp_name(), NOW).unwrap();
        let again = answered(awaiting()).ask_again(idp_request()).unwrap();
        assert_eq!(again.id(), awaiting().id());
        assert!(answered(again).ask_again(idp_request()).is_none());
    }

    #[test]
    fn oc_04_an_answer_comes_to_the_address_of_the_provider_that_was_asked() {
        let other = IdpName::parse("other").unwrap();
        let answered = awaiting().answered(&idp_request().state, &other, NOW).map(drop);
        assert_eq!(answered, Err(Reason::IdpIssuerMismatch));
    }

    #[test]
    fn a_transaction_is_the_same_from_its_page_to_its_grant() {
        let (asked, awaited) = (pending(), awaiting());
        assert_eq!((awaited.id(), awaited.request().state.matches(&idp_request().state)), (asked.id(), true));
        let answer = awaited.answered(&idp_request().state, &idp_name(), NOW).unwrap();
        assert_eq!((answer.id(), answer.redirect().uri()), (asked.id(), asked.redirect().uri()));
        let signed_in = signed_in("alice");
        assert_eq!(signed_in.pending().id(), asked.id());
        let ours = signed_in.may_leave(&Origins::new("https://mcp.test", &[]).unwrap()).unwrap();
        let grant = signed_in.grant(ours, GrantId::new([2; 16]), NOW);
        assert_eq!(
            (&grant.transaction, &grant.client, &grant.resource, &grant.scopes),
            (asked.id(), asked.client(), asked.resource(), asked.scopes())
        );
        assert_eq!((grant.client_name.as_str(), asked.client_name().as_str()), ("App", "App"));
        assert_eq!(grant.transaction_ends, NOW.after(TRANSACTION_LIFETIME));
        assert!(grant.refresh && !asked.may_be_remembered());
    }

    #[test]
    fn on_plain_http_a_code_waits_for_the_last_page() {
        let may_leave = |url: &str| signed_in("alice").may_leave(&Origins::new(url, &[]).unwrap()).is_some();
        assert!(may_leave("https://mcp.test") && !may_leave("http://localhost:8000"));
        assert!(!signed_in("alice").remember());
    }
}
