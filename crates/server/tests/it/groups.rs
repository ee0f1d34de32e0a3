//! People in more groups than the provider lists: nobody comes in, stays in or gets a scope because of that.

use deputy_protocol::access::Rules;
use serde_json::{Value, json};

use crate::hearing::{OLD, refused, says, tokens};
use crate::support::http::{Answer, Browser};
use crate::support::{HONEST, World};

async fn with_rules(allow: &'static [&'static str], deny: &'static [&'static str]) -> World {
    World::with(|config| config.access = Rules::read(allow, deny, &[]).unwrap()).await
}

/// As Entra says it (learn.microsoft.com, "Groups overage claim").
fn overage() -> Value {
    json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": { "endpoint": "https://graph.windows.net/x" } } })
}

async fn sign_in(world: &World) -> Answer {
    world.idp.misbehave(says(overage()));
    let client = world.register(HONEST).await;
    world.approve(&mut Browser::default(), &client).await
}

#[tokio::test]
async fn unlisted_groups_neither_let_in_nor_slip_past_a_denial() {
    for (allow, deny) in [(&["group:Staff"][..], &[][..]), (&["*"], &["group:Leavers"])] {
        let end = sign_in(&with_rules(allow, deny).await).await;
        assert_eq!((end.sent("code"), end.status.as_u16()), (None, 403), "{allow:?} {deny:?}");
        assert!(end.text().contains("groups_elsewhere") && end.text().contains("too many"), "{}", end.text());
    }
    assert!(sign_in(&with_rules(&["domain:corp.test"], &[]).await).await.sent("code").is_some(), "no rule asks for groups");
}

#[tokio::test]
async fn groups_that_became_too_many_end_what_depends_on_them_at_the_next_word() {
    let world = with_rules(&["*"], &["group:Leavers"]).await;
    world.idp.misbehave(says(json!({ "groups": ["Staff"] })));
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    world.idp.misbehave(says(overage()));
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    // It is kept with the grant as it was said: a restart makes no empty list of it.
    let rules = Rules::read(&["*"], &["group:Leavers"], &[]).unwrap();
    let world = world.restarted(|config| config.access = rules).await;
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    world.idp.misbehave(says(json!({ "groups": ["Staff"] })));
    world.clock.advance(OLD);
    tokens(&world.refresh(&client, &token).await);
}
