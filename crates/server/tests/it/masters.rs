//! The master secret rotates, and nobody notices: decision 8. Or it leaked, and everybody begins anew.

use std::time::Duration;

use deputy_server::MasterRotation;
use http::Method;
use serde_json::json;

use crate::support::http::{Answer, Browser, form, post_form, send};
use crate::support::{Client, HONEST, VERIFIER, World};

const DAY: u64 = 24 * 60 * 60;

/// A client with a secret.
async fn confidential(world: &World) -> Client {
    let metadata =
        json!({"client_name": "With secret", "redirect_uris": [HONEST], "token_endpoint_auth_method": "client_secret_post"});
    world.register_with(metadata).await
}

/// Whether its token endpoint takes a client for itself; the code is none.
async fn is_known(world: &World, client: &Client) -> bool {
    let secret = client.secret.as_deref().unwrap_or_default();
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("client_id", client.id.as_str()),
        ("code", "dpc_x"),
        ("code_verifier", VERIFIER),
    ];
    form.extend(client.secret.as_deref().map(|_| ("client_secret", secret)));
    match world.token(&form).await.json()["error"].as_str() {
        Some("invalid_grant") => true,
        Some("invalid_client") => false,
        other => panic!("{other:?}"),
    }
}

/// Refreshes at a process of the deployment that is known as another's.
async fn refresh_at(process: &World, known_as: &World, client: &Client, token: &str) -> Answer {
    let host = known_as.origin.trim_start_matches("http://");
    let headers = [("host", host), ("content-type", "application/x-www-form-urlencoded")];
    let fields = [("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", token)];
    send(Method::POST, &format!("http://127.0.0.1:{}/token", process.origin_port), &headers, form(&fields)).await
}

#[tokio::test]
async fn a_rotation_of_the_master_secret_signs_nobody_out() {
    let world = World::new().await;
    let with_secret = confidential(&world).await;
    let (client, access, refresh) = world.signed_in().await;
    // Somebody is in the middle of it.
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    world.rotate_master(MasterRotation::TakeOver).await;
    let world = world.restarted(|_| ()).await;
    assert_eq!(world.call(&access).await.status, 200);
    assert!(is_known(&world, &with_secret).await);
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let code = browser.open(sent.location().unwrap().as_str(), HONEST).await.sent("code").unwrap();
    assert_eq!(world.redeem(&client, &code).await.status, 200);
    // The provider's word is old by now: it is asked with its token, which lies under the old secret.
    world.clock.advance(61);
    let refreshed = world.refresh(&client, &refresh).await;
    assert_eq!((refreshed.status.as_u16(), world.idp.refreshes().len()), (200, 1), "{}", refreshed.text());
    // What is new is under the new one, beside the old.
    let (new_client, _, new_refresh) = world.signed_in().await;
    assert_eq!(world.refresh(&new_client, &new_refresh).await.status, 200);
    assert!(is_known(&world, &confidential(&world).await).await);
}

/// With several gateways: what one of them seals that has gone ahead, the others open.
#[tokio::test]
async fn a_prepared_master_secret_opens_before_it_seals() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    world.rotate_master(MasterRotation::Prepare).await;
    let prepared = world.again().await;
    world.rotate_master(MasterRotation::TakeOver).await;
    let ahead = world.again().await;
    let refreshed = refresh_at(&ahead, &world, &client, &refresh).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let successor = refreshed.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(refresh_at(&prepared, &world, &client, &successor).await.status, 200, "sealed by the new one");
    let unprepared = world.refresh(&client, &successor).await;
    assert_eq!((unprepared.status.as_u16(), unprepared.json()["error"].as_str()), (400, Some("invalid_grant")));
}

#[tokio::test]
async fn a_client_id_counts_for_the_configured_time_after_a_rotation() {
    let world = World::new().await;
    let with_secret = confidential(&world).await;
    world.rotate_master(MasterRotation::TakeOver).await;
    let world = world.restarted(|config| config.client_ids_after_rotation = Duration::from_secs(30 * DAY)).await;
    let new = confidential(&world).await;
    world.clock.advance(30 * DAY - 1);
    assert!(is_known(&world, &with_secret).await);
    world.clock.advance(1);
    assert!(!is_known(&world, &with_secret).await);
    assert!(is_known(&world, &new).await, "registered after the rotation");
    let page = Browser::default().open(&world.authorize_url(&with_secret, &[]), HONEST).await;
    assert!(page.assert_local().text().contains("client_unknown"), "{}", page.text());
}

#[tokio::test]
async fn a_leaked_master_secret_is_forgotten_with_all_that_it_sealed() {
    let world = World::new().await;
    let (client, access, refresh) = world.signed_in().await;
    let with_secret = confidential(&world).await;
    world.rotate_master(MasterRotation::ForgetOld).await;
    world.grants().await.end_all(|_| true, deputy_server::clock::Clock::now(world.clock.as_ref())).await.unwrap();
    let world = world.restarted(|_| ()).await;
    assert_eq!(world.call(&access).await.status, 401);
    assert!(!is_known(&world, &with_secret).await);
    let refused = world.refresh(&client, &refresh).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str()), (401, Some("invalid_client")), "registers anew");
    let new = world.register(HONEST).await;
    let form = [("grant_type", "refresh_token"), ("client_id", new.id.as_str()), ("refresh_token", refresh.as_str())];
    let refused = post_form(&world.at("/token"), &form).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str()), (400, Some("invalid_grant")));
    let (_, access, _) = world.signed_in().await;
    assert_eq!(world.call(&access).await.status, 200);
}

/// Signing keys rotate only when an operator says so: the first one may lie under the first master secret for years.
#[tokio::test]
async fn a_master_secret_stays_as_long_as_a_signing_key_lies_under_it() {
    let world = World::new().await;
    let (client, ..) = world.signed_in().await;
    world.rotate_master(MasterRotation::TakeOver).await;
    world.clock.advance(401 * DAY);
    world.rotate_master(MasterRotation::TakeOver).await;
    let world = world.restarted(|_| ()).await;
    let new = world.register(HONEST).await;
    assert!(is_known(&world, &new).await);
    assert!(!is_known(&world, &client).await, "its secret opens the signing key, and no old ids");
    let (_, access, _) = world.signed_in().await;
    assert_eq!(world.call(&access).await.status, 200);
}
