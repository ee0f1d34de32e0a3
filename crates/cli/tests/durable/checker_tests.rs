//! Each rule finds the fault that it is there for, and nothing in a good log.

use std::time::Duration;

use crate::checker::{Rule, check};
use crate::record::{Ask, Event, Mark, Outcome, Witness};

const CODE: Mark = Mark(1);
const FIRST: Mark = Mark(11);
const SECOND: Mark = Mark(12);
const THIRD: Mark = Mark(13);
const OK: Outcome = status(200);
const REFUSED: Outcome = Outcome::Status { status: 400, retry_after: false, refused: true };
const AWAY: Outcome = Outcome::Status { status: 503, retry_after: true, refused: false };

const fn status(status: u16) -> Outcome {
    Outcome::Status { status, retry_after: false, refused: false }
}

const fn tokens(refresh: Mark) -> Outcome {
    Outcome::Tokens { access: Mark(refresh.0 + 100), lives: Duration::from_secs(300), refresh }
}

const fn access(refresh: Mark) -> Mark {
    Mark(refresh.0 + 100)
}

/// A request at this second, answered half a second later.
const fn at(second: u64, replica: usize, ask: Ask, outcome: Outcome) -> Event {
    let sent = Duration::from_secs(second);
    Event { replica, sent, done: Duration::from_millis(second * 1000 + 500), ask, outcome, again: false }
}

const fn again(event: Event) -> Event {
    Event { again: true, ..event }
}

/// A session with one refresh, its replay, and calls.
fn good() -> Vec<Event> {
    vec![
        at(1, 0, Ask::Approve, Outcome::Code(CODE)),
        at(2, 0, Ask::Redeem(CODE), tokens(FIRST)),
        at(3, 1, Ask::Call(access(FIRST)), OK),
        at(4, 0, Ask::Refresh(FIRST), Outcome::Lost),
        again(at(5, 1, Ask::Refresh(FIRST), tokens(SECOND))),
        at(6, 2, Ask::Refresh(FIRST), tokens(SECOND)),
        at(7, 0, Ask::Refresh(SECOND), AWAY),
        at(8, 0, Ask::Call(access(SECOND)), OK),
    ]
}

fn revoked() -> Vec<Event> {
    let mut log = good();
    log.push(at(10, 0, Ask::Revoke(SECOND), OK));
    log.push(at(12, 1, Ask::Call(access(SECOND)), OK));
    log.push(at(13, 0, Ask::Call(access(SECOND)), status(401)));
    log.push(at(14, 1, Ask::Refresh(SECOND), REFUSED));
    log
}

fn broken(log: &[Event], witness: &Witness) -> Vec<Rule> {
    check(log, witness).1.into_iter().map(|violation| violation.rule).collect()
}

/// The log with one more event.
fn with(mut log: Vec<Event>, event: Event) -> Vec<Rule> {
    log.push(event);
    broken(&log, &Witness::default())
}

#[test]
fn a_good_log_breaks_no_rule_and_is_counted() {
    for log in [good(), revoked()] {
        assert_eq!(broken(&log, &Witness { backend: 2, ..Witness::default() }), []);
    }
    let (counts, _) = check(&good(), &Witness::default());
    assert_eq!((counts.sessions, counts.refreshes, counts.replays, counts.lost, counts.outages), (1, 1, 1, 1, 1));
}

#[test]
fn i2_two_families_of_one_code_are_found() {
    assert_eq!(with(good(), at(9, 1, Ask::Redeem(CODE), tokens(THIRD))), [Rule::OneFamily]);
}

#[test]
fn i2_what_a_lost_answer_used_up_is_no_violation() {
    let mut log = vec![at(1, 0, Ask::Approve, Outcome::Code(CODE)), at(2, 0, Ask::Redeem(CODE), Outcome::Lost)];
    log.push(again(at(3, 0, Ask::Redeem(CODE), REFUSED)));
    assert_eq!(broken(&log, &Witness::default()), []);
    log.remove(1);
    log[1].again = false;
    assert_eq!(broken(&log, &Witness::default()), [Rule::Survives], "but a code that nobody used is good");
}

