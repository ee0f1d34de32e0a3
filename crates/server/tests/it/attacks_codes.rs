//! R05…R10 and R32 over HTTP: redirects, PKCE, codes, refresh and revocation beyond what `token.rs` and `authorize.rs` show.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use http::Method;
use serde_json::json;

use crate::support::http::{Answer, Browser, claims, get, post_form, post_json, send};
use crate::support::{Client, HONEST, PING, VERIFIER, World};

fn refused(answer: &Answer, error: &str) {
    let status = if error == "invalid_client" { 401 } else { 400 };
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str().unwrap()), (status, error), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
}

async fn redeem_with(world: &World, client: &Client, code: &str, changes: &[(&str, &str)]) -> Answer {
    let mut form =
        vec![("grant_type", "authorization_code"), ("client_id", &client.id), ("code", code), ("code_verifier", VERIFIER)];
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        form.push((name, value));
    }
    form.retain(|(_, value)| !value.is_empty());
    world.token(&form).await
}

#[tokio::test]
async fn a_049_a_053_a_056_near_misses_get_a_page() {
    let world = World::new().await;
    let mut client = world.register("https://app.test/cb").await;
    for near in [
        "https://app.test/cb/",
        "https://app.test/CB",
        "https://app.test/cb/x",
        "https://app.test/cb?a=1",
        "https://app.test/cb#f",
        "https://app.test:444/cb",
        "https://app.test:443/cb",
        "http://app.test/cb",
        "https://sub.app.test/cb",
        "https://app.test.evil.test/cb",
        "https://app.test/x/../cb",
        "https://app.test/%63b",
        "https://app.test//cb",
        "https://app.test/cb;x",
        "https://user@app.test/cb",
        "https://app.test./cb",
        "https://app.test\\@evil.test/cb",
        "HTTPS://APP.TEST/cb",
    ] {
        client.redirect = near.to_owned();
        assert_eq!(get(&world.authorize_url(&client, &[])).await.assert_local().status, 400, "{near}");
    }
    let mut native = world.register("http://127.0.0.1:1/cb").await;
    native.redirect = "http://127.0.0.1:2/cb".to_owned();
    assert_eq!(get(&world.authorize_url(&native, &[])).await.status, 200, "only the port of a loopback address may differ");
    for near in [
        "http://localhost:1/cb",
        "http://[::1]:1/cb",
        "http://127.0.0.1:1/cb2",
        "https://127.0.0.1:1/cb",
        "http://127.0.0.1:1/cb?x",
    ] {
        native.redirect = near.to_owned();
        assert_eq!(get(&world.authorize_url(&native, &[])).await.assert_local().status, 400, "{near}");
    }
}

#[tokio::test]
async fn a_051_a_055_schemes_that_run_or_read_are_not_registered() {
    let world = World::new().await;
    for uri in
        ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://a.test/x", "about:blank"]
    {
        let answer = post_json(&world.at("/register"), &json!({"redirect_uris": [uri]})).await;
        refused(&answer, "invalid_redirect_uri");
        for member in ["client_uri", "logo_uri", "tos_uri", "policy_uri"] {
            refused(
                &post_json(&world.at("/register"), &json!({"redirect_uris": [HONEST], member: uri})).await,
                "invalid_client_metadata",
            );
        }
    }
    for (kind, uri) in [("web", "http://localhost/cb"), ("native", "http://app.test/cb")] {
        let answer = post_json(&world.at("/register"), &json!({"redirect_uris": [uri], "application_type": kind})).await;
        refused(&answer, "invalid_redirect_uri");
    }
    world.register_with(json!({"redirect_uris": [HONEST], "application_type": "native"})).await;
}

#[tokio::test]
async fn a_058_another_redirect_uri_at_the_token_endpoint() {
    let world = World::new().await;
    let other = "http://localhost:5599/other";
    let client = world.register_with(json!({"redirect_uris": [HONEST, other], "token_endpoint_auth_method": "none"})).await;
    let code = world.code(&client).await;
    for redirect in [other, "https://evil.test/cb", "http://localhost:5600/callback", "x"] {
        refused(&redeem_with(&world, &client, &code, &[("redirect_uri", redirect)]).await, "invalid_grant");
    }
    // A wrong request does not use the code up: its owner still gets the tokens.
    assert_eq!(redeem_with(&world, &client, &code, &[("redirect_uri", HONEST)]).await.status, 200);
}

