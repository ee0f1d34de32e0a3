//! Honest visitors in great number, who ask again until there is an answer, and write down what they asked and what came.

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use crate::checker::{Rule, check};
use crate::dice::Dice;
use crate::process::Deployment;
use crate::record::{Ask, Event, Log, Mark, Outcome};
use crate::visitor::{Answer, Line, NoAnswer, Tokens, called, redeem, refresh, register, revoke, send_to, sign_in};

/// Within this time after a fault the service is back, and nobody touched it (I12).
const RECOVERY: Duration = Duration::from_secs(90);
/// How long a visitor waits before it asks again.
const PAUSE: Duration = Duration::from_millis(20);
/// By when a revocation has reached every process.
const EVERYWHERE: Duration = Duration::from_millis(2_100);

/// What the visitors and the one who disturbs them share.
pub struct World {
    pub deployment: Deployment,
    log: Log,
    /// Requests sent so far.
    sent: watch::Sender<u64>,
    /// Refreshes that were granted so far.
    granted: watch::Sender<u64>,
    goes_on: AtomicBool,
    /// Whether the clock of the processes jumps.
    jumps: bool,
}

/// How many visitors, and how many sessions each has at a time.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub visitors: u64,
    pub sessions: usize,
}

pub const CROWD: Crowd = Crowd { visitors: 4, sessions: 4 };

/// One visitor's way to the processes: each request to the next of them in turn.
struct Caller {
    world: Arc<World>,
    turn: Cell<usize>,
    /// Requests that may have been taken, and whose sender does not know.
    open: Cell<u64>,
}

/// One try at one process.
struct Once<'a> {
    caller: &'a Caller,
    replica: usize,
    sent: Cell<bool>,
}

/// A session: a client, the code that began it, and the last tokens.
struct Session {
    client: String,
    code: String,
    tokens: Tokens,
}

/// A request whose every try is written down.
#[derive(Clone, Copy)]
enum Job<'a> {
    Redeem(&'a str, &'a str),
    Refresh(&'a Session),
    Revoke(&'a Session),
    Call(&'a str),
}

impl Job<'_> {
    fn ask(self) -> Ask {
        match self {
            Self::Redeem(_, code) => Ask::Redeem(Mark::of(code)),
            Self::Refresh(session) => Ask::Refresh(Mark::of(&session.tokens.refresh)),
            Self::Revoke(session) => Ask::Revoke(Mark::of(&session.tokens.refresh)),
            Self::Call(access) => Ask::Call(Mark::of(access)),
        }
    }

    async fn send(self, line: &impl Line) -> Option<Answer> {
        match self {
            Self::Redeem(client, code) => redeem(line, client, code).await,
            Self::Refresh(session) => refresh(line, &session.client, &session.tokens.refresh).await,
            Self::Revoke(session) => revoke(line, &session.client, &session.tokens.refresh).await,
            Self::Call(access) => called(line, access).await,
        }
    }
}

impl Line for Once<'_> {
    async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Option<Answer> {
        self.caller.world.sent.send_modify(|sent| *sent += 1);
        let ours = url.starts_with(self.origin());
        let port = ours.then(|| self.caller.world.deployment.port(self.replica));
        let answer = send_to(port, method, url, headers, body).await;
        self.sent.set(answer.as_ref().err() != Some(&NoAnswer::NotSent));
        answer.ok()
    }

    fn origin(&self) -> &str {
        &self.caller.world.deployment.origin
    }
}

impl Line for Caller {
    /// Asks again until there is an answer.
    async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Option<Answer> {
        let began = Instant::now();
        loop {
            let once = self.once(self.next());
            if let Some(answer) = once.ask(method.clone(), url, headers, body.clone()).await {
                self.open.set(self.open.get() + u64::from(answer.status == 503));
                return Some(answer);
            }
            self.open.set(self.open.get() + u64::from(once.sent.get()));
            rest(began).await;
        }
    }

    fn origin(&self) -> &str {
        &self.world.deployment.origin
    }
}

async fn rest(began: Instant) {
    assert!(began.elapsed() < RECOVERY, "service did not return by itself (I12)");
    tokio::time::sleep(PAUSE).await;
}

impl Caller {
    fn new(world: &Arc<World>, who: u64) -> Self {
        Self { world: Arc::clone(world), turn: Cell::new(usize::try_from(who).unwrap()), open: Cell::new(0) }
    }

