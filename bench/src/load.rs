//! Rounds of load: many connections, each with one request under way, and what came of it.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::Outcome;
use crate::process::{Cpu, Process};

/// How long the answers of a round may take beyond it.
const LATE: Duration = Duration::from_secs(60);

/// What one round measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    /// Answers.
    pub(crate) answers: usize,
    /// Answers per second.
    pub(crate) rate: f64,
    /// The median latency, in milliseconds.
    pub(crate) p50: f64,
    /// The latency that one in a hundred exceeds, in milliseconds.
    pub(crate) p99: f64,
    /// Processors that the server kept busy on its own behalf.
    pub(crate) user: f64,
    /// Processors that the kernel kept busy for the server.
    pub(crate) system: f64,
    /// Processors that this program kept busy.
    pub(crate) ours: f64,
}

/// Runs `step` on every worker again and again for a while. A worker stops early when its step gives `false`.
pub(crate) async fn round<W>(
    server: &Process,
    workers: &mut [W],
    lasts: Duration,
    step: impl AsyncFn(&mut W) -> Outcome<bool>,
) -> Outcome<Round> {
    let (theirs, ours, began) = (server.cpu(), Cpu::of("self"), Instant::now());
    let work = workers.iter_mut().map(async |worker| -> Outcome<Vec<Duration>> {
        let mut latencies = Vec::new();
        while began.elapsed() < lasts {
            let sent = Instant::now();
            if !step(worker).await? {
                break;
            }
            latencies.push(sent.elapsed());
        }
        Ok(latencies)
    });
    let mut latencies = tokio::time::timeout(lasts + LATE, try_join_all(work)).await??.concat();
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let (theirs_now, ours_now) = (server.cpu(), Cpu::of("self"));
    Ok(Round {
        answers: latencies.len(),
        rate: latencies.len() as f64 / seconds,
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
        user: (theirs_now.user - theirs.user) / seconds,
        system: (theirs_now.system - theirs.system) / seconds,
        ours: (ours_now.user + ours_now.system - ours.user - ours.system) / seconds,
    })
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, Duration::as_secs_f64) * 1000.0
}
