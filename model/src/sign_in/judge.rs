//! The safety property (I1), and that an honest sign-in can always be finished.

use super::things::CHALLENGE;
use super::{Approved, By, Delivery, Entry, Opened, SignIn, Step};
use crate::people::{App, Person};

impl SignIn {
    /// The safety property, at the moment when a code leaves.
    pub(super) fn judge_delivery(&self, before: &Self, delivery: &Delivery) -> Result<(), String> {
        let approved = *self.approved.get(delivery.approval).ok_or("an approval that never was")?;
        let opened = *self.opened.get(approved.transaction).ok_or("a transaction that never was")?;
        let broken = |what: &str| Err(what.to_owned());
        if opened.browser != delivery.browser && !delivery.last {
            return broken("a code left into a browser that was never shown the request");
        }
        if let By::Memory(_) = approved.by {
            if !delivery.last {
                before.judge_silence(opened, delivery)?;
            }
        } else if !delivery.last && (approved.browser != delivery.browser || approved.by != By::Person) {
            return broken("a code left into a browser whose person approved nothing");
        }
        if delivery.account != delivery.browser && !self.signed_in_so(approved, delivery) {
            return broken("a code left for an account that this browser did not sign in");
        }
        if delivery.address != opened.link.app.redirect() {
            return broken("a code left to an address that its client never registered");
        }
        let shown =
            self.pending(approved.transaction).map_err(|reason| format!("a request that cannot be: {}", reason.code()))?;
        let shown = [shown.client().to_string(), shown.resource().to_string(), shown.scopes().to_string(), CHALLENGE.to_owned()];
        if delivery.of != shown {
            return broken("a code left for another client, resource, scopes or challenge than the page showed");
        }
        if before.ended.contains(&approved.transaction) {
            return broken("one transaction ended in two codes");
        }
        if self.late && !opened.late {
            return broken("a transaction that took too long gave a code");
        }
        Ok(())
    }

    /// Whether this browser itself signed in to that account for this very transaction.
    fn signed_in_so(&self, approved: Approved, delivery: &Delivery) -> bool {
        self.answers.iter().any(|answer| {
            answer.browser == delivery.browser
                && answer.account == delivery.account
                && self.transaction_of(answer.approval) == Some(approved.transaction)
        })
    }

    /// A code leaves, and nobody was asked this time: somebody was, in this browser, about the same, and finished as the same account.
    fn judge_silence(&self, opened: Opened, delivery: &Delivery) -> Result<(), String> {
        let before = self.memories.iter().any(|memory| {
            let then = self.opened.get(memory.transaction);
            memory.browser == delivery.browser
                && memory.account == delivery.account
                && then.is_some_and(|then| (then.link.app, then.link.more) == (opened.link.app, opened.link.more))
        });
        if !before {
            return Err("a code left for a request that this person never approved".to_owned());
        }
        if opened.link.entry == Entry::Sent {
            return Err("a code left without a question when another site had sent the browser".to_owned());
        }
        if opened.link.app == App::Native {
            return Err("a code left without a question to an address on which any program can listen".to_owned());
        }
        Ok(())
    }

    /// Whether this step is the victim's own, of a run that is going well: then a refusal would be a false one.
    pub(super) fn must_work(&self, step: Step) -> bool {
        let in_time = |transaction: usize| self.opened.get(transaction).is_some_and(|opened| opened.late == self.late);
        let hers = |transaction: usize| self.opened.get(transaction).is_some_and(|opened| opened.browser == Person::Victim);
        let jar = self.jar_of(Person::Victim);
        match step {
            Step::Open { link, .. } => link.app == link.redirect && !link.foreign,
            Step::Decide { browser: Person::Victim, transaction, own_page: true } => {
                in_time(transaction) && hers(transaction) && jar.ownership.contains(&transaction)
            }
            Step::Callback { browser: Person::Victim, approval, answer } => {
                let right = self
                    .answers
                    .get(answer)
                    .is_some_and(|given| given.approval == approval && given.browser == Person::Victim && !given.spent);
                let transaction = self.transaction_of(approval).unwrap_or_default();
                right && in_time(transaction) && !self.ended.contains(&transaction) && jar.states.contains(&approval)
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
