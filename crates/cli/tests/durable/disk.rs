//! the disk fails under the load, in the calls that make things durable, or is full. What was acknowledged holds; the service
//! returns when the fault ends (I8, I11, I12).

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::dice::{Dice, seed, setting};
use crate::kill::within;
use crate::load::{CROWD, World};
use crate::process::{Deployment, Plan};

/// The system calls that fail.
const CALLS: [&str; 3] = ["fdatasync,fsync", "pwrite64", "fdatasync,fsync,pwrite64"];
const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];

/// A tracer that makes system calls of a process fail, until it is dropped.
struct Failing(Child);

impl Failing {
    /// `None` where there is no strace, or it may not attach.
    fn attach(pid: u32, rule: &str) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string(), "-e", &format!("inject={rule}")]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let mut said = BufReader::new(child.stderr.take()?).lines().map_while(Result::ok);
        let attached = said.any(|line| line.contains("attached"));
        // Reads on, so that the tracer never waits for a reader.
        std::thread::spawn(move || said.for_each(drop));
        attached.then(|| Self(child))
    }
}

impl Drop for Failing {
    /// It lets go of the process, which lives on.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Fails calls from the first, second, … on, or only that one.
async fn failing(world: &Arc<World>, seed: u64, rounds: u64) -> Option<String> {
    let (dice, mut longest, mut crashes) = (Dice::new(seed), Duration::ZERO, 0);
    for round in 0..rounds {
        world.requests(10 + dice.below(20)).await;
        let pick = |of: &[&'static str]| of[usize::try_from(dice.below(of.len() as u64)).unwrap()];
        let onwards = if dice.below(2) == 0 { "+" } else { "" };
        let rule = format!("{}:error={}:when={}{onwards}", pick(&CALLS), pick(&ERRORS), 1 + round % 20);
        let pid = world.deployment.pid();
        let tracer = tokio::task::spawn_blocking(move || Failing::attach(pid, &rule)).await.unwrap()?;
        world.requests(10 + dice.below(40)).await;
        assert!(world.deployment.runs(), "the process died");
        let crash = dice.below(4) == 0;
        let again = Arc::clone(world);
        let over = tokio::task::spawn_blocking(move || {
            if crash {
                again.deployment.kill();
            }
            drop(tracer);
            if crash {
                again.deployment.restart();
            }
        });
        over.await.unwrap();
        crashes += u64::from(crash);
        longest = longest.max(world.recovers().await);
    }
    Some(format!("faults {rounds}, kills {crashes}, back after {:.1} s at most", longest.as_secs_f64()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_227_a_247_writes_and_fsyncs_that_fail() {
    let (seed, rounds) = (seed(), setting("DEPUTY_TEST_ROUNDS", 4));
    within(async {
        let world = World::new(Deployment::start().await);
        let faults =
            async { failing(&world, seed, rounds).await.unwrap_or_else(|| "skipped (no strace that may attach)".to_owned()) };
        world.under("sqlite, failing writes and fsyncs", CROWD, seed, faults).await;
    })
    .await;
}

/// A small disk, until it is dropped.
struct Disk(TempDir);

impl Disk {
    /// `None` where it may not be mounted.
    fn mount() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs"]).arg(at.path()).stderr(Stdio::null());
        command.status().ok()?.success().then(|| Self(at))
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Takes all that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn clear(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

async fn filled(world: &Arc<World>, disk: &Disk, seed: u64, rounds: u64) -> String {
    let (dice, mut longest) = (Dice::new(seed), Duration::ZERO);
    for _ in 0..rounds {
        world.requests(20 + dice.below(40)).await;
        disk.fill();
        world.requests(20 + dice.below(100)).await;
        assert!(world.deployment.runs(), "the process died");
        disk.clear();
        longest = longest.max(world.recovers().await);
    }
    format!("full {rounds} times, back after {:.1} s at most", longest.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_247_a_full_tmpfs() {
    let (seed, rounds) = (seed(), setting("DEPUTY_TEST_ROUNDS", 4));
    let Some(disk) = Disk::mount() else {
        println!(
            "\nfaults: sqlite on a full tmpfs: skipped (it may not be mounted; the test with a limit on files stands for it)"
        );
        return;
    };
    within(async {
        let plan = Plan { data: Some(disk.0.path().join("data")), ..Plan::default() };
        let world = World::new(Deployment::planned(plan).await);
        world.under("sqlite on a full tmpfs", CROWD, seed, filled(&world, &disk, seed, rounds)).await;
    })
    .await;
}
