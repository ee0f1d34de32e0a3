//! The endpoints, as far as they are more than a function of `protocol`: which cookies a browser brings, and what the store has seen.

use deputy_protocol::access::Rules;
use deputy_protocol::claims::VerifiedIdentity;
use deputy_protocol::consent::{Decision, LastDecision, Ticket, decide, decide_last};
use deputy_protocol::hooks::{Guard, removed};
use deputy_protocol::remember::{Asked, DirectEntry, Memory, Visit, recall};
use deputy_protocol::transaction::{AwaitingIdp, NewGrant, Pending, SignedIn};
use deputy_protocol::web::{Origins, OwnPage};
use deputy_protocol::{GrantId, Reason};

use super::things::{authorize, browser_key, catalog, form, identity, idp, memory_key, request, state, time};
use super::{Answer, Approved, By, Delivery, Entry, LastPage, Link, Opened, Place, Remembered, SignIn};
use crate::people::Person;

const APPROVE: &str = "decision=approve&remember=yes";

impl SignIn {
    fn origin(&self) -> &'static str {
        if self.loopback() { "http://localhost:8000" } else { "https://mcp.test" }
    }

    fn origins(&self) -> Result<Origins, Reason> {
        Origins::new(self.origin(), &[])
    }

    pub(super) fn pending(&self, transaction: usize) -> Result<Pending, Reason> {
        let opened = self.opened.get(transaction).ok_or(Reason::Internal)?;
        authorize(self.origin(), self.bounds.place, opened, transaction)
    }

    /// A sealed state cookie is what came out of an approval; the same is made here by approving again: in time, in its own browser.
    fn awaiting(&self, approval: usize) -> Result<AwaitingIdp, Reason> {
        let approved = *self.approved.get(approval).ok_or(Reason::Internal)?;
        let (pending, key) = (self.pending(approved.transaction)?, browser_key(approved.transaction));
        let late = self.opened.get(approved.transaction).is_some_and(|opened| opened.late);
        let approval_proof = if let By::Memory(remembered) = approved.by {
            self.recalled(pending, remembered, approved.browser, Entry::Direct)?.map_err(|_| Reason::Internal)?
        } else {
            match decide(Ticket::new(pending, &key), self.own_page()?, Some(&key), &form(APPROVE)?, time(late))? {
                Decision::Approved(approval) => *approval,
                Decision::Denied(..) => return Err(Reason::Internal),
            }
        };
        Ok(approval_proof.ask_idp(request(approval)?))
    }

    fn own_page(&self) -> Result<OwnPage, Reason> {
        self.origins()?.own_page(Some(self.origin()), Some("same-origin"))
    }

    fn page_proof(&self, own_page: bool) -> Result<OwnPage, Reason> {
        if own_page { self.own_page() } else { self.origins()?.own_page(Some("https://evil.test"), Some("cross-site")) }
    }

    /// The provider's token endpoint and the ID token's check.
    fn exchange(&self, approval: usize, answer: usize) -> Result<VerifiedIdentity, Reason> {
        let given = self.answers.get(answer).filter(|answer| !answer.spent).ok_or(Reason::IdpError)?;
        if given.approval != approval && self.bounds.place != Place::WeakProvider {
            return Err(Reason::IdpError);
        }
        identity(given.account, given.approval, approval, self.now())
    }

    fn signed_in(&self, awaiting: AwaitingIdp, approval: usize, who: VerifiedIdentity) -> Result<SignedIn, Reason> {
        let admitted = Rules::parse(&["*"]).map_err(|_| Reason::Internal)?.admit(who)?;
        awaiting.answered(&state(approval), &idp()?, self.now())?.signed_in(admitted, &catalog(self.origin())?)
    }

    /// `GET /authorize`.
    pub(super) fn open(&mut self, browser: Person, link: Link) -> Result<(), Reason> {
        let transaction = self.opened.len();
        let opened = Opened { link, browser, late: self.late };
        let pending = authorize(self.origin(), self.bounds.place, &opened, transaction)?;
        self.opened.push(opened);
        if removed(Guard::ConsentPage) {
            drop(deputy_protocol::consent::Approval::without_asking(pending));
            self.approve(browser, transaction, By::OtherPage);
            return Ok(());
        }
        for remembered in self.memories.clone() {
            if self.recalled(self.pending(transaction)?, remembered, browser, link.entry)?.is_ok() {
                self.approve(browser, transaction, By::Memory(remembered));
                return Ok(());
            }
        }
        self.jar(browser).ownership.insert(transaction);
        Ok(())
    }

    /// Whether one remembered decision answers a request.
    fn recalled(
        &self,
        pending: Pending,
        remembered: Remembered,
        browser: Person,
        entry: Entry,
    ) -> Result<Result<deputy_protocol::consent::Approval, Pending>, Reason> {
        let entry = DirectEntry::read(Some(match entry {
            Entry::Direct => "none",
            Entry::Sent => "cross-site",
        }));
        let (own, key) = (self.origins()?.cookies_are_ours(), memory_key(browser));
        let memory = self.memory(remembered)?;
        let visit = Visit { entry, own: own.as_ref(), key: Some(&key) };
        Ok(match recall(pending, visit, memory.as_slice(), self.now()) {
            Asked::Memory(approval) => Ok(approval),
            Asked::Person(pending) => Err(pending),
        })
    }

    /// What the store holds of a decision: made as it was made then, by a sign-in of that account which was asked and finished.
    fn memory(&self, remembered: Remembered) -> Result<Option<Memory>, Reason> {
        let Remembered { browser, account, transaction } = remembered;
        let late = self.opened.get(transaction).is_some_and(|opened| opened.late);
        let (pending, key) = (self.pending(transaction)?, browser_key(transaction));
        let Decision::Approved(approval) =
            decide(Ticket::new(pending, &key), self.own_page()?, Some(&key), &form(APPROVE)?, time(late))?
        else {
            return Err(Reason::Internal);
        };
        let answered = approval.ask_idp(request(0)?).answered(&state(0), &idp()?, time(late))?;
        let admitted = Rules::parse(&["*"]).map_err(|_| Reason::Internal)?.admit(identity(account, 0, 0, time(late))?)?;
        let signed_in = answered.signed_in(admitted, &catalog(self.origin())?)?;
        let ours = self.origins()?.cookies_are_ours().ok_or(Reason::Internal)?;
        Ok(Memory::of(&signed_in, &ours, &memory_key(browser), time(late)))
    }

    fn approve(&mut self, browser: Person, transaction: usize, by: By) {
        let approval = self.approved.len();
        self.approved.push(Approved { transaction, browser, by });
        self.jar(browser).ownership.remove(&transaction);
        self.jar(browser).states.insert(approval);
    }

    /// `POST /consent`.
    pub(super) fn consent(&mut self, browser: Person, transaction: usize, own_page: bool) -> Result<(), Reason> {
        let page = self.page_proof(own_page)?;
        let ticket = Ticket::new(self.pending(transaction)?, &browser_key(transaction));
        let key = self.jar_of(browser).ownership.contains(&transaction).then(|| browser_key(transaction));
        if let Decision::Approved(_) = decide(ticket, page, key.as_ref(), &form(APPROVE)?, self.now())? {
            self.approve(browser, transaction, if own_page { By::Person } else { By::OtherPage });
        }
        Ok(())
    }

    /// The state cookie that a browser brings.
    fn state_cookie(&self, browser: Person, approval: usize) -> Option<usize> {
        let known = &self.jar_of(browser).states;
        if removed(Guard::StateMatch) {
            known.get(&approval).or_else(|| known.first()).copied()
        } else if removed(Guard::StateCookie) {
            Some(approval)
        } else {
            known.get(&approval).copied()
        }
    }

    /// `GET /callback`, up to the last page or to a delivered code.
    pub(super) fn callback(
        &mut self,
        browser: Person,
        approval: usize,
        answer: usize,
        dies: Option<bool>,
    ) -> Result<Option<Delivery>, Reason> {
        let cookie = self.state_cookie(browser, approval).ok_or(Reason::CallbackOtherBrowser)?;
        let transaction = self.transaction_of(cookie).ok_or(Reason::Internal)?;
        // The hint before the exchange; the write decides.
        if self.ended.contains(&transaction) && !removed(Guard::StateSingleUse) {
            return Err(Reason::TransactionUsed);
        }
        // In time and of this state, before anything is spent.
        drop(self.awaiting(cookie)?.answered(&state(approval), &idp()?, self.now())?);
        let who = self.exchange(cookie, answer)?;
        if let Some(answer) = self.answers.get_mut(answer) {
            answer.spent = true;
        }
        let account = if who.subject().sub() == Person::Victim.sub() { Person::Victim } else { Person::Attacker };
        let signed_in = self.signed_in(self.awaiting(cookie)?, approval, who)?;
        let may_leave = signed_in.may_leave(&self.origins()?);
        if let Some(written) = dies {
            if written && may_leave.is_some() {
                self.end(transaction)?;
            }
            return Ok(None);
        }
        self.jar(browser).states.remove(&cookie);
        let Some(own_browser) = may_leave else {
            self.last_pages.push(LastPage { approval: cookie, account, browser });
            return Ok(None);
        };
        if Memory::of(&signed_in, &own_browser, &memory_key(browser), self.now()).is_some() && self.remembers() {
            self.memories.insert(Remembered { browser, account, transaction });
        }
        let grant = signed_in.grant(own_browser, GrantId::new([0; 16]), self.now());
        self.end(transaction)?;
        Ok(Some(Delivery {
            browser,
            approval: cookie,
            account,
            address: grant.redirect.uri().to_string(),
            of: of(&grant),
            last: false,
        }))
    }

    /// The store's one conditional write.
    fn end(&mut self, transaction: usize) -> Result<(), Reason> {
        if self.ended.insert(transaction) || removed(Guard::StateSingleUse) { Ok(()) } else { Err(Reason::TransactionUsed) }
    }

    /// `POST /finish`.
    pub(super) fn finish(&mut self, browser: Person, page: usize, own_page: bool) -> Result<Delivery, Reason> {
        let proof = self.page_proof(own_page)?;
        let shown = *self.last_pages.get(page).ok_or(Reason::Internal)?;
        let transaction = self.transaction_of(shown.approval).ok_or(Reason::Internal)?;
        let sealed = self.sealed_last_page(shown)?;
        let LastDecision::Finished(signed_in, own_browser) = decide_last(sealed, &proof, &form(APPROVE)?, self.now())? else {
            return Err(Reason::Internal);
        };
        let grant = signed_in.grant(own_browser, GrantId::new([0; 16]), self.now());
        self.end(transaction)?;
        let address = grant.redirect.uri().to_string();
        let last = own_page && shown.browser == browser;
        Ok(Delivery { browser, approval: shown.approval, account: shown.account, address, of: of(&grant), last })
    }

    /// What the form of a last page carries, sealed: the transaction as it was when its person signed in.
    fn sealed_last_page(&self, shown: LastPage) -> Result<SignedIn, Reason> {
        let mut then = self.clone();
        then.late = self.opened_by(shown.approval).is_some_and(|opened| opened.late);
        let LastPage { approval, account, browser } = shown;
        then.answers = vec![Answer { approval, browser, account, spent: false, shown: false }];
        let who = then.exchange(approval, 0)?;
        then.signed_in(then.awaiting(approval)?, approval, who)
    }
}

/// What a code is for.
fn of(grant: &NewGrant) -> [String; 4] {
    let NewGrant { client, resource, scopes, challenge, .. } = grant;
    [client.to_string(), resource.to_string(), scopes.to_string(), challenge.as_str().to_owned()]
}
