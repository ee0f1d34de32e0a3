//! `GET /authorize`: AS-55…71, A-048…A-079.

use http::Method;
use serde_json::json;

use crate::support::http::{Browser, form, get, send};
use crate::support::{Client, EVIL, HONEST, World};

#[tokio::test]
async fn as_55_a_048_a_057_a_077_without_a_trusted_redirect_there_is_a_page_and_no_redirect() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    for changes in [
        vec![("client_id", "unknown")],
        vec![("client_id", "dc_AAAA")],
        vec![("client_id", "http://evil.test/client")],
        vec![("client_id", "a b")],
        vec![("client_id", "")],
        vec![("redirect_uri", EVIL)],
        vec![("redirect_uri", "http://localhost:5599/callback2")],
        vec![("redirect_uri", "javascript:alert(1)")],
        vec![("redirect_uri", "")],
        vec![("state", &"s".repeat(8000))],
    ] {
        let answer = get(&world.authorize_url(&client, &changes)).await;
        assert!(answer.assert_local().status.as_u16() < 500, "{changes:?}");
        assert!(answer.header("content-type").starts_with("text/html"), "{changes:?}");
    }
}

#[tokio::test]
async fn a_068_repeated_parameters_get_a_page() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    for name in ["client_id", "redirect_uri", "state", "scope", "response_type", "code_challenge", "request", "foo"] {
        let url =
            format!("{}&{}", world.authorize_url(&client, &[("scope", "read"), (name, "first")]), form(&[(name, "second")]));
        assert_eq!(get(&url).await.assert_local().status, 400, "{name}");
    }
}

#[tokio::test]
async fn as_49_who_asks_for_json_gets_json_that_says_where_to_register() {
    let world = World::new().await;
    let client = Client { id: "gone".to_owned(), secret: None, redirect: HONEST.to_owned() };
    let answer = send(Method::GET, &world.authorize_url(&client, &[]), &[("accept", "application/json")], "").await;
    assert!(answer.status == 400 || answer.status == 401);
    let body = answer.json();
    assert_eq!(body["error"], "invalid_client");
    assert!(body["error_description"].as_str().unwrap().contains("is not registered"));
    assert_eq!(body["registration_endpoint"], world.at("/register"));
}

const BAD_REQUESTS: &[(&str, &str, &str)] = &[
    ("response_type", "token", "unsupported_response_type"),
    ("response_type", "id_token", "unsupported_response_type"),
    ("response_type", "code token", "unsupported_response_type"),
    ("response_type", "", "unsupported_response_type"),
    ("response_mode", "fragment", "invalid_request"),
    ("response_mode", "form_post", "invalid_request"),
    ("response_mode", "web_message", "invalid_request"),
    ("code_challenge", "", "invalid_request"),
    ("code_challenge", "short", "invalid_request"),
    ("code_challenge_method", "plain", "invalid_request"),
    ("code_challenge_method", "", "invalid_request"),
    ("scope", "a\tb", "invalid_scope"),
    ("scope", "admin", "invalid_scope"),
    ("resource", "https://evil.test/mcp", "invalid_target"),
    ("resource", "/mcp", "invalid_target"),
    ("request", "eyJhbGciOiJub25lIn0.e30.", "request_not_supported"),
    ("request_uri", "https://evil.test/x", "request_uri_not_supported"),
    ("prompt", "none", "consent_required"),
    ("prompt", "none consent", "consent_required"),
];

#[tokio::test]
async fn as_56_as_07_a_009_a_063_a_073_a_074_a_075_other_errors_travel_to_a_loopback_client_with_state_and_iss() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    for (name, value, error) in BAD_REQUESTS {
        let answer = get(&world.authorize_url(&client, &[(name, value)])).await;
        assert_eq!(answer.status, 303, "{name}={value}: {}", answer.text());
        assert_eq!(answer.sent("error").as_deref(), Some(*error), "{name}={value}");
        assert_eq!(answer.sent("state").as_deref(), Some("client-state"));
        assert_eq!(answer.sent("iss"), Some(world.origin.clone()));
        assert_eq!(answer.sent("code"), None);
        assert!(answer.location().unwrap().as_str().starts_with(HONEST));
    }
}

#[tokio::test]
async fn as_63_a_stranger_cannot_bounce_a_browser_to_the_web_before_anyone_acted() {
    let world = World::new().await;
    let evil = world.register(EVIL).await;
    for (name, value, error) in BAD_REQUESTS {
        let answer = get(&world.authorize_url(&evil, &[(name, value)])).await;
        answer.assert_local();
        // The person can still go back, knowing where: it is a link, with the error, state and iss in it.
        let text = answer.text();
        assert!(text.contains("evil.test") && text.contains(&format!("error={error}")), "{name}={value}: {text}");
    }
}

