//! the disk is full in the middle of the load, and later it is not (I8, I11, I12). The kernel's limit on the size of files stands in for
//! the disk: it cuts a write off at the same place, and needs no privilege.

use std::process::Command;

use http::Method;

use crate::process::Deployment;
use crate::visitor::{Answer, Line, Tokens, call, redeem, refresh, register, revoke, send, sign_in};

/// Room that is left when the limit is set: some sessions, and not a page more.
const ROOM: u64 = 96 * 1024;
/// More sessions than fit.
const MANY: usize = 200;

/// Requests to a process that is expected to live.
struct Direct<'a>(&'a Deployment);

impl Line for Direct<'_> {
    async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Option<Answer> {
        let answer = send(method, url, headers, body).await;
        assert!(self.0.runs(), "the process died");
        Some(answer.expect("an answer"))
    }

    fn origin(&self) -> &str {
        &self.0.origin
    }
}

/// Limits how large the process can make a file.
fn limit(deployment: &Deployment, bytes: &str) {
    let pid = deployment.pid().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
    assert!(done.expect("prlimit, of util-linux").success());
}

/// 503 with a time to come back.
fn outage(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}

struct Session {
    client: String,
    tokens: Tokens,
}

async fn signed_in(line: &Direct<'_>) -> Session {
    let client = register(line).await.unwrap();
    let code = sign_in(line, &client).await.unwrap();
    Session { tokens: redeem(line, &client, &code).await.unwrap().tokens(), client }
}

/// Refreshes in turn until the disk is full. Keeps what was acknowledged.
async fn fill(line: &Direct<'_>, sessions: &mut [Session]) -> usize {
    for turn in 0..MANY {
        let at = turn % sessions.len();
        let session = &mut sessions[at];
        let answer = refresh(line, &session.client, &session.tokens.refresh).await.unwrap();
        if answer.status != 200 {
            outage(&answer);
            return turn;
        }
        session.tokens = answer.tokens();
    }
    panic!("the disk does not fill");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_247_a_full_disk_is_an_outage_and_passes() {
    let deployment = Deployment::start().await;
    let line = Direct(&deployment);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(signed_in(&line).await);
    }
    let client = register(&line).await.unwrap();
    let code = sign_in(&line, &client).await.unwrap();

    let used =
        ["deputy.sqlite", "deputy.sqlite-wal"].map(|file| deployment.database(file).metadata().map_or(0, |data| data.len()));
    limit(&deployment, &(used.into_iter().max().unwrap() + ROOM).to_string());
    let filled = fill(&line, &mut sessions).await;
    assert!(filled > 0, "it was full from the start");
    // Not even what a checkpoint may have given back.
    limit(&deployment, "0");
    for _ in 0..3 {
        // Asking again and again changes nothing, and what exists works.
        for session in &sessions {
            outage(&refresh(&line, &session.client, &session.tokens.refresh).await.unwrap());
            outage(&revoke(&line, &session.client, &session.tokens.refresh).await.unwrap());
            assert_eq!(call(&line, &session.tokens.access).await, Some(200), "an access token needs no disk");
        }
        outage(&redeem(&line, &client, &code).await.unwrap());
        outage(&sign_in(&line, &client).await.unwrap_err().expect("an answer"));
    }

    // A crash in this state; the new process has the room that the old one lacked.
    for crash in [false, true] {
        if crash {
            limit(&deployment, "0");
            outage(&refresh(&line, &sessions[0].client, &sessions[0].tokens.refresh).await.unwrap());
            deployment.kill();
            deployment.restart();
        } else {
            limit(&deployment, "unlimited");
            assert_eq!(redeem(&line, &client, &code).await.unwrap().status, 200, "the code was not used up");
        }
        for session in &mut sessions {
            assert_eq!(call(&line, &session.tokens.access).await, Some(200));
            session.tokens = refresh(&line, &session.client, &session.tokens.refresh).await.unwrap().tokens();
            assert_eq!(call(&line, &session.tokens.access).await, Some(200));
        }
        signed_in(&line).await;
    }
    let Session { client, tokens } = &sessions[0];
    assert_eq!(revoke(&line, client, &tokens.refresh).await.unwrap().status, 200);
    assert_eq!(call(&line, &tokens.access).await, Some(401));
    println!("refreshes before the disk was full: {filled}");
}
