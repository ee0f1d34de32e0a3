//! Clients with metadata documents (AS-20…37; A-157…168), fetched over https from a host on loopback.

use std::sync::Arc;

use deputy_protocol::client::policy::DocumentPolicy;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::http::{Answer, get, send};
use crate::support::publisher::{Page, Publisher};
use crate::support::{Client, HONEST, World, replicas};

pub const PATH: &str = "/client.json";

/// A gateway that trusts the publisher, and the publisher with a good document.
pub async fn published() -> (World, Arc<Publisher>) {
    let publisher = Publisher::start().await;
    publisher.publish(PATH, Page::json(&publisher.document(PATH, HONEST)));
    (World::with(|config| publisher.trusted(config)).await, publisher)
}

pub fn client(publisher: &Publisher, path: &str) -> Client {
    Client { id: publisher.url(path), secret: None, redirect: HONEST.to_owned() }
}

async fn visit(world: &World, client: &Client) -> Answer {
    get(&world.authorize_url(client, &[])).await
}

/// A page that says why, and sends nobody anywhere.
fn refused(answer: &Answer, status: u16, reason: &str) {
    answer.assert_local();
    assert!(answer.status == status && answer.text().contains(reason), "{reason}: {} {}", answer.status, answer.text());
}

#[tokio::test]
async fn as_20_as_34_a_client_with_a_document_signs_in_and_is_shown_with_its_host() {
    let (world, publisher) = published().await;
    let metadata = get(&world.at("/.well-known/oauth-authorization-server")).await.json();
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
    let client = client(&publisher, PATH);
    let page = visit(&world, &client).await;
    let text = page.text();
    assert!(text.contains("Published client") && text.contains("<strong>localhost</strong>"), "{text}");
    let tokens = world.redeem(&client, &world.code(&client).await).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let call = world.call(tokens.json()["access_token"].as_str().unwrap()).await;
    assert_eq!(call.status, 200, "{}", call.text());
    let refreshed = world.refresh(&client, tokens.json()["refresh_token"].as_str().unwrap()).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert!((1..=replicas::count()).contains(&publisher.requests(PATH)));
    // AS-27: only where the document says.
    let elsewhere = get(&world.authorize_url(&client, &[("redirect_uri", "https://evil.test/cb")])).await;
    refused(&elsewhere, 400, "redirect_not_registered");
}

#[tokio::test]
async fn as_23_a_167_odd_urls_are_refused_and_nothing_is_fetched() {
    let (world, publisher) = published().await;
    let origin = publisher.url("");
    let authority = origin.trim_start_matches("https://").to_owned();
    for (id, reason) in [
        (format!("{origin}/"), "document_url"),
        (origin.clone(), "document_url"),
        (format!("{origin}{PATH}#"), "document_url"),
        (format!("{origin}{PATH}#f"), "document_url"),
        (format!("{origin}/./client.json"), "document_url"),
        (format!("{origin}/x/../client.json"), "document_url"),
        (format!("{origin}/x/%2e%2e/client.json"), "document_url"),
        (format!("https://u@{authority}{PATH}"), "document_url"),
        (format!("https://u:p@{authority}{PATH}"), "document_url"),
        (format!("https://:@{authority}{PATH}"), "document_url"),
        (format!("HTTPS://{authority}{PATH}"), "document_url"),
        (format!("https://LOCALHOST:{}{PATH}", authority.split(':').nth(1).unwrap()), "document_url"),
        (format!("https:\\\\{authority}{PATH}"), "client_unknown"),
        (format!("http://{authority}{PATH}"), "client_unknown"),
        (format!("{origin}/{}", "x".repeat(4096)), "client_unknown"),
    ] {
        let client = Client { id, ..client(&publisher, PATH) };
        let answer = visit(&world, &client).await;
        assert!(answer.status == 400 && answer.location().is_none(), "{} {}", client.id, answer.text());
        assert!(answer.text().contains(reason), "{} {}", client.id, answer.text());
    }
    assert_eq!(publisher.all_requests(), 0);
}

