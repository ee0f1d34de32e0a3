//! Clients that prove themselves by keys which their metadata documents name (AS-33, A-168, A-169).

use std::sync::Arc;

use deputy_protocol::client::assertion::ASSERTION_TYPE;
use http::Method;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::assertions::Key;
use super::documents::{PATH, client, published};
use crate::support::http::{Answer, form, get, send};
use crate::support::publisher::{Page, Publisher};
use crate::support::{HONEST, VERIFIER, World, replicas};

const KEYS: &str = "/keys.json";

fn key_set(keys: &[&Key]) -> Page {
    Page::json(&json!({ "keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>() }))
}

/// A client as ChatGPT is one: RS256, keys at a URL, and `none` beside it where `listed` says so.
async fn with_keys(listed: &[&str]) -> (World, Arc<Publisher>, Key) {
    let (world, publisher) = published().await;
    let mut document = publisher.document(PATH, HONEST);
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["token_endpoint_auth_methods_supported"] = json!(listed);
    document["jwks_uri"] = json!(publisher.url(KEYS));
    let key = Key::rsa(Algorithm::RS256, "first");
    publisher.publish(PATH, Page::json(&document));
    publisher.publish(KEYS, key_set(&[&key]));
    (world, publisher, key)
}

fn assertion(world: &World, publisher: &Publisher, key: &Key, jti: &str) -> String {
    let (id, now) = (publisher.url(PATH), world.clock.seconds());
    key.sign(&json!({ "iss": id, "sub": id, "aud": world.origin, "exp": now + 60, "iat": now, "jti": jti }))
}

async fn token(world: &World, pairs: &[(&str, &str)], assertion: Option<&str>) -> Answer {
    let mut pairs = pairs.to_vec();
    pairs.extend(assertion.map(|assertion| ("client_assertion", assertion)));
    pairs.extend(assertion.map(|_| ("client_assertion_type", ASSERTION_TYPE)));
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    send(Method::POST, &world.at("/token"), &headers, form(&pairs)).await
}

fn is(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (status, Some(error)), "{}", answer.text());
}

#[tokio::test]
async fn as_33_a_169_a_client_with_keys_signs_in_with_them_alone() {
    let (world, publisher, key) = with_keys(&["private_key_jwt"]).await;
    let client = client(&publisher, PATH);
    let code = world.code(&client).await;
    assert_eq!(publisher.requests(KEYS), 0, "nobody needed them yet");
    let redeem =
        [("grant_type", "authorization_code"), ("client_id", client.id.as_str()), ("code", &code), ("code_verifier", VERIFIER)];
    is(&token(&world, &redeem, None).await, 401, "invalid_client");
    let stranger = Key::rsa(Algorithm::RS256, "first");
    is(&token(&world, &redeem, Some(&assertion(&world, &publisher, &stranger, "s"))).await, 401, "invalid_client");
    let once = assertion(&world, &publisher, &key, "once");
    let tokens = token(&world, &redeem, Some(&once)).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let refresh = tokens.json()["refresh_token"].as_str().unwrap().to_owned();
    let refresh = [("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", &refresh)];
    is(&token(&world, &refresh, None).await, 401, "invalid_client");
    is(&token(&world, &refresh, Some(&once)).await, 401, "invalid_client");
    let again = token(&world, &refresh, Some(&assertion(&world, &publisher, &key, "again"))).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert!((1..=replicas::count()).contains(&publisher.requests(KEYS)));
}

#[tokio::test]
async fn as_33_a_document_that_allows_none_lets_its_client_come_either_way() {
    let (world, publisher, key) = with_keys(&["none", "private_key_jwt"]).await;
    let client = client(&publisher, PATH);
    let tokens = world.redeem(&client, &world.code(&client).await).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let refresh = tokens.json()["refresh_token"].as_str().unwrap().to_owned();
    let refresh = [("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", &refresh)];
    // What is presented is checked, needed or not.
    let stranger = assertion(&world, &publisher, &Key::rsa(Algorithm::RS256, "first"), "s");
    is(&token(&world, &refresh, Some(&stranger)).await, 401, "invalid_client");
    assert_eq!(token(&world, &refresh, Some(&assertion(&world, &publisher, &key, "1"))).await.status, 200);
}

#[tokio::test]
async fn as_33_keys_are_followed_when_they_change_and_survive_an_outage() {
    if replicas::count() > 1 {
        return; // Each has keys of its own.
    }
    let (world, publisher, first) = with_keys(&["private_key_jwt"]).await;
    let pairs = [("grant_type", "authorization_code"), ("code", "dpc_x"), ("code_verifier", VERIFIER)];
    let mut number = 0;
    let mut ask = async |key: &Key| {
        number += 1;
        let answer = token(&world, &pairs, Some(&assertion(&world, &publisher, key, &number.to_string()))).await;
        answer.json()["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask(&first).await, "invalid_grant", "known: only the code is not");
    let second = Key::rsa(Algorithm::RS256, "second");
    publisher.publish(KEYS, key_set(&[&second]));
    // Five minutes at most, though the host of the keys says nothing.
    world.clock.advance(301);
    assert_eq!((ask(&first).await.as_str(), ask(&second).await.as_str()), ("invalid_client", "invalid_grant"));
    publisher.publish(KEYS, Page::failure(503));
    world.clock.advance(301);
    assert_eq!((ask(&first).await.as_str(), ask(&second).await.as_str()), ("invalid_client", "invalid_grant"));
    // For an hour, and not for a day: the thief of a key may be who keeps its owner's host away.
    world.clock.advance(3600);
    assert_eq!(ask(&second).await, "temporarily_unavailable");
    publisher.publish(KEYS, key_set(&[&second]));
    world.clock.advance(31);
    assert_eq!(ask(&second).await, "invalid_grant");
    // Whoever takes its keys back, or puts something else there, means it.
    for gone in [json!({ "keys": [] }), json!({ "keys": [{ "kty": "new" }] }), json!({ "no": "keys" })] {
        publisher.publish(KEYS, Page::json(&gone));
        world.clock.advance(301);
        assert_eq!(ask(&second).await, "invalid_client", "{gone}");
        publisher.publish(KEYS, key_set(&[&second]));
        world.clock.advance(301);
        assert_eq!(ask(&second).await, "invalid_grant");
    }
}

#[tokio::test]
async fn as_32_as_33_a_168_keys_that_are_none_are_refused() {
    let (world, publisher) = published().await;
    let edit = |members: Value| {
        let mut document = publisher.document(PATH, HONEST);
        document["token_endpoint_auth_method"] = json!("private_key_jwt");
        document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        publisher.publish(PATH, Page::json(&document));
    };
    for (members, reason) in [
        (json!({}), "document_keys"),
        (json!({ "jwks": { "keys": [] } }), "document_keys"),
        (json!({ "jwks": { "keys": [{ "kty": "EC" }] } }), "document_keys"),
        (json!({ "jwks": { "keys": [{ "kty": "oct", "k": "AA" }] } }), "document_secret"),
        (json!({ "jwks": { "keys": [{ "kty": "RSA", "n": "AA", "e": "AQAB", "dp": "AA" }] } }), "document_keys"),
        (json!({ "jwks_uri": "https://u@app.test/keys" }), "document_keys"),
        (json!({ "jwks_uri": "http://127.0.0.1/keys" }), "document_keys"),
    ] {
        edit(members.clone());
        let page = get(&world.authorize_url(&client(&publisher, PATH), &[])).await;
        page.assert_local();
        assert!(page.text().contains(reason), "{members} {}", page.text());
    }
    // AS-30: what a document names is fetched under the same guard.
    edit(json!({ "jwks_uri": "https://10.0.0.1/keys" }));
    assert_eq!(get(&world.authorize_url(&client(&publisher, PATH), &[])).await.status, 200);
    let pairs = [("grant_type", "authorization_code"), ("code", "dpc_x"), ("code_verifier", VERIFIER)];
    let key = Key::rsa(Algorithm::RS256, "k");
    is(&token(&world, &pairs, Some(&assertion(&world, &publisher, &key, "1"))).await, 503, "temporarily_unavailable");
}
