//! The database on disk: private, durable, and useless to a thief.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::World;

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let world = World::new().await;
    world.signed_in().await;
    let data = world.data.path().join("data");
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(data).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn as_89_a_243_no_token_is_at_rest() {
    let world = World::new().await;
    let (client, access, refresh) = world.signed_in().await;
    let answer = world.refresh(&client, &refresh).await.json();
    let successor = answer["refresh_token"].as_str().unwrap();
    for entry in std::fs::read_dir(world.data.path().join("data")).unwrap() {
        let entry = entry.unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        for secret in [access.as_str(), &refresh, successor, crate::support::idp::CLIENT_SECRET] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{:?}", entry.file_name());
        }
    }
}

#[tokio::test]
async fn i8_a_restart_loses_nobody() {
    let world = World::new().await;
    let (client, access, refresh) = world.signed_in().await;
    let origin = world.origin.clone();
    // A second process on the same state, as a restart or a rolling upgrade has it.
    let again = world.again().await;
    let form =
        crate::support::http::form(&[("grant_type", "refresh_token"), ("client_id", &client.id), ("refresh_token", &refresh)]);
    let host = origin.trim_start_matches("http://");
    let headers = [("host", host), ("content-type", "application/x-www-form-urlencoded")];
    let port = again.origin_port;
    let answer = crate::support::http::send(http::Method::POST, &format!("http://127.0.0.1:{port}/token"), &headers, form).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.call(&access).await.status, 200);
}

#[tokio::test]
async fn i4_what_was_revoked_stays_revoked_after_a_restart() {
    let world = World::new().await;
    let (client, access, refresh) = world.signed_in().await;
    let form = [("client_id", client.id.as_str()), ("token", refresh.as_str())];
    assert_eq!(crate::support::http::post_form(&world.at("/revoke"), &form).await.status, 200);
    let (origin, again) = (world.origin.clone(), world.again().await);
    let (bearer, host) = (format!("Bearer {access}"), origin.trim_start_matches("http://"));
    let url = format!("http://127.0.0.1:{}/mcp", again.origin_port);
    let answer = crate::support::http::send(http::Method::POST, &url, &[("host", host), ("authorization", &bearer)], "{}").await;
    assert_eq!(answer.status, 401);
}