#[tokio::test]
async fn as_25_a_157_a_168_bad_documents_are_refused_and_not_kept() {
    let (world, publisher) = published().await;
    let client = client(&publisher, PATH);
    let good = publisher.document(PATH, HONEST);
    let with = |name: &str, value: Value| {
        let mut document = good.clone();
        document[name] = value;
        Page::json(&document)
    };
    let without = |name: &str| {
        let mut document = good.clone();
        document.as_object_mut().unwrap().remove(name);
        Page::json(&document)
    };
    let json = Page::json(&good);
    let cases = [
        (with("client_id", json!(publisher.url("/other.json"))), "document_other_client"),
        (with("client_id", json!(publisher.url("/Client.json"))), "document_other_client"),
        (with("client_id", json!(publisher.url("/client.json/"))), "document_other_client"),
        (without("client_id"), "document_other_client"),
        (without("client_name"), "document_malformed"),
        (without("redirect_uris"), "registration_redirects"),
        (with("client_secret", json!("s")), "document_secret"),
        (with("token_endpoint_auth_method", json!("client_secret_post")), "document_secret"),
        (with("token_endpoint_auth_method", json!("client_secret_jwt")), "document_secret"),
        (with("jwks", json!({"keys": [{"kty": "oct", "k": "AAAA"}]})), "document_secret"),
        (with("client_name", json!("x".repeat(6000))), "document_malformed"),
        (Page::json(&json!([good])), "document_malformed"),
        (json.clone().header("content-type", "text/html"), "document_malformed"),
        (json.clone().header("content-encoding", "gzip"), "document_malformed"),
        (json.clone().status(301).header("location", PATH), "document_missing"),
        (json.clone().status(302).header("location", &publisher.url(PATH)), "document_missing"),
        (json.clone().status(204), "document_missing"),
        (json.clone().status(404), "document_missing"),
        (json.clone().status(403), "document_missing"),
    ];
    for (times, (page, reason)) in cases.into_iter().enumerate() {
        publisher.publish(PATH, page.header("cache-control", "max-age=600"));
        refused(&visit(&world, &client).await, 400, reason);
        assert_eq!(publisher.requests(PATH), times + 1, "one request each, {reason}");
    }
    publisher.publish(PATH, json);
    assert_eq!(visit(&world, &client).await.status, 200);
    assert_eq!(publisher.all_requests(), publisher.requests(PATH));
}

#[tokio::test]
async fn as_24_as_29_a_host_that_is_away_is_asked_again_the_next_time() {
    let (world, publisher) = published().await;
    let client = client(&publisher, PATH);
    for (times, status) in [(1, 500), (2, 503), (3, 429)] {
        publisher.publish(PATH, Page::failure(status));
        let answer = visit(&world, &client).await;
        refused(&answer, 503, "document_unreachable");
        assert!(!answer.header("retry-after").is_empty() && publisher.requests(PATH) == times);
    }
    publisher.publish(PATH, Page::json(&publisher.document(PATH, HONEST)));
    assert_eq!(visit(&world, &client).await.status, 200);
    let told =
        send(Method::GET, &world.authorize_url(&self::client(&publisher, "/none"), &[]), &[("accept", "application/json")], "")
            .await;
    assert_eq!((told.status.as_u16(), told.json()["error"].as_str()), (401, Some("invalid_client")));
}

#[tokio::test]
async fn as_29_a_165_documents_are_kept_as_long_as_their_host_says() {
    if replicas::count() > 1 {
        return; // Each keeps its own.
    }
    let (world, publisher) = published().await;
    let good = Page::json(&publisher.document(PATH, HONEST));
    for (path, control, fresh) in [
        ("/a", Some("max-age=120"), 119),
        ("/b", Some("max-age=5"), 59),
        ("/c", Some("max-age=315360000"), 86399),
        ("/d", None, 3599),
    ] {
        let page = Page::json(&publisher.document(path, HONEST));
        publisher.publish(path, control.map_or(page.clone(), |control| page.header("cache-control", control)));
        let client = client(&publisher, path);
        for (pass, expected) in [(0, 1), (fresh, 1), (1, 2)] {
            world.clock.advance(pass);
            assert_eq!(visit(&world, &client).await.status, 200);
            assert_eq!(publisher.requests(path), expected, "{control:?} after {pass}");
        }
    }
    for control in ["no-store", "no-cache, max-age=600"] {
        publisher.publish(PATH, good.clone().header("cache-control", control));
        for _ in 0..2 {
            let before = publisher.requests(PATH);
            assert_eq!(visit(&world, &client(&publisher, PATH)).await.status, 200);
            assert_eq!(publisher.requests(PATH), before + 1, "{control}");
        }
    }
}

