//! Judges a log after the run, without knowing how the gateway works: only what its answers promised, and the invariants I2…I5, I7…I9, I11.
//!
//! A request without an answer may have been taken at any time after it was sent, or never. The checker accepts both; what was acknowledged
//! has to hold.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::record::{Ask, Event, Mark, Outcome, Witness};

/// The bound on how long another process may take tokens of a family that was revoked.
const ELSEWHERE: Duration = Duration::from_secs(2);
/// The grace window of the configurations here.
pub const GRACE: Duration = Duration::from_secs(60);
/// How long a code lives.
const CODE: Duration = Duration::from_secs(60);

/// What a violation breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// I2: a code gave two families, or gave tokens after it was redeemed.
    OneFamily,
    /// I3: a refresh token has two successors.
    OneSuccessor,
    /// I6: a token was given to two.
    OneOwner,
    /// I4: something worked after an acknowledged revoke, or after a replayed code was refused.
    Ended,
    /// I5: more reached the protected server than was let in.
    Backend,
    /// I7: a secret, or I11: a panic, in what the process says.
    Said,
    /// I8: an acknowledged code or access token does not work.
    Survives,
    /// I8, decision 7: an honest client is refused: somebody was logged out.
    LoggedOut,
    /// I9: a refresh token of the provider's was sent twice.
    ProviderToken,
    /// I11: an answer that is none of the documented ones.
    Documented,
}

impl Rule {
    /// Whether it holds under a clock that jumps: then tokens are over before their time as the visitors count it, also while a call that
    /// was let in is under way.
    pub fn needs_no_clock(self) -> bool {
        !matches!(self, Self::LoggedOut | Self::Survives | Self::Backend)
    }
}

/// One violation, and what shows it.
#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: Rule,
    pub detail: String,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub sessions: usize,
    pub refreshes: usize,
    pub replays: usize,
    pub revokes: usize,
    pub calls: usize,
    pub lost: usize,
    pub outages: usize,
    /// Codes whose answer was lost and that were then refused: the person signs in again, and had nothing yet.
    pub begun_again: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, refreshes, replays, revokes, calls, lost, outages, begun_again } = self;
        write!(
            f,
            "sessions {sessions}, refreshes {refreshes}, replays {replays}, revokes {revokes}, calls {calls}, answers lost {lost}, \
             told to come back {outages}, sign-ins begun again {begun_again}"
        )
    }
}

/// A family as its tokens show it.
#[derive(Debug, Default)]
struct Family {
    /// When its end was first asked for, by a request that may have been taken.
    maybe_ended: Option<Duration>,
    /// When its end was acknowledged, and where.
    ended: Option<(Duration, usize)>,
}

/// A refresh token.
#[derive(Debug)]
struct Held {
    family: usize,
    first_sent: Option<Duration>,
    successor: Option<Mark>,
}

#[derive(Debug, Default)]
struct Checker {
    families: Vec<Family>,
    codes: HashMap<Mark, (Duration, Option<usize>)>,
    refresh: HashMap<Mark, Held>,
    access: HashMap<Mark, (usize, Duration)>,
    violations: Vec<Violation>,
    counts: Counts,
}

/// Judges a run.
pub fn check(events: &[Event], witness: &Witness) -> (Counts, Vec<Violation>) {
    let mut checker = Checker::default();
    // First whose tokens they all are and when each family ended, then each answer: a request may be answered after later ones.
    let mut by_answer: Vec<&Event> = events.iter().collect();
    by_answer.sort_by_key(|event| event.done);
    by_answer.iter().for_each(|event| checker.learn(event));
    events.iter().for_each(|event| checker.ends(event));
    events.iter().for_each(|event| checker.judge(event));
    checker.witness(events, witness);
    (checker.counts, checker.violations)
}

impl Checker {
    fn violation(&mut self, rule: Rule, detail: impl fmt::Debug) {
        self.violations.push(Violation { rule, detail: format!("{detail:?}") });
    }

    fn unless(&mut self, fine: bool, rule: Rule, event: &Event) {
        if !fine {
            self.violation(rule, event);
        }
    }

    /// Whose tokens these are.
    fn learn(&mut self, event: &Event) {
        match (event.ask, event.outcome) {
            (Ask::Approve, Outcome::Code(code)) => {
                let twice = self.codes.insert(code, (event.done, None)).is_some();
                self.unless(!twice, Rule::OneOwner, event);
            }
            (Ask::Redeem(code), Outcome::Tokens { access, lives, refresh }) => {
                let family = self.families.len();
                self.families.push(Family::default());
                self.counts.sessions += 1;
                if let Some((_, Some(_))) = self.codes.insert(code, (event.done, Some(family))) {
                    self.violation(Rule::OneFamily, event);
                }
                self.own(event, family, access, lives, refresh);
            }
            (Ask::Refresh(token), Outcome::Tokens { access, lives, refresh }) => {
                let Some(held) = self.refresh.get_mut(&token) else { return self.violation(Rule::OneOwner, event) };
                let family = held.family;
                match held.successor {
                    Some(known) if known != refresh => self.violation(Rule::OneSuccessor, event),
                    Some(_) => {
                        self.counts.replays += 1;
                        self.access.insert(access, (family, event.done + lives));
                    }
                    None => {
                        held.successor = Some(refresh);
                        self.counts.refreshes += 1;
                        self.own(event, family, access, lives, refresh);
                    }
                }
            }
            _ => {}
        }
    }

    fn own(&mut self, event: &Event, family: usize, access: Mark, lives: Duration, refresh: Mark) {
        let twice = self.access.insert(access, (family, event.done + lives)).is_some();
        let held = Held { family, first_sent: None, successor: None };
        if self.refresh.insert(refresh, held).is_some() || twice {
            self.violation(Rule::OneOwner, event);
        }
    }

