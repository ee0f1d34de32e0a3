//! On-behalf-of: the API behind a server is called with a token of the person's, made for it (learn.microsoft.com, "On-Behalf-Of flow").

use deputy_server::config::{Credential, Entra, IdpKind};
use deputy_server::{Config, StartError};
use serde_json::{Value, json};

use crate::entra::{T1, says, try_with_entra, with_entra};
use crate::groups::overage;
use crate::hearing::{refused, tokens};
use crate::support::http::{Answer, Browser};
use crate::support::idp::{CLIENT_ID, Faults};
use crate::support::{HONEST, World};

const SCOPE: &str = "api://backend/Tools.Call";
const WANTS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

fn on_behalf(config: &mut Config) {
    config.servers[0].on_behalf_of = vec![SCOPE.to_owned()];
    if let IdpKind::Entra(entra) = &mut config.idps[0].kind {
        *entra = Entra { on_behalf: true, ..entra.clone() };
        config.idps[0].scopes = vec!["openid".to_owned(), format!("{CLIENT_ID}/.default")];
    }
}

async fn world() -> World {
    with_entra(&[T1], T1, on_behalf).await
}

/// Entra refuses the exchange like this; `None`: it does not.
fn exchange_is(world: &World, refusal: Option<(u16, Value)>) {
    world.idp.misbehave(Faults { on_behalf: refusal, ..says(&world.idp, T1, json!(T1), T1) });
}

fn exchanges(world: &World) -> usize {
    world.idp.forms.lock().unwrap().iter().filter(|form| form.contains_key("assertion")).count()
}

fn sent(world: &World) -> String {
    world.backend.header("authorization").unwrap_or_default()
}

fn bearer(count: usize) -> String {
    format!("Bearer API-CANARY-{count}-{SCOPE}")
}

async fn sign_in(world: &World, refusal: Option<(u16, Value)>) -> Answer {
    exchange_is(world, refusal);
    let client = world.register(HONEST).await;
    world.approve(&mut Browser::default(), &client).await
}

#[tokio::test]
async fn the_api_is_called_with_a_token_of_the_person_that_is_made_for_it() {
    let world = world().await.alone().await;
    let (_, access, _) = world.signed_in().await;
    let asked = world.idp.asked.lock().unwrap().last().cloned().unwrap();
    assert_eq!(asked["scope"], format!("openid {CLIENT_ID}/.default"));
    // Once at the sign-in, to see what is missing; then once for as long as the token lives.
    for _ in 0..3 {
        assert_eq!(world.call(&access).await.status, 200);
    }
    assert_eq!((sent(&world), exchanges(&world)), (bearer(2), 2));
    assert!(world.backend.header("x-deputy-subject").is_some());
    // Each person's own.
    *world.idp.person.lock().unwrap() = "bob".to_owned();
    let (_, bobs, _) = world.signed_in().await;
    assert_eq!(world.call(&bobs).await.status, 200);
    assert_eq!(sent(&world), bearer(4));
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!(sent(&world), bearer(2));
}