#[tokio::test]
async fn a_060_every_redirect_after_a_form_is_303() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    for decision in ["approve", "deny"] {
        let mut browser = Browser::default();
        let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
        let sent = browser.decide(&world.origin, &page.ticket(), decision).await;
        assert_eq!((sent.status.as_u16(), sent.body.len()), (303, 0), "{decision}");
        assert!(!sent.location().unwrap().as_str().contains(&page.ticket()));
    }
}

#[tokio::test]
async fn a_063_a_064_no_challenge_and_plain_get_no_page_to_approve() {
    let world = World::new().await;
    let confidential = world.register_with(json!({"redirect_uris": [HONEST]})).await;
    for client in [world.register(HONEST).await, confidential] {
        for changes in [
            vec![("code_challenge", ""), ("code_challenge_method", "")],
            vec![("code_challenge", "")],
            vec![("code_challenge_method", "plain"), ("code_challenge", VERIFIER)],
            vec![("code_challenge_method", "")],
            vec![("code_challenge_method", "s256")],
            vec![("code_challenge", "short")],
        ] {
            let answer = get(&world.authorize_url(&client, &changes)).await;
            assert_eq!(answer.sent("error").as_deref(), Some("invalid_request"), "{changes:?}");
            assert_eq!(answer.sent("code"), None);
        }
    }
}

#[tokio::test]
async fn a_066_without_the_right_verifier_there_are_no_tokens() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let code = world.code(&client).await;
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let wrong = "x".repeat(43);
    for verifier in [wrong.as_str(), &challenge, "short", &VERIFIER[..42], &"x".repeat(129)] {
        let answer = redeem_with(&world, &client, &code, &[("code_verifier", verifier)]).await;
        assert_eq!(answer.status, 400, "{verifier}: {}", answer.text());
        assert!(answer.json().get("access_token").is_none());
    }
    let without = redeem_with(&world, &client, &code, &[("code_verifier", "")]).await;
    assert_eq!(without.status, 400, "{}", without.text());
    assert_eq!(redeem_with(&world, &client, &code, &[]).await.status, 200, "the code itself is untouched");
}

#[tokio::test]
async fn a_079_malformed_scopes_are_refused() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let many = "read ".repeat(10_000);
    for scope in ["read,write", "read\twrite", "read\u{a0}write", "\"read\"", many.trim()] {
        let answer = get(&world.authorize_url(&client, &[("scope", scope)])).await;
        assert!(answer.location().is_some() || answer.status.is_client_error(), "{}", answer.status);
        assert_eq!(
            answer.location().map(|_| answer.sent("error").unwrap()),
            answer.location().map(|_| "invalid_scope".to_owned())
        );
        assert_ne!(answer.status, 200, "{scope:.20}");
    }
}

#[tokio::test]
async fn a_080_the_scope_that_is_stated_is_the_scope_that_is_granted() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[("scope", "read")]), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let code = browser.open(sent.location().unwrap().as_str(), HONEST).await.sent("code").unwrap();
    let tokens = world.redeem(&client, &code).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!((&tokens["scope"], &claims(access)["scope"]), (&json!("read"), &json!("read")));
    assert_eq!(world.call(access).await.status, 200);
    assert_eq!(world.backend.header("x-deputy-scope").as_deref(), Some("read"));
}

#[tokio::test]
async fn a_084_another_client_gets_nothing_for_a_code() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let same_metadata = world.register(HONEST).await;
    let confidential =
        world.register_with(json!({"redirect_uris": [HONEST], "token_endpoint_auth_method": "client_secret_post"})).await;
    let code = world.code(&client).await;
    refused(&world.redeem(&same_metadata, &code).await, "invalid_grant");
    let secret = confidential.secret.clone().unwrap();
    refused(&redeem_with(&world, &confidential, &code, &[("client_secret", &secret)]).await, "invalid_grant");
    refused(&redeem_with(&world, &client, &code, &[("client_id", "")]).await, "invalid_request");
    assert_eq!(world.redeem(&client, &code).await.status, 200, "nobody burns another client's code");
}

