//! `POST /token` and `POST /revoke`: AS-75…92; …A-108.

use std::sync::Arc;

use base64::Engine as _;
use http::Method;
use serde_json::json;

use crate::support::http::{Answer, claims, form, post_form, send};
use crate::support::{Client, HONEST, VERIFIER, World};

/// no answer of the token endpoint is kept by a cache.
fn error(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("cache-control"), "no-store");
    (answer.status.as_u16(), answer.json()["error"].as_str().unwrap().to_owned())
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(error(answer), (status, code.to_owned()), "{}", answer.text());
}

#[tokio::test]
async fn as_76_as_90_a_093_a_code_gives_an_rfc_9068_token_that_works_at_once() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let answer = world.redeem(&client, &world.code(&client).await).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("cache-control"), answer.header("content-type")),
        (200, "no-store", "application/json")
    );
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["expires_in"], &body["scope"]), (&json!("Bearer"), &json!(290), &json!("read write")));
    let access = body["access_token"].as_str().unwrap();
    let header: serde_json::Value = serde_json::from_slice(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(access.split('.').next().unwrap()).unwrap(),
    )
    .unwrap();
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let said = claims(access);
    assert_eq!(
        (&said["iss"], &said["aud"], &said["client_id"]),
        (&json!(world.origin), &json!(world.at("/mcp")), &json!(client.id))
    );
    assert!(said["sub"].as_str().unwrap().starts_with("u_"));
    assert_eq!(world.call(access).await.status, 200, "RS-23");
}

#[tokio::test]
async fn a_wrong_request_does_not_burn_the_code() {
    let world = World::new().await;
    let (client, other) = (world.register(HONEST).await, world.register("http://localhost:1/other").await);
    let code = world.code(&client).await;
    let base = [("grant_type", "authorization_code"), ("code", &code)];
    let attempt = async |extra: &[(&str, &str)]| world.token(&[&base[..], extra].concat()).await;
    let id = ("client_id", client.id.as_str());
    refused(&attempt(&[("client_id", &other.id), ("code_verifier", VERIFIER)]).await, 400, "invalid_grant");
    refused(&attempt(&[id]).await, 400, "invalid_grant");
    refused(&attempt(&[id, ("code_verifier", &"x".repeat(43))]).await, 400, "invalid_grant");
    refused(&attempt(&[id, ("code_verifier", VERIFIER), ("redirect_uri", "http://localhost:1/cb")]).await, 400, "invalid_grant");
    refused(&attempt(&[id, ("code_verifier", VERIFIER), ("resource", "https://evil.test/mcp")]).await, 400, "invalid_target"); // AS-82
    let resource = world.at("/mcp");
    let good = attempt(&[id, ("code_verifier", VERIFIER), ("redirect_uri", HONEST), ("resource", &resource)]).await;
    assert_eq!(good.status, 200, "{}", good.text());
}

#[tokio::test]
async fn a_081_as_64_a_second_use_ends_everything_of_the_first() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let code = world.code(&client).await;
    let tokens = world.redeem(&client, &code).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(world.call(access).await.status, 200);
    world.clock.advance(30);
    refused(&world.redeem(&client, &code).await, 400, "invalid_grant");
    assert_eq!(world.call(access).await.status, 401, "at once, in this process");
    refused(&world.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_081_a_replay_after_the_codes_end_counts_too() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let code = world.code(&client).await;
    let access = world.redeem(&client, &code).await.json()["access_token"].as_str().unwrap().to_owned();
    world.clock.advance(120);
    refused(&world.redeem(&client, &code).await, 400, "invalid_grant");
    assert_eq!(world.call(&access).await.status, 401);
}

#[tokio::test]
async fn a_082_a_hundred_parallel_redemptions_give_one_family_at_most() {
    let world = Arc::new(World::new().await);
    let client = world.register(HONEST).await;
    let code = world.code(&client).await;
    let attempts: Vec<_> = (0..100)
        .map(|_| {
            let (world, client, code) = (Arc::clone(&world), client.clone(), code.clone());
            tokio::spawn(async move { world.redeem(&client, &code).await.status.as_u16() })
        })
        .collect();
    let mut successes = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            200 => successes += 1,
            status => assert_eq!(status, 400),
        }
    }
    assert_eq!(successes, 1);
}

#[tokio::test]
async fn a_086_a_code_lives_sixty_seconds() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let code = world.code(&client).await;
    world.clock.advance(61);
    refused(&world.redeem(&client, &code).await, 400, "invalid_grant");
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")))
}

/// A token request whose only question is who is asking.
async fn as_client(world: &World, authorization: Option<&str>, extra: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let pairs = [&[("grant_type", "authorization_code"), ("code", "dpc_x"), ("code_verifier", VERIFIER)], extra].concat();
    send(Method::POST, &world.at("/token"), &headers, form(&pairs)).await
}

