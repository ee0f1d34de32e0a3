//! `POST /consent`: CON-07, CON-17, CON-18, CON-38; ….

use deputy_server::config::IdpKind;
use http::Method;

use crate::support::http::{Answer, Browser, form, send};
use crate::support::{HONEST, World};

async fn opened(world: &World) -> (Browser, Answer) {
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    (browser, page)
}

async fn post(world: &World, browser: &mut Browser, headers: &[(&str, &str)], body: String) -> Answer {
    browser.step(Method::POST, &world.at("/consent"), headers, body).await
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn a_010_a_217_only_our_own_page_decides() {
    let world = World::new().await;
    let (mut browser, page) = opened(&world).await;
    let body = form(&[("ticket", &page.ticket()), ("decision", "approve")]);
    let own = world.origin.clone();
    for headers in [
        vec![FORM],
        vec![FORM, ("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
        vec![FORM, ("origin", "null")],
        vec![FORM, ("origin", "http://localhost.evil.test")],
        vec![FORM, ("sec-fetch-site", "same-site")],
        vec![FORM, ("sec-fetch-site", "none")],
        vec![("content-type", "text/plain"), ("origin", &own)],
        vec![("content-type", "application/json"), ("origin", &own)],
    ] {
        let answer = post(&world, &mut browser, &headers, body.clone()).await;
        assert!(matches!(answer.assert_local().status.as_u16(), 403 | 415), "{headers:?}");
    }
    assert_eq!(world.idp.authorizations(), 0);
    // The transaction is still open: the real page works.
    assert_eq!(browser.decide(&world.origin, &page.ticket(), "approve").await.status, 303);
}

#[tokio::test]
async fn a_003_steps_cannot_be_skipped_or_forged() {
    let world = World::new().await;
    let (mut browser, page) = opened(&world).await;
    let (_, other) = opened(&world).await;
    let mut altered = page.ticket();
    altered.replace_range(40..41, if &altered[40..41] == "A" { "B" } else { "A" });
    for ticket in ["", "x", &altered, &other.ticket()] {
        let answer = browser.decide(&world.origin, ticket, "approve").await;
        assert!(matches!(answer.assert_local().status.as_u16(), 400 | 403), "{ticket}");
    }
    for decision in ["", "yes", "APPROVE"] {
        assert_eq!(browser.decide(&world.origin, &page.ticket(), decision).await.assert_local().status, 400);
    }
    assert_eq!(world.idp.authorizations(), 0);
}

#[tokio::test]
async fn a_012_the_first_of_two_pages_still_works_and_a_decided_one_does_not() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let first = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    assert_eq!(browser.decide(&world.origin, &first.ticket(), "approve").await.status, 303);
    assert_eq!(browser.decide(&world.origin, &first.ticket(), "approve").await.assert_local().status, 403);
}

#[tokio::test]
async fn a_013_only_post_decides() {
    let world = World::new().await;
    let (mut browser, page) = opened(&world).await;
    let url = format!("{}?{}", world.at("/consent"), form(&[("ticket", &page.ticket()), ("decision", "approve")]));
    let override_method = [("origin", world.origin.as_str()), ("x-http-method-override", "POST")];
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT] {
        assert_eq!(browser.step(method, &url, &override_method, String::new()).await.status, 405);
    }
    assert_eq!(world.idp.authorizations(), 0);
}

#[tokio::test]
async fn a_024_con_38_deny_is_final_and_tells_the_client() {
    let world = World::new().await;
    let (mut browser, page) = opened(&world).await;
    let denied = browser.decide(&world.origin, &page.ticket(), "deny").await;
    assert_eq!(denied.status, 303);
    assert!(denied.location().unwrap().as_str().starts_with(HONEST));
    assert_eq!(denied.sent("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.sent("state").as_deref(), Some("client-state"));
    assert_eq!(denied.sent("iss"), Some(world.origin.clone()));
    assert_eq!(browser.decide(&world.origin, &page.ticket(), "approve").await.assert_local().status, 403);
    assert_eq!(world.idp.authorizations(), 0);
}

#[tokio::test]
async fn a_025_transactions_in_one_browser_do_not_mix() {
    let world = World::new().await;
    let (honest, evil) = (world.register(HONEST).await, world.register("http://localhost:6666/evil").await);
    let mut browser = Browser::default();
    let one = browser.open(&world.authorize_url(&honest, &[]), HONEST).await;
    let two = browser.open(&world.authorize_url(&evil, &[]), HONEST).await;
    let approved = browser.decide(&world.origin, &one.ticket(), "approve").await;
    let end = browser.open(approved.location().unwrap().as_str(), HONEST).await;
    assert!(end.location().unwrap().as_str().starts_with(HONEST) && end.sent("code").is_some());
    // The other still waits for a decision of its own.
    assert_eq!(world.idp.authorizations(), 1);
    assert_eq!(browser.decide(&world.origin, &two.ticket(), "deny").await.sent("error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn con_17_con_18_the_state_cookie_is_set_with_the_redirect_to_the_provider_and_not_before() {
    let world = World::new().await;
    let (mut browser, page) = opened(&world).await;
    assert!(browser.cookie_names(&world.origin).iter().all(|name| !name.contains("state")));
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    assert_eq!(sent.status, 303, "A-060: never 307 or 308");
    assert!(sent.location().unwrap().as_str().starts_with(&world.idp.issuer));
    let names = browser.cookie_names(&world.origin);
    assert!(names.len() == 1 && names[0].starts_with("deputy-state-"), "{names:?}");
    let end = browser.open(sent.location().unwrap().as_str(), HONEST).await;
    assert!(end.sent("code").is_some());
    assert_eq!(browser.cookie_names(&world.origin), Vec::<String>::new(), "the state is used up");
}

#[tokio::test]
async fn a_043_a_transaction_ends_after_ten_minutes() {
    let world = World::new().await;
    let (mut browser, page) = opened(&world).await;
    world.clock.advance(601);
    assert_eq!(browser.decide(&world.origin, &page.ticket(), "approve").await.assert_local().status, 400);
    assert_eq!(world.idp.authorizations(), 0);
}

#[tokio::test]
async fn con_36_a_041_planted_cookies_mean_nothing() {
    let world = World::new().await;
    let (_, page) = opened(&world).await;
    let body = form(&[("ticket", &page.ticket()), ("decision", "approve")]);
    let name = page.header("set-cookie").split('=').next().unwrap().to_owned();
    for cookie in
        [format!("__Host-{name}=dpb_x"), format!("{name}=dpb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), format!("{name}=")]
    {
        let headers = [FORM, ("origin", world.origin.as_str()), ("cookie", cookie.as_str())];
        assert_eq!(
            send(Method::POST, &world.at("/consent"), &headers, body.clone()).await.assert_local().status,
            403,
            "{cookie}"
        );
    }
}

#[tokio::test]
async fn an_absent_provider_leaves_the_decision_open() {
    let clock = std::sync::Arc::new(crate::support::clock::TestClock::new());
    let idp = crate::support::idp::Idp::start(std::sync::Arc::clone(&clock)).await;
    // Nobody listens there.
    let world = World::with_idp(idp, clock, |config| {
        config.idps[0].kind = IdpKind::OpenId { issuer: deputy_protocol::Issuer::parse("http://127.0.0.1:9").unwrap() }
    })
    .await
    .unwrap();
    let (mut browser, page) = opened(&world).await;
    let answer = browser.decide(&world.origin, &page.ticket(), "approve").await;
    assert_eq!(answer.assert_local().status, 503);
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(browser.cookie_names(&world.origin).len(), 1, "the same button can be pressed again");
}
