//! R06, R11…R14, R17, R24, R25, R33 and R34 over HTTP: what exists, what it says, and who it believes.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::support::http::{Answer, Browser, claims, get, post_form, post_json, send};
use crate::support::idp::{Edit, Faults};
use crate::support::{HONEST, World};

/// The end of a sign-in in which the provider says this.
async fn sign_in_as(world: &World, edit: Edit<Value>) -> Answer {
    world.idp.misbehave(Faults { claims: Some(edit), ..Faults::default() });
    let client = world.register(HONEST).await;
    world.approve(&mut Browser::default(), &client).await
}

fn set(name: &'static str, value: Value) -> Edit<Value> {
    Arc::new(move |claims: &mut Value| claims[name] = value.clone())
}

#[tokio::test]
async fn a_015_a_030_every_page_and_redirect_is_framed_and_kept_by_nobody() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let end = browser.open(sent.location().unwrap().as_str(), HONEST).await;
    let unknown = get(&world.at("/authorize?client_id=x")).await;
    let callback = get(&world.at("/callback?code=x&state=y")).await;
    let again = browser.decide(&world.origin, &page.ticket(), "approve").await;
    for answer in [&page, &sent, &end, &unknown, &callback, &again] {
        let place = answer.url.path();
        assert_eq!(answer.header("cache-control"), "no-store", "{place}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{place}");
        assert!(matches!(answer.header("referrer-policy"), "no-referrer" | "same-origin"), "{place}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{place}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{place}");
    }
    assert_eq!(end.header("referrer-policy"), "no-referrer", "the redirect with the code");
}

#[tokio::test]
async fn a_093_no_answer_with_a_secret_is_kept() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    for answer in [
        world.refresh(&client, &refresh).await,
        world.refresh(&client, "x").await,
        post_json(&world.at("/register"), &json!({"redirect_uris": [HONEST]})).await,
        post_json(&world.at("/register"), &json!({})).await,
        post_form(&world.at("/revoke"), &[("client_id", &client.id), ("token", "x")]).await,
        post_form(&world.at("/revoke"), &[("token", "x")]).await,
        get(&world.at("/token")).await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-store", "{}", answer.url);
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
}

#[tokio::test]
async fn a_046_iss_is_there_once_and_exact() {
    let world = World::new().await;
    let issuer = get(&world.at("/.well-known/oauth-authorization-server")).await.json()["issuer"].clone();
    let client = world.register(HONEST).await;
    let good = world.approve(&mut Browser::default(), &client).await;
    let bad = get(&world.authorize_url(&client, &[("response_type", "token")])).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let denied = browser.decide(&world.origin, &page.ticket(), "deny").await;
    for answer in [good, bad, denied] {
        assert_eq!(json!(answer.sent("iss").unwrap()), issuer); // `sent` refuses a repeated parameter
    }
}

#[tokio::test]
async fn a_148_a_flood_of_registrations_locks_nobody_out() {
    let world = World::new().await;
    let first = world.register(HONEST).await;
    let rows = world.rows().await;
    let pool = crate::support::http::client();
    for n in 0..5_000_u32 {
        let body = json!({"redirect_uris": [format!("https://evil.test/{n}")]}).to_string();
        let request = http::Request::post(world.at("/register"))
            .header("content-type", "application/json")
            .header("x-forwarded-for", std::net::Ipv4Addr::from(n).to_string());
        let request = request.body(http_body_util::Full::new(axum::body::Bytes::from(body))).unwrap();
        let response = pool.request(request).await.unwrap();
        assert_eq!(response.status(), 201);
        drop(http_body_util::BodyExt::collect(response.into_body()).await.unwrap());
    }
    assert_eq!(world.rows().await, rows);
    assert!(world.redeem(&first, &world.code(&first).await).await.status.is_success());
}

#[tokio::test]
async fn a_151_a_software_statement_proves_nothing() {
    let world = World::new().await;
    let metadata = json!({
        "client_name": "Claude (verified by Anthropic)", "redirect_uris": [HONEST], "token_endpoint_auth_method": "none",
        "software_statement": "eyJhbGciOiJub25lIn0.eyJjbGllbnRfbmFtZSI6IlZFUklGSUVELUJZLVNUQVRFTUVOVCJ9.",
    });
    let answer = post_json(&world.at("/register"), &metadata).await;
    assert_eq!(answer.status, 201);
    assert!(answer.json().get("software_statement").is_none());
    let client = world.register_with(metadata).await;
    let page = get(&world.authorize_url(&client, &[])).await.text();
    assert!(page.contains("nverified") && !page.contains("VERIFIED-BY-STATEMENT"), "{page}");
}