#[tokio::test]
async fn a_088_as_78_clients_authenticate_as_they_registered() {
    let world = World::new().await;
    let public = world.register(HONEST).await;
    let confidential =
        async |method: &str| world.register_with(json!({"redirect_uris": [HONEST], "token_endpoint_auth_method": method})).await;
    let (by_header, by_form) = (confidential("client_secret_basic").await, confidential("client_secret_post").await);
    let known = |answer: &Answer| refused(answer, 400, "invalid_grant"); // got past authentication
    let secret = |client: &Client| client.secret.clone().unwrap();

    known(&as_client(&world, None, &[("client_id", &public.id)]).await);
    known(&as_client(&world, Some(&basic(&by_header.id, &secret(&by_header))), &[]).await);
    known(&as_client(&world, Some(&basic(&by_header.id, &secret(&by_header))), &[("client_id", &by_header.id)]).await);
    known(&as_client(&world, None, &[("client_id", &by_form.id), ("client_secret", &secret(&by_form))]).await);

    for (authorization, extra) in [
        (Some(basic(&by_header.id, "wrong")), vec![]),
        (Some(basic(&by_header.id, &secret(&by_form))), vec![]),
        (Some(basic(&by_form.id, &secret(&by_form))), vec![]),
        (Some(basic(&public.id, "")), vec![]),
        (Some("Bearer x".to_owned()), vec![("client_id", public.id.clone())]),
        (None, vec![("client_id", by_header.id.clone())]),
        (None, vec![("client_id", by_header.id.clone()), ("client_secret", secret(&by_header))]),
        (None, vec![("client_id", by_form.id.clone()), ("client_secret", "wrong".to_owned())]),
        (None, vec![("client_id", public.id.clone()), ("client_secret", "any".to_owned())]),
    ] {
        let extra: Vec<(&str, &str)> = extra.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = as_client(&world, authorization.as_deref(), &extra).await;
        refused(&answer, 401, "invalid_client");
        assert!(answer.header("www-authenticate").starts_with("Basic"), "{authorization:?} {extra:?}");
    }
    let twice =
        as_client(&world, Some(&basic(&by_header.id, &secret(&by_header))), &[("client_secret", &secret(&by_header))]).await;
    refused(&twice, 400, "invalid_request");
}

#[tokio::test]
async fn as_49_a_094_an_unknown_client_and_a_wrong_secret_look_alike() {
    let world = World::new().await;
    let client = world.register_with(json!({"redirect_uris": [HONEST]})).await;
    let wrong = as_client(&world, Some(&basic(&client.id, "wrong")), &[]).await;
    let unknown = as_client(&world, Some(&basic("dc_gone", "wrong")), &[]).await;
    refused(&unknown, 401, "invalid_client");
    assert_eq!((wrong.status, wrong.text()), (unknown.status, unknown.text()));
}

#[tokio::test]
async fn a_090_as_75_only_a_form_in_the_body_counts() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let code = world.code(&client).await;
    let good =
        form(&[("grant_type", "authorization_code"), ("client_id", &client.id), ("code", &code), ("code_verifier", VERIFIER)]);
    let url = world.at("/token");
    assert_eq!(send(Method::GET, &format!("{url}?{good}"), &[], "").await.status, 405);
    refused(
        &send(
            Method::POST,
            &format!("{url}?client_secret=x"),
            &[("content-type", "application/x-www-form-urlencoded")],
            good.clone(),
        )
        .await,
        400,
        "invalid_request",
    );
    for kind in ["application/json", "multipart/form-data; boundary=x", "text/plain", ""] {
        refused(&send(Method::POST, &url, &[("content-type", kind)], good.clone()).await, 415, "invalid_request");
    }
    let repeated = format!("{good}&code=again");
    refused(
        &send(Method::POST, &url, &[("content-type", "application/x-www-form-urlencoded")], repeated).await,
        400,
        "invalid_request",
    );
    assert_eq!(
        send(Method::POST, &url, &[("content-type", "application/x-www-form-urlencoded;charset=UTF-8")], good).await.status,
        200
    );
}

#[tokio::test]
async fn a_091_other_grants_do_not_exist() {
    let world = World::new().await;
    for grant in [
        "password",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "implicit",
    ] {
        refused(&world.token(&[("grant_type", grant)]).await, 400, "unsupported_grant_type");
    }
}

