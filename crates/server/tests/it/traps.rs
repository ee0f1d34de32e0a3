//! Mistakes that systems of this kind have made, one test for each.

use http::Method;
use serde_json::json;

use crate::support::http::{Browser, claims, form, get, parameter, send};
use crate::support::{HONEST, PING, VERIFIER, World};

/// Sends a form to another process under the name of the first.
async fn post_to(
    process: &World,
    name: &World,
    path: &str,
    cookies: &str,
    pairs: &[(&str, &str)],
) -> crate::support::http::Answer {
    let host = name.origin.trim_start_matches("http://");
    let headers = [
        ("host", host),
        ("origin", name.origin.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("accept", "text/html"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("cookie", cookies),
    ];
    send(Method::POST, &format!("http://127.0.0.1:{}{path}", process.origin_port), &headers, form(pairs)).await
}

#[tokio::test]
async fn the_forms_token_is_not_its_own_csrf_proof() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    // The attacker has a valid form of his own transaction; the victim's browser has an open page of its own as well.
    let attackers = Browser::default().open(&world.authorize_url(&client, &[]), HONEST).await;
    let mut victim = Browser::default();
    victim.open(&world.authorize_url(&client, &[]), HONEST).await;
    let answer = victim.decide(&world.origin, &attackers.ticket(), "approve").await;
    assert_eq!(answer.assert_local().status, 403);
    assert_eq!(world.idp.authorizations(), 0);
}

#[tokio::test]
async fn nothing_unsigned_travels_through_the_provider_and_back() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let to_idp = sent.location().unwrap();
    for inside in ["client-state", &client.id, "5599", "read"] {
        assert!(!to_idp.as_str().contains(inside), "{inside} in {to_idp}");
    }
    assert_eq!(parameter(&to_idp, "redirect_uri"), Some(world.at("/callback")));
    // What an attacker adds on the way back changes nothing of what was approved.
    let mut callback = browser.open(to_idp.as_str(), &world.at("/callback")).await.location().unwrap();
    callback
        .query_pairs_mut()
        .append_pair("redirect_uri", "https://evil.test/cb")
        .append_pair("client_id", "x")
        .append_pair("scope", "admin");
    let end = browser.open(callback.as_str(), HONEST).await;
    assert!(end.location().unwrap().as_str().starts_with(HONEST));
    let tokens = world.redeem(&client, &end.sent("code").unwrap()).await.json();
    assert_eq!(tokens["scope"], "read write");
}

#[tokio::test]
async fn pkce_is_checked_whatever_the_client_sent_and_plain_does_not_exist() {
    let world = World::new().await;
    let confidential =
        world.register_with(json!({"redirect_uris": [HONEST], "token_endpoint_auth_method": "client_secret_post"})).await;
    let code = world.code(&confidential).await;
    let secret = confidential.secret.clone().unwrap();
    let base = [
        ("grant_type", "authorization_code"),
        ("client_id", confidential.id.as_str()),
        ("client_secret", &secret),
        ("code", &code),
    ];
    assert_eq!(world.token(&base).await.status, 400, "a secret does not replace the proof");
    assert_eq!(world.token(&[&base[..], &[("code_verifier", "")]].concat()).await.status, 400);
    for changes in [
        [("code_challenge", ""), ("code_challenge_method", "")],
        [("code_challenge", VERIFIER), ("code_challenge_method", "plain")],
    ] {
        assert_eq!(get(&world.authorize_url(&confidential, &changes)).await.sent("error").as_deref(), Some("invalid_request"));
    }
    let metadata = get(&world.at("/.well-known/oauth-authorization-server")).await.json();
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(world.token(&[&base[..], &[("code_verifier", VERIFIER)]].concat()).await.status, 200);
}

#[tokio::test]
async fn a_refresh_ends_the_old_token() {
    let world = World::new().await;
    let (client, _, first) = world.signed_in().await;
    let second = world.refresh(&client, &first).await.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    world.clock.advance(61);
    assert_eq!(world.refresh(&client, &first).await.status, 400);
    assert_eq!(world.refresh(&client, &second).await.status, 400, "somebody has a copy: the family ends");
}

