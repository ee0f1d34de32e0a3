//! Who may send a refresh token to a provider that was away a moment ago.
//!
//! A refresh token whose answer is lost must not be sent again (I9, A-113), so each one that goes to a provider that hangs costs a person
//! a sign-in. After the first sign of that, one caller at a time asks the provider something harmless, then sends its own token; the
//! others are told to come back. The provider is there again when that one token is answered.

use std::sync::{Mutex, MutexGuard, PoisonError};

use deputy_protocol::Timestamp;

/// What is known about the provider.
#[derive(Debug, Default)]
enum State {
    /// It was there.
    #[default]
    There,
    /// It was away. `last` is when it was tried, `trying` whether somebody is at it.
    Away { last: Option<Timestamp>, trying: bool },
}

/// What somebody may do who has a refresh token to send.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// Send it.
    Send,
    /// Find out whether the provider is there, then send it.
    Try(Trial<'a>),
    /// Come back later.
    Wait,
}

/// The one attempt to find out. Dropped, it is over, however it ended: also when its caller went away.
#[derive(Debug)]
pub(super) struct Trial<'a>(&'a Breaker);

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if let State::Away { trying, .. } = &mut *self.0.state() {
            *trying = false;
        }
    }
}

/// The decision, without any I/O.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next one may do. One trial at a time, and at most one in each second of the clock, even when it is set back.
    pub(super) fn turn(&self, now: Timestamp) -> Turn<'_> {
        match &mut *self.state() {
            State::There => Turn::Send,
            State::Away { trying: true, .. } => Turn::Wait,
            State::Away { last: Some(last), .. } if *last == now => Turn::Wait,
            State::Away { last, trying } => {
                *last = Some(now);
                *trying = true;
                Turn::Try(Trial(self))
            }
        }
    }

    /// A request got no answer, or one that says that the provider is not well.
    pub(super) fn away(&self) {
        let mut state = self.state();
        if matches!(*state, State::There) {
            *state = State::Away { last: None, trying: false };
        }
    }

    /// The token endpoint answered a refresh request.
    pub(super) fn there(&self) {
        *self.state() = State::There;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_112_one_tries_while_the_others_wait() {
        let breaker = Breaker::default();
        assert!(matches!(breaker.turn(at(1)), Turn::Send));
        assert!(matches!(breaker.turn(at(1)), Turn::Send), "nothing is known against it");
        breaker.away();
        let Turn::Try(trial) = breaker.turn(at(1)) else { panic!("the first one finds out") };
        assert!(matches!(breaker.turn(at(5)), Turn::Wait), "one at a time");
        breaker.away();
        assert!(matches!(breaker.turn(at(5)), Turn::Wait), "a late failure of another makes no second trial");
        drop(trial);
        assert!(matches!(breaker.turn(at(1)), Turn::Wait), "one each second");
        let Turn::Try(trial) = breaker.turn(at(2)) else { panic!("a second later") };
        breaker.there();
        drop(trial);
        assert!(matches!(breaker.turn(at(2)), Turn::Send));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_the_provider_away() {
        let breaker = Breaker::default();
        breaker.away();
        assert!(matches!(breaker.turn(at(1000)), Turn::Try(_)));
        assert!(matches!(breaker.turn(at(10)), Turn::Try(_)), "I12");
    }
}
