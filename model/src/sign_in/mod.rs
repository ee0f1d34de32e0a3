//! The world of a sign-in: from a link to a code, with two people, two browsers, two clients and a provider that asks nobody twice.
//!
//! A state holds what each browser, the provider and the store hold, by small numbers; what they stand for (tickets, cookies, states, ID
//! tokens) is made anew from the numbers at each step, and judged by production's functions.

use std::collections::BTreeSet;

use deputy_protocol::access::Rules;
use deputy_protocol::authorization::begin;
use deputy_protocol::claims::{ExpectedIdToken, IdTokenClaims, SignedClaims, VerifiedIdentity, check_id_token};
use deputy_protocol::client::{Client, RawMetadata};
use deputy_protocol::consent::{Decision, LastDecision, Ticket, decide, decide_last};
use deputy_protocol::hooks::{Guard, removed};
use deputy_protocol::params::Params;
use deputy_protocol::pkce::Verifier;
use deputy_protocol::resource::{Catalog, ProtectedResource, ResourceUri};
use deputy_protocol::scope::Scopes;
use deputy_protocol::secret::{BrowserKey, IdpState, Nonce};
use deputy_protocol::transaction::{AwaitingIdp, IdpRequest, Pending, SignedIn};
use deputy_protocol::web::{Origins, OwnPage};
use deputy_protocol::{ClientId, GrantId, Issuer, Reason, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::people::{App, Person};
use crate::search::World;

const IDP: &str = "https://idp.test";
const OUR_ID: &str = "deputy";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// How long the one wait of the model is: longer than a transaction may take.
const WAIT: u64 = 700;

/// How far the search goes, and where deputy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    /// Most transactions.
    pub(crate) transactions: usize,
    /// Most answers of the provider.
    pub(crate) answers: usize,
    /// Whether deputy is on plain-http loopback, where the attacker has a page on another port.
    pub(crate) loopback: bool,
    /// Whether a guard is missing: then only attacks are looked for.
    pub(crate) mutant: bool,
    /// Whether the provider ignores PKCE.
    pub(crate) provider_ignores_pkce: bool,
}

/// A transaction that was opened somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Opened {
    app: App,
    redirect: App,
    browser: Person,
    late: bool,
}

/// An approval that the server took: the provider may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Approved {
    transaction: usize,
    browser: Person,
    /// Whether the person at that browser pressed the button on our page.
    meant: bool,
}

/// A code of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Answer {
    approval: usize,
    browser: Person,
    spent: bool,
}

/// A last page that is shown somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct LastPage {
    approval: usize,
    account: Person,
    browser: Person,
}

/// One browser's cookies of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Jar {
    ownership: BTreeSet<usize>,
    states: BTreeSet<usize>,
}

/// The world of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SignIn {
    bounds: Bounds,
    opened: Vec<Opened>,
    approved: Vec<Approved>,
    answers: Vec<Answer>,
    last_pages: Vec<LastPage>,
    jars: [Jar; 2],
    ended: BTreeSet<usize>,
    late: bool,
    probing: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// A browser opens a link to `/authorize`.
    Open { browser: Person, app: App, redirect: App },
    /// A browser posts a consent form.
    Decide { browser: Person, transaction: usize, own_page: bool },
    /// A browser visits the provider with an approval's request.
    SignIn { browser: Person, approval: usize },
    /// A browser visits `/callback`.
    Callback { browser: Person, approval: usize, answer: usize },
    /// As before, but the process dies: before or after the store's write, and before the answer.
    CallbackDies { browser: Person, approval: usize, answer: usize, written: bool },
    /// A browser posts the form of a last page.
    Finish { browser: Person, page: usize, own_page: bool },
    /// A page on another port puts the attacker's cookies into the victim's browser.
    Plant,
    /// Time passes: longer than a transaction may take.
    Wait,
}