#[tokio::test]
async fn as_70_con_35_a_078_pages_are_free_of_side_effects_and_of_each_other() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let url = world.authorize_url(&client, &[]);
    assert_eq!(get(&url).await.status, 200, "a plain HTTP client may look first");
    let head = send(Method::HEAD, &url, &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let mut browser = Browser::default();
    let (first, second) = (browser.open(&url, HONEST).await, browser.open(&url, HONEST).await);
    for page in [first, second] {
        let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
        let end = browser.open(sent.location().unwrap().as_str(), HONEST).await;
        assert!(end.sent("code").is_some());
    }
}

#[tokio::test]
async fn as_61_as_62_resource_may_be_missing_or_spelled_differently() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let upper = world.at("/mcp").replace("http://localhost", "HTTP://LOCALHOST");
    for resource in ["", upper.as_str()] {
        assert_eq!(get(&world.authorize_url(&client, &[("resource", resource)])).await.status, 200, "{resource}");
    }
}

#[tokio::test]
async fn b_48_a_076_a_long_and_odd_state_comes_back_verbatim() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let odd = format!("\"><script>\r\n\u{e4}+ %20&iss=x{}", "\u{20ac}".repeat(1340));
    assert!(odd.len() > 4000 && odd.len() <= 4096);
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[("state", &odd)]), HONEST).await;
    assert!(!page.text().contains("<script>"));
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let end = browser.open(sent.location().unwrap().as_str(), HONEST).await;
    assert_eq!(end.sent("state"), Some(odd));
    assert!(end.sent("code").is_some());
}

#[tokio::test]
async fn a_070_a_072_nothing_of_the_client_reaches_the_provider() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let extra = [
        ("login_hint", "x"),
        ("domain_hint", "x"),
        ("acr_values", "x"),
        ("claims", "{}"),
        ("id_token_hint", "x"),
        ("max_age", "0"),
        ("tenant", "x"),
        ("audience", "x"),
        ("access_type", "offline"),
        ("custom", "1"),
        ("scope", "read offline_access Mail.ReadWrite"),
        ("prompt", "consent"),
    ];
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &extra), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    browser.open(sent.location().unwrap().as_str(), HONEST).await;
    let asked = world.idp.asked.lock().unwrap().pop().unwrap();
    let mut names: Vec<_> = asked.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["client_id", "code_challenge", "code_challenge_method", "nonce", "redirect_uri", "response_type", "scope", "state"]
    );
    assert_eq!(asked["scope"], "openid email");
    assert_ne!(asked["state"], "client-state");
}

#[tokio::test]
async fn con_05_con_06_con_33_the_page_names_client_redirect_server_and_scopes() {
    let world = World::new().await;
    let metadata = json!({"client_name": "<script>alert(1)</script>\u{202e}", "redirect_uris": ["http://localhost/cb"], "token_endpoint_auth_method": "none"});
    let mut client = world.register_with(metadata).await;
    client.redirect = "http://localhost:4711/cb".to_owned();
    let page = get(&world.authorize_url(&client, &[("scope", "read")])).await;
    let text = page.text();
    let plain: String = {
        let mut inside = false;
        text.chars()
            .filter(|&c| {
                if c == '<' {
                    inside = true
                }
                let keep = !inside;
                if c == '>' {
                    inside = false
                }
                keep
            })
            .collect()
    };
    for part in ["Test tools", &world.at("/mcp"), "http://localhost:4711/cb", "read", "openid", "nverified"] {
        assert!(plain.contains(part), "{part} is missing:\n{plain}");
    }
    assert!(!text.contains("<script") && !text.contains('\u{202e}'));
    assert!(!plain.contains("write"), "a scope that was not asked for");
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), value);
    }
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
}

#[tokio::test]
async fn a_005_a_007_every_request_is_asked_whatever_was_approved_before() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    assert!(world.approve(&mut browser, &client).await.sent("code").is_some());
    let asked = world.idp.authorizations();
    for changes in
        [vec![], vec![("scope", "read write")], vec![("redirect_uri", "http://localhost:1/callback")], vec![("state", "other")]]
    {
        let page = browser.open(&world.authorize_url(&client, &changes), "http://localhost:1/").await;
        assert!(!page.ticket().is_empty(), "{changes:?}");
    }
    let cross_site = [("sec-fetch-site", "cross-site"), ("referer", "https://evil.test/")];
    assert!(!browser.step(Method::GET, &world.authorize_url(&client, &[]), &cross_site, String::new()).await.ticket().is_empty());
    assert_eq!(world.idp.authorizations(), asked, "nobody was sent to the provider");
}