    fn next(&self) -> usize {
        self.turn.set(self.turn.get() + 1);
        self.turn.get() % self.world.deployment.processes()
    }

    fn once(&self, replica: usize) -> Once<'_> {
        Once { caller: self, replica, sent: Cell::new(false) }
    }

    /// Asks one process after the other until one of them decides.
    async fn decided(&self, job: Job<'_>) -> Answer {
        let (began, mut again) = (Instant::now(), false);
        loop {
            if let Some(answer) = self.tried(job, self.next(), &mut again).await {
                return answer;
            }
            rest(began).await;
        }
    }

    /// One try; `None` when nothing is decided.
    async fn tried(&self, job: Job<'_>, replica: usize, again: &mut bool) -> Option<Answer> {
        let (once, sent) = (self.once(replica), self.world.log.now());
        let answer = job.send(&once).await;
        if !once.sent.get() {
            return None;
        }
        let (ask, outcome) = (job.ask(), Outcome::of(job.ask(), answer.as_ref()));
        self.write(Event { replica, sent, done: self.world.log.now(), ask, outcome, again: *again });
        if matches!((ask, outcome), (Ask::Refresh(_), Outcome::Tokens { .. })) {
            self.world.granted.send_modify(|granted| *granted += 1);
        }
        *again |= outcome.is_open();
        answer.filter(|_| !outcome.is_open())
    }

    fn write(&self, event: Event) {
        self.world.log.add(event);
    }

    /// A sign-in. `None` when the person has to begin again.
    async fn begin(&self) -> Option<Session> {
        let client = register(self).await.unwrap();
        let (open, sent) = (self.open.get(), self.world.log.now());
        let signed_in = sign_in(self, &client).await;
        let outcome = match &signed_in {
            Ok(code) => Outcome::Code(Mark::of(code)),
            Err(answer) => Outcome::of(Ask::Approve, answer.as_ref()),
        };
        let (done, again) = (self.world.log.now(), self.open.get() > open);
        self.write(Event { replica: 0, sent, done, ask: Ask::Approve, outcome, again });
        let code = signed_in.ok()?;
        let answer = self.decided(Job::Redeem(&client, &code)).await;
        (answer.status == 200).then(|| Session { tokens: answer.tokens(), client, code })
    }

    /// Uses a session for a while. Whether it is still one.
    async fn continues(&self, session: &mut Session, dice: &Dice) -> bool {
        self.decided(Job::Call(&session.tokens.access)).await;
        match dice.below(12) {
            0 => _ = self.decided(Job::Revoke(session)).await,
            // Somebody else has the code as well (AS-64).
            1 => _ = self.decided(Job::Redeem(&session.client, &session.code)).await,
            _ => return self.renewed(session, dice).await,
        }
        self.decided(Job::Refresh(session)).await;
        self.decided(Job::Call(&session.tokens.access)).await;
        false
    }

    async fn renewed(&self, session: &mut Session, dice: &Dice) -> bool {
        let job = Job::Refresh(session);
        let answer = match dice.below(4) {
            // Two processes of one client (AS-86).
            0 => tokio::join!(self.decided(job), self.decided(job)).0,
            1 => {
                self.decided(job).await;
                self.decided(job).await
            }
            _ => self.decided(job).await,
        };
        if answer.status == 200 {
            session.tokens = answer.tokens();
        }
        answer.status == 200
    }

    /// What was acknowledged at any time counts at the end, at every process.
    async fn settle(&self, mut live: VecDeque<Session>, ended: Vec<Session>) {
        for session in &mut live {
            self.everywhere(session).await;
            let answer = self.decided(Job::Refresh(session)).await;
            if answer.status == 200 {
                session.tokens = answer.tokens();
                self.everywhere(session).await;
            }
        }
        tokio::time::sleep(EVERYWHERE).await;
        for session in &ended {
            self.everywhere(session).await;
            self.decided(Job::Refresh(session)).await;
        }
    }

    async fn everywhere(&self, session: &Session) {
        for replica in 0..self.world.deployment.processes() {
            self.tried(Job::Call(&session.tokens.access), replica, &mut false).await;
        }
    }
}

