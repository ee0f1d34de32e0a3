//! How a backend is told who is calling, PX-17.

use std::time::Duration;

use deputy_guard::jws;
use deputy_protocol::secret::ClientSecret;
use deputy_server::config::BackendCredential;
use http::Method;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;

use crate::support::http::{claims, get, send};
use crate::support::{PING, World};

const IDENTITY: [&str; 6] =
    ["x-deputy-subject", "x-deputy-email", "x-deputy-name", "x-deputy-client", "x-deputy-client-name", "x-deputy-scope"];

async fn world(credential: BackendCredential) -> World {
    World::with(|config| config.servers[0].credential = credential).await
}

/// Calls as somebody who would like to be somebody else.
async fn call(world: &World, access: &str) {
    let bearer = format!("Bearer {access}");
    let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
    headers.extend(IDENTITY.map(|name| (name, "admin")));
    assert_eq!(send(Method::POST, &world.at("/mcp"), &headers, PING).await.status, 200);
}

#[tokio::test]
async fn a_196_an_assertion_says_who_is_calling_and_no_header_does() {
    let world = world(BackendCredential::Assertion).await;
    let (client, access, _) = world.signed_in().await;
    call(&world, &access).await;
    for name in IDENTITY {
        assert_eq!(world.backend.header(name), None, "{name}");
    }
    let sent = world.backend.header("authorization").unwrap();
    let assertion = sent.strip_prefix("Bearer ").unwrap();
    let keys: JwkSet = serde_json::from_value(get(&world.at("/jwks")).await.json()).unwrap();
    let said: Value = jws::verify::<Value>(assertion, &keys, &[Algorithm::ES256]).unwrap().into_inner();
    let (ours, now) = (claims(&access), world.clock.seconds());
    for same in ["iss", "sub", "client_id", "scope", "email"] {
        assert_eq!(said[same], ours[same], "{same}");
    }
    assert_eq!((&said["client_id"], said["exp"].as_u64(), said["iat"].as_u64()), (&client.id.into(), Some(now + 60), Some(now)));
    assert!(said["aud"].as_str().unwrap().starts_with("http://127.0.0.1:") && said["aud"] != ours["aud"], "{said}");
    // It is no access token, here or at any other server of ours.
    let back = [("authorization", sent.as_str()), ("content-type", "application/json")];
    assert_eq!(send(Method::POST, &world.at("/mcp"), &back, PING).await.status, 401);
}

#[tokio::test]
async fn an_assertion_is_used_again_for_a_while_and_by_its_token_alone() {
    let world = world(BackendCredential::Assertion).await.alone().await;
    let (_, alices, _) = world.signed_in().await;
    let sent = async |access: &str| {
        call(&world, access).await;
        world.backend.header("authorization").unwrap()
    };
    let first = sent(&alices).await;
    assert_eq!(sent(&alices).await, first);
    *world.idp.person.lock().unwrap() = "bob".to_owned();
    let (_, bobs, _) = world.signed_in().await;
    assert_eq!(claims(sent(&bobs).await.trim_start_matches("Bearer "))["sub"], claims(&bobs)["sub"]);
    world.clock.advance(Duration::from_secs(30).as_secs());
    let later = sent(&alices).await;
    assert_ne!(later, first);
    assert_eq!(claims(later.trim_start_matches("Bearer "))["sub"], claims(&alices)["sub"]);
}

#[tokio::test]
async fn a_static_token_goes_with_the_headers_and_none_goes_with_none() {
    let world = self::world(BackendCredential::Static(ClientSecret::from_text("BACKEND-CANARY".to_owned()))).await;
    let (_, access, _) = world.signed_in().await;
    call(&world, &access).await;
    assert_eq!(world.backend.header("authorization").as_deref(), Some("Bearer BACKEND-CANARY"));
    assert!(world.backend.header("x-deputy-subject").unwrap().starts_with("u_"));
    let world = self::world(BackendCredential::None).await;
    let (_, access, _) = world.signed_in().await;
    call(&world, &access).await;
    for name in IDENTITY.iter().chain(&["authorization"]) {
        assert_eq!(world.backend.header(name), None, "{name}");
    }
}