#[tokio::test]
async fn every_advertised_endpoint_exists() {
    let world = World::new().await;
    let mut documents = vec![get(&world.at("/.well-known/oauth-authorization-server")).await.json()];
    documents.push(get(&world.at("/.well-known/oauth-protected-resource/mcp")).await.json());
    let mut looked = 0;
    for document in &documents {
        for (name, value) in document.as_object().unwrap() {
            let Some(url) =
                value.as_str().filter(|_| name.ends_with("_endpoint") || name.ends_with("_uri") || name == "resource")
            else {
                continue;
            };
            let statuses = [get(url).await.status, send(Method::POST, url, &[], "").await.status];
            assert!(statuses.iter().all(|status| *status != 404), "{name}: {url}");
            assert!(statuses.iter().any(|status| *status != 405), "{name}: {url}");
            looked += 1;
        }
    }
    assert_eq!(looked, 6);
    assert!(!get(&world.at("/jwks")).await.json()["keys"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_token_without_an_audience_is_for_nobody() {
    let world = World::new().await;
    let (_, access, _) = world.signed_in().await;
    let (_, foreign, _) = World::new().await.signed_in().await;
    assert_eq!(world.call(&foreign).await.status, 401, "another deployment, other keys");
    let said = claims(&access);
    let own = world.at("/mcp");
    assert_eq!(said["aud"], json!(own), "always one, never unset");
    let signed = |audience: Option<serde_json::Value>| {
        let mut said = said.clone();
        let claims = said.as_object_mut().unwrap();
        match audience {
            Some(audience) => claims.insert("aud".to_owned(), audience),
            None => claims.remove("aud"),
        };
        world.gateway.sign_anything(&said).unwrap()
    };
    // Signed with our own key, so that nothing but the audience can be what is wrong.
    assert_eq!(world.call(&signed(Some(json!(own)))).await.status, 200);
    let served = world.backend.requests();
    let others = [json!(null), json!(""), json!([]), json!([""]), json!("*"), json!(world.origin), json!(world.at("/"))];
    for audience in others.map(Some).into_iter().chain([None]) {
        let answer = world.call(&signed(audience.clone())).await;
        assert_eq!(answer.status, 401, "{audience:?}");
    }
    assert_eq!(world.backend.requests(), served);
}

const SPOOFED: [(&str, &str); 8] = [
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "444"),
    ("x-forwarded-prefix", "/x"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-real-ip", "10.0.0.1"),
    ("forwarded", "for=10.0.0.1;host=evil.test;proto=https"),
    ("x-original-url", "/admin"),
];

#[tokio::test]
async fn a_198_our_own_urls_come_from_the_configuration_alone() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp"] {
        let plain = get(&world.at(path)).await;
        assert_eq!(send(Method::GET, &world.at(path), &SPOOFED, "").await.body, plain.body);
        assert_eq!(send(Method::GET, &world.at(path), &[("host", "evil.test")], "").await.status, 421);
    }
    let challenge = send(Method::POST, &world.at("/mcp"), &SPOOFED, "{}").await;
    assert!(
        challenge.header("www-authenticate").contains(&world.origin) && !challenge.header("www-authenticate").contains("evil")
    );
    let mut browser = Browser::default();
    let page = browser.step(Method::GET, &world.authorize_url(&client, &[]), &SPOOFED, String::new()).await;
    let names = browser.cookie_names(&world.origin);
    assert!(names.iter().all(|name| name.starts_with("deputy-own-")), "{names:?}");
    assert!(!page.text().contains("evil.test"));
    let body = form(&[("ticket", &page.ticket()), ("decision", "approve")]);
    let own = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", world.origin.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let sent = browser.step(Method::POST, &world.at("/consent"), &[&own[..], &SPOOFED].concat(), body).await;
    assert_eq!(sent.sent("redirect_uri"), Some(world.at("/callback")));
    let end = browser.open(sent.location().unwrap().as_str(), HONEST).await;
    assert_eq!(end.sent("iss"), Some(world.origin.clone()));
}

/// No answer depends on a header that names an address, and none of them reaches the backend. (Whose place a connection takes is tested in
/// `serve`.)
#[tokio::test]
async fn an_address_that_anybody_can_claim_decides_nothing() {
    let world = World::new().await;
    let (client, access, _) = world.signed_in().await;
    for n in 0..200 {
        let claimed = format!("10.0.0.{n}");
        let spoofed = [("x-forwarded-for", claimed.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let wrong = form(&[("grant_type", "refresh_token"), ("client_id", &client.id), ("refresh_token", "dpr_x")]);
        assert_eq!(send(Method::POST, &world.at("/token"), &spoofed, wrong).await.status, 400);
    }
    let authorization = format!("Bearer {access}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
    ];
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let answer = send(Method::POST, &world.at("/mcp"), &headers, ping).await;
    assert_eq!(answer.status, 200, "one caller's failures are not everybody's");
    for name in ["x-forwarded-for", "x-real-ip", "forwarded"] {
        assert_eq!(world.backend.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn subjects_differ_by_person_and_stay_the_same_for_one() {
    let world = World::new().await;
    let mut subjects = Vec::new();
    for person in ["alice", "bob", "alice"] {
        person.clone_into(&mut world.idp.person.lock().unwrap());
        let (_, access, _) = world.signed_in().await;
        world.call(&access).await;
        assert_eq!(world.backend.header("x-deputy-subject").as_deref(), claims(&access)["sub"].as_str());
        subjects.push(claims(&access)["sub"].clone());
    }
    assert_ne!(subjects[0], subjects[1]);
    assert_eq!(subjects[0], subjects[2]);
}

#[tokio::test]
async fn nothing_is_stored_of_a_person_who_may_not_come_in() {
    let world =
        World::with(|config| config.access = deputy_protocol::access::Rules::parse(&["email:alice@corp.test"]).unwrap()).await;
    let client = world.register(HONEST).await;
    let rows = world.rows().await;
    "mallory".clone_into(&mut world.idp.person.lock().unwrap());
    let end = world.approve(&mut Browser::default(), &client).await;
    assert_eq!(end.turned_away().as_deref(), Some("access_denied"));
    assert_eq!(world.rows().await, rows, "no grant, no code, no token of the provider");
}

#[tokio::test]
async fn cookies_do_not_grow_without_end() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let url = url::Url::parse(&world.origin).unwrap();
    let mut largest = 0;
    for n in 0..60 {
        let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
        assert_eq!(page.status, 200);
        if n % 3 == 0 {
            assert_eq!(browser.decide(&world.origin, &page.ticket(), "approve").await.status, 303);
        }
        largest = largest.max(browser.cookies(&url).len());
    }
    assert!(largest < 8 * 1024, "{largest} bytes of cookies");
    assert!(world.approve(&mut browser, &client).await.sent("code").is_some(), "and nobody is locked out by them");
}

#[tokio::test]
async fn a_restart_logs_nobody_out() {
    let world = World::new().await;
    let (client, access, refresh) = world.signed_in().await;
    let keys = get(&world.at("/jwks")).await.json();
    let restarted = world.again().await;
    let host = [("host", world.origin.trim_start_matches("http://"))];
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", restarted.origin_port);
    assert_eq!(send(Method::GET, &at("/jwks"), &host, "").await.json(), keys);
    let bearer = format!("Bearer {access}");
    assert_eq!(
        send(Method::POST, &at("/mcp"), &[host[0], ("authorization", &bearer), ("content-type", "application/json")], PING)
            .await
            .status,
        200
    );
    let pairs = [("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", refresh.as_str())];
    assert_eq!(post_to(&restarted, &world, "/token", "", &pairs).await.status, 200);
}

#[tokio::test]
async fn a_second_look_at_the_page_leaves_the_first_alive() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let url = world.authorize_url(&client, &[]);
    let first = browser.open(&url, HONEST).await;
    for method in [Method::GET, Method::HEAD] {
        browser.step(method, &url, &[], String::new()).await;
    }
    let sent = browser.decide(&world.origin, &first.ticket(), "approve").await;
    assert!(browser.open(sent.location().unwrap().as_str(), HONEST).await.sent("code").is_some());
}

#[tokio::test]
async fn a_page_survives_a_restart_and_a_late_one_says_what_to_do() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let cookies = browser.cookies(&url::Url::parse(&world.origin).unwrap());
    let restarted = world.again().await;
    let ticket = page.ticket();
    let pairs = [("ticket", ticket.as_str()), ("decision", "approve")];
    assert_eq!(post_to(&restarted, &world, "/consent", &cookies, &pairs).await.status, 303);
    // A laptop that slept: not a bare refusal but a page, in words, about what to do next.
    let mut sleeper = Browser::default();
    let page = sleeper.open(&world.authorize_url(&client, &[]), HONEST).await;
    world.clock.advance(8 * 60 * 60);
    let late = sleeper.decide(&world.origin, &page.ticket(), "approve").await;
    assert_eq!(late.assert_local().status, 400);
    assert!(late.header("content-type").starts_with("text/html"));
    let text = late.text().to_lowercase();
    assert!(text.contains("again") && text.contains("<h1"), "{text}");
    // And the way on: the same link gives a page that works.
    let page = sleeper.open(&world.authorize_url(&client, &[]), HONEST).await;
    assert_eq!(sleeper.decide(&world.origin, &page.ticket(), "approve").await.status, 303);
}