#[tokio::test]
async fn many_calls_at_once_ask_once() {
    let world = world().await.alone().await;
    let (_, access, _) = world.signed_in().await;
    let calls = futures_util::future::join_all((0..16).map(|_| world.call(&access))).await;
    assert!(calls.iter().all(|answer| answer.status == 200));
    assert_eq!(exchanges(&world), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_with_what_the_provider_last_gave() {
    let world = world().await.alone().await;
    let (client, mut access, mut refresh) = world.signed_in().await;
    assert_eq!(world.call(&access).await.status, 200);
    for _ in 0..12 {
        world.clock.advance(290);
        (access, refresh) = tokens(&world.refresh(&client, &refresh).await);
    }
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!((sent(&world), exchanges(&world)), (bearer(2), 2));
    world.clock.advance(61);
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!((sent(&world), exchanges(&world)), (bearer(3), 3));
    let form = world.idp.forms.lock().unwrap().last().cloned().unwrap();
    assert_eq!((form["assertion"].as_str(), form["scope"].as_str()), ("IDP-ACCESS-CANARY-RENEWED", SCOPE));
}

#[tokio::test]
async fn what_is_missing_is_asked_for_while_the_person_is_there() {
    let world = world().await;
    let challenge = json!({ "error": "interaction_required", "error_codes": [50076], "claims": WANTS });
    let sent = sign_in(&world, Some((400, challenge.clone()))).await;
    // Asked again once, with what Entra wants; then the client hears.
    assert_eq!(sent.sent("error").as_deref(), Some("access_denied"), "{}", sent.text());
    let asked = world.idp.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().map(|asked| asked.get("claims").map(String::as_str)).collect::<Vec<_>>(), [None, Some(WANTS)]);
    // Nobody agreed to the API.
    let consent = json!({ "error": "invalid_grant", "error_codes": [65001], "suberror": "consent_required" });
    let page = sign_in(&world, Some((400, consent))).await;
    assert_eq!((page.sent("code"), page.status.as_u16()), (None, 403));
    assert!(page.text().contains("backend_token_refused") && page.text().contains("administrator"), "{}", page.text());
    for (status, error) in [(503, json!({})), (401, json!({ "error": "invalid_client" }))] {
        let page = sign_in(&world, Some((status, error))).await;
        assert_eq!((page.sent("code"), page.status.as_u16()), (None, 503), "{}", page.text());
    }
    assert!(sign_in(&world, None).await.sent("code").is_some());
}

#[tokio::test]
async fn who_has_to_come_again_is_signed_out_and_nobody_else_is() {
    let world = world().await;
    let (client, access, refresh) = world.signed_in().await;
    for (status, error, expected) in [
        (503, json!({}), 503),
        (429, json!({ "error": "invalid_grant" }), 503),
        (401, json!({ "error": "invalid_client" }), 503),
        (400, json!({ "error": "invalid_scope" }), 503),
    ] {
        exchange_is(&world, Some((status, error.clone())));
        let answer = world.call(&access).await;
        assert_eq!(answer.status.as_u16(), expected, "{error}: {}", answer.text());
        assert!(answer.header("www-authenticate").is_empty() && !answer.header("retry-after").is_empty());
        world.clock.advance(3);
    }
    assert_eq!(world.backend.requests(), 0, "without a token nothing is called");
    exchange_is(&world, None);
    assert_eq!(world.call(&access).await.status, 200);
    let (other, others, others_refresh) = world.signed_in().await;
    exchange_is(&world, Some((400, json!({ "error": "interaction_required", "claims": WANTS }))));
    let answer = world.call(&others).await;
    assert!(answer.status == 401 && answer.header("www-authenticate").contains("invalid_token"), "{}", answer.text());
    refused(&world.refresh(&other, &others_refresh).await, "invalid_grant");
    tokens(&world.refresh(&client, &refresh).await);
}

#[tokio::test]
async fn a_token_that_the_api_refuses_is_not_used_again() {
    let world = world().await;
    let (_, access, _) = world.signed_in().await;
    world.backend.refuse(true);
    assert_eq!(world.call(&access).await.status, 502);
    world.backend.refuse(false);
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!(sent(&world), bearer(3));
}

/// A client renews its own token when it is told that it ended, and the person's token is renewed with it.
#[tokio::test]
async fn a_person_s_token_that_ended_is_renewed_by_the_client_s_next_refresh() {
    let world = with_entra(&[T1], T1, |config| {
        on_behalf(config);
        config.tokens.access_token = std::time::Duration::from_secs(7200);
    })
    .await;
    let (client, access, refresh) = world.signed_in().await;
    world.clock.advance(3600);
    let answer = world.call(&access).await;
    assert!(answer.status == 401 && answer.header("www-authenticate").contains("invalid_token"), "{}", answer.text());
    let (access, _) = tokens(&world.refresh(&client, &refresh).await);
    assert_eq!(world.call(&access).await.status, 200);
}

#[tokio::test]
async fn graph_is_asked_with_a_token_of_its_own() {
    let world = with_entra(&[T1], T1, |config| {
        on_behalf(config);
        let rules = ["group:aaaaaaaa-0000-4000-8000-000000000001"];
        config.access = deputy_protocol::access::Rules::read(&rules, &[], &[]).unwrap();
    })
    .await;
    let faults = says(&world.idp, T1, json!(T1), T1);
    let before = faults.claims.unwrap();
    let claims: crate::support::idp::Edit<Value> = std::sync::Arc::new(move |claims| {
        before(claims);
        claims.as_object_mut().unwrap().extend(overage().as_object().unwrap().clone());
    });
    let graph = Some((200, json!({ "value": ["aaaaaaaa-0000-4000-8000-000000000001"] })));
    world.idp.misbehave(Faults { claims: Some(claims), graph, discovery: faults.discovery, ..Faults::default() });
    let client = world.register(HONEST).await;
    assert!(world.approve(&mut Browser::default(), &client).await.sent("code").is_some());
    let asked = world.idp.graph.lock().unwrap().last().cloned().unwrap();
    assert_eq!(asked.0, format!("Bearer API-CANARY-1-{}/User.Read", world.idp.issuer));
}

#[tokio::test]
async fn only_entra_with_a_credential_gives_such_tokens() {
    let started = World::try_with(|config| config.servers[0].on_behalf_of = vec![SCOPE.to_owned()]).await;
    assert!(matches!(started.map(drop), Err(StartError::Config(text)) if text.contains("people of Entra")));
    let public = try_with_entra(&[T1], T1, |config| {
        on_behalf(config);
        config.idps[0].credential = Credential::None;
    });
    assert!(matches!(public.await.map(drop), Err(StartError::Config(_))));
}
