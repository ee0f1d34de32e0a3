//! AS-43…47; …152. The rules themselves are tested in `deputy-protocol`.

use serde_json::json;

use crate::support::http::{post_json, send};
use crate::support::{HONEST, World};

#[tokio::test]
async fn as_43_a_registration_is_echoed_and_short() {
    let world = World::new().await;
    let metadata = json!({
        "client_name": "Claude Code", "redirect_uris": ["http://localhost:3118/callback"], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "application_type": "native", "foo": "bar",
    });
    let answer = post_json(&world.at("/register"), &metadata).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("cache-control"), answer.header("content-type")),
        (201, "no-store", "application/json")
    );
    let body = answer.json();
    let id = body["client_id"].as_str().unwrap();
    assert!(id.len() < 512, "{}", id.len());
    for member in
        ["client_name", "redirect_uris", "token_endpoint_auth_method", "grant_types", "response_types", "application_type"]
    {
        assert_eq!(body[member], metadata[member], "{member}");
    }
    assert!(body.get("client_secret").is_none() && body.get("foo").is_none() && body.get("registration_client_uri").is_none());
}

#[tokio::test]
async fn as_45_a_150_a_confidential_client_gets_a_secret_of_its_own() {
    let world = World::new().await;
    let metadata = json!({"redirect_uris": [HONEST]});
    let (one, two) = (world.register_with(metadata.clone()).await, world.register_with(metadata).await);
    assert_ne!(one.id, two.id);
    assert_ne!(one.secret.unwrap(), two.secret.unwrap());
    let body = post_json(&world.at("/register"), &json!({"redirect_uris": [HONEST]})).await.json();
    assert_eq!(
        (&body["token_endpoint_auth_method"], &body["client_secret_expires_at"]),
        (&json!("client_secret_basic"), &json!(0))
    );
}

#[tokio::test]
async fn a_146_bad_metadata_gets_the_right_code() {
    let world = World::new().await;
    for (metadata, error) in [
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (json!({"redirect_uris": [HONEST], "logo_uri": "javascript:x"}), "invalid_client_metadata"),
        (json!([]), "invalid_client_metadata"),
        (json!({"redirect_uris": vec![format!("https://a.test/{}", "x".repeat(1900)); 10]}), "invalid_client_metadata"),
    ] {
        let answer = post_json(&world.at("/register"), &metadata).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str().unwrap()), (400, error), "{metadata}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let large = post_json(&world.at("/register"), &json!({"redirect_uris": [HONEST], "x": "x".repeat(70_000)})).await;
    assert_eq!(large.status, 413);
    let form = send(http::Method::POST, &world.at("/register"), &[("content-type", "text/plain")], "{}").await;
    assert_eq!(form.status, 415);
}

#[tokio::test]
async fn a_152_nothing_is_fetched_at_registration() {
    let world = World::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let metadata = json!({
        "redirect_uris": [HONEST], "logo_uri": url, "jwks_uri": url, "tos_uri": url, "policy_uri": url, "client_uri": url,
        "sector_identifier_uri": url, "request_uris": [url], "initiate_login_uri": url, "software_statement": "a.b.c",
    });
    world.register_with(metadata).await;
    assert_eq!(listener.accept().err().map(|error| error.kind()), Some(std::io::ErrorKind::WouldBlock), "somebody connected");
}

#[tokio::test]
async fn decision_1_a_registration_survives_the_loss_of_the_database() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let (data, idp, clock) = (world.data.path().join("data"), world.idp.clone(), world.clock.clone());
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("data")).unwrap();
    std::fs::copy(data.join("master.key"), copy.path().join("data/master.key")).unwrap();
    let restored = World::with_idp(idp, clock, |config| config.data_dir = copy.path().join("data")).await.unwrap();
    let page = crate::support::http::get(&restored.authorize_url(&client, &[])).await;
    assert_eq!(page.status, 200, "{}", page.text());
}
