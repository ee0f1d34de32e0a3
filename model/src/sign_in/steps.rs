//! What somebody could do, and what then happens.

use deputy_protocol::hooks::{Guard, removed};

use super::{Answer, Entry, Link, SignIn, Step};
use crate::people::{App, Person};
use crate::search::World;

const fn link(app: App) -> Link {
    Link { app, redirect: app, entry: Entry::Direct, more: false, foreign: false }
}

/// A link that asks for a client's code at the attacker's address.
const MIXED: Link = Link { app: App::Honest, redirect: App::Evil, entry: Entry::Direct, more: false, foreign: false };

impl SignIn {
    /// The links that a person opens. Anybody can write any; these differ in what they could bring about.
    fn links(&self, browser: Person) -> Vec<Link> {
        let (honest, evil) = (link(App::Honest), link(App::Evil));
        if !self.remembers() {
            return vec![honest, evil, MIXED, Link { foreign: true, ..honest }];
        }
        match browser {
            Person::Attacker => vec![honest, evil],
            Person::Victim => {
                let sent = |link: Link| Link { entry: Entry::Sent, ..link };
                let more = Link { more: true, ..honest };
                vec![honest, more, sent(honest), sent(evil), evil, link(App::Native)]
            }
        }
    }

    fn steps_of(&self, browser: Person, steps: &mut Vec<Step>) {
        let bounds = self.bounds;
        if self.opened.len() < bounds.transactions && self.approved.len() < bounds.answers {
            steps.extend(self.links(browser).into_iter().map(|link| Step::Open { browser, link }));
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
                steps.push(Step::SignIn { browser, approval, account: browser });
                // Where he can make her browser sign in to his account at the provider.
                if self.remembers() && browser == Person::Victim {
                    steps.push(Step::SignIn { browser, approval, account: Person::Attacker });
                }
            }
        }
        self.steps_back(browser, steps);
    }

    /// The browser follows the provider's redirect; or the attacker sends an address that he kept, or mixed.
    fn steps_back(&self, browser: Person, steps: &mut Vec<Step>) {
        for (answer, given) in self.answers.iter().enumerate() {
            if given.browser == browser {
                steps.push(Step::Callback { browser, approval: given.approval, answer });
                for written in [false, true].into_iter().filter(|_| !self.remembers()) {
                    steps.push(Step::CallbackDies { browser, approval: given.approval, answer, written });
                }
            }
            for (approval, approved) in self.approved.iter().enumerate() {
                // Codes of hers that he gets hold of, at transactions that they were not meant for; and what stands in the address of a
                // page that she may be talked into passing on.
                let passed_on = given.approval != approval || given.shown;
                let hers = browser == Person::Attacker && given.browser == Person::Victim && passed_on;
                if approved.browser == Person::Attacker && (given.browser == Person::Attacker || hers) {
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

    /// The world as it was; only that the refusing page may stand where the provider sent the browser.
    fn refused(&self, step: Step) -> Self {
        let mut world = self.clone();
        if let Step::Callback { browser, answer, .. } = step
            && removed(Guard::CleanAddress)
            && let Some(given) = world.answers.get_mut(answer)
        {
            given.shown |= given.browser == browser;
        }
        world
    }
}

impl World for SignIn {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for browser in Person::BOTH {
            self.steps_of(browser, &mut steps);
        }
        if self.loopback() {
            steps.push(Step::Plant);
        }
        if !self.late && !self.remembers() {
            steps.push(Step::Wait);
        }
        steps
    }

    fn take(&self, step: &Step) -> Result<Self, String> {
        let mut next = self.clone();
        let outcome = match *step {
            Step::Open { browser, link } => {
                let opened = next.open(browser, link);
                if opened.is_ok() && link.foreign {
                    return Err("a person was asked about a resource that is not ours".to_owned());
                }
                opened.map(|()| None)
            }
            Step::Decide { browser, transaction, own_page } => next.consent(browser, transaction, own_page).map(|()| None),
            Step::SignIn { browser, approval, account } => {
                next.answers.push(Answer { approval, browser, account, spent: false, shown: false });
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
            Err(_) => Ok(self.refused(*step)),
        }
    }

    /// From everywhere, a fresh honest sign-in can be finished: nobody is locked out.
    fn judge(&self) -> Result<(), String> {
        if self.bounds.mutant {
            return Ok(());
        }
        let mut world = self.clone();
        let (browser, link) = (Person::Victim, link(App::Honest));
        let (transaction, approval, answer) = (world.opened.len(), world.approved.len(), world.answers.len());
        world = world.take(&Step::Open { browser, link })?;
        if world.approved.len() == approval {
            world = world.take(&Step::Decide { browser, transaction, own_page: true })?;
        }
        world = world.take(&Step::SignIn { browser, approval, account: browser })?;
        world = world.take(&Step::Callback { browser, approval, answer })?;
        if let Some(page) = world.last_pages.len().checked_sub(1).filter(|_| !world.ended.contains(&transaction)) {
            world = world.take(&Step::Finish { browser, page, own_page: true })?;
        }
        if world.ended.contains(&transaction) { Ok(()) } else { Err("a fresh honest sign-in cannot be finished".to_owned()) }
    }

    fn tell(&self, step: &Step) -> String {
        super::tell::tell(*step)
    }
}