#[tokio::test]
async fn a_153_registrations_cannot_be_managed() {
    let world = World::new().await;
    let answer = post_json(&world.at("/register"), &json!({"redirect_uris": [HONEST]})).await.json();
    assert!(answer.get("registration_client_uri").is_none() && answer.get("registration_access_token").is_none());
    let id = answer["client_id"].as_str().unwrap();
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let below = send(method.clone(), &world.at(&format!("/register/{id}")), &[], "{}").await;
        let query = send(method, &world.at(&format!("/register?client_id={id}")), &[], "{}").await;
        assert_eq!((below.status.as_u16(), query.status.as_u16()), (404, 405));
    }
}

/// A registration is its own record: nothing expires unused, and an id that is not ours says what to do.
#[tokio::test]
async fn a_155_old_registrations_work_and_unknown_ones_say_register_again() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    world.clock.advance(400 * 24 * 60 * 60);
    assert_eq!(get(&world.authorize_url(&client, &[])).await.status, 200);
    let mut unknown = client;
    unknown.id = "dc_gone".to_owned();
    let url = world.authorize_url(&unknown, &[]);
    assert_eq!(get(&url).await.assert_local().status, 400);
    let told = send(Method::GET, &url, &[("accept", "application/json")], "").await;
    assert_eq!(
        (&told.json()["error"], &told.json()["registration_endpoint"]),
        (&json!("invalid_client"), &json!(world.at("/register")))
    );
}

#[tokio::test]
async fn a_156_the_returned_record_says_what_was_registered() {
    let world = World::new().await;
    let metadata =
        json!({"redirect_uris": [HONEST], "grant_types": ["authorization_code", "implicit", "password"], "scope": "admin"});
    let body = post_json(&world.at("/register"), &metadata).await.json();
    assert_eq!((&body["grant_types"], &body["response_types"]), (&json!(["authorization_code"]), &json!(["code"])));
    assert!(body.get("scope").is_none());
    for bad in
        [json!({"grant_types": ["implicit"]}), json!({"response_types": ["token"]}), json!({"token_endpoint_auth_method": "x"})]
    {
        let mut metadata = bad;
        metadata["redirect_uris"] = json!([HONEST]);
        assert_eq!(post_json(&world.at("/register"), &metadata).await.json()["error"], "invalid_client_metadata");
    }
}

#[tokio::test]
async fn a_131_odd_answers_of_the_provider_end_on_a_page() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    for body in ["", "[]", "null", "{}", r#"{"error":"x"}"#, r#"{"access_token":"a","token_type":"Bearer"}"#, "<html>"] {
        world.idp.misbehave(Faults { token: Some((200, body.to_owned())), ..Faults::default() });
        world.approve(&mut Browser::default(), &client).await.assert_local();
    }
}

#[tokio::test]
async fn a_138_one_address_and_two_people() {
    let world = World::new().await;
    let mut subjects = Vec::new();
    for sub in ["one", "two"] {
        let both: Edit<Value> = Arc::new(move |claims: &mut Value| {
            claims["sub"] = json!(sub);
            claims["email"] = json!("same@corp.test");
        });
        world.idp.misbehave(Faults { claims: Some(both), ..Faults::default() });
        let (_, access, _) = world.signed_in().await;
        subjects.push(claims(&access)["sub"].clone());
    }
    assert_ne!(subjects[0], subjects[1]);
}

#[tokio::test]
async fn a_141_only_the_exact_domain_of_a_verified_address_comes_in() {
    let rules = deputy_protocol::access::Rules::parse(&["domain:corp.test"]).unwrap();
    let world = World::with(|config| config.access = rules).await;
    for email in [
        "a@evil.test@corp.test",
        "a@corp.test.evil.test",
        "a@evilcorp.test",
        "\"a@evil.test\"@corp.test",
        "a@corp.test ",
        "a@corp.test,b@evil.test",
        "a@sub.corp.test",
        "",
        "corp.test",
        "@corp.test",
        "a@corp\u{3002}test",
    ] {
        let end = sign_in_as(&world, set("email", json!(email))).await;
        assert_eq!(end.turned_away().as_deref(), Some("access_denied"), "{email}");
    }
    for verified in [json!(false), json!("false"), json!(null)] {
        let end = sign_in_as(&world, set("email_verified", verified.clone())).await;
        assert_eq!(end.turned_away().as_deref(), Some("access_denied"), "{verified}");
    }
    assert!(sign_in_as(&world, set("email", json!("a@corp.test"))).await.sent("code").is_some());
}

