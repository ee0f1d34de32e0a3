//! Floods: many connections ask for everything that needs no credentials, while people sign in. From one source, and from as many sources
//! as there are requests.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};

use crate::Outcome;
use crate::figure::{Bar, Figure};
use crate::http::Connection;
use crate::process::Process;
use crate::visitor;

/// Connections that flood, and people who sign in meanwhile.
const FLOODERS: usize = 48;
const PEOPLE: usize = 4;
/// Most that the server's memory may grow, in MiB, and least of the sign-ins that must succeed, in percent.
const GROWTH: f64 = 32.0;
const SUCCEED: f64 = 99.0;
const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

/// Where a flood comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// One address.
    One,
    /// Another address each time.
    Many,
}

impl From {
    const fn name(self) -> &'static str {
        match self {
            Self::One => "one source",
            Self::Many => "many sources",
        }
    }

    /// The header line that the proxy in front would add.
    fn header(self, request: usize) -> String {
        let [.., b, c, d] = request.to_be_bytes();
        match self {
            Self::One => "x-forwarded-for: 20.0.0.1\r\n".to_owned(),
            Self::Many => format!("x-forwarded-for: 20.{b}.{c}.{d}\r\n"),
        }
    }
}

/// What is asked for, in turn. The metadata document lies where nothing listens.
async fn ask(connection: &mut Connection, authorize: &str, turn: usize, source: &str) -> Outcome<u16> {
    let form = format!("{FORM}{source}");
    let json = format!("{}{source}", visitor::JSON);
    let bearer = format!("{json}authorization: Bearer ey.ey.ey\r\n");
    let answer = match turn % 12 {
        0 => connection.get(authorize, source).await?,
        1 => connection.post("/register", &json, visitor::METADATA).await?,
        2 => connection.post("/token", &form, "grant_type=authorization_code&client_id=dc_x&code=dpc_x&code_verifier=x").await?,
        3 => connection.post("/token", &form, "grant_type=refresh_token&client_id=dc_x&refresh_token=dpr_x").await?,
        4 => connection.post("/consent", &form, "ticket=x&decision=approve").await?,
        5 => connection.get("/callback?code=x&state=dps_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", source).await?,
        6 => connection.post("/revoke", &form, "client_id=dc_x&token=dpr_x").await?,
        7 => connection.get("/.well-known/oauth-authorization-server", source).await?,
        8 => connection.post("/mcp", &bearer, "{}").await?,
        9 => connection.get("/stopped?about=x", source).await?,
        10 => connection.get(&format!("/authorize?client_id=https%3A%2F%2F127.0.0.1%3A9%2F{turn}"), source).await?,
        _ => connection.get(&format!("/nothing/{turn}"), source).await?,
    };
    Ok(answer.status)
}

/// Floods for a while, and measures how those fare who sign in, and what it costs.
pub(crate) async fn flood(server: &Process, from: From, lasts: Duration) -> Outcome<Vec<Figure>> {
    let mut first = server.connect().await?;
    let authorize = visitor::request_of_new_client(&mut first, &server.host).await?;
    // Until what is kept for a while has been filled.
    run(server, &authorize, from, lasts).await;
    let before = server.memory();
    let ran = run(server, &authorize, from, lasts).await;
    let growth = server.memory() - before;
    let mut times = ran.times.into_inner();
    times.sort_unstable();
    let worst = times.last().map_or(0.0, Duration::as_secs_f64);
    let median = times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64);
    let tried = ran.tried.get();
    let share = 100.0 * times.len() as f64 / tried.max(1) as f64;
    let note = format!(
        ", {} of {tried} sign-ins, {median:.3} s each, at most {worst:.3} s; beside {} requests in {} s, {} of them told to wait",
        times.len(),
        ran.requests.get(),
        lasts.as_secs(),
        ran.told_to_wait.get()
    );
    let name = from.name();
    Ok(vec![
        Figure::of(&format!("flood from {name}, sign-ins that succeed"), share, " %", note, Bar::AtLeast(SUCCEED)),
        Figure::of(
            &format!("flood from {name}, growth of memory"),
            growth,
            " MiB",
            format!(", from {before:.0} MiB"),
            Bar::AtMost(GROWTH),
        ),
    ])
}

#[derive(Default)]
struct Ran {
    requests: Cell<usize>,
    told_to_wait: Cell<usize>,
    tried: Cell<usize>,
    times: RefCell<Vec<Duration>>,
}

async fn run(server: &Process, authorize: &str, from: From, lasts: Duration) -> Ran {
    let (ran, began) = (Ran::default(), Instant::now());
    let floods = join_all((0..FLOODERS).map(async |_| {
        let mut connection = None;
        while began.elapsed() < lasts {
            let turn = ran.requests.replace(ran.requests.get() + 1);
            // Who is cut off comes again.
            let Some(mut open) = (match connection.take() {
                Some(open) => Some(open),
                None => server.connect().await.ok(),
            }) else {
                continue;
            };
            if let Ok(status) = ask(&mut open, authorize, turn, &from.header(turn)).await {
                ran.told_to_wait.set(ran.told_to_wait.get() + usize::from(status == 429));
                connection = Some(open);
            }
        }
    }));
    let people = join_all((0..PEOPLE).map(async |_| {
        while began.elapsed() < lasts {
            let (person, started) = (ran.tried.replace(ran.tried.get() + 1), Instant::now());
            let [.., c, d] = person.to_be_bytes();
            if signs_in(server, format!("x-forwarded-for: 30.0.{c}.{d}\r\n")).await.is_ok() {
                ran.times.borrow_mut().push(started.elapsed());
            }
        }
    }));
    join(floods, people).await;
    ran
}

async fn signs_in(server: &Process, source: String) -> Outcome<()> {
    let mut connection = server.connect().await?.with_header(source);
    let code = visitor::sign_in(&mut connection, &server.host).await?;
    let mut session = visitor::redeem(&mut connection, code).await?;
    visitor::refresh(&mut connection, &mut session).await
}
