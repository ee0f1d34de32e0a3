//! The person's decision: from the form that came back to a proof that this browser was shown the page (CON-07, CON-31; ).

use serde::{Deserialize, Serialize};

use crate::claims::Subject;
use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::ids::{IdpName, TransactionId};
use crate::params::Params;
use crate::redirect::TrustedRedirect;
use crate::secret::{BrowserKey, Digest};
use crate::time::Timestamp;
use crate::transaction::{AwaitingIdp, IdpRequest, Pending, SignedIn};
use crate::web::{OwnBrowser, OwnPage};

/// What the consent page's form carries, sealed: the transaction, and which browser it was shown to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ticket {
    pending: Pending,
    browser: Digest<BrowserKey>,
}

impl Ticket {
    /// The ticket of a page for this transaction in the browser that gets `key` as its ownership cookie.
    #[must_use]
    pub fn new(pending: Pending, key: &BrowserKey) -> Self {
        Self { pending, browser: key.digest() }
    }

    /// The transaction.
    #[must_use]
    pub fn pending(&self) -> &Pending {
        &self.pending
    }
}

/// What a person decided.
#[derive(Debug)]
pub enum Decision {
    /// Yes: a provider may be asked.
    Approved(Box<Approval>),
    /// No: the client is told so (CON-38), and this transaction is over.
    Denied(TrustedRedirect, TransactionId),
}

/// Proof that a person approved exactly this transaction, on our page, in the browser that was shown it: now, made by [`decide`], or
/// before, made by [`recall`](crate::remember::recall).
#[derive(Debug)]
pub struct Approval {
    pending: Pending,
    by: ApprovedBy,
    chosen: Option<IdpName>,
}

/// Who approved a transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ApprovedBy {
    /// A person, on our page.
    Person,
    /// A person, on our page, who asked that the decision be remembered.
    PersonForLonger,
    /// A decision that this account made before.
    Memory(Subject),
}

/// Judges the form: our own page, this browser, in time, and what was decided.
///
/// # Errors
/// [`Reason::ConsentOtherBrowser`] without the ownership cookie of this very transaction (the ticket alone proves nothing: an attacker
/// has the ticket of his own transaction), [`Reason::TransactionExpired`], [`Reason::DecisionMissing`].
pub fn decide(ticket: Ticket, _: OwnPage, key: Option<&BrowserKey>, form: &Params, now: Timestamp) -> Result<Decision, Reason> {
    let shown_here = key.is_some_and(|key| key.digest() == ticket.browser);
    if !passes(Guard::OwnershipCookie, shown_here) {
        return Err(Reason::ConsentOtherBrowser);
    }
    ticket.pending.still_open(now)?;
    let (word, chosen) = match form.get("decision").and_then(|decision| decision.split_once(':')) {
        Some(("approve", name)) => (Some("approve"), Some(IdpName::parse(name).ok_or(Reason::DecisionMissing)?)),
        _ => (form.get("decision"), None),
    };
    match word {
        Some("approve") => {
            let longer = form.get("remember") == Some("yes");
            let by = if longer { ApprovedBy::PersonForLonger } else { ApprovedBy::Person };
            Ok(Decision::Approved(Box::new(Approval { pending: ticket.pending, by, chosen })))
        }
        Some("deny") => {
            let id = ticket.pending.id().clone();
            Ok(Decision::Denied(ticket.pending.into_redirect(), id))
        }
        _ => Err(Reason::DecisionMissing),
    }
}

/// What a person decided on the last page.
#[derive(Debug)]
pub enum LastDecision {
    /// It is they who started this: the code may leave.
    Finished(Box<SignedIn>, OwnBrowser),
    /// It is not: the client is told so, and nothing was written.
    Denied(TrustedRedirect, TransactionId),
}

/// Judges the form of the last page, which named the account, the client and where the answer goes: our own page, in time, and what
/// was decided. No cookie counts here: the page is for places where anybody can set one.
///
/// # Errors
/// [`Reason::TransactionExpired`], [`Reason::DecisionMissing`].
pub fn decide_last(signed_in: SignedIn, page: &OwnPage, form: &Params, now: Timestamp) -> Result<LastDecision, Reason> {
    signed_in.pending().still_open(now)?;
    match form.get("decision") {
        Some("approve") => Ok(LastDecision::Finished(Box::new(signed_in), OwnBrowser::by_last_page(page))),
        Some("deny") => {
            let id = signed_in.pending().id().clone();
            Ok(LastDecision::Denied(signed_in.into_pending().into_redirect(), id))
        }
        _ => Err(Reason::DecisionMissing),
    }
}

