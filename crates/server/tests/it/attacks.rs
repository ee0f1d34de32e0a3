//! The published attacks, played with two browsers against a provider that signs in and consents without a question.

use std::process::Command;

use deputy_protocol::hooks::{Guard, remove};
use serde_json::json;

use crate::support::http::{Answer, Browser};
use crate::support::{Client, EVIL, HONEST, World};

const REMOVE: &str = "DEPUTY_TEST_REMOVE_GUARD";

/// Takes a guard out if this process was started for that.
fn weaken() {
    let names = std::env::var(REMOVE).unwrap_or_default();
    remove(&names.split(',').filter_map(Guard::named).collect::<Vec<_>>());
}

/// Runs one test of this file in a process of its own with a guard taken out, and expects the attacker to win there.
fn wins_without(guard: &str, test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("attacks::{test}")])
        .env(REMOVE, guard)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("THE ATTACKER HAS THE CODE"), "the test does not notice that {guard} are missing:\n{text}");
    assert!(!output.status.success());
}

/// No answer may carry a code to the attacker.
fn nothing_for_the_attacker(answer: &Answer) {
    let location = answer.location().map(String::from).unwrap_or_default();
    assert!(!(location.starts_with(EVIL) && location.contains("code=")), "THE ATTACKER HAS THE CODE: {location}");
}

async fn evil_client(world: &World) -> Client {
    world.register_with(json!({"client_name": "Claude", "redirect_uris": [EVIL], "token_endpoint_auth_method": "none"})).await
}

/// GHSA-c2jp-c369-7pvx: the victim finished a flow with an honest client; now opens a link of the attacker's fresh client.
#[tokio::test]
async fn a_001_a_fresh_client_does_not_ride_on_remembered_consent() {
    weaken();
    let world = World::new().await;
    let mut victim = Browser::default();
    if std::env::var(REMOVE).is_err() {
        let honest = world.register(HONEST).await;
        assert!(world.approve(&mut victim, &honest).await.sent("code").is_some());
    }
    let before = world.idp.authorizations();
    let evil = evil_client(&world).await;
    let end = victim.open(&world.authorize_url(&evil, &[]), EVIL).await;
    nothing_for_the_attacker(&end);
    assert_eq!(end.status, 200);
    assert!(!end.ticket().is_empty(), "deputy's own page");
    assert_eq!(world.idp.authorizations(), before, "the provider was not asked");
}

#[test]
fn a_001_is_noticed_without_the_consent_page() {
    wins_without("consent_page,last_page", "a_001_a_fresh_client_does_not_ride_on_remembered_consent");
}

/// GHSA-rww4-4w9c-7733: the attacker approves his own client in his own browser, and sends the provider's address to the victim.
#[tokio::test]
async fn a_031_an_approval_in_one_browser_is_worth_nothing_in_another() {
    weaken();
    let world = World::new().await;
    let evil = evil_client(&world).await;
    let mut attacker = Browser::default();
    let page = attacker.open(&world.authorize_url(&evil, &[]), EVIL).await;
    let to_idp = attacker.decide(&world.origin, &page.ticket(), "approve").await.location().unwrap();
    let mut victim = Browser::default();
    let end = victim.open(to_idp.as_str(), EVIL).await;
    nothing_for_the_attacker(&end);
    assert_eq!(end.assert_local().status, 403);
    assert_eq!(world.idp.exchanges(), 0, "the provider's code was not exchanged");
    assert_eq!(world.rows().await.iter().find(|(table, _)| *table == "grants").unwrap().1, 0);
}

#[test]
fn a_031_is_noticed_without_the_state_cookie() {
    wins_without("state_cookie,last_page", "a_031_an_approval_in_one_browser_is_worth_nothing_in_another");
}

/// The same advisory's second half: the victim's browser posts the form of the attacker's own transaction.
#[tokio::test]
async fn con_31_the_attackers_form_posted_by_the_victim_approves_nothing() {
    weaken();
    let world = World::new().await;
    let evil = evil_client(&world).await;
    let page = Browser::default().open(&world.authorize_url(&evil, &[]), EVIL).await;
    let mut victim = Browser::default();
    let mut answer = victim.decide(&world.origin, &page.ticket(), "approve").await;
    if let Some(next) = answer.location() {
        answer = victim.open(next.as_str(), EVIL).await;
    }
    nothing_for_the_attacker(&answer);
    assert_eq!(answer.assert_local().status, 403);
    assert_eq!(world.idp.authorizations(), 0);
}

#[test]
fn con_31_is_noticed_without_the_ownership_cookie() {
    wins_without("ownership_cookie,last_page", "con_31_the_attackers_form_posted_by_the_victim_approves_nothing");
}

/// CON-30 on plain-http loopback: cookies ignore the port, so another local page can put the attacker's own state cookie, genuine as it is,
/// into the victim's browser and send it to the provider.
#[tokio::test]
async fn con_30_a_planted_state_cookie_ends_on_the_last_page() {
    weaken();
    let world = World::new().await;
    let evil = evil_client(&world).await;
    let mut attacker = Browser::default();
    let page = attacker.open(&world.authorize_url(&evil, &[]), EVIL).await;
    let to_idp = attacker.decide(&world.origin, &page.ticket(), "approve").await.location().unwrap();
    let mut victim = Browser::wary();
    victim.plant(&world.origin, &attacker);
    let end = victim.open(to_idp.as_str(), EVIL).await;
    nothing_for_the_attacker(&end);
    assert!(end.is_last_page() && end.location().is_none(), "{} {}", end.status, end.text());
    for named in ["alice", "evil.test", "Claude", "Test tools"] {
        assert!(end.text().contains(named), "the last page does not name {named}");
    }
    assert_eq!(world.rows().await.iter().find(|(table, _)| *table == "grants").unwrap().1, 0);
}

