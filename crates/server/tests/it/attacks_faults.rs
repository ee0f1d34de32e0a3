//! R26, R27 and R31 over HTTP: the store and the provider fail at each step; nobody gets what he should not, and service returns.

use std::sync::atomic::Ordering;

use http::Method;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::support::http::{Answer, Browser, get, post_form};
use crate::support::idp::Faults;
use crate::support::{HONEST, World};

/// Somebody else at the same database.
enum Intruder {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

async fn intruder(world: &World) -> Intruder {
    match world.postgres() {
        None => {
            let options = SqliteConnectOptions::new().filename(world.data.path().join("data/deputy.sqlite"));
            Intruder::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
        }
        Some(url) => Intruder::Postgres(PgConnection::connect(url).await.unwrap()),
    }
}

impl Intruder {
    async fn sql(&mut self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        match self {
            Self::Sqlite(connection) => drop(connection.execute(statement).await.unwrap()),
            Self::Postgres(connection) => drop(connection.execute(statement).await.unwrap()),
        }
    }

    /// Keeps everybody else out.
    async fn lock(&mut self) {
        match self {
            Self::Sqlite(_) => self.sql("BEGIN EXCLUSIVE").await,
            Self::Postgres(_) => self.sql(&format!("BEGIN; LOCK TABLE {}", TABLES.join(", "))).await,
        }
    }

    /// Lets a kind of write fail: `INSERT ON grants`.
    async fn fault(&mut self, site: &str) {
        let body = match self {
            Self::Sqlite(_) => "BEGIN SELECT RAISE(ABORT, 'fault'); END",
            Self::Postgres(_) => {
                self.sql("CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fault'; END $$")
                    .await;
                "FOR EACH ROW EXECUTE FUNCTION fault()"
            }
        };
        self.sql(&format!("CREATE TRIGGER fault BEFORE {site} {body}")).await;
    }

    async fn mend(&mut self, site: &str) {
        match self {
            Self::Sqlite(_) => self.sql("DROP TRIGGER fault").await,
            Self::Postgres(_) => self.sql(&format!("DROP TRIGGER fault {}", site.split_once(' ').unwrap().1)).await,
        }
    }
}

/// 503 with a time to come back, and nobody is sent anywhere.
fn outage(answer: &Answer) {
    assert_eq!(answer.assert_local().status, 503, "{}", answer.text());
    assert!(!answer.header("retry-after").is_empty());
}

const TABLES: [&str; 5] = ["grants", "words", "codes", "lines", "completed_transactions"];

#[tokio::test]
async fn a_226_a_store_that_is_gone_is_503_and_comes_back() {
    let world = World::new().await;
    let (client, access, refresh) = world.signed_in().await;
    let code = world.code(&client).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let callback = browser.open(sent.location().unwrap().as_str(), &world.at("/callback")).await.location().unwrap();

    let mut thief = intruder(&world).await;
    for table in TABLES {
        thief.sql(&format!("ALTER TABLE {table} RENAME TO gone_{table}")).await;
    }
    let exchanges = world.idp.exchanges();
    outage(&world.redeem(&client, &code).await);
    outage(&world.refresh(&client, &refresh).await);
    outage(&post_form(&world.at("/revoke"), &[("client_id", &client.id), ("token", &refresh)]).await);
    outage(&browser.open(callback.as_str(), HONEST).await);
    assert_eq!(world.idp.exchanges(), exchanges, "a code of the provider is not spent on a store that is away");
    // What asks no store goes on: access tokens carry what is needed, registrations and pages write nothing.
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!(world.call("x").await.status, 401);
    assert_eq!(get(&world.authorize_url(&world.register(HONEST).await, &[])).await.status, 200);

    for table in TABLES {
        thief.sql(&format!("ALTER TABLE gone_{table} RENAME TO {table}")).await;
    }
    assert!(browser.open(callback.as_str(), HONEST).await.sent("code").is_some(), "the same page, loaded again");
    assert_eq!(world.redeem(&client, &code).await.status, 200);
    assert_eq!(world.refresh(&client, &refresh).await.status, 200);
}

#[tokio::test]
async fn a_226_a_locked_store_is_503_and_comes_back() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    let code = world.code(&client).await;
    let mut thief = intruder(&world).await;
    thief.lock().await;
    let revocation = [("client_id", client.id.as_str()), ("token", refresh.as_str())];
    let url = world.at("/revoke");
    let (redeemed, refreshed, revoked) =
        tokio::join!(world.redeem(&client, &code), world.refresh(&client, &refresh), post_form(&url, &revocation));
    for answer in [redeemed, refreshed, revoked] {
        outage(&answer);
    }
    thief.sql("ROLLBACK").await;
    assert_eq!(world.redeem(&client, &code).await.status, 200);
    assert_eq!(world.refresh(&client, &refresh).await.status, 200);
}

