//! What somebody could do, and what then happens.

use super::{Dies, Step, Tokens, Twist, WAITS};
use crate::people::{App, Person};
use crate::search::World;

const DEATHS: [Dies; 3] = [Dies::Lives, Dies::BeforeTheWrite, Dies::BeforeTheAnswer];
const REPLICAS: [usize; 2] = [0, 1];

impl Tokens {
    /// Whether a use of this token could make another one.
    fn room_for(&self, token: usize) -> bool {
        self.refresh.len() < self.bounds.tokens || self.refresh.get(token).is_some_and(|row| row.replaced.is_some())
    }

    fn room(&self) -> bool {
        self.refresh.len() < self.bounds.tokens
    }

    /// As which clients the attacker can speak: a public client is everybody's name.
    fn his_apps(&self) -> &'static [App] {
        if self.bounds.confidential { &[App::Evil] } else { &[App::Evil, App::Honest] }
    }

    fn steps_with_codes(&self, steps: &mut Vec<Step>) {
        let by = Person::Victim;
        for &code in self.codes() {
            if !self.room() && !self.used.contains(&code) {
                continue;
            }
            for replica in REPLICAS {
                for dies in DEATHS {
                    steps.push(Step::Redeem { by, app: App::Honest, code, twist: Twist::Straight, replica, dies });
                }
                for app in self.his_apps() {
                    let by = Person::Attacker;
                    steps.push(Step::Redeem { by, app: *app, code, twist: Twist::Straight, replica, dies: Dies::Lives });
                }
            }
            for twist in [Twist::Redirect, Twist::Resource] {
                steps.push(Step::Redeem { by, app: App::Honest, code, twist, replica: 0, dies: Dies::Lives });
            }
        }
    }

    fn steps_with_tokens(&self, steps: &mut Vec<Step>) {
        let by = Person::Victim;
        for (age, token) in self.held.iter().rev().enumerate() {
            // Of two processes with one token, the second is late by a moment only: an honest client does not reuse what it replaced.
            let at_once = self.refresh.get(*token).and_then(|row| row.replaced).is_some_and(|(at, _)| at == self.now);
            if (age > 0 && !at_once) || !self.room_for(*token) {
                continue;
            }
            for replica in REPLICAS {
                for dies in DEATHS {
                    let (app, token) = (App::Honest, *token);
                    steps.push(Step::Refresh { by, app, token, twist: Twist::Straight, replica, dies });
                    steps.push(Step::Revoke { by, app, token, replica, dies });
                }
            }
            for twist in [Twist::Resource, Twist::Scope] {
                steps.push(Step::Refresh { by, app: App::Honest, token: *token, twist, replica: 0, dies: Dies::Lives });
            }
        }
        for token in &self.his {
            for (app, replica) in self.his_apps().iter().flat_map(|app| REPLICAS.map(|replica| (*app, replica))) {
                let (by, token, dies) = (Person::Attacker, *token, Dies::Lives);
                if self.room_for(token) {
                    steps.push(Step::Refresh { by, app, token, twist: Twist::Straight, replica, dies });
                }
                steps.push(Step::Revoke { by, app, token, replica, dies });
            }
        }
    }

    fn act(&self, step: Step) -> Result<Self, String> {
        let mut next = self.clone();
        let (by, dies, replica, given) = match step {
            Step::Redeem { by, app, code, twist, replica, dies } => {
                (by, dies, replica, next.redeem(by, app, code, twist, replica))
            }
            Step::Refresh { by, app, token, twist, replica, dies } => {
                (by, dies, replica, next.rotate(app, token, twist, replica))
            }
            Step::Revoke { by, app, token, replica, dies } => {
                let done = next.revoke(app, token, replica);
                if dies == Dies::BeforeTheWrite {
                    next = self.clone();
                }
                if dies != Dies::Lives {
                    next.restart(replica);
                }
                return self.judge_revocation(&next, by, app, done).map(|()| next);
            }
            Step::Call { grant, issued, elsewhere, replica } => {
                let taken = self.call(grant, issued, elsewhere, replica);
                return self.judge_call((grant, issued), elsewhere, replica, taken).map(|()| next);
            }
            Step::Steal => {
                next.stolen = true;
                next.his.extend(self.held.last());
                return Ok(next);
            }
            Step::Remove => {
                next.removed = true;
                return Ok(next);
            }
            Step::CatchUp { replica } => {
                next.restart(replica);
                return Ok(next);
            }
            Step::Wait { seconds } => {
                next.now = next.now.saturating_add(seconds);
                next.waits = next.waits.saturating_add(1);
                return Ok(next);
            }
        };
        if dies == Dies::BeforeTheWrite {
            next = self.clone();
            next.restart(replica);
            return Ok(next);
        }
        self.judge_answer(&next, step, given)?;
        match (dies, given) {
            (Dies::Lives, Ok(given)) => next.receive(by, given),
            (Dies::Lives, Err(_)) => {}
            (Dies::BeforeTheWrite | Dies::BeforeTheAnswer, _) => next.restart(replica),
        }
        Ok(next)
    }
}

impl World for Tokens {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.steps_with_codes(&mut steps);
        self.steps_with_tokens(&mut steps);
        for replica in REPLICAS {
            for (grant, issued) in &self.access {
                for elsewhere in [false, true] {
                    steps.push(Step::Call { grant: *grant, issued: *issued, elsewhere, replica });
                }
            }
            if self.known.get(replica) != Some(&self.revoked) {
                steps.push(Step::CatchUp { replica });
            }
        }
        if !self.stolen && !self.held.is_empty() {
            steps.push(Step::Steal);
        }
        if !self.removed {
            steps.push(Step::Remove);
        }
        if self.waits < self.bounds.waits {
            steps.extend(WAITS.iter().map(|wait| Step::Wait { seconds: wait.as_secs() }));
        }
        steps
    }

    fn take(&self, step: &Step) -> Result<Self, String> {
        self.act(*step)
    }

    fn judge(&self) -> Result<(), String> {
        self.one_life()
    }

    fn tell(&self, step: &Step) -> String {
        super::tell::tell(*step)
    }
}