impl Approval {
    /// The same person approved the same request before.
    pub(crate) const fn remembered(pending: Pending, account: Subject) -> Self {
        Self { pending, by: ApprovedBy::Memory(account), chosen: None }
    }

    /// The provider that the person chose, where there are several.
    #[must_use]
    pub const fn chosen(&self) -> Option<&IdpName> {
        self.chosen.as_ref()
    }

    /// The account that decided before, if nobody was asked now.
    #[must_use]
    pub const fn account(&self) -> Option<&Subject> {
        match &self.by {
            ApprovedBy::Memory(account) => Some(account),
            ApprovedBy::Person | ApprovedBy::PersonForLonger => None,
        }
    }

    /// The identity provider may now be asked, once, with this request.
    #[must_use]
    pub fn ask_idp(self, request: IdpRequest) -> AwaitingIdp {
        AwaitingIdp::new(self.pending, request, self.by)
    }

    /// What a server with the flaw does: approves without asking anybody.
    #[cfg(feature = "test-hooks")]
    #[must_use]
    pub fn without_asking(pending: Pending) -> Self {
        debug_assert!(crate::hooks::removed(crate::hooks::Guard::ConsentPage), "the guard stands");
        Self { pending, by: ApprovedBy::Person, chosen: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{NOW, pending, signed_in};
    use crate::web::Origins;
    use std::time::Duration;

    fn page() -> OwnPage {
        Origins::new("https://mcp.test", &[]).unwrap().own_page(Some("https://mcp.test"), None).unwrap()
    }

    fn form(raw: &str) -> Params {
        Params::parse(raw.as_bytes()).unwrap()
    }

    fn decided(key: Option<u8>, raw: &str, now: Timestamp) -> Result<Decision, Reason> {
        let ticket = Ticket::new(pending(), &BrowserKey::new(&[1; 32]));
        decide(ticket, page(), key.map(|key| BrowserKey::new(&[key; 32])).as_ref(), &form(raw), now)
    }

    #[test]
    fn con_31_con_38_the_browser_that_was_shown_the_page_decides() {
        assert!(
            matches!(decided(Some(1), "decision=approve", NOW), Ok(Decision::Approved(approval)) if approval.chosen().is_none())
        );
        let Ok(Decision::Approved(chosen)) = decided(Some(1), "decision=approve:entra", NOW) else { panic!("not approved") };
        assert_eq!(chosen.chosen().map(IdpName::as_str), Some("entra"));
        let Ok(Decision::Denied(redirect, id)) = decided(Some(1), "decision=deny", NOW) else { panic!("not denied") };
        assert_eq!((redirect.uri(), &id), (pending().redirect().uri(), pending().id()));
        for key in [None, Some(2)] {
            assert_eq!(decided(key, "decision=approve", NOW).unwrap_err(), Reason::ConsentOtherBrowser);
        }
        for raw in [
            "",
            "decision=",
            "decision=Approve",
            "decision=yes",
            "decision=approve:",
            "decision=approve:A/b",
            "decision=deny:idp",
        ] {
            assert_eq!(decided(Some(1), raw, NOW).unwrap_err(), Reason::DecisionMissing, "{raw}");
        }
    }

    #[test]
    fn con_21_ten_minutes_and_no_more() {
        let (last, over) = (NOW.after(Duration::from_secs(599)), NOW.after(Duration::from_secs(600)));
        assert!(decided(Some(1), "decision=approve", last).is_ok());
        assert_eq!(decided(Some(1), "decision=approve", over).unwrap_err(), Reason::TransactionExpired);
        assert_eq!(decided(Some(1), "decision=deny", over).unwrap_err(), Reason::TransactionExpired);
        let last_page = |now: Timestamp| decide_last(signed_in("alice"), &page(), &form("decision=approve"), now).map(drop);
        assert_eq!((last_page(last), last_page(over)), (Ok(()), Err(Reason::TransactionExpired)));
    }

    #[test]
    fn a_039_the_last_page_is_decided_too() {
        let decided = |raw: &str| decide_last(signed_in("alice"), &page(), &form(raw), NOW);
        let Ok(LastDecision::Finished(finished, _)) = decided("decision=approve") else { panic!("not finished") };
        assert_eq!(finished.identity().subject().sub(), "alice");
        let Ok(LastDecision::Denied(redirect, id)) = decided("decision=deny") else { panic!("not denied") };
        assert_eq!((redirect.uri(), &id), (pending().redirect().uri(), pending().id()));
        assert_eq!(decided("").unwrap_err(), Reason::DecisionMissing);
    }
}