/// What each step of a sign-in and a session answered, in order, until one failed.
async fn session(world: &World) -> Vec<(&'static str, Answer)> {
    let client = world.register(HONEST).await;
    let mut steps = vec![("callback", world.approve(&mut Browser::default(), &client).await)];
    let Some(code) = steps[0].1.location().and(steps[0].1.sent("code")) else { return steps };
    steps.push(("token", world.redeem(&client, &code).await));
    if steps[1].1.status != 200 {
        return steps;
    }
    let tokens = steps[1].1.json();
    let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    steps.push(("refresh", world.refresh(&client, &refresh).await));
    if steps[2].1.status != 200 {
        return steps;
    }
    steps.push(("revoke", post_form(&world.at("/revoke"), &[("client_id", &client.id), ("token", &refresh)]).await));
    if steps[3].1.status == 200 {
        let access = tokens["access_token"].as_str().unwrap();
        assert_eq!(world.call(access).await.status, 401, "an acknowledged revocation counts");
    }
    steps
}

#[tokio::test]
async fn a_227_a_fault_at_each_write_of_the_store() {
    let world = World::new().await;
    let mut thief = intruder(&world).await;
    for (site, fails) in [
        ("INSERT ON completed_transactions", "callback"),
        ("INSERT ON grants", "callback"),
        ("INSERT ON words", "callback"),
        ("INSERT ON codes", "callback"),
        ("UPDATE ON codes", "token"),
        ("INSERT ON lines", "token"),
        ("UPDATE ON lines", "refresh"),
        ("UPDATE ON grants", "revoke"),
        ("UPDATE ON feed", "revoke"),
        ("INSERT ON revocations", "revoke"),
    ] {
        let rows = world.rows().await;
        thief.fault(site).await;
        let steps = session(&world).await;
        let (step, answer) = steps.last().unwrap();
        assert_eq!(*step, fails, "{site}");
        outage(answer);
        if fails == "callback" {
            assert_eq!(world.rows().await, rows, "{site}: half a write was kept");
        }
        thief.mend(site).await;
        let steps = session(&world).await;
        assert_eq!((steps.len(), steps[3].1.status.as_u16()), (4, 200), "{site}: service returns by itself");
    }
}

#[tokio::test]
async fn a_227_a_fault_at_each_read_of_the_store() {
    let world = World::new().await;
    let mut thief = intruder(&world).await;
    for (table, fails) in [
        ("completed_transactions", "callback"),
        ("codes", "callback"),
        ("words", "callback"),
        ("lines", "token"),
        ("grants", "callback"),
    ] {
        thief.sql(&format!("ALTER TABLE {table} RENAME TO gone")).await;
        let steps = session(&world).await;
        let (step, answer) = steps.last().unwrap();
        assert_eq!(*step, fails, "{table}");
        outage(answer);
        thief.sql(&format!("ALTER TABLE gone RENAME TO {table}")).await;
        assert_eq!(session(&world).await.len(), 4, "{table}");
    }
}

#[tokio::test]
async fn a_227_a_fault_at_each_answer_of_the_provider() {
    let world = World::new().await;
    for (status, body) in
        [(500, ""), (503, ""), (429, ""), (404, "x"), (200, ""), (200, "{}"), (400, r#"{"error":"invalid_grant"}"#)]
    {
        world.idp.misbehave(Faults { token: Some((status, body.to_owned())), ..Faults::default() });
        let rows = world.rows().await;
        let steps = session(&world).await;
        assert_eq!(steps.len(), 1, "{status} {body}");
        assert!(steps[0].1.assert_local().status.as_u16() >= 400);
        assert_eq!(world.rows().await, rows);
        world.idp.misbehave(Faults::default());
        assert_eq!(session(&world).await.len(), 4, "after {status} {body}");
    }
    assert_eq!(world.backend.requests(), 0);
}

/// A-232: a page that nobody answers leaves nothing behind, so there is nothing to drop.
#[tokio::test]
async fn a_232_pending_transactions_take_no_room() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut honest = Browser::default();
    let page = honest.open(&world.authorize_url(&client, &[]), HONEST).await;
    let rows = world.rows().await;
    let (pool, url) = (crate::support::http::client(), world.authorize_url(&client, &[]));
    let many = std::env::var("DEPUTY_TEST_PAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    for _ in 0..many {
        let request = http::Request::builder().method(Method::GET).uri(&url);
        let response = pool.request(request.body(http_body_util::Full::default()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        drop(http_body_util::BodyExt::collect(response.into_body()).await.unwrap());
    }
    assert_eq!(world.rows().await, rows);
    let sent = honest.decide(&world.origin, &page.ticket(), "approve").await;
    assert!(honest.open(sent.location().unwrap().as_str(), HONEST).await.sent("code").is_some(), "the first one still works");
    assert_eq!(world.idp.authorizations.load(Ordering::SeqCst), 1);
}
