//! Remembered decisions (CON-32, CON-34, CON-39; ): only the very same, and whenever in doubt the page.

use std::time::Duration;

use deputy_server::clock::Clock as _;
use deputy_server::{ClientAuth, ClientConfig, Config, Consent, ServerConfig};
use http::Method;

use crate::support::http::{Answer, Browser, post_form};
use crate::support::{Client, World};

const REDIRECT: &str = "https://app.test/cb";
const OTHER_REDIRECT: &str = "https://app.test/other";
const LOOPBACK: &str = "http://127.0.0.1:5000/cb";
/// As a browser says it when a program or a person opened the address.
const DIRECT: (&str, &str) = ("sec-fetch-site", "none");

fn remembering(config: &mut Config) {
    let redirects = [REDIRECT, OTHER_REDIRECT, LOOPBACK].map(str::to_owned);
    config.consent = Consent::Remember;
    config.clients = vec![ClientConfig::new("app", "App", &redirects, ClientAuth::Public).unwrap()];
    let first = config.servers[0].clone();
    config.servers.push(ServerConfig { path: "/other".to_owned(), ..first });
}

fn app() -> Client {
    Client { id: "app".to_owned(), secret: None, redirect: REDIRECT.to_owned() }
}

async fn visit(world: &World, browser: &mut Browser, changes: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
    browser.step(Method::GET, &world.authorize_url(&app(), changes), headers, String::new()).await
}

/// Whether somebody is asked: our page, and nothing of the provider.
fn asks(answer: &Answer) -> bool {
    assert!(answer.status == 200 || answer.status == 303, "{} {}", answer.status, answer.text());
    answer.status == 200
}

async fn allow(world: &World, browser: &mut Browser, page: &Answer, remember: bool, redirect: &str) -> Answer {
    let ticket = page.ticket();
    let mut fields = vec![("ticket", ticket.as_str()), ("decision", "approve")];
    fields.extend(remember.then_some(("remember", "yes")));
    let sent = browser.post_form(&world.origin, "/consent", &fields).await;
    browser.open(sent.location().unwrap().as_str(), redirect).await
}

/// To the provider and back, up to where the code goes.
async fn follow(browser: &mut Browser, sent: &Answer) -> Answer {
    browser.open(sent.location().unwrap().as_str(), REDIRECT).await
}

/// A browser whose person wished not to be asked again.
async fn known(world: &World) -> Browser {
    let mut browser = Browser::wary();
    let page = visit(world, &mut browser, &[], &[DIRECT]).await;
    assert!(page.text().contains("name=\"remember\""), "{}", page.text());
    assert!(allow(world, &mut browser, &page, true, REDIRECT).await.sent("code").is_some());
    browser
}

#[tokio::test]
async fn con_32_the_very_same_is_not_asked_again() {
    let world = World::secure_with(remembering).await;
    let mut browser = known(&world).await;
    for _ in 0..2 {
        let again = visit(&world, &mut browser, &[("state", "another"), ("code_challenge", &"A".repeat(43))], &[DIRECT]).await;
        assert!(!asks(&again));
        let end = follow(&mut browser, &again).await;
        assert!(end.sent("code").is_some_and(|_| end.sent("state").as_deref() == Some("another")), "{:?}", end.location());
    }
}

#[tokio::test]
async fn a_005_whoever_is_sent_by_another_site_is_asked() {
    let world = World::secure_with(remembering).await;
    let mut browser = known(&world).await;
    for headers in [
        vec![("sec-fetch-site", "cross-site"), ("referer", "https://evil.test/")],
        vec![("sec-fetch-site", "same-site")],
        vec![],
        vec![("sec-fetch-site", "")],
        vec![DIRECT, ("sec-purpose", "prefetch;prerender")],
    ] {
        assert!(asks(&visit(&world, &mut browser, &[], &headers).await), "{headers:?}");
    }
    assert!(asks(&visit(&world, &mut browser, &[("prompt", "consent")], &[DIRECT]).await), "the client wants a page");
    assert!(!asks(&visit(&world, &mut browser, &[], &[DIRECT]).await), "the decision still stands");
}