    /// When families ended, and when tokens were first used.
    fn ends(&mut self, event: &Event) {
        let refused = matches!(event.outcome, Outcome::Status { refused: true, .. });
        let family = match event.ask {
            Ask::Revoke(token) => self.refresh.get(&token).map(|held| held.family),
            // A code that was redeemed and acknowledged, sent again: two have it (AS-64).
            Ask::Redeem(code) => match self.codes.get(&code) {
                Some((redeemed, Some(family))) if event.sent >= *redeemed => Some(*family),
                _ => None,
            },
            Ask::Refresh(token) => {
                if let Some(held) = self.refresh.get_mut(&token) {
                    held.first_sent.get_or_insert(event.sent);
                }
                None
            }
            Ask::Approve | Ask::Call(_) => None,
        };
        let Some(family) = family.and_then(|at| self.families.get_mut(at)) else { return };
        family.maybe_ended = Some(family.maybe_ended.map_or(event.sent, |known| known.min(event.sent)));
        let acknowledged = refused || matches!(event.outcome, Outcome::Status { status: 200, .. });
        if acknowledged && family.ended.is_none_or(|(known, _)| event.done < known) {
            family.ended = Some((event.done, event.replica));
        }
    }

    fn judge(&mut self, event: &Event) {
        match event.outcome {
            Outcome::Lost => self.counts.lost += 1,
            Outcome::Status { status: 503, retry_after, .. } => {
                self.counts.outages += 1;
                if !retry_after {
                    self.violation(Rule::Documented, event);
                }
            }
            // A browser that sends the provider's answer again gets a page about what the provider said to that.
            Outcome::Status { .. } if event.ask == Ask::Approve && event.again => {}
            Outcome::Status { status, .. } if status > 499 || status == 429 => self.violation(Rule::Documented, event),
            Outcome::Code(_) | Outcome::Tokens { .. } | Outcome::Status { .. } => {}
        }
        match event.ask {
            Ask::Approve => self.approve(event),
            Ask::Redeem(code) => self.redeem(event, code),
            Ask::Refresh(token) => self.refreshed(event, token),
            Ask::Revoke(_) => self.revoked(event),
            Ask::Call(token) => self.call(event, token),
        }
    }

    fn approve(&mut self, event: &Event) {
        if let Outcome::Status { .. } = event.outcome {
            if event.again {
                self.counts.begun_again += 1;
            } else if !event.outcome.is_open() {
                self.violation(Rule::Survives, event);
            }
        }
    }

    fn redeem(&mut self, event: &Event, code: Mark) {
        let Some((given, family)) = self.codes.get(&code).copied() else { return self.violation(Rule::OneOwner, event) };
        let Outcome::Status { status, .. } = event.outcome else { return };
        if family.is_some() || status == 503 {
            return;
        }
        if event.again {
            self.counts.begun_again += 1;
        } else if event.sent < given + CODE {
            self.violation(Rule::Survives, event);
        }
    }

    fn revoked(&mut self, event: &Event) {
        self.counts.revokes += 1;
        if matches!(event.outcome, Outcome::Status { status, .. } if status != 200 && status != 503) {
            self.violation(Rule::Documented, event);
        }
    }

    fn refreshed(&mut self, event: &Event, token: Mark) {
        let Some(held) = self.refresh.get(&token) else { return self.violation(Rule::OneOwner, event) };
        let (in_time, family) = (held.first_sent.is_none_or(|first| event.sent < first + GRACE), held.family);
        let Some(&Family { maybe_ended, ended }) = self.families.get(family) else { return };
        if matches!(event.outcome, Outcome::Tokens { .. }) {
            // The store decides: no process is behind.
            self.unless(ended.is_none_or(|(at, _)| event.sent <= at), Rule::Ended, event);
        } else if !event.outcome.is_open() {
            self.unless(!in_time || maybe_ended.is_some_and(|at| event.done >= at), Rule::LoggedOut, event);
        }
    }

    fn call(&mut self, event: &Event, token: Mark) {
        self.counts.calls += 1;
        let Some((family, until)) = self.access.get(&token).copied() else { return self.violation(Rule::OneOwner, event) };
        let Some(Family { maybe_ended, ended }) = self.families.get(family) else { return };
        let Outcome::Status { status, .. } = event.outcome else { return };
        let over = |(at, replica): (Duration, usize)| event.sent > if replica == event.replica { at } else { at + ELSEWHERE };
        if status == 200 {
            if ended.is_some_and(over) {
                self.violation(Rule::Ended, event);
            }
        } else if event.done < until && maybe_ended.is_none_or(|at| event.done < at) {
            // Neither a disk nor a database nor the provider has a say in this.
            let rule = if status == 401 { Rule::LoggedOut } else { Rule::Survives };
            self.violation(rule, event);
        }
    }

    fn witness(&mut self, events: &[Event], witness: &Witness) {
        for (token, times) in &witness.provider {
            if *times > 1 {
                self.violation(Rule::ProviderToken, (Mark::of(token), times));
            }
        }
        let let_in = |event: &&Event| {
            matches!((event.ask, event.outcome), (Ask::Call(_), Outcome::Lost | Outcome::Status { status: 200, .. }))
        };
        let let_in = events.iter().filter(let_in).count();
        if witness.backend > let_in {
            self.violation(Rule::Backend, (witness.backend, let_in));
        }
        let bad = ["panicked", "CANARY", crate::idp::CLIENT_SECRET];
        let said: HashSet<&String> = witness.said.iter().filter(|line| bad.iter().any(|word| line.contains(word))).collect();
        for line in said {
            self.violation(Rule::Said, line);
        }
    }
}