async fn visitor(world: Arc<World>, who: u64, seed: u64, sessions: usize) {
    let (caller, dice) = (Caller::new(&world, who), Dice::new(seed));
    let (mut live, mut ended) = (VecDeque::new(), Vec::new());
    while world.goes_on.load(Ordering::SeqCst) {
        if live.len() < sessions {
            live.extend(caller.begin().await);
        } else if let Some(mut session) = live.pop_front() {
            match caller.continues(&mut session, &dice).await {
                true => live.push_back(session),
                false => ended.push(session),
            }
        }
    }
    caller.settle(live, ended).await;
}

impl World {
    pub fn new(deployment: Deployment) -> Arc<Self> {
        Arc::new(Self::of(deployment, false))
    }

    /// One in which the clock jumps.
    pub fn jumping(deployment: Deployment) -> Arc<Self> {
        Arc::new(Self::of(deployment, true))
    }

    fn of(deployment: Deployment, jumps: bool) -> Self {
        let (sent, granted) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { deployment, log: Log::new(), sent, granted, goes_on: AtomicBool::new(true), jumps }
    }

    /// Waits until so many more requests were sent.
    pub async fn requests(&self, more: u64) {
        let mut sent = self.sent.subscribe();
        let until = *sent.borrow() + more;
        sent.wait_for(|now| *now >= until).await.unwrap();
    }

    /// Waits until a refresh is granted again, and says how long that took.
    pub async fn recovers(&self) -> Duration {
        let (mut granted, began) = (self.granted.subscribe(), Instant::now());
        let until = *granted.borrow() + 1;
        let again = tokio::time::timeout(RECOVERY, granted.wait_for(|now| *now >= until)).await;
        again.expect("service did not return by itself (I12)").unwrap();
        began.elapsed()
    }

    /// Lets the crowd in, and keeps it until `faults` are over. Then everything is judged; `faults` says what it did.
    pub async fn under(self: &Arc<Self>, name: &str, crowd: Crowd, seed: u64, faults: impl Future<Output = String>) {
        let (dice, local, mut visitors) = (Dice::new(seed), LocalSet::new(), JoinSet::new());
        for who in 0..crowd.visitors {
            let seed = dice.below(u64::MAX);
            visitors.spawn_local_on(visitor(Arc::clone(self), who, seed, crowd.sessions), &local);
        }
        let faults = async {
            let said = faults.await;
            self.goes_on.store(false, Ordering::SeqCst);
            said
        };
        let (said, ()) = local.run_until(async { tokio::join!(faults, all(visitors)) }).await;
        self.judge(name, &said);
    }

    fn judge(&self, name: &str, said: &str) {
        let (mut events, witness) = (self.log.events(), self.deployment.witness());
        // A sign-in in the middle of which the clock jumps gets a page that says so.
        events.retain(|event| !self.jumps || event.ask != Ask::Approve || matches!(event.outcome, Outcome::Code(_)));
        let (counts, mut violations) = check(&events, &witness);
        let found = violations.len();
        violations.retain(|violation| !self.jumps || violation.rule.needs_no_clock());
        let unheard = witness.said.iter().filter(|line| line.contains("nobody heard what the provider answered")).count();
        let asked = witness.provider.len();
        let said =
            if self.jumps { format!("{said}, refused by the wrong clock {}", found - violations.len()) } else { said.to_owned() };
        let said = if asked > 0 { format!("{said}, provider asked {asked}, unheard {unheard}") } else { said };
        let logouts = violations.iter().filter(|violation| violation.rule == Rule::LoggedOut).count();
        println!("\nfaults: {name}: {said}, {counts}, violations {}, involuntary logouts {logouts}", violations.len());
        // The first of each kind shows most.
        let mut shown = HashSet::new();
        for violation in violations.iter().filter(|violation| shown.insert(violation.rule)) {
            println!("violation of {:?}: {}", violation.rule, violation.detail);
        }
        if !violations.is_empty() {
            witness.said.iter().rev().take(10).rev().for_each(|line| println!("said: {line}"));
        }
        assert!(violations.is_empty(), "{} violations", violations.len());
        assert!(counts.sessions > 0 && counts.refreshes > 0, "nothing was shown");
    }
}

async fn all(mut visitors: JoinSet<()>) {
    while let Some(done) = visitors.join_next().await {
        done.unwrap();
    }
}
