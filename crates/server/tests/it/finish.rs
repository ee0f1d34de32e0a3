//! The last page of plain-http loopback deployments: the account is named before the code leaves.

use crate::support::http::{Answer, Browser};
use crate::support::{Client, HONEST, World};

/// A sign-in up to the last page.
async fn last_page(world: &World, client: &Client) -> (Browser, Answer) {
    let mut browser = Browser::wary();
    let page = world.approve(&mut browser, client).await;
    assert!(page.is_last_page(), "{} {}", page.status, page.text());
    (browser, page)
}

async fn grants(world: &World) -> i64 {
    world.rows().await.iter().find(|(table, _)| *table == "grants").unwrap().1
}

#[tokio::test]
async fn a_039_the_account_is_named_before_the_code_leaves() {
    let world = World::new().await;
    "carol".clone_into(&mut world.idp.person.lock().unwrap());
    let client = world.register(HONEST).await;
    let (mut browser, page) = last_page(&world, &client).await;
    assert!(page.text().contains("carol"));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(grants(&world).await, 0, "nothing is written before the decision");
    let end = browser.finish(&page, "approve").await;
    assert!(end.sent("code").is_some() && end.sent("iss").is_some());
}

#[tokio::test]
async fn a_039_not_you_is_an_answer() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let (mut browser, page) = last_page(&world, &client).await;
    let end = browser.finish(&page, "deny").await;
    assert_eq!((end.sent("error").as_deref(), end.sent("code")), (Some("access_denied"), None));
    assert_eq!(grants(&world).await, 0);
}

/// The transaction ends once, however often the button is pressed and from whichever browser.
#[tokio::test]
async fn a_036_the_last_page_gives_one_code() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let (mut browser, page) = last_page(&world, &client).await;
    assert!(browser.finish(&page, "approve").await.sent("code").is_some());
    for _ in 0..3 {
        browser.finish(&page, "approve").await.assert_local();
    }
    assert_eq!(grants(&world).await, 1);
}

/// Login CSRF: the attacker's own last page, posted from elsewhere by the victim's browser.
#[tokio::test]
async fn a_010_the_last_page_counts_from_our_own_page_only() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let (_, page) = last_page(&world, &client).await;
    for origin in ["https://evil.test", "http://localhost:1", "null"] {
        let body = crate::support::http::form(&[("ticket", &page.ticket()), ("decision", "approve")]);
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin), ("accept", "text/html")];
        let answer = crate::support::http::send(http::Method::POST, &world.at("/finish"), &headers, body).await;
        assert_eq!(answer.assert_local().status, 403, "{origin}");
    }
    assert_eq!(grants(&world).await, 0);
}

/// A forged, altered or foreign ticket finishes nothing, and an old one says what to do.
#[tokio::test]
async fn a_043_the_last_page_takes_its_own_tickets_in_time() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let consent = Browser::default().open(&world.authorize_url(&client, &[]), HONEST).await.ticket();
    let (mut browser, page) = last_page(&world, &client).await;
    let mut foreign = page;
    let body = foreign.text();
    foreign.body = body.replace(&foreign.ticket(), &consent).into();
    assert_eq!(browser.finish(&foreign, "approve").await.assert_local().status, 400);
    let (mut late, page) = last_page(&world, &client).await;
    world.clock.advance(601);
    let end = late.finish(&page, "approve").await;
    assert!(end.assert_local().text().contains("Start again"), "{}", end.text());
    assert_eq!(grants(&world).await, 0);
}