impl SignIn {
    /// The world before anything happened.
    #[must_use]
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            opened: Vec::new(),
            approved: Vec::new(),
            answers: Vec::new(),
            last_pages: Vec::new(),
            jars: [Jar::default(), Jar::default()],
            ended: BTreeSet::new(),
            late: false,
            probing: false,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(if self.late { 1000 + WAIT } else { 1000 })
    }

    fn origin(&self) -> &'static str {
        if self.bounds.loopback { "http://localhost:8000" } else { "https://mcp.test" }
    }

    fn jar(&mut self, browser: Person) -> &mut Jar {
        let [victim, attacker] = &mut self.jars;
        match browser {
            Person::Victim => victim,
            Person::Attacker => attacker,
        }
    }

    fn jar_of(&self, browser: Person) -> &Jar {
        let [victim, attacker] = &self.jars;
        match browser {
            Person::Victim => victim,
            Person::Attacker => attacker,
        }
    }

    fn transaction_of(&self, approval: usize) -> Option<usize> {
        self.approved.get(approval).map(|approved| approved.transaction)
    }

    /// What the victim takes for her own doing, as far as a page tells her.
    fn looks_hers(&self, transaction: usize) -> bool {
        self.opened.get(transaction).is_some_and(|opened| (opened.app, opened.redirect) == (App::Honest, App::Honest))
    }

    // What stands behind the numbers, made by production's own functions.

    fn origins(&self) -> Result<Origins, Reason> {
        Origins::new(self.origin(), &[])
    }

    fn pending(&self, transaction: usize) -> Result<Pending, Reason> {
        let opened = self.opened.get(transaction).ok_or(Reason::Internal)?;
        let started = Timestamp::from_seconds(if opened.late { 1000 + WAIT } else { 1000 });
        authorize(self.origin(), opened.app, opened.redirect, started, transaction)
    }

    fn awaiting(&self, approval: usize) -> Result<AwaitingIdp, Reason> {
        let approved = self.approved.get(approval).ok_or(Reason::Internal)?;
        // A sealed state cookie is what came out of an approval; the same is made here by approving in time, in its own browser.
        let (pending, key) = (self.pending(approved.transaction)?, browser_key(approved.transaction));
        let started = self.opened.get(approved.transaction).is_some_and(|opened| opened.late);
        let then = Timestamp::from_seconds(if started { 1000 + WAIT } else { 1000 });
        match decide(Ticket::new(pending, &key), self.own_page()?, Some(&key), &form("approve")?, then)? {
            Decision::Approved(approval_proof) => Ok(approval_proof.ask_idp(request(approval)?)),
            Decision::Denied(..) => Err(Reason::Internal),
        }
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
        if given.approval != approval && !self.bounds.provider_ignores_pkce {
            return Err(Reason::IdpError);
        }
        let asked = request(approval)?;
        let claims = json!({
            "iss": IDP, "sub": given.browser.sub(), "aud": OUR_ID, "nonce": nonce(given.approval).expose(),
            "iat": self.now().seconds(), "exp": self.now().seconds() + 60,
        });
        let claims: IdTokenClaims = serde_json::from_value(claims).map_err(|_| Reason::Internal)?;
        let expected = ExpectedIdToken { issuer: &asked.issuer, client_id: OUR_ID, nonce: &asked.nonce, now: self.now() };
        check_id_token(SignedClaims::assume_verified(claims), expected)
    }

    fn signed_in(&self, awaiting: AwaitingIdp, state: &IdpState, who: VerifiedIdentity) -> Result<SignedIn, Reason> {
        let admitted = Rules::parse(&["*"]).map_err(|_| Reason::Internal)?.admit(who)?;
        Ok(awaiting.answered(state, self.now())?.signed_in(admitted))
    }

    // The endpoints.

    fn open(&mut self, browser: Person, app: App, redirect: App) -> Result<(), Reason> {
        let transaction = self.opened.len();
        let pending = authorize(self.origin(), app, redirect, self.now(), transaction)?;
        self.opened.push(Opened { app, redirect, browser, late: self.late });
        if removed(Guard::ConsentPage) {
            drop(deputy_protocol::consent::Approval::without_asking(pending));
            self.approve(browser, transaction, false);
        } else {
            self.jar(browser).ownership.insert(transaction);
        }
        Ok(())
    }

    fn approve(&mut self, browser: Person, transaction: usize, meant: bool) {
        let approval = self.approved.len();
        self.approved.push(Approved { transaction, browser, meant });
        self.jar(browser).ownership.remove(&transaction);
        self.jar(browser).states.insert(approval);
    }

    fn consent(&mut self, browser: Person, transaction: usize, own_page: bool) -> Result<(), Reason> {
        let page = self.page_proof(own_page)?;
        let ticket = Ticket::new(self.pending(transaction)?, &browser_key(transaction));
        let key = self.jar_of(browser).ownership.contains(&transaction).then(|| browser_key(transaction));
        match decide(ticket, page, key.as_ref(), &form("approve")?, self.now())? {
            Decision::Approved(_) => self.approve(browser, transaction, own_page),
            Decision::Denied(..) => {}
        }
        Ok(())
    }

    /// `/callback`, up to the last page or to a delivered code.
    fn callback(
        &mut self,
        browser: Person,
        approval: usize,
        answer: usize,
        dies: Option<bool>,
    ) -> Result<Option<Delivery>, Reason> {
        let state = state(approval);
        let known = &self.jar_of(browser).states;
        let cookie = if removed(Guard::StateMatch) {
            known.get(&approval).or_else(|| known.first()).copied()
        } else if removed(Guard::StateCookie) {
            Some(approval)
        } else {
            known.get(&approval).copied()
        };
        let cookie = cookie.ok_or(Reason::CallbackOtherBrowser)?;
        let awaiting = self.awaiting(cookie)?;
        let transaction = self.transaction_of(cookie).ok_or(Reason::Internal)?;
        // The hint before the exchange; the write decides.
        if self.ended.contains(&transaction) && !removed(Guard::StateSingleUse) {
            return Err(Reason::TransactionUsed);
        }
        // In time and of this state, before anything is spent.
        drop(self.awaiting(cookie)?.answered(&state, self.now())?);
        let who = self.exchange(cookie, answer)?;
        if let Some(answer) = self.answers.get_mut(answer) {
            answer.spent = true;
        }
        if let Some(written) = dies {
            if written && self.origins()?.cookies_are_ours().is_some() {
                self.end(transaction)?;
            }
            return Ok(None);
        }
        self.jar(browser).states.remove(&cookie);
        let account = if who.subject().sub() == Person::Victim.sub() { Person::Victim } else { Person::Attacker };
        let signed_in = self.signed_in(awaiting, &state, who)?;
        match self.origins()?.cookies_are_ours() {
            Some(own_browser) => {
                let grant = signed_in.grant(own_browser, GrantId::new([0; 16]), self.now());
                self.end(transaction)?;
                Ok(Some(Delivery { browser, approval: cookie, account, address: grant.redirect.uri().to_string(), last: false }))
            }
            None => {
                self.last_pages.push(LastPage { approval: cookie, account, browser });
                Ok(None)
            }
        }
    }

    /// The store's one conditional write.
    fn end(&mut self, transaction: usize) -> Result<(), Reason> {
        if self.ended.insert(transaction) || removed(Guard::StateSingleUse) { Ok(()) } else { Err(Reason::TransactionUsed) }
    }

    fn finish(&mut self, browser: Person, page: usize, own_page: bool) -> Result<Delivery, Reason> {
        let proof = self.page_proof(own_page)?;
        let shown = *self.last_pages.get(page).ok_or(Reason::Internal)?;
        let transaction = self.transaction_of(shown.approval).ok_or(Reason::Internal)?;
        let sealed = self.sealed_last_page(shown)?;
        let LastDecision::Finished(signed_in, own_browser) = decide_last(sealed, &proof, &form("approve")?, self.now())? else {
            return Err(Reason::Internal);
        };
        let grant = signed_in.grant(own_browser, GrantId::new([0; 16]), self.now());
        self.end(transaction)?;
        let address = grant.redirect.uri().to_string();
        Ok(Delivery {
            browser,
            approval: shown.approval,
            account: shown.account,
            address,
            last: own_page && shown.browser == browser,
        })
    }

    /// What the form of a last page carries, sealed: the transaction as it was when its person signed in.
    fn sealed_last_page(&self, shown: LastPage) -> Result<SignedIn, Reason> {
        let mut then = Self { late: false, ..self.clone() };
        then.late = self.transaction_of(shown.approval).and_then(|t| self.opened.get(t)).is_some_and(|opened| opened.late);
        then.answers = vec![Answer { approval: shown.approval, browser: shown.account, spent: false }];
        let who = then.exchange(shown.approval, 0)?;
        then.signed_in(then.awaiting(shown.approval)?, &state(shown.approval), who)
    }

    /// The safety property, at the moment when a code leaves.
    fn judge_delivery(&self, before: &Self, delivery: &Delivery) -> Result<(), String> {
        let approved = self.approved.get(delivery.approval).ok_or("an approval that never was")?;
        let opened = self.opened.get(approved.transaction).ok_or("a transaction that never was")?;
        if opened.browser != delivery.browser && !delivery.last {
            return Err("a code left into a browser that was never shown the request".to_owned());
        }
        let meant = approved.browser == delivery.browser && approved.meant;
        if !meant && !delivery.last {
            return Err("a code left into a browser whose person approved nothing".to_owned());
        }
        if delivery.account != delivery.browser {
            return Err("a code left for an account that this browser did not sign in".to_owned());
        }
        if delivery.address != opened.app.redirect() {
            return Err("a code left to an address that its client never registered".to_owned());
        }
        if before.ended.contains(&approved.transaction) {
            return Err("one transaction ended in two codes".to_owned());
        }
        if self.late && !opened.late {
            return Err("a transaction that took too long gave a code".to_owned());
        }
        Ok(())
    }

    /// Whether this step is the victim's own, of a run that is going well: then a refusal would be a false one.
    fn must_work(&self, step: Step) -> bool {
        let in_time = |transaction: usize| self.opened.get(transaction).is_some_and(|opened| opened.late == self.late);
        let hers = |transaction: usize| self.opened.get(transaction).is_some_and(|opened| opened.browser == Person::Victim);
        match step {
            Step::Open { app, redirect, .. } => app == redirect,
            Step::Decide { browser: Person::Victim, transaction, own_page: true } => {
                in_time(transaction)
                    && hers(transaction)
                    && self.jars.first().is_some_and(|jar| jar.ownership.contains(&transaction))
            }
            Step::Callback { browser: Person::Victim, approval, answer } => {
                let right = self
                    .answers
                    .get(answer)
                    .is_some_and(|given| given.approval == approval && given.browser == Person::Victim && !given.spent);
                let transaction = self.transaction_of(approval).unwrap_or_default();
                right
                    && in_time(transaction)
                    && !self.ended.contains(&transaction)
                    && self.jars.first().is_some_and(|jar| jar.states.contains(&approval))
            }
            Step::Finish { browser: Person::Victim, page, own_page: true } => self
                .last_pages
                .get(page)
                .and_then(|page| self.transaction_of(page.approval))
                .is_some_and(|transaction| in_time(transaction) && !self.ended.contains(&transaction)),
            Step::Decide { .. }
            | Step::SignIn { .. }
            | Step::Callback { .. }
            | Step::CallbackDies { .. }
            | Step::Finish { .. }
            | Step::Plant
            | Step::Wait => false,
        }
    }
}

