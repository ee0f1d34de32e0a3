//! `GET /callback`: CON-19…21, OC-03…07, OC-15, OC-18; A-034…A-036, A-119…A-130 over the wire.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::support::http::{Answer, Browser, claims, parameter};
use crate::support::idp::{Edit, Faults};
use crate::support::replicas;
use crate::support::{HONEST, World};

/// A browser that approved, and the callback address that the provider sends it to.
async fn answered(world: &World) -> (Browser, Url) {
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let answer = browser.open(sent.location().unwrap().as_str(), &world.at("/callback")).await;
    (browser, answer.location().unwrap())
}

async fn finish(world: &World) -> Answer {
    let (mut browser, callback) = answered(world).await;
    browser.open(callback.as_str(), HONEST).await
}

fn with(url: &Url, name: &str, values: &[&str]) -> String {
    let kept: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(known, _)| known != name).collect();
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(values.iter().map(|value| (name, value)));
    url.into()
}

#[tokio::test]
async fn a_034_con_19_con_20_state_must_fit() {
    let world = World::new().await;
    let (mut browser, callback) = answered(&world).await;
    let state = parameter(&callback, "state").unwrap();
    let other = "dps_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (case, values) in [
        ("missing", vec![]),
        ("empty", vec![""]),
        ("other", vec![other]),
        ("cut", vec![&state[..20]]),
        ("twice", vec![state.as_str(), state.as_str()]),
    ] {
        let answer = browser.open(&with(&callback, "state", &values), HONEST).await;
        assert!(answer.assert_local().status.as_u16() < 500, "{case}");
    }
    assert_eq!(world.idp.exchanges(), 0);
    assert!(browser.open(callback.as_str(), HONEST).await.sent("code").is_some(), "the flow itself is untouched");
}

#[tokio::test]
async fn a_034_con_21_a_state_works_once_and_for_ten_minutes() {
    let world = World::new().await;
    let (mut browser, callback) = answered(&world).await;
    let before = browser.clone();
    assert!(browser.open(callback.as_str(), HONEST).await.sent("code").is_some());
    browser.open(callback.as_str(), HONEST).await.assert_local();
    // Even a browser that kept its cookie.
    before.clone().open(callback.as_str(), HONEST).await.assert_local();
    assert_eq!(world.idp.exchanges(), 1);
    let (mut late, callback) = answered(&world).await;
    world.clock.advance(601);
    assert_eq!(late.open(callback.as_str(), HONEST).await.assert_local().status, 400);
    assert_eq!(world.idp.exchanges(), 1);
}

#[tokio::test]
async fn a_035_errors_are_bound_like_success() {
    let world = World::new().await;
    let (mut browser, callback) = answered(&world).await;
    let state = parameter(&callback, "state").unwrap();
    for query in ["error=x".to_owned(), "error=x&state=garbage".to_owned()] {
        browser.open(&world.at(&format!("/callback?{query}")), HONEST).await.assert_local();
    }
    Browser::default().open(&world.at(&format!("/callback?error=x&code=y&state={state}")), HONEST).await.assert_local();
    assert!(browser.open(callback.as_str(), HONEST).await.sent("code").is_some());
}

#[tokio::test]
async fn a_036_fifty_deliveries_make_one_exchange_and_one_code() {
    let world = World::new().await;
    let (browser, callback) = answered(&world).await;
    let deliveries: Vec<_> = (0..50)
        .map(|_| {
            let (mut browser, callback) = (browser.clone(), callback.clone());
            tokio::spawn(async move { browser.open(callback.as_str(), HONEST).await.sent("code").is_some() })
        })
        .collect();
    let mut codes = 0;
    for delivery in deliveries {
        codes += usize::from(delivery.await.unwrap());
    }
    assert_eq!(codes, 1);
    // Each process spares the provider what it knows itself; the store decides.
    assert!((1..=replicas::count()).contains(&world.idp.exchanges()), "{}", world.idp.exchanges());
}