#[tokio::test]
async fn a_007_con_34_a_decision_is_about_the_very_same_request() {
    let world = World::secure_with(remembering).await;
    let mut browser = known(&world).await;
    let other = world.at("/other");
    for change in [("scope", "read"), ("redirect_uri", OTHER_REDIRECT), ("redirect_uri", LOOPBACK), ("resource", other.as_str())]
    {
        assert!(asks(&visit(&world, &mut browser, &[change], &[DIRECT]).await), "{change:?}");
    }
    assert!(asks(&visit(&world, &mut Browser::wary(), &[], &[DIRECT]).await), "another browser");
    let cookie = "__Host-deputy-known=dpb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let made_up = visit(&world, &mut Browser::default(), &[], &[DIRECT, ("cookie", cookie)]).await;
    assert!(asks(&made_up), "a key that we did not make");
}

/// A hostile server may send a client's browser here by a program, which looks like a person; such a request need not say for which server
/// it is. And behind some web pages is a program.
#[tokio::test]
async fn con_32_who_does_not_say_for_which_server_is_asked_and_so_is_who_hands_the_answer_on() {
    const EDITOR: &str = "https://vscode.dev/redirect";
    let world = World::secure_with(|config| {
        remembering(config);
        config.servers.pop();
        config.clients.push(ClientConfig::new("editor", "Editor", &[EDITOR.to_owned()], ClientAuth::Public).unwrap());
    })
    .await;
    let mut browser = known(&world).await;
    assert!(!asks(&visit(&world, &mut browser, &[], &[DIRECT]).await));
    assert!(asks(&visit(&world, &mut browser, &[("resource", "")], &[DIRECT]).await));
    let editor = Client { id: "editor".to_owned(), secret: None, redirect: EDITOR.to_owned() };
    let page = browser.step(Method::GET, &world.authorize_url(&editor, &[]), &[DIRECT], String::new()).await;
    assert!(page.status == 200 && !page.text().contains("name=\"remember\""), "{}", page.text());
}

#[tokio::test]
async fn a_029_many_decisions_are_one_small_cookie() {
    let world = World::secure_with(remembering).await;
    let mut browser = known(&world).await;
    let other = world.at("/other");
    for change in [("scope", "read"), ("resource", other.as_str()), ("redirect_uri", OTHER_REDIRECT)] {
        let page = visit(&world, &mut browser, &[change], &[DIRECT]).await;
        let redirect = if change.0 == "redirect_uri" { change.1 } else { REDIRECT };
        assert!(allow(&world, &mut browser, &page, true, redirect).await.sent("code").is_some(), "{change:?}");
        let again = visit(&world, &mut browser, &[change], &[DIRECT]).await;
        assert!(!asks(&again), "{change:?}");
        assert!(browser.open(again.location().unwrap().as_str(), redirect).await.sent("code").is_some());
    }
    assert_eq!(browser.cookie_names(&world.origin), ["__Host-deputy-known"]);
}

/// CON-39: who comes back from the provider must be who decided. Otherwise they are asked, knowing the account.
#[tokio::test]
async fn a_007_con_39_another_account_is_asked() {
    let world = World::secure_with(remembering).await;
    let mut browser = known(&world).await;
    *world.idp.person.lock().unwrap() = "bob".to_owned();
    let again = visit(&world, &mut browser, &[], &[DIRECT]).await;
    let end = follow(&mut browser, &again).await;
    assert!(end.is_last_page() && end.text().contains("bob"), "{} {}", end.status, end.text());
    assert!(browser.finish(&end, "approve").await.sent("code").is_some());
    let again = visit(&world, &mut browser, &[], &[DIRECT]).await;
    assert!(follow(&mut browser, &again).await.is_last_page(), "what was not asked for is not remembered");
}