#[tokio::test]
async fn a_103_who_registers_again_inherits_nothing() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    let again = world.register(HONEST).await;
    assert_ne!(client.id, again.id);
    refused(&world.refresh(&again, &refresh).await, "invalid_grant");
    let mut gone = client.clone();
    gone.id.replace_range(10..11, if &client.id[10..11] == "A" { "B" } else { "A" });
    refused(&world.refresh(&gone, &refresh).await, "invalid_client");
    assert_eq!(world.refresh(&client, &refresh).await.status, 200, "its owner is not affected");
}

#[tokio::test]
async fn a_105_a_grant_never_grows() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    let base = [("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", refresh.as_str())];
    for scope in ["read write admin", "admin", "openid"] {
        refused(&world.token(&[&base[..], &[("scope", scope)]].concat()).await, "invalid_scope");
    }
    assert_eq!(world.token(&[&base[..], &[("scope", "read")]].concat()).await.json()["scope"], "read");
}

/// In this process at once; in another that shares the store within two seconds (`revocations::POLL`).
#[tokio::test]
async fn a_109_a_revocation_counts_at_once_here_and_soon_elsewhere() {
    let world = World::new().await;
    let (origin, other) = (world.origin.clone(), world.again().await);
    let (client, access, refresh) = world.signed_in().await;
    let (bearer, host) = (format!("Bearer {access}"), origin.trim_start_matches("http://"));
    let url = format!("http://127.0.0.1:{}/mcp", other.origin_port);
    const JSON: (&str, &str) = ("content-type", "application/json");
    let elsewhere = async || send(Method::POST, &url, &[("host", host), ("authorization", &bearer), JSON], PING).await.status;
    assert_eq!((world.call(&access).await.status, elsewhere().await), (http::StatusCode::OK, http::StatusCode::OK));
    let revoked = post_form(&world.at("/revoke"), &[("client_id", &client.id), ("token", &refresh)]).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(world.call(&access).await.status, 401, "0 s on the same node");
    let soon = async {
        while elsewhere().await != 401 {
            // Each question is a connection of its own: thousands a second would use up the machine's ports.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), soon).await.expect("the other process never learnt of it");
}

#[tokio::test]
async fn a_176_resource_at_every_step() {
    let world = World::with(|config| {
        let other =
            deputy_server::ServerConfig { path: "/other".to_owned(), name: "Other".to_owned(), ..config.servers[0].clone() };
        config.servers.push(other);
    })
    .await;
    let client = world.register(HONEST).await;
    let (mcp, other) = (world.at("/mcp"), world.at("/other"));
    for bad in ["https://evil.test/mcp", &format!("{mcp}#f"), "/mcp", &world.origin, &format!("{mcp}/x"), "http://evil.test", ""]
    {
        let answer = get(&world.authorize_url(&client, &[("resource", bad)])).await;
        assert_eq!(answer.sent("error").as_deref(), Some("invalid_target"), "{bad}");
    }
    let code = world.code(&client).await;
    for bad in [other.as_str(), "https://evil.test/mcp", "x"] {
        refused(&redeem_with(&world, &client, &code, &[("resource", bad)]).await, "invalid_target");
    }
    let once = redeem_with(&world, &client, &code, &[("resource", &mcp)]).await;
    let tokens = once.json();
    assert_eq!(claims(tokens["access_token"].as_str().unwrap())["aud"], json!(mcp), "{tokens}");
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let base = [("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", refresh)];
    refused(&world.token(&[&base[..], &[("resource", &other)]].concat()).await, "invalid_target");
    refused(&world.token(&[&base[..], &[("resource", &mcp), ("resource", &other)]].concat()).await, "invalid_target");
    assert_eq!(claims(world.token(&base).await.json()["access_token"].as_str().unwrap())["aud"], json!(mcp));
}