fn refresh_token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_097_a_100_rotation_replay_and_reuse() {
    let world = World::new().await;
    let (client, _, first) = world.signed_in().await;
    let answer = world.refresh(&client, &first).await;
    let second = refresh_token(&answer);
    assert_ne!(first, second);
    // The response was lost: the same successor again, as often as need be.
    assert_eq!(refresh_token(&world.refresh(&client, &first).await), second);
    world.clock.advance(60);
    assert_eq!(refresh_token(&world.refresh(&client, &first).await), second);
    // The window has passed: somebody has a copy, and everything ends.
    let access = world.refresh(&client, &first).await.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(world.call(&access).await.status, 200);
    world.clock.advance(1);
    refused(&world.refresh(&client, &first).await, 400, "invalid_grant");
    refused(&world.refresh(&client, &second).await, 400, "invalid_grant");
    assert_eq!(world.call(&access).await.status, 401);
}

#[tokio::test]
async fn a_098_fifty_parallel_refreshes_give_one_successor_and_refuse_nobody() {
    let world = Arc::new(World::new().await);
    let (client, _, token) = world.signed_in().await;
    let attempts: Vec<_> = (0..50)
        .map(|_| {
            let (world, client, token) = (Arc::clone(&world), client.clone(), token.clone());
            tokio::spawn(async move { refresh_token(&world.refresh(&client, &token).await) })
        })
        .collect();
    let mut successors = std::collections::HashSet::new();
    for attempt in attempts {
        successors.insert(attempt.await.unwrap());
    }
    assert_eq!(successors.len(), 1);
    let next = successors.into_iter().next().unwrap();
    assert_eq!(world.refresh(&client, &next).await.status, 200, "the session lives");
}

#[tokio::test]
async fn a_102_a_104_refresh_is_bound_to_client_scope_and_resource() {
    let world = World::new().await;
    let (client, _, token) = world.signed_in().await;
    let other = world.register(HONEST).await;
    refused(&world.refresh(&other, &token).await, 400, "invalid_grant");
    let base = [("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", token.as_str())];
    for (name, value, code) in [("scope", "read admin", "invalid_scope"), ("resource", "https://evil.test/mcp", "invalid_target")]
    {
        refused(&world.token(&[&base[..], &[(name, value)]].concat()).await, 400, code);
    }
    let narrow = world.token(&[&base[..], &[("scope", "read")]].concat()).await.json();
    assert_eq!(narrow["scope"], "read");
    let wide = world.refresh(&client, narrow["refresh_token"].as_str().unwrap()).await.json();
    assert_eq!(wide["scope"], "read write", "A-105: a narrow access token does not narrow the grant");
}

#[tokio::test]
async fn as_87_a_106_idle_and_absolute_lifetime() {
    let day = 24 * 60 * 60;
    let world = World::new().await;
    let (client, _, mut token) = world.signed_in().await;
    for _ in 0..3 {
        world.clock.advance(29 * day);
        token = refresh_token(&world.refresh(&client, &token).await);
    }
    world.clock.advance(4 * day);
    refused(&world.refresh(&client, &token).await, 400, "invalid_grant");
    let (client, _, idle) = world.signed_in().await;
    world.clock.advance(31 * day);
    refused(&world.refresh(&client, &idle).await, 400, "invalid_grant");
}

