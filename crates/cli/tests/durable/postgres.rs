//! The same on PostgreSQL (A-245, I8): the processes die, and the database dies.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::dice::{Dice, seed, setting};
use crate::kill::{ASKING, run, within};
use crate::load::{CROWD, World};
use crate::process::{Deployment, Plan};

async fn cluster() -> Arc<Cluster> {
    Arc::new(tokio::task::spawn_blocking(Cluster::start).await.unwrap())
}

fn plan(port: u16, processes: usize) -> Plan {
    Plan { store: Some(Cluster::url(port)), processes, ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_245_kill_9_with_postgresql() {
    let cluster = cluster().await;
    run("postgresql, 1 process", plan(cluster.port, 1), CROWD, setting("DEPUTY_TEST_KILLS", 5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_245_kill_9_of_one_of_three_processes_on_postgresql() {
    let cluster = cluster().await;
    run("postgresql, 3 processes", plan(cluster.port, 3), CROWD, setting("DEPUTY_TEST_KILLS", 5)).await;
}

/// A-113, I9, as with SQLite.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; scripts/faults runs it"]
async fn a_113_kill_9_between_the_provider_and_postgresql() {
    let cluster = cluster().await;
    let plan = Plan { tokens: "recheck_after = \"0s\"", ..plan(cluster.port, 2) };
    run("postgresql, 2 processes, provider asked each time", plan, ASKING, setting("DEPUTY_TEST_KILLS", 20)).await;
}

/// Lets the database die at random moments, and stay away for a moment.
async fn crashes(world: &Arc<World>, cluster: &Arc<Cluster>, seed: u64, crashes: u64) -> String {
    let (dice, mut longest) = (Dice::new(seed), Duration::ZERO);
    for _ in 0..crashes {
        world.requests(20 + dice.below(60)).await;
        let (dead, away) = (Arc::clone(cluster), Duration::from_millis(dice.below(1_500)));
        tokio::task::spawn_blocking(move || dead.die()).await.unwrap();
        tokio::time::sleep(away).await;
        let dead = Arc::clone(cluster);
        tokio::task::spawn_blocking(move || dead.again()).await.unwrap();
        longest = longest.max(world.recovers().await);
    }
    format!("database crashes {crashes}, back after {:.1} s at most", longest.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_226_i8_the_database_crashes_and_keeps_what_was_acknowledged() {
    let (seed, count) = (seed(), setting("DEPUTY_TEST_CRASHES", 2));
    within(async {
        let cluster = cluster().await;
        let world = World::new(Deployment::planned(plan(cluster.port, 2)).await);
        world.under("postgresql crashes, 2 processes", CROWD, seed, crashes(&world, &cluster, seed, count)).await;
    })
    .await;
}
