//! Scopes that are for some people only, and scopes that contain others, over HTTP, AS-69, RS-13, R32.

use deputy_protocol::access::Rules;
use deputy_protocol::scope::{Scope, ScopeRule, ScopeRules, Scopes};
use deputy_server::Config;
use serde_json::{Value, json};

use crate::hearing::{OLD, refused, says, tokens};
use crate::support::http::{Answer, Browser, claims};
use crate::support::{Client, HONEST, World};

fn rule(name: &str, grants_to: &[&str], implies: &str) -> ScopeRule {
    ScopeRule {
        grants_to: (!grants_to.is_empty()).then(|| Rules::parse(grants_to).unwrap()),
        implies: if implies.is_empty() { Scopes::default() } else { Scopes::parse(implies).unwrap() },
        description: Some(format!("Words about {name}")),
        ..ScopeRule::new(Scope::parse(name).unwrap())
    }
}

/// A server with `read`, and `write` for writers, which contains reading.
fn writers(config: &mut Config) {
    config.servers[0].scopes = Scopes::parse("read write").unwrap();
    config.scopes =
        ScopeRules::new(vec![rule("write", &["group:Writers", "role:admin"], "read"), rule("read", &[], "")]).unwrap();
}

async fn end_of(world: &World, client: &Client, scope: &str) -> Answer {
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(client, &[("scope", scope)]), HONEST).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let decided = browser.decide(&world.origin, &page.ticket(), "approve").await;
    browser.open(decided.location().unwrap().as_str(), HONEST).await
}

/// What a sign-in with these claims and this request gives: access token, refresh token, and the scope that the answer states.
async fn signed_in(world: &World, client: &Client, said: Value, scope: &str) -> (String, String, String) {
    world.idp.misbehave(says(said));
    let code = end_of(world, client, scope).await.sent("code").expect("a code");
    granted(&world.redeem(client, &code).await)
}

fn granted(answer: &Answer) -> (String, String, String) {
    let (access, refresh) = tokens(answer);
    let scope = answer.json()["scope"].as_str().unwrap().to_owned();
    assert_eq!(claims(&access)["scope"], scope, "the answer says what the token says");
    (access, refresh, scope)
}

#[tokio::test]
async fn a_080_a_person_gets_the_scopes_that_are_theirs_and_the_answer_says_so() {
    let world = World::with(writers).await;
    let client = world.register(HONEST).await;
    for (said, asked, gets) in [
        (json!({ "groups": ["Writers"] }), "read write", "read write"),
        (json!({ "roles": ["admin"] }), "write", "write"),
        (json!({ "groups": ["Readers"] }), "read write openid", "read"),
        (json!({ "groups": [] }), "read", "read"),
        (json!({ "groups": ["Writers"] }), "read", "read"),
    ] {
        assert_eq!(signed_in(&world, &client, said.clone(), asked).await.2, gets, "{said} {asked}");
    }
}

#[tokio::test]
async fn who_may_have_nothing_of_it_gets_nothing_and_nothing_is_stored() {
    let world = World::with(writers).await;
    let client = world.register(HONEST).await;
    world.idp.misbehave(says(json!({ "groups": ["Readers"] })));
    let rows = world.rows().await;
    let end = end_of(&world, &client, "write").await;
    assert!(end.sent("code").is_none(), "{}", end.text());
    assert_eq!(world.rows().await, rows);
    assert!(end_of(&world, &client, "read").await.sent("code").is_some());
}