#[tokio::test]
async fn as_88_who_did_not_register_for_refresh_gets_none() {
    let world = World::new().await;
    let client = world
        .register_with(
            json!({"redirect_uris": [HONEST], "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]}),
        )
        .await;
    let tokens = world.redeem(&client, &world.code(&client).await).await.json();
    assert!(tokens.get("refresh_token").is_none());
    refused(&world.refresh(&client, "dpr_x").await, 400, "unauthorized_client");
}

#[tokio::test]
async fn a_108_as_92_revocation() {
    let world = World::new().await;
    let revoke = async |client: &Client, token: &str, hint: &str| {
        post_form(&world.at("/revoke"), &[("client_id", &client.id), ("token", token), ("token_type_hint", hint)]).await
    };
    let other = world.register(HONEST).await;
    for by_refresh in [true, false] {
        let (client, access, refresh) = world.signed_in().await;
        for (token, hint) in
            [(refresh.as_str(), "refresh_token"), (&access, "access_token"), ("garbage", "x"), ("dpr_x", "access_token")]
        {
            assert_eq!(revoke(&other, token, hint).await.status, 200, "no oracle");
        }
        assert_eq!(world.call(&access).await.status, 200, "another client's revocation has no effect");
        assert_eq!(revoke(&client, if by_refresh { &refresh } else { &access }, "wrong_hint").await.status, 200);
        assert_eq!(world.call(&access).await.status, 401);
        refused(&world.refresh(&client, &refresh).await, 400, "invalid_grant");
    }
    refused(&post_form(&world.at("/revoke"), &[("client_id", "dc_x"), ("token", "x")]).await, 401, "invalid_client");
}

#[tokio::test]
async fn a_096_values_are_random_and_unique() {
    let world = World::new().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let (client, access, refresh) = world.signed_in().await;
        let jti = claims(&access)["jti"].as_str().unwrap().to_owned();
        for value in [client.id, refresh, jti] {
            assert!(value.len() >= 22 && seen.insert(value));
        }
    }
}

/// Three gateways on one store.
async fn three_gateways() -> (Arc<World>, [String; 3]) {
    let world = Arc::new(World::new().await);
    let mut token_endpoints = vec![world.at("/token")];
    for _ in 0..2 {
        let again = world.again().await;
        token_endpoints.push(format!("http://127.0.0.1:{}/token", again.origin_port));
        // Its server task holds what it needs.
        std::mem::forget(again);
    }
    (world, token_endpoints.try_into().unwrap())
}

async fn race(world: &World, endpoints: &[String; 3], attempts: usize, pairs: &[(&str, &str)]) -> Vec<Answer> {
    let host = world.origin.trim_start_matches("http://").to_owned();
    let body = form(pairs);
    let tasks: Vec<_> = (0..attempts)
        .map(|n| {
            let (url, host, body) = (endpoints[n % 3].clone(), host.clone(), body.clone());
            tokio::spawn(async move {
                let headers = [("host", host.as_str()), ("content-type", "application/x-www-form-urlencoded")];
                send(Method::POST, &url, &headers, body).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_083_a_hundred_redemptions_over_three_gateways_give_one_family_at_most() {
    let (world, endpoints) = three_gateways().await;
    let client = world.register(HONEST).await;
    for _ in 0..5 {
        let code = world.code(&client).await;
        let pairs =
            [("grant_type", "authorization_code"), ("client_id", &client.id), ("code", &code), ("code_verifier", VERIFIER)];
        let answers = race(&world, &endpoints, 100, &pairs).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 400)));
    }
}

#[tokio::test]
async fn a_099_fifty_refreshes_over_three_gateways_give_one_successor_and_refuse_nobody() {
    let (world, endpoints) = three_gateways().await;
    let (client, _, mut token) = world.signed_in().await;
    for _ in 0..5 {
        let pairs = [("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", token.as_str())];
        let answers = race(&world, &endpoints, 50, &pairs).await;
        let successors: std::collections::HashSet<_> = answers.iter().map(refresh_token).collect();
        assert_eq!(successors.len(), 1);
        token = successors.into_iter().next().unwrap();
    }
}

/// R32: who is taken off the list, and what is taken out of the configuration, is gone at the next refresh; a mistake mended in time
/// has logged nobody out.
#[tokio::test]
async fn r32_rules_and_resources_are_asked_again_at_each_refresh() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    let restart = |edit: fn(&mut deputy_server::Config)| world.again_with(edit);
    let host = world.origin.trim_start_matches("http://");
    let ask = async |again: &World, token: &str| {
        let form =
            crate::support::http::form(&[("grant_type", "refresh_token"), ("client_id", &client.id), ("refresh_token", token)]);
        let headers = [("host", host), ("content-type", "application/x-www-form-urlencoded")];
        let url = format!("http://127.0.0.1:{}/token", again.origin_port);
        crate::support::http::send(http::Method::POST, &url, &headers, form).await
    };
    let narrowed = restart(|config| config.access = deputy_protocol::access::Rules::parse(&["subject:somebody-else"]).unwrap());
    let refused = ask(&narrowed.await, &refresh).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str().unwrap()), (400, "invalid_grant"));
    let moved = restart(|config| config.servers[0].path = "/elsewhere".to_owned());
    assert_eq!(ask(&moved.await, &refresh).await.json()["error"], "invalid_target");
    let fewer = restart(|config| config.servers[0].scopes = deputy_protocol::scope::Scopes::parse("read admin").unwrap());
    let answer = ask(&fewer.await, &refresh).await.json();
    assert_eq!(answer["scope"], "read");
    let restored = restart(|_| ());
    let answer = ask(&restored.await, answer["refresh_token"].as_str().unwrap()).await.json();
    assert_eq!(answer["scope"], "read write");
}

/// the last access token ends with its grant.
#[tokio::test]
async fn a_106_an_access_token_does_not_outlive_its_grant() {
    let world = World::with(|config| config.tokens.refresh_absolute = std::time::Duration::from_secs(400)).await;
    let (client, _, refresh) = world.signed_in().await;
    world.clock.advance(390);
    let answer = world.refresh(&client, &refresh).await.json();
    assert_eq!(answer["expires_in"], 10);
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(world.call(token).await.status, 200);
    world.clock.advance(10);
    assert_eq!(world.call(token).await.status, 401);
}