#[tokio::test]
async fn a_119_a_121_a_144_a_bad_id_token_ends_on_a_page_without_a_code() {
    let world = World::new().await;
    let now = world.clock.seconds();
    let key = world.idp.public_key();
    let set =
        |name: &'static str, value: Value| -> Edit<Value> { Arc::new(move |claims: &mut Value| claims[name] = value.clone()) };
    let remove = |name: &'static str| -> Edit<Value> {
        Arc::new(move |claims: &mut Value| {
            claims.as_object_mut().unwrap().remove(name);
        })
    };
    let mut cases: Vec<(String, Faults)> = Vec::new();
    for (name, value) in [
        ("iss", json!("https://evil.test")),
        ("aud", json!("other")),
        ("exp", json!(now - 61)),
        ("nbf", json!(now + 120)),
        ("iat", json!(now + 120)),
        ("nonce", json!("other")),
        ("sub", json!("")),
        ("sub", json!("  ")),
    ] {
        cases.push((format!("{name}={value}"), Faults { claims: Some(set(name, value)), ..Faults::default() }));
    }
    for name in ["iss", "sub", "aud", "exp", "iat", "nonce"] {
        cases.push((format!("no {name}"), Faults { claims: Some(remove(name)), ..Faults::default() }));
    }
    let token = |edit: Edit<String>| Faults { id_token: Some(edit), ..Faults::default() };
    let resigned = |header: Value, secret: Option<Vec<u8>>| -> Edit<String> {
        Arc::new(move |token: &mut String| {
            use base64::Engine as _;
            let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
            let signed = format!("{}.{}", encode(header.to_string().as_bytes()), token.split('.').nth(1).unwrap());
            let signature = secret.as_ref().map(|secret| {
                aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret), signed.as_bytes())
                    .as_ref()
                    .to_vec()
            });
            *token = format!("{signed}.{}", encode(&signature.unwrap_or_default()));
        })
    };
    cases.push(("bad signature".to_owned(), token(Arc::new(|token: &mut String| token.truncate(token.len() - 8)))));
    cases.push(("alg none".to_owned(), token(resigned(json!({"alg": "none"}), None))));
    for secret in [key.to_string().into_bytes(), crate::support::idp::CLIENT_SECRET.as_bytes().to_vec(), Vec::new()] {
        cases.push(("HS256".to_owned(), token(resigned(json!({"alg": "HS256", "kid": "first"}), Some(secret)))));
    }
    cases.push(("HTML".to_owned(), Faults { token: Some((200, "<html>".to_owned())), ..Faults::default() }));
    cases.push((
        "200 with an error".to_owned(),
        Faults { token: Some((200, r#"{"error":"bad_verification_code"}"#.to_owned())), ..Faults::default() },
    ));
    for (case, faults) in cases {
        world.idp.misbehave(faults);
        let end = finish(&world).await;
        assert!(end.status.is_client_error() || end.status.is_server_error(), "{case}: {} {:?}", end.status, end.location());
        end.assert_local();
    }
    assert_eq!(world.rows().await.iter().find(|(table, _)| *table == "codes").unwrap().1, 0);
    world.idp.misbehave(Faults::default());
    assert!(finish(&world).await.sent("code").is_some());
}

#[tokio::test]
async fn a_123_a_new_key_is_found_and_unknown_keys_are_no_flood() {
    let world = World::new().await;
    assert!(finish(&world).await.sent("code").is_some());
    world.clock.advance(31);
    world.idp.rotate_key();
    assert!(finish(&world).await.sent("code").is_some(), "rotation needs no restart");
    for _ in 0..4 * replicas::count() {
        finish(&world).await;
    }
    let asked = world.idp.key_requests.load(std::sync::atomic::Ordering::SeqCst);
    world.idp.misbehave(Faults { id_token: Some(Arc::new(|token: &mut String| token.insert(1, 'x'))), ..Faults::default() });
    for _ in 0..20 {
        finish(&world).await.assert_local();
    }
    assert_eq!(world.idp.key_requests.load(std::sync::atomic::Ordering::SeqCst), asked, "asked again within 30 s");
}

#[tokio::test]
async fn a_125_oc_06_a_provider_that_is_somebody_else_refuses_the_start() {
    for (name, value) in
        [("issuer", json!("https://evil.test")), ("token_endpoint", json!("http://evil.test/token")), ("jwks_uri", json!(null))]
    {
        let clock = Arc::new(crate::support::clock::TestClock::new());
        let idp = crate::support::idp::Idp::start(Arc::clone(&clock)).await;
        idp.misbehave(Faults {
            discovery: Some(Arc::new(move |document: &mut Value| document[name] = value.clone())),
            ..Faults::default()
        });
        let refused = World::with_idp(idp, clock, |_| ()).await.err().expect("it started").to_string();
        assert!(refused.contains("identity provider"), "{refused}");
    }
}

#[tokio::test]
async fn a_127_oc_05_iss_of_the_answer() {
    for promised in [true, false] {
        let clock = Arc::new(crate::support::clock::TestClock::new());
        let idp = crate::support::idp::Idp::start(Arc::clone(&clock)).await;
        let discovery: Edit<Value> =
            Arc::new(move |document: &mut Value| document["authorization_response_iss_parameter_supported"] = json!(promised));
        idp.misbehave(Faults { discovery: Some(Arc::clone(&discovery)), ..Faults::default() });
        let issuer = idp.issuer.clone();
        let world = World::with_idp(idp, clock, |_| ()).await.unwrap();
        for (iss, good) in [
            (Some(issuer.clone()), true),
            (Some("https://evil.test".to_owned()), false),
            (Some(format!("{issuer}/")), false),
            (None, !promised),
        ] {
            let exchanges = world.idp.exchanges();
            world.idp.misbehave(Faults {
                discovery: Some(Arc::clone(&discovery)),
                redirect: vec![("iss", iss.clone())],
                ..Faults::default()
            });
            let end = finish(&world).await;
            assert_eq!(end.sent_code(), good, "promised {promised}, sent {iss:?}");
            assert_eq!(world.idp.exchanges() > exchanges, good);
        }
    }
}

#[tokio::test]
async fn a_130_oc_18_provider_errors_are_mapped_and_never_repeated() {
    let world = World::new().await;
    for (error, mapped) in [
        ("access_denied", "access_denied"),
        ("login_required", "access_denied"),
        ("server_error", "server_error"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("<b>", "server_error"),
    ] {
        let redirect = vec![
            ("code", None),
            ("error", Some(error.to_owned())),
            ("error_description", Some(format!("<script>RAW{}", "x".repeat(4000)))),
        ];
        world.idp.misbehave(Faults { redirect, ..Faults::default() });
        let end = finish(&world).await;
        assert_eq!(end.sent("error").as_deref(), Some(mapped), "{error}");
        assert_eq!((end.sent("state").as_deref(), end.sent("iss")), (Some("client-state"), Some(world.origin.clone())));
        assert!(!end.location().unwrap().as_str().contains("RAW"));
    }
}

#[tokio::test]
async fn a_128_every_request_to_the_provider_is_fresh() {
    let world = World::new().await;
    for _ in 0..50 {
        answered(&world).await;
    }
    let asked = world.idp.asked.lock().unwrap();
    for name in ["state", "nonce", "code_challenge"] {
        let values: std::collections::HashSet<_> = asked.iter().map(|query| query[name].clone()).collect();
        assert_eq!(values.len(), 50, "{name}");
        assert!(values.iter().all(|value| value.len() >= 43), "{name}");
    }
}

#[tokio::test]
async fn a_provider_outage_is_503_and_the_same_page_can_be_loaded_again() {
    let world = World::new().await;
    let (mut browser, callback) = answered(&world).await;
    world.idp.misbehave(Faults { token: Some((503, String::new())), ..Faults::default() });
    let answer = browser.open(callback.as_str(), HONEST).await;
    assert_eq!(answer.assert_local().status, 503);
    world.idp.misbehave(Faults::default());
    assert!(browser.open(callback.as_str(), HONEST).await.sent("code").is_some());
}

#[tokio::test]
async fn somebody_who_may_not_come_in_is_told_so_and_takes_it_to_the_client() {
    let world =
        World::with(|config| config.access = deputy_protocol::access::Rules::parse(&["email:alice@corp.test"]).unwrap()).await;
    assert!(finish(&world).await.sent("code").is_some());
    *world.idp.person.lock().unwrap() = "mallory".to_owned();
    assert_eq!(finish(&world).await.turned_away().as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn oc_01_con_23_the_providers_tokens_stay_here() {
    let world = World::new().await;
    let (_, access, refresh) = world.signed_in().await;
    for canary in ["IDP-ACCESS-CANARY", "IDP-REFRESH-CANARY"] {
        assert!(!format!("{}{refresh}", claims(&access)).contains(canary));
        for entry in std::fs::read_dir(world.data.path().join("data")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "A-243: {canary} at rest");
        }
    }
}

impl Answer {
    fn sent_code(&self) -> bool {
        self.location().is_some() && self.sent("code").is_some()
    }
}

/// A refused answer of the provider is shown at an address that holds nothing of it: its code is live, and whoever looks on or is sent
/// the address must not get it. A link with `response_mode=fragment` puts it behind `#`: our redirect brings a fragment of its own.
#[tokio::test]
async fn a_034_the_page_of_a_refusal_holds_no_code_in_its_address() {
    let world = World::new().await;
    let (_, callback) = answered(&world).await;
    let mut victim = Browser::default();
    let refused = victim.step(Method::GET, callback.as_str(), &[], String::new()).await;
    let shown = refused.location().unwrap();
    assert_eq!((refused.status.as_u16(), shown.path(), shown.fragment()), (303, "/stopped", Some("_")));
    for secret in ["code", "state"] {
        assert!(!shown.as_str().contains(&parameter(&callback, secret).unwrap()), "{secret} in {shown}");
    }
    for _ in 0..2 {
        let page = victim.step(Method::GET, shown.as_str(), &[], String::new()).await;
        assert_eq!(page.status, 403);
        assert!(page.text().contains("callback_other_browser"), "{}", page.text());
    }
    // Nobody else writes on that page.
    let altered = shown.as_str().replace("about=", "about=A");
    for about in [altered.as_str(), &world.at("/stopped"), &world.at("/stopped?about=x&reason=subject_not_allowed")] {
        assert_eq!(Browser::default().open(about, HONEST).await.assert_local().status, 404);
    }
}