#[tokio::test]
async fn a_249_a_minute_of_skew_is_forgiven_ten_are_not() {
    let world = World::new().await;
    let now = world.clock.seconds();
    let shift = |seconds: i64| -> Edit<Value> {
        Arc::new(move |claims: &mut Value| {
            let at = now.saturating_add_signed(seconds);
            claims["iat"] = json!(at);
            claims["exp"] = json!(at + 300);
        })
    };
    for (seconds, good) in [(59, true), (-59, true), (600, false), (-600, false)] {
        let end = sign_in_as(&world, shift(seconds)).await;
        assert_eq!(end.location().is_some(), good, "{seconds}: {}", end.status);
        assert!(good || end.assert_local().sent("code").is_none());
    }
}

#[tokio::test]
async fn a_180_a_182_a_184_only_our_own_access_tokens_in_the_header_count() {
    let world = World::new().await;
    let (_, access, refresh) = world.signed_in().await;
    let id_token = world.idp.resign(&json!({"alg": "ES256", "kid": "first"}), &access);
    let payload = access.split('.').nth(1).unwrap();
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}.");
    for token in ["IDP-ACCESS-CANARY", &id_token, &none, &refresh, &format!("{access}x"), &access[1..]] {
        assert_eq!(world.call(token).await.status, 401);
    }
    let form = format!("access_token={access}");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let cookie = format!("access_token={access}");
    let query = world.at(&format!("/mcp?access_token={access}"));
    assert_eq!(send(Method::POST, &world.at("/mcp"), &[kind], form).await.status, 401);
    assert_eq!(send(Method::POST, &world.at("/mcp"), &[("cookie", &cookie)], "{}").await.status, 401);
    assert_eq!(send(Method::POST, &query, &[], "{}").await.status, 401);
    assert_eq!(world.backend.requests(), 0);
}

#[tokio::test]
async fn a_190_a_254_nothing_of_the_operator_is_on_the_public_port() {
    let world = World::new().await;
    for path in [
        "/metrics",
        "/health",
        "/admin",
        "/admin/",
        "/debug",
        "/debug/pprof/",
        "/status",
        "/introspect",
        "/oauth/introspect",
        "/userinfo",
        "/account",
        "/server-status",
        "/.env",
        "/.git/config",
        "/version",
        "/readyz",
    ] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(send(method, &world.at(path), &[], "").await.status, 404, "{path}");
        }
    }
    let alive = get(&world.at("/healthz")).await;
    assert_eq!((alive.status.as_u16(), alive.text().as_str()), (200, "ok\n"));
    for name in ["server", "x-powered-by", "via"] {
        assert_eq!(alive.header(name), "");
        assert_eq!(get(&world.at("/nothing")).await.header(name), "");
    }
    let metadata = get(&world.at("/.well-known/oauth-authorization-server")).await.json();
    assert!(metadata.get("introspection_endpoint").is_none());
}

#[tokio::test]
async fn a_256_a_259_one_issuer_everywhere_and_no_endpoint_that_is_missing() {
    let world = World::new().await;
    let metadata = get(&world.at("/.well-known/oauth-authorization-server")).await.json();
    let (_, access, _) = world.signed_in().await;
    let resource = get(&world.at("/.well-known/oauth-protected-resource/mcp")).await.json();
    assert_eq!((&metadata["issuer"], &claims(&access)["iss"]), (&json!(world.origin), &json!(world.origin)));
    assert_eq!((&resource["authorization_servers"], &resource["resource"]), (&json!([world.origin]), &json!(world.at("/mcp"))));
    assert!(!resource["scopes_supported"].as_array().unwrap().contains(&json!("offline_access")));
    assert!(!metadata.to_string().replace("://", "").contains("//"), "{metadata}");
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    // A path, a query or a user in the public URL would give it a second spelling: no such gateway starts.
    for shape in ["/sub", "/sub/", "/?x", "/#x"] {
        let spelled = |config: &mut deputy_server::Config| {
            if let Ok(issuer) = deputy_protocol::Issuer::parse(&format!("http://localhost:4000{shape}")) {
                config.public_url = issuer;
            } else {
                config.servers.clear();
            }
        };
        assert!(World::try_with(spelled).await.is_err(), "{shape}");
    }
}

#[tokio::test]
async fn a_258_challenges() {
    let world = World::new().await;
    let metadata = format!("resource_metadata=\"{}\"", world.at("/.well-known/oauth-protected-resource/mcp"));
    for (authorization, error) in [(None, false), (Some("Basic eDp4"), false), (Some("Bearer abc"), true)] {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        let answer = send(Method::POST, &world.at("/mcp"), &headers, "{}").await;
        let challenge = answer.header("www-authenticate");
        assert_eq!(answer.status, 401);
        assert!(challenge.starts_with("Bearer ") && challenge.contains(&metadata), "{challenge}");
        assert_eq!(challenge.contains("error="), error, "{challenge}");
    }
}
