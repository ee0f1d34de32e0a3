//! SIGKILL at random moments under honest load (I2, I3, I4, I8). `DEPUTY_TEST_KILLS` and `DEPUTY_TEST_SEED` choose how often and when.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::dice::{Dice, seed, setting};
use crate::process::Deployment;
use crate::visitor::{Answer, Line, Tokens, call, redeem, refresh, register, revoke, send, sign_in};

const VISITORS: u64 = 4;
const TEST_MAX: Duration = Duration::from_secs(300);

/// What the visitors and the one who kills share.
struct Shared {
    deployment: Deployment,
    /// Lives of the process so far: rises when it is ready.
    lives: watch::Sender<u64>,
    /// Requests sent so far.
    sent: watch::Sender<u64>,
    /// Whether the load goes on.
    goes_on: AtomicBool,
}

/// Asks again, in the next life of the process, until there is an answer.
struct Stubborn {
    shared: Arc<Shared>,
    /// Requests of this visitor that stayed without an answer.
    lost: Cell<u64>,
}

impl Line for Stubborn {
    async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Option<Answer> {
        let mut lives = self.shared.lives.subscribe();
        loop {
            let life = *lives.borrow_and_update();
            self.shared.sent.send_modify(|sent| *sent += 1);
            if let Some(answer) = send(method.clone(), url, headers, body.clone()).await {
                return Some(answer);
            }
            self.lost.set(self.lost.get() + 1);
            lives.wait_for(|now| *now > life).await.unwrap();
        }
    }

    fn origin(&self) -> &str {
        &self.shared.deployment.origin
    }
}

/// What one session left behind, to be asked again after the last kill.
struct Left {
    client: String,
    code: String,
    tokens: Tokens,
    alive: bool,
}

/// How one visitor fared.
#[derive(Default)]
struct Tale {
    left: Vec<Left>,
    lost: u64,
    refreshed: u64,
    again: u64,
}

async fn visitor(shared: Arc<Shared>, seed: u64) -> Tale {
    let line = Stubborn { shared, lost: Cell::new(0) };
    let (dice, mut tale) = (Dice::new(seed), Tale::default());
    while line.shared.goes_on.load(Ordering::SeqCst) {
        match session(&line, &dice, &mut tale.refreshed).await {
            Some(left) => tale.left.push(left),
            None => tale.again += 1,
        }
    }
    tale.lost = line.lost.get();
    tale
}

/// One session up to a live or revoked family. `None` when a kill made the person begin again, before there was anything to lose.
async fn session(line: &Stubborn, dice: &Dice, refreshed: &mut u64) -> Option<Left> {
    let client = register(line).await.unwrap();
    let lost = line.lost.get();
    let disturbed = || line.lost.get() > lost;
    let code = match sign_in(line, &client).await {
        Ok(code) => code,
        Err(answer) => {
            assert!(disturbed(), "an undisturbed sign-in failed: {answer:?}");
            return None;
        }
    };
    let lost = line.lost.get();
    let first = redeem(line, &client, &code).await.unwrap();
    if first.status == 400 && line.lost.get() > lost {
        // The answer that was lost had used it: a code is good for one family (I2).
        assert_eq!(first.error(), "invalid_grant");
        return None;
    }
    let mut tokens = first.tokens();
    for _ in 0..dice.below(6) {
        assert_eq!(call(line, &tokens.access).await, Some(200), "an acknowledged access token");
        let next = refresh(line, &client, &tokens.refresh).await.unwrap().tokens();
        if dice.below(3) == 0 {
            let same = refresh(line, &client, &tokens.refresh).await.unwrap().tokens();
            assert_eq!(same.refresh, next.refresh, "one live successor (I3)");
        }
        tokens = next;
        *refreshed += 1;
    }
    let alive = dice.below(3) > 0;
    if !alive {
        assert_eq!(revoke(line, &client, &tokens.refresh).await.unwrap().status, 200);
        ended(line, &client, &tokens).await;
    }
    Some(Left { client, code, tokens, alive })
}

/// Nothing of this family works (I4).
async fn ended(line: &Stubborn, client: &str, tokens: &Tokens) {
    let answer = refresh(line, client, &tokens.refresh).await.unwrap();
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_grant"));
    assert_eq!(call(line, &tokens.access).await, Some(401));
}

/// What was acknowledged in any life counts in the last one.
async fn settle(line: &Stubborn, left: &Left) {
    let Left { client, code, tokens, alive } = left;
    if *alive {
        let next = refresh(line, client, &tokens.refresh).await.unwrap().tokens();
        assert_eq!(call(line, &tokens.access).await, Some(200));
        assert_eq!(call(line, &next.access).await, Some(200));
    } else {
        ended(line, client, tokens).await;
    }
    let again = redeem(line, client, code).await.unwrap();
    assert_eq!((again.status, again.error().as_str()), (400, "invalid_grant"), "a redeemed code (I2)");
    ended(line, client, tokens).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_245_kill_9_at_random_moments_loses_nothing_that_was_acknowledged() {
    let (seed, kills) = (seed(), setting("DEPUTY_TEST_KILLS", 20));
    tokio::time::timeout(TEST_MAX, run(seed, kills)).await.expect("an end");
}

async fn run(seed: u64, kills: u64) {
    let dice = Dice::new(seed);
    let shared = Arc::new(Shared {
        deployment: Deployment::start().await,
        lives: watch::Sender::new(1),
        sent: watch::Sender::new(0),
        goes_on: AtomicBool::new(true),
    });
    let mut visitors = JoinSet::new();
    let on = tokio::task::LocalSet::new();
    for _ in 0..VISITORS {
        visitors.spawn_local_on(visitor(Arc::clone(&shared), dice.below(u64::MAX)), &on);
    }
    let killer = async {
        let mut sent = shared.sent.subscribe();
        for _ in 0..kills {
            let more = *sent.borrow() + 1 + dice.below(60);
            sent.wait_for(|now| *now >= more).await.unwrap();
            // The random moment itself: nothing waits for this.
            tokio::time::sleep(Duration::from_micros(dice.below(5_000))).await;
            let again = Arc::clone(&shared);
            let restarted = tokio::task::spawn_blocking(move || {
                again.deployment.kill();
                again.deployment.restart();
            });
            restarted.await.unwrap();
            shared.lives.send_modify(|lives| *lives += 1);
        }
        shared.goes_on.store(false, Ordering::SeqCst);
    };
    let tales = on.run_until(async { tokio::join!(killer, visitors.join_all()).1 }).await;
    let line = Stubborn { shared, lost: Cell::new(0) };
    let mut sum = Tale::default();
    for tale in tales {
        sum = Tale {
            lost: sum.lost + tale.lost,
            refreshed: sum.refreshed + tale.refreshed,
            again: sum.again + tale.again,
            left: sum.left.into_iter().chain(tale.left).collect(),
        };
    }
    for left in &sum.left {
        settle(&line, left).await;
    }
    assert!(sum.lost > 0 && !sum.left.is_empty(), "nothing was disturbed, so nothing was shown");
    println!(
        "kills: {kills}, sessions: {}, begun again: {}, refreshes: {}, answers lost: {}, logged out: 0",
        sum.left.len(),
        sum.again,
        sum.refreshed,
        sum.lost
    );
}