/// A code on its way into a browser.
#[derive(Debug)]
struct Delivery {
    browser: Person,
    approval: usize,
    account: Person,
    address: String,
    /// Whether the person approved on the last page, in this browser.
    last: bool,
}

fn bytes<const N: usize>(number: usize) -> [u8; N] {
    [u8::try_from(number).unwrap_or(u8::MAX); N]
}

fn browser_key(transaction: usize) -> BrowserKey {
    BrowserKey::new(&bytes(transaction))
}

fn state(approval: usize) -> IdpState {
    IdpState::new(&bytes(approval))
}

fn nonce(approval: usize) -> Nonce {
    Nonce::new(&bytes(approval))
}

fn request(approval: usize) -> Result<IdpRequest, Reason> {
    Ok(IdpRequest {
        state: state(approval),
        nonce: nonce(approval),
        verifier: Verifier::new(&bytes(approval)),
        issuer: Issuer::parse(IDP)?,
    })
}

fn form(decision: &str) -> Result<Params, Reason> {
    Params::parse(format!("decision={decision}").as_bytes())
}

/// `GET /authorize`, with a link as anybody can write one.
fn authorize(origin: &str, app: App, redirect: App, now: Timestamp, number: usize) -> Result<Pending, Reason> {
    let (issuer, resource) = (Issuer::parse(origin)?, format!("{origin}/mcp"));
    let catalog = Catalog::new(vec![ProtectedResource {
        uri: ResourceUri::parse(&resource)?,
        path: "/mcp".to_owned(),
        name: "Tools".to_owned(),
        scopes: Scopes::parse("mcp")?,
    }]);
    let metadata = json!({"client_name": app.name(), "redirect_uris": [app.redirect()], "token_endpoint_auth_method": "none"});
    let registration = RawMetadata::parse(metadata.to_string().as_bytes())?.check(now)?;
    let client = Client { id: ClientId::parse(app.name().split(' ').next_back().unwrap_or("client"))?, registration };
    let query = format!(
        "response_type=code&client_id={}&redirect_uri={}&code_challenge={CHALLENGE}&code_challenge_method=S256&resource={resource}&state=s",
        client.id,
        redirect.redirect(),
    );
    begin(&Params::parse(query.as_bytes())?, &client, &issuer, &catalog, now, bytes(number)).map_err(|refused| match refused {
        deputy_protocol::authorization::Refused::Untrusted(reason)
        | deputy_protocol::authorization::Refused::Undecided(_, reason) => reason,
    })
}