#[test]
fn con_30_is_noticed_without_the_last_page() {
    wins_without("last_page", "con_30_a_planted_state_cookie_ends_on_the_last_page");
}

/// the attacker's own login, delivered into the victim's browser.
#[tokio::test]
async fn a_037_login_csrf() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut attacker = Browser::default();
    let page = attacker.open(&world.authorize_url(&client, &[]), HONEST).await;
    let to_idp = attacker.decide(&world.origin, &page.ticket(), "approve").await.location().unwrap();
    let callback = attacker.open(to_idp.as_str(), &world.at("/callback")).await.location().unwrap();
    let mut victim = Browser::default();
    assert_eq!(victim.open(callback.as_str(), HONEST).await.assert_local().status, 403);
    // The attacker's own transaction is untouched by that.
    assert!(attacker.open(callback.as_str(), HONEST).await.sent("code").is_some());
}

/// what an un-approved page leaves behind opens nothing at the callback.
#[tokio::test]
async fn a_004_nothing_before_the_approval_is_accepted_by_the_callback() {
    let world = World::new().await;
    let evil = evil_client(&world).await;
    let mut victim = Browser::default();
    victim.open(&world.authorize_url(&evil, &[]), EVIL).await;
    let names = victim.cookie_names(&world.origin);
    assert!(names.iter().all(|name| name.starts_with("deputy-own-")), "{names:?}");
    for state in ["", "x", "dps_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", names[0].trim_start_matches("deputy-own-")] {
        let end = victim.open(&format!("{}?code=x&state={state}", world.at("/callback")), EVIL).await;
        end.assert_local();
    }
    assert_eq!(world.idp.exchanges(), 0);
}

/// a person's token is a person's token.
#[tokio::test]
async fn a_038_parallel_logins_do_not_swap_identities() {
    let world = std::sync::Arc::new(World::new().await);
    let client = world.register(HONEST).await;
    // Each browser takes its step to the provider while the person is set; everything else interleaves.
    let mut callbacks = Vec::new();
    for n in 0..40 {
        let mut browser = Browser::default();
        let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
        let to_idp = browser.decide(&world.origin, &page.ticket(), "approve").await.location().unwrap();
        *world.idp.person.lock().unwrap() = format!("person-{n}");
        let callback = browser.open(to_idp.as_str(), &world.at("/callback")).await.location().unwrap();
        callbacks.push((n, browser, callback));
    }
    let finished = callbacks.into_iter().map(|(n, mut browser, callback)| {
        let (world, client) = (std::sync::Arc::clone(&world), client.clone());
        tokio::spawn(async move {
            let code = browser.open(callback.as_str(), HONEST).await.sent("code").unwrap();
            let tokens = world.redeem(&client, &code).await.json();
            let claims = crate::support::http::claims(tokens["access_token"].as_str().unwrap());
            assert_eq!(claims["idp_sub"], format!("person-{n}"));
        })
    });
    for task in finished.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Decision 1: whatever strangers send, the database does not change.
#[tokio::test]
async fn anonymous_requests_write_nothing() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let page = Browser::default().open(&world.authorize_url(&client, &[]), HONEST).await;
    let ticket = page.ticket();
    let (rows, files) = (world.rows().await, files(&world));
    let requests: [(&str, String, String); 10] = [
        ("POST", world.at("/register"), json!({"redirect_uris": [HONEST]}).to_string()),
        ("GET", world.authorize_url(&client, &[]), String::new()),
        ("HEAD", world.authorize_url(&client, &[]), String::new()),
        ("OPTIONS", world.authorize_url(&client, &[]), String::new()),
        ("POST", world.at("/consent"), format!("ticket={ticket}&decision=approve")),
        ("GET", world.at("/callback?code=x&state=dps_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), String::new()),
        ("POST", world.at("/token"), format!("grant_type=authorization_code&client_id={}&code=dpc_x&code_verifier=x", client.id)),
        ("POST", world.at("/token"), format!("grant_type=refresh_token&client_id={}&refresh_token=dpr_x", client.id)),
        ("POST", world.at("/revoke"), format!("client_id={}&token=dpr_x", client.id)),
        ("POST", world.at("/mcp"), "{}".to_owned()),
    ];
    let pool = crate::support::http::client();
    for n in 0..10_000 {
        let (method, url, body) = &requests[n % requests.len()];
        let kind = if url.ends_with("/register") { "application/json" } else { "application/x-www-form-urlencoded" };
        let request =
            http::Request::builder().method(*method).uri(url).header("content-type", kind).header("origin", &world.origin);
        let request = request.body(http_body_util::Full::new(axum::body::Bytes::from(body.clone()))).unwrap();
        let response = pool.request(request).await.unwrap();
        assert!(response.status().as_u16() < 500, "{method} {url}: {}", response.status());
        drop(http_body_util::BodyExt::collect(response.into_body()).await.unwrap());
    }
    assert_eq!(world.rows().await, rows);
    assert_eq!(self::files(&world), files);
}

/// Name, size and time of every file that holds data. `-shm` is SQLite's scratch memory for locks.
fn files(world: &World) -> Vec<(std::ffi::OsString, u64, std::time::SystemTime)> {
    let mut files: Vec<_> = std::fs::read_dir(world.data.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().ends_with("-shm"))
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().len(), entry.metadata().unwrap().modified().unwrap()))
        .collect();
    files.sort();
    files
}