#[tokio::test]
async fn a_104_a_refresh_gives_what_is_the_persons_today_and_never_more_than_the_first_time() {
    let world = World::with(writers).await;
    let client = world.register(HONEST).await;
    let (_, writer, _) = signed_in(&world, &client, json!({ "groups": ["Writers"] }), "read write").await;
    let (_, reader, _) = signed_in(&world, &client, json!({ "groups": ["Readers"] }), "read write").await;
    // The one leaves the group, the other joins it.
    world.clock.advance(OLD);
    world.idp.misbehave(says(json!({ "groups": ["Readers"] })));
    let (_, writer, scope) = granted(&world.refresh(&client, &writer).await);
    assert_eq!(scope, "read");
    world.idp.misbehave(says(json!({ "groups": ["Writers"] })));
    let (_, reader, scope) = granted(&world.refresh(&client, &reader).await);
    assert_eq!(scope, "read", "nobody approved more for this grant than it was given");
    let wide = [("grant_type", "refresh_token"), ("refresh_token", &reader), ("client_id", &client.id), ("scope", "read write")];
    refused(&world.token(&wide).await, "invalid_scope");
    // Put back: a mistake in the directory costs nobody his grant.
    world.clock.advance(OLD);
    assert_eq!(granted(&world.refresh(&client, &writer).await).2, "read write");
}

#[tokio::test]
async fn r32_a_changed_configuration_narrows_at_the_next_refresh_and_ends_what_is_left_of_nothing() {
    let world = World::with(|config| config.servers[0].scopes = Scopes::parse("read write").unwrap()).await;
    let client = world.register(HONEST).await;
    let (_, both, _) = signed_in(&world, &client, json!({ "groups": ["Readers"] }), "read write").await;
    let (_, alone, _) = signed_in(&world, &client, json!({ "groups": ["Readers"] }), "write").await;
    let code = end_of(&world, &client, "read write").await.sent("code").unwrap();
    let world = world.restarted(writers).await;
    assert_eq!(granted(&world.refresh(&client, &both).await).2, "read");
    assert_eq!(granted(&world.redeem(&client, &code).await).2, "read", "a code of before too");
    refused(&world.refresh(&client, &alone).await, "invalid_grant");
}

#[tokio::test]
async fn the_pages_explain_scopes_and_the_last_one_shows_what_is_given() {
    let world = World::with(writers).await;
    let client = world.register(HONEST).await;
    world.idp.misbehave(says(json!({ "groups": ["Readers"] })));
    let mut browser = Browser::wary();
    let page = browser.open(&world.authorize_url(&client, &[("scope", "read write")]), HONEST).await;
    for words in ["Words about read <code>read</code>", "Words about write <code>write</code>"] {
        assert!(page.text().contains(words), "{}", page.text());
    }
    let decided = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let last = browser.open(decided.location().unwrap().as_str(), HONEST).await;
    assert!(last.is_last_page(), "{}", last.text());
    assert!(last.text().contains("Words about read") && !last.text().contains("Words about write"), "{}", last.text());
    let end = browser.finish(&last, "approve").await;
    assert_eq!(granted(&world.redeem(&client, &end.sent("code").unwrap()).await).2, "read");
}

#[tokio::test]
async fn the_provider_is_asked_for_what_stands_behind_the_approved_scopes_and_for_nothing_else() {
    let behind = |name: &str, idp: &[&str]| ScopeRule {
        idp: idp.iter().map(|&scope| scope.to_owned()).collect(),
        ..ScopeRule::new(Scope::parse(name).unwrap())
    };
    let world = World::with(|config| {
        config.servers[0].scopes = Scopes::parse("read write admin").unwrap();
        config.scopes =
            ScopeRules::new(vec![behind("write", &["files.write", "email"]), behind("admin", &["directory.all"])]).unwrap();
    })
    .await;
    let client = world.register(HONEST).await;
    for (scope, asked) in [("read write", "openid email files.write"), ("read", "openid email")] {
        // What stands in a client's own request for the provider's scopes is no scope of ours.
        let end = end_of(&world, &client, &format!("{scope} directory.all")).await;
        assert!(end.sent("code").is_some(), "{}", end.text());
        assert_eq!(world.idp.asked.lock().unwrap().pop().unwrap()["scope"], asked);
    }
}

#[tokio::test]
async fn rs_13_the_backend_is_told_all_that_a_scope_contains() {
    let world = World::with(writers).await;
    let client = world.register(HONEST).await;
    let (access, _, scope) = signed_in(&world, &client, json!({ "groups": ["Writers"] }), "write").await;
    assert_eq!(scope, "write");
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!(world.backend.header("x-deputy-scope").as_deref(), Some("read write"));
}
