//! The model checker: every interleaving of the sign-in, played with the functions that serve production.
//!
//! What this crate guarantees:
//! - A step calls `deputy-protocol`, never a copy of its rules: requests are parsed, tickets judged, ID tokens checked and transactions moved
//!   by the code that the server runs. Only browsers, people, the provider and the one conditional write of the store are modelled.
//! - The search is exhaustive up to the printed bound, and without a guard it must find an attack.
//!
//! `scripts/model` searches every bounded world with all guards in place, then without each guard.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program that reports")]

mod people;
mod search;
mod sign_in;

use std::process::ExitCode;
use std::time::Instant;

use crate::search::{Found, search};
use crate::sign_in::{Bounds, SignIn};
use deputy_protocol::hooks::{Guard, remove};

/// Guards that are taken out together, and the world in which that must be noticed. More than one where each alone is enough.
const MUTANTS: &[(&[Guard], bool, bool)] = &[
    (&[Guard::ConsentPage], false, false),
    (&[Guard::OwnershipCookie, Guard::OwnPage], false, false),
    (&[Guard::StateCookie], false, false),
    (&[Guard::StateMatch, Guard::IdpNonce], false, true),
    (&[Guard::StateSingleUse], false, false),
    (&[Guard::RedirectMatch], false, false),
    (&[Guard::TransactionLifetime], false, false),
    (&[Guard::LastPage], true, false),
    (&[Guard::OwnPage], true, false),
];

fn bounds(full: bool, loopback: bool, provider_ignores_pkce: bool, mutant: bool) -> Bounds {
    // On loopback the attacker's cookies multiply the states by forty: three of each take hours there.
    let size = if full && !loopback { 3 } else { 2 };
    Bounds { transactions: size, answers: size, loopback, mutant, provider_ignores_pkce }
}

fn say(name: &str, found: &Found, began: Instant) {
    println!("{name}: {} states, {} steps, {:.1} s", found.states, found.steps, began.elapsed().as_secs_f32());
    if let Some((story, what)) = &found.broken {
        for (number, sentence) in story.iter().enumerate() {
            println!("  {}. {sentence}", number + 1);
        }
        println!("  => {what}");
    }
}

fn main() -> ExitCode {
    let full = std::env::args().any(|argument| argument == "--full");
    let (mut states, mut held) = (0, true);
    for (name, loopback, weak) in
        [("https", false, false), ("plain-http loopback", true, false), ("a provider without PKCE", false, true)]
    {
        let began = Instant::now();
        let found = search(SignIn::new(bounds(full, loopback, weak, false)));
        say(&format!("all guards, {name}"), &found, began);
        states += found.states;
        held &= found.broken.is_none();
    }
    let mut noticed = 0;
    for (guards, loopback, weak) in MUTANTS {
        let names: Vec<&str> = guards.iter().map(|guard| guard.name()).collect();
        remove(guards);
        let began = Instant::now();
        let found = search(SignIn::new(bounds(full, *loopback, *weak, true)));
        remove(&[]);
        say(&format!("without {}", names.join(" and ")), &found, began);
        noticed += usize::from(found.broken.is_some());
    }
    let size = if full { 3 } else { 2 };
    println!(
        "bound: {size} transactions, {size} approvals, {size} answers of the provider (two of each on loopback), one wait, crashes in callbacks"
    );
    println!("states: {states}");
    println!("mutants: found {noticed} of {}", MUTANTS.len());
    if held && noticed == MUTANTS.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