impl World for SignIn {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let bounds = self.bounds;
        for browser in Person::BOTH {
            if self.opened.len() < bounds.transactions {
                for (app, redirect) in [(App::Honest, App::Honest), (App::Evil, App::Evil), (App::Honest, App::Evil)] {
                    steps.push(Step::Open { browser, app, redirect });
                }
            }
            for (transaction, opened) in self.opened.iter().enumerate().filter(|_| self.approved.len() < bounds.answers) {
                match browser {
                    Person::Victim if opened.browser == Person::Victim && self.looks_hers(transaction) => {
                        steps.push(Step::Decide { browser, transaction, own_page: true });
                    }
                    // A page of the attacker's sends the form that he was shown himself.
                    Person::Victim if opened.browser == Person::Attacker => {
                        steps.push(Step::Decide { browser, transaction, own_page: false });
                    }
                    Person::Attacker if opened.browser == Person::Attacker => {
                        steps.push(Step::Decide { browser, transaction, own_page: true });
                    }
                    Person::Victim | Person::Attacker => {}
                }
            }
            // Both know the provider's address of their own approvals; the attacker sends his around.
            for (approval, approved) in self.approved.iter().enumerate().filter(|_| self.answers.len() < bounds.answers) {
                if approved.browser == browser || approved.browser == Person::Attacker {
                    steps.push(Step::SignIn { browser, approval });
                }
            }
            // The browser follows the provider's redirect; or the attacker sends an address that he kept, or mixed.
            for (answer, given) in self.answers.iter().enumerate() {
                if given.browser == browser {
                    steps.push(Step::Callback { browser, approval: given.approval, answer });
                    for written in [false, true] {
                        steps.push(Step::CallbackDies { browser, approval: given.approval, answer, written });
                    }
                }
                for approval in (0..self.approved.len()).filter(|_| given.browser == Person::Attacker) {
                    if self.approved.get(approval).is_some_and(|approved| approved.browser == Person::Attacker) {
                        steps.push(Step::Callback { browser, approval, answer });
                    }
                }
            }
            for (page, shown) in self.last_pages.iter().enumerate() {
                let transaction = self.transaction_of(shown.approval).unwrap_or_default();
                match browser {
                    // She goes on if the page names her own account and the client that she uses.
                    Person::Victim if shown.browser == browser => {
                        if self.looks_hers(transaction) && shown.account == Person::Victim {
                            steps.push(Step::Finish { browser, page, own_page: true });
                        }
                    }
                    Person::Victim => steps.push(Step::Finish { browser, page, own_page: false }),
                    Person::Attacker if shown.browser == browser => steps.push(Step::Finish { browser, page, own_page: true }),
                    Person::Attacker => {}
                }
            }
        }
        if bounds.loopback {
            steps.push(Step::Plant);
        }
        if !self.late {
            steps.push(Step::Wait);
        }
        steps
    }

    fn take(&self, step: &Step) -> Result<Self, String> {
        let mut next = self.clone();
        let outcome = match *step {
            Step::Open { browser, app, redirect } => next.open(browser, app, redirect).map(|()| None),
            Step::Decide { browser, transaction, own_page } => next.consent(browser, transaction, own_page).map(|()| None),
            Step::SignIn { browser, approval } => {
                next.answers.push(Answer { approval, browser, spent: false });
                Ok(None)
            }
            Step::Callback { browser, approval, answer } => next.callback(browser, approval, answer, None),
            Step::CallbackDies { browser, approval, answer, written } => next.callback(browser, approval, answer, Some(written)),
            Step::Finish { browser, page, own_page } => next.finish(browser, page, own_page).map(Some),
            Step::Plant => {
                let theirs = next.jar_of(Person::Attacker).clone();
                next.jar(Person::Victim).ownership.extend(theirs.ownership);
                next.jar(Person::Victim).states.extend(theirs.states);
                Ok(None)
            }
            Step::Wait => {
                next.late = true;
                Ok(None)
            }
        };
        match outcome {
            Ok(Some(delivery)) => next.judge_delivery(self, &delivery).map(|()| next),
            Ok(None) => Ok(next),
            Err(reason) if self.must_work(*step) => Err(format!("a false refusal: {}", reason.code())),
            Err(_) => Ok(self.clone()),
        }
    }

    /// From everywhere, a fresh honest sign-in can be finished: nobody is locked out.
    fn judge(&self) -> Result<(), String> {
        if self.bounds.mutant || self.probing {
            return Ok(());
        }
        let locked_out = |at: &str| format!("a fresh honest sign-in stops at {at}");
        let mut world = Self { probing: true, ..self.clone() };
        let browser = Person::Victim;
        let (transaction, approval, answer) = (world.opened.len(), world.approved.len(), world.answers.len());
        world = world.take(&Step::Open { browser, app: App::Honest, redirect: App::Honest })?;
        if !removed(Guard::ConsentPage) {
            world = world.take(&Step::Decide { browser, transaction, own_page: true })?;
        }
        world = world.take(&Step::SignIn { browser, approval })?;
        world = world.take(&Step::Callback { browser, approval, answer })?;
        if let Some(page) = world.last_pages.len().checked_sub(1).filter(|_| !world.ended.contains(&transaction)) {
            world = world.take(&Step::Finish { browser, page, own_page: true })?;
        }
        if world.ended.contains(&transaction) { Ok(()) } else { Err(locked_out("its end")) }
    }

    fn tell(&self, step: &Step) -> String {
        match *step {
            Step::Open { browser, app, redirect } if app == redirect => {
                format!("{} opens a link of {}", browser.name(), app.name())
            }
            Step::Open { browser, app, redirect } => {
                format!("{} opens a link of {} with the redirect URI of {}", browser.name(), app.name(), redirect.name())
            }
            Step::Decide { browser, transaction, own_page: true } => {
                format!("{} approves transaction {transaction} on our page", browser.name())
            }
            Step::Decide { browser, transaction, own_page: false } => {
                format!("a page of the attacker's makes {}'s browser post the form of transaction {transaction}", browser.name())
            }
            Step::SignIn { browser, approval } => {
                format!(
                    "{} visits the provider with the request of approval {approval}, and is signed in silently",
                    browser.name()
                )
            }
            Step::Callback { browser, approval, answer } => {
                format!("{} comes back with the state of approval {approval} and the provider's code {answer}", browser.name())
            }
            Step::CallbackDies { browser, approval, written, .. } => {
                let moment = if written { "after the write, before the answer" } else { "before the write" };
                format!("{} comes back with the state of approval {approval}; the process dies {moment}", browser.name())
            }
            Step::Finish { browser, page, own_page: true } => format!("{} presses Finish on last page {page}", browser.name()),
            Step::Finish { browser, page, own_page: false } => {
                format!("a page of the attacker's makes {}'s browser post the form of last page {page}", browser.name())
            }
            Step::Plant => "a page on another port plants the attacker's cookies in the victim's browser".to_owned(),
            Step::Wait => "eleven minutes pass".to_owned(),
        }
    }
}