#[test]
fn i3_two_successors_are_found() {
    assert_eq!(with(good(), at(9, 1, Ask::Refresh(FIRST), tokens(THIRD))), [Rule::OneSuccessor]);
}

#[test]
fn i4_life_after_an_acknowledged_revoke_is_found() {
    assert_eq!(with(revoked(), at(15, 0, Ask::Call(access(SECOND)), OK)), [Rule::Ended]);
    assert_eq!(with(revoked(), at(11, 0, Ask::Call(access(FIRST)), OK)), [Rule::Ended], "where it was revoked, at once");
    assert_eq!(with(revoked(), at(13, 1, Ask::Call(access(FIRST)), OK)), [Rule::Ended], "elsewhere, after two seconds");
    assert_eq!(with(revoked(), at(11, 1, Ask::Refresh(SECOND), tokens(THIRD))), [Rule::Ended], "the store knows at once");
}

#[test]
fn i4_life_after_a_replayed_code_is_found() {
    let mut log = good();
    log.push(at(10, 0, Ask::Redeem(CODE), REFUSED));
    assert_eq!(with(log, at(20, 1, Ask::Call(access(SECOND)), OK)), [Rule::Ended]);
}

#[test]
fn i5_requests_that_nobody_let_in_are_found() {
    assert_eq!(broken(&good(), &Witness { backend: 3, ..Witness::default() }), [Rule::Backend]);
}

#[test]
fn i6_a_token_of_two_people_is_found() {
    let mut log = good();
    log.push(at(9, 0, Ask::Approve, Outcome::Code(Mark(2))));
    assert_eq!(with(log, at(10, 0, Ask::Redeem(Mark(2)), tokens(SECOND))), [Rule::OneOwner]);
}

#[test]
fn i7_i11_secrets_and_panics_in_the_log_are_found() {
    for line in ["thread 'main' panicked at", "IDP-REFRESH-CANARY-x"] {
        assert_eq!(broken(&good(), &Witness { said: vec![line.to_owned()], ..Witness::default() }), [Rule::Said]);
    }
}

#[test]
fn i8_a_logout_that_nobody_asked_for_is_found() {
    assert_eq!(with(good(), at(9, 1, Ask::Refresh(SECOND), REFUSED)), [Rule::LoggedOut]);
    assert_eq!(with(good(), at(9, 1, Ask::Refresh(FIRST), REFUSED)), [Rule::LoggedOut], "a replay in the grace window");
    assert_eq!(with(good(), at(99, 1, Ask::Refresh(FIRST), REFUSED)), [], "a replay after it");
    assert_eq!(with(good(), at(9, 1, Ask::Call(access(SECOND)), status(401))), [Rule::LoggedOut]);
    assert_eq!(with(good(), at(999, 1, Ask::Call(access(SECOND)), status(401))), [], "its time is over");
}

#[test]
fn i8_i12_a_call_that_an_outage_stops_is_found() {
    assert_eq!(with(good(), at(9, 1, Ask::Call(access(SECOND)), AWAY)), [Rule::Survives]);
}

#[test]
fn i9_a_token_that_the_provider_saw_twice_is_found() {
    let provider = [("a".to_owned(), 1), ("b".to_owned(), 2)].into();
    assert_eq!(broken(&good(), &Witness { provider, ..Witness::default() }), [Rule::ProviderToken]);
}

#[test]
fn i11_undocumented_answers_are_found() {
    assert_eq!(with(good(), at(9, 1, Ask::Revoke(SECOND), status(502))), [Rule::Documented, Rule::Documented]);
    assert_eq!(with(good(), at(9, 1, Ask::Revoke(SECOND), status(503))), [Rule::Documented], "without a time to come back");
}
