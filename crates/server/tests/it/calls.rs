//! Rules about calls, from the person's groups at the provider to the backend: A-188, A-215, RS-12, R32.

use deputy_protocol::access::Criterion;
use deputy_protocol::mcp::rules::{CallRule, CallRules, Otherwise, Pattern, Then};
use deputy_protocol::scope::Scopes;
use deputy_server::Config;
use http::Method;
use serde_json::{Value, json};

use crate::hearing::{OLD, says, tokens};
use crate::support::http::{Answer, send};
use crate::support::{HONEST, World};

/// Writers may call everything with the scope for it; others what reads.
fn rules(config: &mut Config) {
    let rule = |name: &str, people: &[&str], then: Then| CallRule {
        methods: vec![Pattern::new("tools/call")],
        names: vec![Pattern::new(name)],
        people: people.iter().map(|text| Criterion::read(text, &[]).unwrap()).collect(),
        then,
    };
    config.servers[0].calls = CallRules {
        rules: vec![
            rule("*", &["group:Writers"], Then::Allow(Scopes::parse("write").unwrap())),
            rule("read_*", &[], Then::Allow(Scopes::none())),
        ],
        otherwise: Otherwise::Deny,
        hides: false,
    };
}

async fn called(world: &World, token: &str, tool: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": tool } }).to_string();
    send(Method::POST, &world.at("/mcp"), &headers, body).await
}

fn groups(world: &World, groups: Value) {
    world.idp.misbehave(says(json!({ "groups": groups })));
}

#[tokio::test]
async fn a_215_a_188_who_may_call_what_follows_from_the_groups_at_the_provider() {
    let world = World::with(rules).await;
    groups(&world, json!(["Staff"]));
    let (client, access, refresh) = world.signed_in().await;
    assert_eq!(called(&world, &access, "read_wiki").await.status, 200);
    let denied = called(&world, &access, "write_wiki").await;
    assert_eq!((denied.status.as_u16(), &denied.json()["id"]), (403, &json!(7)));
    assert_eq!(denied.json()["error"]["data"]["reason"], "call_denied");
    assert!(denied.header("www-authenticate").is_empty(), "no scope would help");
    // Today this person writes too, and the next token says so.
    groups(&world, json!(["Writers"]));
    world.clock.advance(OLD);
    let (access, _) = tokens(&world.refresh(&client, &refresh).await);
    assert_eq!(called(&world, &access, "write_wiki").await.status, 200);
    // Groups that no rule names are nobody's business.
    assert!(!String::from_utf8_lossy(&payload(&access)).contains("Staff"));
}

#[tokio::test]
async fn rs_12_a_client_without_the_scope_is_told_all_that_it_needs() {
    let world = World::with(rules).await;
    groups(&world, json!(["Writers"]));
    let client = world.register(HONEST).await;
    let mut browser = crate::support::http::Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[("scope", "read")]), HONEST).await;
    let decided = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let code = browser.open(decided.location().unwrap().as_str(), HONEST).await.sent("code").unwrap();
    let (access, _) = tokens(&world.redeem(&client, &code).await);
    let refused = called(&world, &access, "write_wiki").await;
    let challenge = refused.header("www-authenticate");
    assert!(refused.status == 403 && challenge.contains(r#"scope="read write""#), "{challenge}");
}

fn payload(token: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()
}
