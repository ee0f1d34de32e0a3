//! Who may come in, over HTTP: A-138…A-144, R32.

use deputy_protocol::access::Rules;
use http::Method;
use serde_json::{Value, json};

use crate::hearing::{OLD, refused, says, tokens};
use crate::support::http::{Answer, Browser, parameter, send};
use crate::support::{HONEST, World};

async fn with_rules(allow: &'static [&'static str], deny: &'static [&'static str]) -> World {
    World::with(|config| config.access = Rules::read(allow, deny, &[]).unwrap()).await
}

async fn sign_in(world: &World, said: Value) -> Answer {
    world.idp.misbehave(says(said));
    let client = world.register(HONEST).await;
    world.approve(&mut Browser::default(), &client).await
}

fn came_in(end: &Answer) -> bool {
    end.sent("code").is_some()
}

#[tokio::test]
async fn an_app_role_lets_in_and_holds_at_each_refresh() {
    let world = with_rules(&["role:mcp.user"], &[]).await;
    assert!(!came_in(&sign_in(&world, json!({ "groups": ["mcp.user"] })).await), "a group is no role");
    world.idp.misbehave(says(json!({ "roles": ["mcp.user", "other"] })));
    let (client, _, token) = world.signed_in().await;
    // Kept with the grant: nobody asked the provider in between.
    let token = tokens(&world.refresh(&client, &token).await).1;
    world.clock.advance(OLD);
    let token = tokens(&world.refresh(&client, &token).await).1;
    world.clock.advance(OLD);
    world.idp.misbehave(says(json!({ "roles": ["other"] })));
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    world.idp.misbehave(says(json!({ "roles": ["mcp.user"] })));
    world.clock.advance(OLD);
    tokens(&world.refresh(&client, &token).await);
}

#[tokio::test]
async fn r32_who_is_denied_is_out_at_sign_in_and_at_the_next_refresh() {
    let world = with_rules(&["*"], &["group:Leavers", "email:mallory@corp.test"]).await;
    assert!(!came_in(&sign_in(&world, json!({ "groups": ["Staff", "Leavers"] })).await));
    for verified in [true, false] {
        let said = json!({ "email": "Mallory@corp.test", "email_verified": verified });
        assert!(!came_in(&sign_in(&world, said).await), "{verified}");
    }
    world.idp.misbehave(says(json!({ "groups": ["Staff"], "email_verified": false })));
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    let token = tokens(&world.refresh(&client, &token).await).1;
    world.clock.advance(OLD);
    world.idp.misbehave(says(json!({ "groups": ["Staff", "Leavers"] })));
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    // An address that nobody verified is kept with the grant, for this alone.
    world.idp.misbehave(says(json!({ "email_verified": false })));
    let deny =
        |rule: &'static str| move |config: &mut deputy_server::Config| config.access = Rules::read(&["*"], &[rule], &[]).unwrap();
    let world = world.restarted(deny("email:bob@corp.test")).await;
    let token = tokens(&world.refresh(&client, &token).await).1;
    let world = world.restarted(deny("email:alice@corp.test")).await;
    refused(&world.refresh(&client, &token).await, "invalid_grant");
}

async fn asking_it() -> World {
    let edit = |config: &mut deputy_server::Config| {
        config.access = Rules::parse(&["group:Staff"]).unwrap();
        config.contact = Some("it@corp.test <b>".to_owned());
    };
    World::with(edit).await
}

/// Everything that was said of the person.
const SAID: [&str; 3] = ["Alice O&#39;Hara", "alice@corp.test", "it@corp.test"];

#[tokio::test]
async fn who_may_not_come_in_reads_as_whom_he_is_signed_in_and_whom_to_ask() {
    let world = asking_it().await;
    let end = sign_in(&world, json!({ "name": "Alice O'Hara" })).await;
    assert_eq!((end.status.as_u16(), end.url.path()), (403, "/stopped"));
    for said in SAID.iter().chain(&["it@corp.test &#60;b&#62;", "Signed in as", "subject_not_allowed"]) {
        assert!(end.text().contains(said), "{said}: {}", end.text());
    }
    // The application hears that it was refused, with its state, and nothing about the person.
    let back = end.way_back().unwrap();
    assert!(back.as_str().starts_with(HONEST), "{back}");
    assert_eq!(
        (parameter(&back, "error").as_deref(), parameter(&back, "state").as_deref()),
        (Some("access_denied"), Some("client-state"))
    );
    assert_eq!((parameter(&back, "iss"), parameter(&back, "code")), (Some(world.origin.clone()), None));
    for said in ["Alice", "alice", "corp.test"] {
        assert!(!back.as_str().contains(said), "{back}");
        assert!(!end.url.as_str().contains(said), "{}", end.url);
    }
    assert!(end.header("referrer-policy").contains("no-referrer") && end.header("cache-control").contains("no-store"));
}

#[tokio::test]
async fn the_page_forgets_the_person_after_ten_minutes() {
    let world = asking_it().await;
    let end = sign_in(&world, json!({})).await;
    assert!(end.text().contains("alice@corp.test"));
    world.clock.advance(600);
    let later = Browser::default().step(Method::GET, end.url.as_str(), &[], String::new()).await;
    assert_eq!(later.assert_local().status, 403);
    assert!(later.text().contains("subject_not_allowed") && !later.text().contains("alice"), "{}", later.text());
    assert!(later.way_back().is_none());
}

#[tokio::test]
async fn a_program_that_reads_json_learns_nothing_about_the_person() {
    let world = asking_it().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let at_provider = browser.step(Method::GET, sent.location().unwrap().as_str(), &[], String::new()).await;
    let callback = at_provider.location().unwrap();
    let headers = [("accept", "application/json"), ("cookie", &browser.cookies(&callback))];
    let end = send(Method::GET, callback.as_str(), &headers, "").await;
    assert_eq!((end.assert_local().status.as_u16(), end.json()["error"].as_str()), (403, Some("access_denied")));
    assert!(!end.text().contains("alice"), "{}", end.text());
}

#[tokio::test]
async fn a_long_state_costs_the_way_back_and_not_the_page() {
    let world = asking_it().await;
    let client = world.register(HONEST).await;
    for (bytes, way_back) in [(1000, true), (4096, false)] {
        let mut browser = Browser::default();
        let page = browser.open(&world.authorize_url(&client, &[("state", &"s".repeat(bytes))]), HONEST).await;
        let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
        let end = browser.open(sent.location().unwrap().as_str(), HONEST).await;
        assert_eq!((end.status.as_u16(), end.way_back().is_some()), (403, way_back), "{bytes}");
        assert!(end.url.as_str().len() < 4100 && end.text().contains("alice@corp.test"), "{}", end.text());
    }
}

#[tokio::test]
async fn a_person_who_may_have_none_of_the_scopes_reads_so() {
    use deputy_protocol::scope::{Scope, ScopeRule, ScopeRules};
    let world = World::with(|config| {
        let writers = Some(Rules::parse(&["group:Writers"]).unwrap());
        let rule = |name: &str| ScopeRule { grants_to: writers.clone(), ..ScopeRule::new(Scope::parse(name).unwrap()) };
        config.scopes = ScopeRules::new(config.servers[0].scopes.iter().map(rule).collect()).unwrap();
    });
    let end = sign_in(&world.await, json!({})).await;
    assert_eq!(end.turned_away().as_deref(), Some("access_denied"));
    assert!(end.text().contains("scopes_not_allowed") && end.text().contains("alice@corp.test"), "{}", end.text());
    assert!(end.text().contains("Ask the operator of this server for access"), "{}", end.text());
}
