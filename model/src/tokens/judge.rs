//! The properties: I2, I3, I4, tokens of one principal never with another, and no false refusals.

use deputy_protocol::Reason;

use super::things::lifetimes;
use super::{Dies, Given, Step, Tokens, Twist, VICTIMS, is_victims};
use crate::people::{App, Person};

fn broken<T>(what: &str) -> Result<T, String> {
    Err(what.to_owned())
}

impl Tokens {
    /// I3: a family has one refresh token at most that is alive.
    pub(super) fn one_life(&self) -> Result<(), String> {
        for &grant in self.codes() {
            let alive = self.refresh.iter().filter(|row| row.grant == grant && row.replaced.is_none() && self.now < row.ends);
            if alive.count() > 1 {
                return broken("I3: a family has two refresh tokens alive");
            }
        }
        Ok(())
    }

    /// What the token endpoint answered, before it is handed out.
    pub(super) fn judge_answer(&self, after: &Self, step: Step, given: Result<Given, Reason>) -> Result<(), String> {
        match given {
            Ok(given) => {
                let (by, app, twist) = match step {
                    Step::Redeem { by, app, code, twist, .. } => {
                        self.judge_redeemed(by, code)?;
                        (by, app, twist)
                    }
                    Step::Refresh { by, app, token, twist, .. } => {
                        self.judge_refreshed(by, app, token, given)?;
                        (by, app, twist)
                    }
                    Step::Revoke { .. }
                    | Step::Call { .. }
                    | Step::Steal
                    | Step::Remove
                    | Step::CatchUp { .. }
                    | Step::Wait { .. } => {
                        return Ok(());
                    }
                };
                self.judge_given(by, app, twist, given)
            }
            Err(reason) => self.judge_refusal(after, step, reason),
        }
    }

    fn judge_given(&self, by: Person, app: App, twist: Twist, given: Given) -> Result<(), String> {
        if self.revoked.contains(&given.grant) {
            return broken("I4: a revoked grant gave tokens");
        }
        if self.removed && is_victims(given.grant) {
            return broken("I4: a person whom the rules do not admit any more got tokens");
        }
        if by == Person::Victim && !is_victims(given.grant) {
            return broken("I6: the victim's client works in the attacker's account");
        }
        if app == App::Evil {
            return broken("I6: another client got the tokens of the honest one");
        }
        match twist {
            Twist::Straight => Ok(()),
            Twist::Redirect => broken("a code was redeemed for another redirect URI than it was sent to"),
            Twist::Resource => broken("a request for another resource was answered with tokens"),
            Twist::Scope => broken("the scopes grew"),
        }
    }

    fn judge_redeemed(&self, by: Person, code: usize) -> Result<(), String> {
        if self.used.contains(&code) {
            return broken("I2: one code gave two families");
        }
        if self.now >= lifetimes().code.as_secs() {
            return broken("a code that had ended gave tokens");
        }
        if by == Person::Attacker && is_victims(code) {
            return broken("I6: the attacker has tokens for the victim's account");
        }
        Ok(())
    }

    fn judge_refreshed(&self, by: Person, app: App, token: usize, given: Given) -> Result<(), String> {
        let Some(row) = self.refresh.get(token) else { return broken("a refresh token that never was gave tokens") };
        // A stolen token of a public client is a bearer token: until it is noticed, the thief has its access (RFC 9700 §4.14).
        if by == Person::Attacker && is_victims(row.grant) && (self.bounds.confidential || app == App::Evil) {
            return broken("I6: a stolen refresh token works without its client's secret");
        }
        match row.replaced {
            None if self.now >= row.ends => broken("a refresh token that nobody used in its time gave tokens"),
            None => Ok(()),
            Some((_, successor)) if successor != given.refresh => broken("I3: a replaced refresh token gave another successor"),
            Some((at, _)) if self.now > at + lifetimes().refresh_grace.as_secs() => {
                broken("I3: a refresh token that was replaced long ago gave tokens")
            }
            Some(_) => Ok(()),
        }
    }

    fn judge_refusal(&self, after: &Self, step: Step, reason: Reason) -> Result<(), String> {
        if self.must_work(step) {
            return Err(format!("a false refusal: {}", reason.code()));
        }
        // A second use that is noticed ends what the first gave.
        if let Some(grant) = self.second_use(step).filter(|grant| !after.revoked.contains(grant)) {
            return Err(format!("I4: somebody else has a copy, and grant {grant} goes on"));
        }
        let by_him = matches!(step, Step::Redeem { by: Person::Attacker, .. } | Step::Refresh { by: Person::Attacker, .. });
        if by_him && !self.stolen && self.ended_hers(after) {
            return broken("the attacker logged the victim out");
        }
        Ok(())
    }

