//! Who may come in, over HTTP: A-138…A-144, R32.

use deputy_protocol::access::Rules;
use serde_json::{Value, json};

use crate::hearing::{OLD, refused, says, tokens};
use crate::support::http::{Answer, Browser};
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
