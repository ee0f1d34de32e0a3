//! People in more groups than the provider lists: nobody comes in, stays in or gets a scope because of that.

use std::sync::Arc;

use deputy_protocol::access::Rules;
use serde_json::{Value, json};

use crate::entra::{T1, says as entra_says, with_entra};
use crate::hearing::{OLD, refused, says, tokens};
use crate::support::http::{Answer, Browser};
use crate::support::idp::Faults;
use crate::support::{HONEST, World};

async fn with_rules(allow: &'static [&'static str], deny: &'static [&'static str]) -> World {
    World::with(|config| config.access = Rules::read(allow, deny, &[]).unwrap()).await
}

/// As Entra says it (learn.microsoft.com, "Groups overage claim").
pub(crate) fn overage() -> Value {
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

const STAFF: &str = "AAAAAAAA-0000-4000-8000-000000000001";
const LEAVERS: &str = "aaaaaaaa-0000-4000-8000-000000000002";

/// Entra says that somebody is in too many groups; Microsoft Graph answers like this.
fn many(world: &World, status: u16, said: Value) -> Faults {
    let faults = entra_says(&world.idp, T1, json!(T1), T1);
    let before = faults.claims.unwrap();
    let claims: crate::support::idp::Edit<Value> = Arc::new(move |claims| {
        before(claims);
        claims.as_object_mut().unwrap().extend(overage().as_object().unwrap().clone());
    });
    Faults { claims: Some(claims), graph: Some((status, said)), ..faults }
}

async fn with_graph(allow: &[&str], deny: &[&str]) -> World {
    let rules = Rules::read(allow, deny, &[]).unwrap();
    with_entra(&[T1], T1, |config| config.access = rules).await
}

async fn sign_in_as_one_of_many(world: &World, status: u16, said: Value) -> Answer {
    world.idp.misbehave(many(world, status, said));
    let client = world.register(HONEST).await;
    world.approve(&mut Browser::default(), &client).await
}

fn group(id: &str) -> String {
    format!("group:{id}")
}

#[tokio::test]
async fn graph_is_asked_for_the_groups_that_rules_name_and_for_no_others() {
    let (staff, leavers) = (group(STAFF), group(LEAVERS));
    let world = with_graph(&[&staff], &[&leavers]).await;
    // Ids count in either case.
    let end = sign_in_as_one_of_many(&world, 200, json!({ "value": [STAFF.to_lowercase()] })).await;
    assert!(end.sent("code").is_some(), "{}", end.text());
    let asked = world.idp.graph.lock().unwrap().clone();
    assert_eq!(asked, [("Bearer IDP-ACCESS-CANARY".to_owned(), json!({ "groupIds": [STAFF, LEAVERS] }))]);
    for said in [json!([STAFF, LEAVERS]), json!([LEAVERS.to_uppercase(), STAFF]), json!([]), json!(["Staff"])] {
        let end = sign_in_as_one_of_many(&world, 200, json!({ "value": said })).await;
        assert_eq!((end.sent("code"), end.status.as_u16()), (None, 403), "{said}");
        assert!(end.text().contains("subject_not_allowed"), "{}", end.text());
    }
}

#[tokio::test]
async fn no_answer_of_graph_is_no_list_of_groups() {
    let leavers = group(LEAVERS);
    let world = with_graph(&["*"], &[&leavers]).await;
    for (status, reason, page) in [(403, "groups_elsewhere", 403), (404, "groups_elsewhere", 403), (429, "", 503), (503, "", 503)]
    {
        let end = sign_in_as_one_of_many(&world, status, json!({ "value": [] })).await;
        assert_eq!((end.sent("code"), end.status.as_u16()), (None, page), "{status}: {}", end.text());
        assert!(end.text().contains(reason), "{status}: {}", end.text());
    }
    let end = sign_in_as_one_of_many(&world, 200, json!({ "groups": [] })).await;
    assert!(end.sent("code").is_none() && end.text().contains("idp_answer_malformed"), "{}", end.text());
    // Graph knows no groups by name: who is in one of such a name cannot be asked.
    let world = with_graph(&["*"], &["group:Leavers"]).await;
    let end = sign_in_as_one_of_many(&world, 200, json!({ "value": [] })).await;
    assert!(end.sent("code").is_none() && end.text().contains("groups_elsewhere"), "{}", end.text());
    assert!(world.idp.graph.lock().unwrap().is_empty());
}

#[tokio::test]
async fn graph_is_asked_again_at_a_refresh() {
    let staff = group(STAFF);
    let world = with_graph(&[&staff], &[]).await;
    world.idp.misbehave(many(&world, 200, json!({ "value": [STAFF] })));
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    let (_, token) = tokens(&world.refresh(&client, &token).await);
    let renewed = world.idp.graph.lock().unwrap().last().cloned().unwrap();
    assert_eq!(renewed.0, "Bearer IDP-ACCESS-CANARY-RENEWED");
    world.clock.advance(OLD);
    world.idp.misbehave(many(&world, 503, json!({})));
    assert_eq!(world.refresh(&client, &token).await.status, 503);
    world.clock.advance(OLD);
    world.idp.misbehave(many(&world, 200, json!({ "value": [] })));
    refused(&world.refresh(&client, &token).await, "invalid_grant");
}

#[tokio::test]
async fn graph_takes_twenty_groups_at_a_time() {
    let staff: Vec<String> = (0..21).map(|number| group(&format!("aaaaaaaa-0000-4000-8000-{number:012}"))).collect();
    let world = with_graph(&staff.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await;
    let last = staff.last().unwrap().trim_start_matches("group:");
    assert!(sign_in_as_one_of_many(&world, 200, json!({ "value": [last] })).await.sent("code").is_some());
    let asked =
        world.idp.graph.lock().unwrap().iter().map(|(_, asked)| asked["groupIds"].as_array().unwrap().len()).collect::<Vec<_>>();
    assert_eq!(asked, [20, 1]);
}
