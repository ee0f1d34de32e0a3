//! A-237, I7: no secret in the log, whatever its level, nor in an answer that is not its owner's.

use crate::support::http::{Browser, get, parameter};
use crate::support::log::Log;
use crate::support::{HONEST, VERIFIER, World, idp};

#[tokio::test]
async fn a_237_no_secret_is_logged_at_trace_level() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();

    let world = World::new().await;
    let confidential = world.register_with(serde_json::json!({"redirect_uris": [HONEST]})).await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[("state", "CLIENT-STATE-CANARY")]), HONEST).await;
    let ownership = page.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let to_idp = sent.location().unwrap();
    let at_idp = browser.open(to_idp.as_str(), &world.at("/callback")).await;
    let idp_code = at_idp.sent("code").unwrap();
    let end = browser.open(at_idp.location().unwrap().as_str(), HONEST).await;
    let code = end.sent("code").unwrap();
    let tokens = world.redeem(&client, &code).await.json();
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    assert_eq!(world.call(access).await.status, 200);
    let successor = world.refresh(&client, refresh).await.json()["refresh_token"].as_str().unwrap().to_owned();
    // Refusals talk most.
    world.redeem(&client, &code).await;
    world.refresh(&client, refresh).await;
    world.call(&format!("{access}x")).await;
    get(&world.at(&format!("/mcp?access_token={access}"))).await;
    get(&world.at(&format!("/callback?code={idp_code}&state={}", parameter(&to_idp, "state").unwrap()))).await;
    world
        .token(&[
            ("grant_type", "refresh_token"),
            ("client_id", &confidential.id),
            ("client_secret", confidential.secret.as_ref().unwrap()),
        ])
        .await;

    let logged = log.text();
    for event in ["consent_shown", "consent_approved", "signed_in", "tokens_issued", "code_replayed", "callback_other_browser"] {
        assert!(logged.contains(event), "{event} is not in the log");
    }
    let signature = access.rsplit('.').next().unwrap();
    let idp_state = parameter(&to_idp, "state").unwrap();
    for (what, secret) in [
        ("code", code.as_str()),
        ("access token", access),
        ("its signature", signature),
        ("refresh token", refresh),
        ("its successor", &successor),
        ("ownership cookie", &ownership),
        ("ticket", &page.ticket()),
        ("state at the provider", &idp_state),
        ("the provider's code", &idp_code),
        ("nonce", &parameter(&to_idp, "nonce").unwrap()),
        ("client state", "CLIENT-STATE-CANARY"),
        ("verifier", VERIFIER),
        ("client secret", confidential.secret.as_ref().unwrap()),
        ("our secret at the provider", idp::CLIENT_SECRET),
        ("the provider's access token", "IDP-ACCESS-CANARY"),
        ("the provider's refresh token", "IDP-REFRESH-CANARY"),
    ] {
        let line = logged.lines().find(|line| line.contains(secret)).unwrap_or_default();
        assert!(line.is_empty(), "the {what} is in the log: {}", line.chars().take(300).collect::<String>());
    }
}
