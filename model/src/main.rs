//! The model checker: every interleaving of a sign-in and of what follows it, played with the functions that serve production.
//!
//! What this crate guarantees:
//! - A step calls `deputy-protocol`, never a copy of its rules: requests are parsed, tickets judged, ID tokens checked, transactions moved,
//!   codes and refresh tokens judged by the code that the server runs. Only browsers, people, the provider and the rows of the store are
//!   modelled.
//! - The search is exhaustive up to the printed bound, and without a guard it must find that an invariant breaks. A few guards are whole steps
//!   (the page before the provider, the state cookie, one end a transaction): without them the model leaves its own step out.
//!
//! `scripts/model` searches every bounded world with all guards in place, then without each guard.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program that reports")]

mod people;
mod search;
mod sign_in;
mod stories;
mod tokens;
mod worlds;

use std::process::ExitCode;
use std::time::Instant;

use crate::worlds::{MUTANTS, Report, WORLDS};
use deputy_protocol::hooks::remove;

fn say(name: &str, report: &Report, began: Instant) {
    println!("{name}: {} states, {} steps, {:.1} s", report.states, report.steps, began.elapsed().as_secs_f32());
    if let Some(story) = &report.broken {
        for (number, sentence) in story.told.iter().enumerate() {
            println!("  {}. {sentence}", number + 1);
        }
        println!("  => {}", story.breaks);
    }
}

fn main() -> ExitCode {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    let (full, write) = (asked("--full"), asked("--write"));
    let (mut states, mut held) = (0, true);
    for world in WORLDS {
        let began = Instant::now();
        let report = world.search(full, false);
        say(&format!("all guards, {}", world.name()), &report, began);
        states += report.states;
        held &= report.broken.is_none();
    }
    let mut noticed = 0;
    for mutant in MUTANTS {
        remove(mutant.guards);
        let began = Instant::now();
        let report = mutant.world.search(full, true);
        remove(&[]);
        say(&format!("without {}, {}", mutant.names().join(" and "), mutant.world.name()), &report, began);
        let Some(story) = report.broken else { continue };
        noticed += 1;
        if write {
            if let Err(error) = stories::write(mutant, &story) {
                println!("the story cannot be written: {error}");
                held = false;
            }
        } else if !full && !stories::is_written(mutant, &story) {
            println!("this is not the story under model/stories, which the server's tests play: run scripts/model --write");
            held = false;
        }
    }
    for guard in worlds::forgotten() {
        println!("no mutant takes out {guard}");
        held = false;
    }
    println!("bound: {}", worlds::bound(full));
    println!("states: {states}");
    println!("mutants: found {noticed} of {}", MUTANTS.len());
    if held && noticed == MUTANTS.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