#[tokio::test]
async fn con_32_only_who_wishes_it_and_only_where_it_may_be() {
    let world = World::secure_with(remembering).await;
    let mut browser = Browser::wary();
    let page = visit(&world, &mut browser, &[], &[DIRECT]).await;
    assert!(allow(&world, &mut browser, &page, false, REDIRECT).await.sent("code").is_some());
    assert!(asks(&visit(&world, &mut browser, &[], &[DIRECT]).await), "nobody wished it");
    // A client that registered itself may be anybody, and so may what listens on a port.
    let stranger = world.register(REDIRECT).await;
    for (client, redirect) in [(stranger, REDIRECT), (app(), LOOPBACK)] {
        let url = world.authorize_url(&client, &[("redirect_uri", redirect)]);
        let page = browser.step(Method::GET, &url, &[DIRECT], String::new()).await;
        assert!(!page.text().contains("name=\"remember\""), "{redirect}");
        assert!(allow(&world, &mut browser, &page, true, redirect).await.sent("code").is_some());
        assert!(asks(&browser.step(Method::GET, &url, &[DIRECT], String::new()).await), "{redirect}");
    }
}

#[tokio::test]
async fn con_32_by_default_and_on_plain_http_people_are_asked_each_time() {
    for world in [
        World::secure_with(|config| {
            remembering(config);
            config.consent = Consent::Always;
        })
        .await,
        World::with(remembering).await,
    ] {
        let mut browser = Browser::default();
        for _ in 0..2 {
            let page = visit(&world, &mut browser, &[], &[DIRECT]).await;
            assert!(asks(&page) && !page.text().contains("name=\"remember\""), "{}", world.origin);
            assert!(allow(&world, &mut browser, &page, true, REDIRECT).await.sent("code").is_some());
        }
    }
}

/// What was revoked does not come back without a question.
#[tokio::test]
async fn a_revoked_grant_is_asked_about_again() {
    for by_client in [true, false] {
        let world = World::secure_with(remembering).await;
        let mut browser = known(&world).await;
        let again = visit(&world, &mut browser, &[], &[DIRECT]).await;
        let code = follow(&mut browser, &again).await.sent("code").unwrap();
        let tokens = world.redeem(&app(), &code).await.json();
        if by_client {
            let token = tokens["refresh_token"].as_str().unwrap();
            assert_eq!(post_form(&world.at("/revoke"), &[("client_id", "app"), ("token", token)]).await.status, 200);
        } else {
            assert_eq!(world.grants().await.end_all(|_| true, world.clock.now()).await.unwrap(), 2);
        }
        assert!(asks(&visit(&world, &mut browser, &[], &[DIRECT]).await), "by client: {by_client}");
    }
}

#[tokio::test]
async fn a_decision_is_forgotten_after_thirty_days_or_by_the_operator() {
    let world = World::secure_with(remembering).await;
    let mut browser = known(&world).await;
    let days = |days: u64| Duration::from_secs(days * 24 * 3600).as_secs();
    world.clock.advance(days(30) - 1);
    assert!(!asks(&visit(&world, &mut browser, &[], &[DIRECT]).await));
    world.clock.advance(1);
    assert!(asks(&visit(&world, &mut browser, &[], &[DIRECT]).await));
    let mut browser = known(&world).await;
    world.grants().await.forget_decisions().await.unwrap();
    assert!(asks(&visit(&world, &mut browser, &[], &[DIRECT]).await));
}

/// An outage of the store costs a question, not a sign-in.
#[tokio::test]
async fn a_226_a_store_that_is_away_means_asking() {
    let world = World::secure_with(remembering).await;
    let mut browser = known(&world).await;
    world.sql("ALTER TABLE memories RENAME TO away").await;
    assert!(asks(&visit(&world, &mut browser, &[], &[DIRECT]).await));
    world.sql("ALTER TABLE away RENAME TO memories").await;
    assert!(!asks(&visit(&world, &mut browser, &[], &[DIRECT]).await));
}
