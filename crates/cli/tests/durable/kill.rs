//! SIGKILL at random moments under honest load (I2, I3, I4, I8), one process and three. `DEPUTY_TEST_KILLS` and `DEPUTY_TEST_SEED`
//! choose how often and when.

use std::sync::Arc;
use std::time::Duration;

use crate::dice::{Dice, seed, setting};
use crate::load::{CROWD, Crowd, World};
use crate::process::{Deployment, Plan};

/// No run takes longer.
const TEST_MAX: Duration = Duration::from_secs(1800);

/// Enough sessions that some wait for nothing while others wait for an answer that nobody heard.
pub const ASKING: Crowd = Crowd { visitors: 16, sessions: 8 };

/// Kills one of the processes at random moments, and starts it again.
async fn kills(world: &Arc<World>, seed: u64, kills: u64) -> String {
    let dice = Dice::new(seed);
    for _ in 0..kills {
        world.requests(1 + dice.below(60)).await;
        // The random moment itself: nothing waits for this.
        tokio::time::sleep(Duration::from_micros(dice.below(5_000))).await;
        let (again, at) = (Arc::clone(world), dice.below(u64::try_from(world.deployment.processes()).unwrap()));
        let restarted = tokio::task::spawn_blocking(move || {
            let at = usize::try_from(at).unwrap();
            assert!(again.deployment.runs_at(at), "the process died by itself");
            again.deployment.kill_at(at);
            again.deployment.restart_at(at);
        });
        restarted.await.unwrap();
    }
    format!("kills {kills}")
}

/// A run that ends.
pub async fn within(run: impl Future<Output = ()>) {
    tokio::time::timeout(TEST_MAX, run).await.expect("an end");
}

pub async fn run(name: &str, plan: Plan, crowd: Crowd, count: u64) {
    let seed = seed();
    within(async {
        let world = World::new(Deployment::planned(plan).await);
        world.under(name, crowd, seed, kills(&world, seed, count)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_245_kill_9_at_random_moments_loses_nothing_that_was_acknowledged() {
    run("sqlite, 1 process", Plan::default(), CROWD, setting("DEPUTY_TEST_KILLS", 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_245_kill_9_of_one_of_three_processes_on_one_file() {
    let plan = Plan { processes: 3, ..Plan::default() };
    run("sqlite, 3 processes", plan, CROWD, setting("DEPUTY_TEST_KILLS", 6)).await;
}

/// A-113, I9: the processes die between the provider and the disk. A refresh asks the provider whenever its word is of another second; what
/// nobody heard is known to be lost after half a minute, and then the session goes on with the last word.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; scripts/faults runs it"]
async fn a_113_kill_9_between_the_provider_and_the_disk() {
    let plan = Plan { tokens: "recheck_after = \"0s\"", processes: 2, ..Plan::default() };
    run("sqlite, 2 processes, provider asked each time", plan, ASKING, setting("DEPUTY_TEST_KILLS", 20)).await;
}
