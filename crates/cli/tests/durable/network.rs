//! A-226, I12: the lines to the database and to the provider are slow, silent and cut. What needs neither goes on, the rest is told to come
//! back, and nobody is logged out.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::dice::{Dice, seed, setting};
use crate::kill::within;
use crate::load::{Crowd, World};
use crate::process::{Deployment, Plan};
use crate::proxy::{Mode, Proxy};

/// A refresh asks the provider whenever its word is of another second, so many sessions at once keep the line busy.
const MANY: Crowd = Crowd { visitors: 8, sessions: 4 };

async fn disturbed(world: &Arc<World>, lines: &[&Proxy], seed: u64, rounds: u64) -> String {
    let (dice, mut longest) = (Dice::new(seed), Duration::ZERO);
    for _ in 0..rounds {
        world.requests(20 + dice.below(100)).await;
        let line = lines[usize::try_from(dice.below(lines.len() as u64)).unwrap()];
        line.set(match dice.below(3) {
            0 => Mode::Delay(Duration::from_millis(10 + dice.below(300))),
            1 => Mode::Silent,
            _ => Mode::Cut,
        });
        tokio::time::sleep(Duration::from_millis(dice.below(2_000))).await;
        line.set(Mode::Pass);
        longest = longest.max(world.recovers().await);
    }
    format!("faults {rounds}, back after {:.1} s at most", longest.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_226_a_113_lines_that_delay_drop_and_cut() {
    let (seed, rounds) = (seed(), setting("DEPUTY_TEST_ROUNDS", 4));
    within(async {
        let cluster = Arc::new(tokio::task::spawn_blocking(Cluster::start).await.unwrap());
        let to_database = Proxy::start(format!("127.0.0.1:{}", cluster.port)).await;
        let (store, tokens) = (Some(Cluster::url(to_database.port)), "recheck_after = \"0s\"");
        let plan = Plan { store, tokens, processes: 2, proxied: true, ..Plan::default() };
        let world = World::new(Deployment::planned(plan).await);
        let lines = [&to_database, world.deployment.to_provider.as_ref().unwrap()];
        world.under("network, 2 processes", MANY, seed, disturbed(&world, &lines, seed, rounds)).await;
    })
    .await;
}
