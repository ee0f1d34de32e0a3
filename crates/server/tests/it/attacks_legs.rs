//! A-227, the legs to others: the provider's documents and the backend fail in each way; nothing is given out, and service returns.

use deputy_protocol::Issuer;
use deputy_server::config::IdpKind;
use http::StatusCode;
use serde_json::json;

use crate::support::clock::TestClock;
use crate::support::http::{Answer, Browser};
use crate::support::idp::{Faults, Idp};
use crate::support::scripted::{Reply, Scripted};
use crate::support::{Client, HONEST, World};

/// What the person gets who approves now.
async fn approval(world: &World, client: &Client) -> Answer {
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(client, &[]), HONEST).await;
    assert_eq!(page.status, 200, "the consent page needs no provider");
    browser.decide(&world.origin, &page.ticket(), "approve").await
}

#[tokio::test]
async fn a_227_a_provider_whose_metadata_fails() {
    let (scripted, clock) = (Scripted::start().await, std::sync::Arc::new(TestClock::new()));
    let discovery = "/.well-known/openid-configuration";
    scripted.reply(discovery, Reply::Status(503));
    let issuer = Issuer::parse(&scripted.origin).unwrap();
    let world =
        World::with_idp(Idp::start(clock.clone()).await, clock, |config| config.idps[0].kind = IdpKind::OpenId { issuer })
            .await
            .unwrap();
    let client = world.register(HONEST).await;
    let rows = world.rows().await;
    let foreign = json!({"issuer": "https://evil.test", "authorization_endpoint": "https://evil.test/a"});
    let elsewhere = Reply::Redirect(302, format!("{}/keys", scripted.origin));
    for reply in [Reply::Status(500), Reply::Status(404), Reply::Huge, Reply::Json(json!([])), Reply::Json(foreign), elsewhere] {
        scripted.reply(discovery, reply.clone());
        // A failure is remembered for a while, so that a crowd does not ask on and on.
        world.clock.advance(60);
        let answer = approval(&world, &client).await;
        assert!(answer.assert_local().status.is_server_error(), "{reply:?}: {}", answer.status);
    }
    scripted.reply(discovery, Reply::Json(scripted.document()));
    world.clock.advance(60);
    let sent = approval(&world, &client).await;
    assert!(sent.location().is_some_and(|url| url.as_str().starts_with(&scripted.origin)), "service returns: {}", sent.text());
    assert_eq!(world.rows().await, rows);
}

#[tokio::test]
async fn a_227_a_provider_whose_keys_fail() {
    let (scripted, clock) = (Scripted::start().await, std::sync::Arc::new(TestClock::new()));
    let idp = Idp::start(clock.clone()).await;
    let keys = format!("{}/keys", scripted.origin);
    let discovery = move |document: &mut serde_json::Value| document["jwks_uri"] = json!(keys);
    idp.misbehave(Faults { discovery: Some(std::sync::Arc::new(discovery)), ..Faults::default() });
    let world = World::with_idp(idp.clone(), clock, |_| ()).await.unwrap();
    let client = world.register(HONEST).await;
    let rows = world.rows().await;
    let strangers = Idp::start(world.clock.clone()).await.public_key();
    for reply in [
        Reply::Status(503),
        Reply::Status(404),
        Reply::Huge,
        Reply::Json(json!({})),
        Reply::Json(json!({"keys": []})),
        Reply::Json(json!({"keys": [strangers]})),
    ] {
        scripted.reply("/keys", reply.clone());
        world.clock.advance(60);
        let answer = world.approve(&mut Browser::default(), &client).await;
        assert!(answer.location().is_none_or(|url| !url.as_str().contains("code=")), "{reply:?}: {:?}", answer.location());
        assert_eq!(world.rows().await, rows, "{reply:?}");
    }
    scripted.reply("/keys", Reply::Json(json!({ "keys": [idp.public_key()] })));
    world.clock.advance(60);
    let code = world.code(&client).await;
    assert_eq!(world.redeem(&client, &code).await.status, 200, "service returns");
}

#[tokio::test]
async fn a_227_a_backend_that_fails() {
    let scripted = Scripted::start().await;
    let url = format!("{}/mcp", scripted.origin).parse().unwrap();
    let world = World::with(|config| config.servers[0].url = url).await;
    let (client, access, refresh) = world.signed_in().await;
    let elsewhere = Reply::Redirect(307, format!("{}/elsewhere", scripted.origin));
    for reply in [Reply::Status(500), Reply::Status(503), Reply::Status(401), Reply::Status(403), elsewhere] {
        scripted.reply("/mcp", reply.clone());
        let before = scripted.requests("/mcp").len();
        assert_eq!(world.call("x").await.status, 401);
        assert_eq!(scripted.requests("/mcp").len(), before, "a byte without a permit (I5)");
        let answer = world.call(&access).await;
        assert!(!answer.status.is_success() && !answer.status.is_redirection(), "{reply:?}: {}", answer.status);
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{reply:?}: the backend's trouble is no logout");
        assert_eq!(scripted.requests("/mcp").len(), before + 1, "{reply:?}");
    }
    assert!(scripted.requests("/elsewhere").is_empty());
    scripted.reply("/mcp", Reply::Json(json!({"jsonrpc": "2.0", "id": 1, "result": {}})));
    assert_eq!(world.call(&access).await.status, 200, "service returns");
    assert_eq!(world.refresh(&client, &refresh).await.status, 200);
}
