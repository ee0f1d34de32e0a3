//! Floods and guesses from one source (AS-48, AS-94, A-230): it is told to wait, everybody else goes on, and nothing is stored.

use deputy_server::Config;
use http::Method;
use serde_json::json;

use crate::support::http::{Answer, Browser, form, send};
use crate::support::{HONEST, World, replicas};

const FLOODER: (&str, &str) = ("x-forwarded-for", "8.8.8.8");
const OTHER: (&str, &str) = ("x-forwarded-for", "8.8.8.8, 9.9.9.9");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn behind_a_proxy(config: &mut Config) {
    config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
}

async fn guess(world: &World, source: (&str, &str)) -> Answer {
    let body =
        form(&[("grant_type", "refresh_token"), ("refresh_token", "dpr_x"), ("client_id", "dc_x"), ("client_secret", "x")]);
    send(Method::POST, &world.at("/token"), &[source, FORM], body).await
}

async fn register(world: &World, source: (&str, &str)) -> Answer {
    let body = json!({"redirect_uris": [HONEST], "token_endpoint_auth_method": "none"}).to_string();
    send(Method::POST, &world.at("/register"), &[source, ("content-type", "application/json")], body).await
}

fn told_to_wait(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "5"), "{}", answer.text());
}

#[tokio::test]
async fn as_94_a_thousand_guesses_are_too_many() {
    if replicas::count() > 1 {
        return; // Each counts for itself.
    }
    let world = World::with(behind_a_proxy).await;
    let (client, access, refresh) = world.signed_in().await;
    let rows = world.rows().await;
    let mut answers = Vec::new();
    for _ in 0..1000 {
        answers.push(guess(&world, FLOODER).await);
    }
    assert_eq!(answers[0].status, 401);
    let last = answers.last().unwrap();
    told_to_wait(last);
    assert_eq!(
        (last.json()["error"].as_str(), last.header("access-control-allow-origin")),
        (Some("temporarily_unavailable"), "*")
    );
    assert_eq!(guess(&world, OTHER).await.status, 401, "another source is heard");
    assert_eq!(world.rows().await, rows);
    // What others behind an address guess keeps nobody from the pages, and the other way round; a person gets a page.
    assert_eq!(register(&world, FLOODER).await.status, 201);
    while register(&world, FLOODER).await.status == 201 {}
    told_to_wait(&register(&world, FLOODER).await);
    let page = Browser::default().step(Method::GET, &world.authorize_url(&client, &[]), &[FLOODER], String::new()).await;
    told_to_wait(&page);
    assert!(page.text().contains("source_too_fast"), "{}", page.text());
    for free in ["/.well-known/oauth-authorization-server", "/jwks", "/healthz"] {
        assert_eq!(send(Method::GET, &world.at(free), &[FLOODER], "").await.status, 200, "{free}");
    }
    // What is signed in goes on.
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!(world.refresh(&client, &refresh).await.status, 200);
}

#[tokio::test]
async fn as_48_a_hosted_client_registers_for_each_of_its_people() {
    if replicas::count() > 1 {
        return; // Each counts for itself.
    }
    let world = World::with(behind_a_proxy).await;
    let mut answers = Vec::new();
    for _ in 0..700 {
        answers.push(register(&world, FLOODER).await);
    }
    let registered = answers.iter().filter(|answer| answer.status == 201).count();
    assert!(registered >= 500, "{registered}");
    told_to_wait(answers.last().unwrap());
    // Whoever comes with good credentials is not counted, behind the same address or not.
    assert_eq!(register(&world, OTHER).await.status, 201);
}

#[tokio::test]
async fn a_163_whoever_names_hosts_that_do_not_answer_is_soon_told_to_wait() {
    if replicas::count() > 1 {
        return; // Each counts for itself.
    }
    let world = World::with(behind_a_proxy).await;
    let mut tries = 0;
    let ask = async |n: i32| {
        let url = world.at(&format!("/authorize?client_id=https%3A%2F%2F10.0.0.1%2F{n}"));
        send(Method::GET, &url, &[FLOODER], "").await.status.as_u16()
    };
    while ask(tries).await == 503 {
        tries += 1;
    }
    assert!((50..60).contains(&tries) && ask(tries).await == 429, "{tries}");
    // The token endpoint asks there as well, and has an account of its own.
    let fields = "grant_type=authorization_code&code=dpc_x&code_verifier=x&client_id=https%3A%2F%2F10.0.0.1%2Fx";
    let token = async || send(Method::POST, &world.at("/token"), &[FLOODER, FORM], fields).await.status.as_u16();
    assert_eq!(token().await, 503);
    for _ in 0..60 {
        token().await;
    }
    assert_eq!(token().await, 429);
}

#[tokio::test]
async fn a_198_without_a_configured_proxy_the_header_changes_nothing() {
    let world = World::new().await;
    for _ in 0..700 {
        assert_eq!(guess(&world, FLOODER).await.status, 401);
    }
}

#[tokio::test]
async fn a_232_a_flood_of_everything_stores_nothing() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let rows = world.rows().await;
    let json = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let bad = [json[0], json[1], ("authorization", "Bearer ey.ey.ey")];
    for turn in 0..50 {
        for path in
            ["/callback?code=x&state=dps_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/stopped?about=x", "/jwks", "/nothing"]
        {
            send(Method::GET, &world.at(path), &[], "").await;
        }
        let page = send(Method::GET, &world.authorize_url(&client, &[]), &[("accept", "text/html")], "").await;
        assert_eq!(page.status, 200);
        send(Method::GET, &world.at(&format!("/authorize?client_id=https%3A%2F%2F127.0.0.1%3A9%2F{turn}")), &[], "").await;
        send(Method::POST, &world.at("/mcp"), &bad, "{}").await;
        assert_eq!(register(&world, OTHER).await.status, 201);
        assert_eq!(guess(&world, OTHER).await.status, 401);
        for (path, fields) in [
            ("/token", "grant_type=authorization_code&client_id=dc_x&code=dpc_x&code_verifier=x"),
            ("/revoke", "client_id=dc_x&token=dpr_x"),
            ("/consent", "ticket=x&decision=approve"),
            ("/finish", "ticket=x&decision=approve"),
        ] {
            send(Method::POST, &world.at(path), &[FORM], fields).await;
        }
    }
    assert_eq!(world.rows().await, rows);
}