#[tokio::test]
async fn a_163_many_requests_for_one_document_are_one_fetch_whoever_gives_up() {
    if replicas::count() > 1 {
        return; // Each fetches for itself.
    }
    let (world, publisher) = published().await;
    publisher.hold(true);
    let url = world.authorize_url(&client(&publisher, PATH), &[]);
    let mut first = JoinSet::new();
    let asked = url.clone();
    first.spawn(async move { get(&asked).await.status });
    publisher.wait_for(PATH, 1).await;
    let mut others = JoinSet::new();
    for _ in 0..20 {
        let url = url.clone();
        others.spawn(async move { get(&url).await.status });
    }
    first.shutdown().await;
    publisher.hold(false);
    assert!(others.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(publisher.requests(PATH), 1);
}

/// A signed-in client: what it holds.
async fn signed_in(world: &World, client: &Client) -> String {
    let tokens = world.redeem(client, &world.code(client).await).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    tokens.json()["refresh_token"].as_str().unwrap().to_owned()
}

async fn refreshed(world: &World, client: &Client, token: &str) -> String {
    let tokens = world.refresh(client, token).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    tokens.json()["refresh_token"].as_str().unwrap().to_owned()
}

/// Past the time of a document whose host says nothing.
const EXPIRED: u64 = 3601;

#[tokio::test]
async fn an_outage_of_the_clients_host_logs_nobody_out_and_lets_nobody_in() {
    if replicas::count() > 1 {
        return; // Each has documents of its own.
    }
    let (world, publisher) = published().await;
    let client = client(&publisher, PATH);
    let token = signed_in(&world, &client).await;
    publisher.publish(PATH, Page::failure(503));
    world.clock.advance(EXPIRED);
    let token = refreshed(&world, &client, &token).await;
    let asked = publisher.requests(PATH);
    let token = refreshed(&world, &client, &token).await;
    assert_eq!(publisher.requests(PATH), asked, "a host that is away is not waited for each time");
    refused(&visit(&world, &client).await, 503, "document_unreachable");
    // What is no document any more is no word about the client either.
    publisher.publish(PATH, Page::json(&json!({})));
    world.clock.advance(31);
    let token = refreshed(&world, &client, &token).await;
    refused(&visit(&world, &client).await, 400, "document_other_client");
    // A day later nothing is known of it; it is told to come again, not that it is unknown.
    publisher.publish(PATH, Page::failure(500));
    world.clock.advance(24 * 3600);
    let late = world.refresh(&client, &token).await;
    assert_eq!((late.status.as_u16(), late.json()["error"].as_str()), (503, Some("temporarily_unavailable")), "{}", late.text());
    assert!(!late.header("retry-after").is_empty());
    publisher.publish(PATH, Page::json(&publisher.document(PATH, HONEST)));
    let token = refreshed(&world, &client, &token).await;
    // Its host takes it back.
    publisher.publish(PATH, Page::failure(410));
    world.clock.advance(EXPIRED);
    let gone = world.refresh(&client, &token).await;
    assert_eq!((gone.status.as_u16(), gone.json()["error"].as_str()), (401, Some("invalid_client")), "{}", gone.text());
}

#[tokio::test]
async fn a_gateway_that_starts_while_the_clients_host_is_away_logs_nobody_out() {
    let (world, publisher) = published().await;
    let client = client(&publisher, PATH);
    let token = signed_in(&world, &client).await;
    publisher.publish(PATH, Page::failure(503));
    let world = world.restarted(|config| publisher.trusted(config)).await;
    assert_eq!(world.refresh(&client, &token).await.status, 503);
    publisher.publish(PATH, Page::json(&publisher.document(PATH, HONEST)));
    refreshed(&world, &client, &token).await;
}

#[tokio::test]
async fn as_37_i4_whom_the_operator_does_not_admit_is_not_fetched_and_loses_what_it_has() {
    let (world, publisher) = published().await;
    let client = client(&publisher, PATH);
    let token = signed_in(&world, &client).await;
    let before = publisher.all_requests();
    let hosts = |hosts: &[&str]| DocumentPolicy::Hosts(hosts.iter().map(|&host| host.to_owned()).collect());
    let mut world = world;
    for (documents, blocked, reason) in [
        (DocumentPolicy::Off, vec![], "client_not_admitted"),
        (hosts(&["claude.ai"]), vec![], "client_not_admitted"),
        (DocumentPolicy::Open, vec!["localhost".to_owned()], "client_blocked"),
        (hosts(&["localhost"]), vec![client.id.clone()], "client_blocked"),
    ] {
        let off = documents == DocumentPolicy::Off;
        world = world
            .restarted(|config| {
                publisher.trusted(config);
                config.client_policy.documents = documents;
                config.client_policy.blocked = blocked;
            })
            .await;
        refused(&visit(&world, &client).await, 400, reason);
        assert_eq!(world.refresh(&client, &token).await.status, 401);
        let metadata = get(&world.at("/.well-known/oauth-authorization-server")).await.json();
        assert_eq!(metadata["client_id_metadata_document_supported"], !off);
    }
    assert_eq!(publisher.all_requests(), before);
    let world = world
        .restarted(|config| {
            publisher.trusted(config);
            config.client_policy.documents = hosts(&["localhost"]);
        })
        .await;
    refreshed(&world, &client, &token).await;
}

#[tokio::test]
async fn as_30_a_158_documents_inside_are_not_fetched() {
    let publisher = Publisher::start().await;
    publisher.publish(PATH, Page::json(&publisher.document(PATH, HONEST)));
    let port = publisher.url("").rsplit(':').next().unwrap().to_owned();
    // On loopback itself, a gateway fetches from there, and from nowhere else inside. Elsewhere, not even that.
    let world = World::with(|config| publisher.trusted(config)).await;
    let inside = [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "[fd00::1]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
    ];
    for host in inside {
        let client = Client { id: format!("https://{host}:{port}{PATH}"), ..client(&publisher, PATH) };
        let answer = visit(&world, &client).await;
        assert!(answer.location().is_none() && [400, 503].contains(&answer.status.as_u16()), "{host} {}", answer.text());
    }
    let world = World::secure_with(|config| publisher.trusted(config)).await;
    for host in ["localhost", "127.0.0.1", "[::1]"].iter().chain(&inside) {
        let client = Client { id: format!("https://{host}:{port}{PATH}"), ..client(&publisher, PATH) };
        let answer = visit(&world, &client).await;
        answer.assert_local();
        assert!(!answer.text().contains("public address"), "which of them leads inside is not told: {}", answer.text());
    }
    assert_eq!(publisher.all_requests(), 0);
}

#[tokio::test]
async fn a_163_a_host_that_holds_its_answers_back_holds_up_nobody_else() {
    if replicas::count() > 1 {
        return; // Each has places of its own.
    }
    let (world, publisher) = published().await;
    let honest = world.register(HONEST).await;
    publisher.hold(true);
    let mut waiting = JoinSet::new();
    for n in 0..4 {
        let path = format!("/slow{n}");
        let url = world.authorize_url(&client(&publisher, &path), &[]);
        waiting.spawn(async move { get(&url).await.status });
        publisher.wait_for(&path, 1).await;
    }
    // The host has all the places that one host gets: at the same host one waits for a turn, everybody else goes on.
    let url = world.authorize_url(&client(&publisher, PATH), &[]);
    let in_turn = tokio::spawn(async move { get(&url).await.status });
    assert_eq!((visit(&world, &honest).await.status.as_u16(), publisher.requests(PATH)), (200, 0));
    publisher.hold(false);
    assert_eq!(in_turn.await.unwrap(), 200);
    assert!(waiting.join_all().await.iter().all(|status| *status == 400));
    assert_eq!(visit(&world, &client(&publisher, PATH)).await.status, 200);
}

/// Whoever invents addresses at a known client's host takes nothing from the client.
#[tokio::test]
async fn a_163_a_document_that_was_found_good_is_renewed_whatever_else_is_asked_of_its_host() {
    if replicas::count() > 1 {
        return; // Each has places of its own.
    }
    let (world, publisher) = published().await;
    let known = client(&publisher, PATH);
    assert_eq!(visit(&world, &known).await.status, 200);
    world.clock.advance(EXPIRED);
    publisher.hold(true);
    let mut waiting = JoinSet::new();
    for n in 0..20 {
        let url = world.authorize_url(&client(&publisher, &format!("/slow{n}")), &[]);
        waiting.spawn(async move { get(&url).await.status });
    }
    publisher.wait_for_some("/slow").await;
    let url = world.authorize_url(&known, &[]);
    let renewed = tokio::spawn(async move { get(&url).await.status });
    publisher.wait_for(PATH, 2).await;
    publisher.hold(false);
    assert_eq!(renewed.await.unwrap(), 200);
    waiting.abort_all();
}

#[tokio::test]
async fn as_27_a_172_a_changed_document_counts_from_the_next_sign_in_and_ends_no_grant() {
    let (world, publisher) = published().await;
    let client = client(&publisher, PATH);
    let token = signed_in(&world, &client).await;
    let mut changed = publisher.document(PATH, "https://app.test/cb");
    changed["client_name"] = json!("Another name");
    publisher.publish(PATH, Page::json(&changed));
    world.clock.advance(EXPIRED);
    refused(&visit(&world, &client).await, 400, "redirect_not_registered");
    let moved = Client { redirect: "https://app.test/cb".to_owned(), ..client.clone() };
    let page = visit(&world, &moved).await;
    assert!(page.status == 200 && page.text().contains("Another name"), "{}", page.text());
    refreshed(&world, &client, &token).await;
}