    /// The grant whose code or replaced token is presented again by its own client, rightly but for that.
    fn second_use(&self, step: Step) -> Option<usize> {
        match step {
            Step::Redeem { by, app: App::Honest, code, twist: Twist::Straight, .. } => {
                let right = self.used.contains(&code) && Self::challenged(code) == by && !(self.removed && is_victims(code));
                right.then_some(code)
            }
            Step::Refresh { app: App::Honest, token, twist: Twist::Straight, .. } => {
                let row = self.refresh.get(token)?;
                let (at, _) = row.replaced?;
                let late = self.now > at + lifetimes().refresh_grace.as_secs();
                let over = self.now >= lifetimes().refresh_absolute.as_secs() || (self.removed && is_victims(row.grant));
                (late && !over).then_some(row.grant)
            }
            Step::Redeem { .. }
            | Step::Refresh { .. }
            | Step::Revoke { .. }
            | Step::Call { .. }
            | Step::Steal
            | Step::Remove
            | Step::CatchUp { .. }
            | Step::Wait { .. } => None,
        }
    }

    /// Whether a step is the victim's client's own, of a run that is going well: then a refusal would be a false one.
    fn must_work(&self, step: Step) -> bool {
        let welcome = |grant: usize| !self.removed && !self.revoked.contains(&grant);
        match step {
            Step::Redeem { by: Person::Victim, code: VICTIMS, twist: Twist::Straight, .. } => {
                welcome(VICTIMS) && !self.used.contains(&VICTIMS) && self.now < lifetimes().code.as_secs()
            }
            Step::Refresh { by: Person::Victim, token, twist: Twist::Straight, .. } => {
                let grace = lifetimes().refresh_grace.as_secs();
                self.refresh.get(token).is_some_and(|row| {
                    let alive = match row.replaced {
                        None => self.now < row.ends,
                        Some((at, _)) => self.now <= at + grace && self.now < lifetimes().refresh_absolute.as_secs(),
                    };
                    alive && welcome(row.grant)
                })
            }
            Step::Redeem { .. }
            | Step::Refresh { .. }
            | Step::Revoke { .. }
            | Step::Call { .. }
            | Step::Steal
            | Step::Remove
            | Step::CatchUp { .. }
            | Step::Wait { .. } => false,
        }
    }

    /// Whether a grant of the victim's ended by this step.
    fn ended_hers(&self, after: &Self) -> bool {
        after.revoked.difference(&self.revoked).any(|grant| is_victims(*grant))
    }

    /// A revocation that was acknowledged.
    pub(super) fn judge_revocation(&self, after: &Self, by: Person, app: App, done: Result<(), Reason>) -> Result<(), String> {
        if done.is_err() {
            return broken("a revocation was refused");
        }
        let thief = self.stolen && !self.bounds.confidential && app == App::Honest;
        if by == Person::Attacker && !thief && self.ended_hers(after) {
            return broken("the attacker logged the victim out");
        }
        Ok(())
    }

    /// A call: taken at the right server, in its time, while its grant stands as far as this replica was told.
    pub(super) fn judge_call(
        &self,
        (grant, issued): (usize, u64),
        elsewhere: bool,
        replica: usize,
        taken: Result<(), Reason>,
    ) -> Result<(), String> {
        let in_time = self.now < (issued + lifetimes().access_token.as_secs()).min(lifetimes().refresh_absolute.as_secs());
        let told = self.known.get(replica).is_some_and(|known| known.contains(&grant));
        match taken {
            Ok(()) if elsewhere => broken("I5: an access token for one server was taken at another"),
            Ok(()) if !in_time => broken("an access token that had ended was taken"),
            Ok(()) if told => broken("I4: an access token of a revoked grant was taken"),
            Ok(()) => Ok(()),
            Err(reason) if !elsewhere && in_time && !told => Err(format!("a false refusal: {}", reason.code())),
            Err(_) => Ok(()),
        }
    }
}

impl Dies {
    /// The end of a sentence about a request.
    pub(super) const fn told(self) -> &'static str {
        match self {
            Self::Lives => "",
            Self::BeforeTheWrite => "; the process dies before the write",
            Self::BeforeTheAnswer => "; the process dies after the write, before the answer",
        }
    }
}
