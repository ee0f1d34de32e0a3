//! the clock of the built binary jumps under the load, an hour back, an hour ahead, 400 days ahead and back (libfaketime). Nothing
//! that ended lives again, and when the clock is right again, so is the service. And the clocks of three
//! processes differ, within the minute that is forgiven.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::dice::{seed, setting};
use crate::kill::{run, within};
use crate::load::{CROWD, World};
use crate::process::{Deployment, Plan};

const HOUR: i64 = 60 * 60;
const JUMPS: [i64; 4] = [-HOUR, HOUR, 400 * 24 * HOUR, 0];

/// Debian's library.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// Replaced in one step: the process may read it at any time.
fn set(clock: &Path, ahead: i64) {
    let next = clock.with_extension("next");
    std::fs::write(&next, format!("{ahead:+}\n")).unwrap();
    std::fs::rename(next, clock).unwrap();
}

/// The monotonic clock stays as it is, as it does when a machine's time is set.
fn monotonic() -> Vec<(&'static str, String)> {
    vec![("DONT_FAKE_MONOTONIC", "1".to_owned()), ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned())]
}

async fn jumps(world: &Arc<World>, clock: &Path, rounds: u64) -> String {
    for _ in 0..rounds {
        for ahead in JUMPS {
            world.requests(60).await;
            world.deployment.ahead.store(ahead, Ordering::SeqCst);
            set(clock, ahead);
        }
        world.recovers().await;
        assert!(world.deployment.runs(), "the process died");
    }
    format!("jumps {}", rounds * JUMPS.len() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_250_the_clock_jumps_under_load() {
    let (seed, rounds) = (seed(), setting("DEPUTY_TEST_JUMPS", 1));
    let Some(library) = library() else {
        println!("\nfaults: clock: skipped (no libfaketime; the tests with an injected clock stand for it)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    set(&clock, 0);
    let mut env = monotonic();
    env.push(("LD_PRELOAD", library.display().to_string()));
    env.push(("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()));
    env.push(("FAKETIME_NO_CACHE", "1".to_owned()));
    within(async {
        let world = World::jumping(Deployment::planned(Plan { env, ..Plan::default() }).await);
        world.under("clock", CROWD, seed, jumps(&world, &clock, rounds)).await;
    })
    .await;
}

/// As far apart as they may be: a code lives a minute, a replay is forgiven for a minute, and so is a token that seems to come too early.
const APART: [i64; 3] = [-25, 0, 25];

#[tokio::test(flavor = "multi_thread")]
async fn a_251_replicas_whose_clocks_differ() {
    let Some(library) = library() else {
        println!("\nfaults: clocks that differ: skipped (no libfaketime)");
        return;
    };
    let mut env = monotonic();
    env.push(("LD_PRELOAD", library.display().to_string()));
    let plan = Plan { env, processes: APART.len(), ahead: APART.to_vec(), ..Plan::default() };
    run("sqlite, 3 processes, clocks 50 s apart", plan, CROWD, setting("DEPUTY_TEST_KILLS", 4)).await;
}
