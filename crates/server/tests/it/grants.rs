//! What an operator sees of grants and ends, beside running gateways.

use deputy_protocol::GrantId;
use deputy_server::clock::Clock as _;
use deputy_server::{Ended, LivingGrant};

use crate::support::{HONEST, World};

/// Signs a person in, a second after the one before, and gives their refresh token.
async fn sign_in(world: &World, person: &str, client: &str) -> (crate::support::Client, String) {
    world.clock.advance(1);
    *world.idp.person.lock().unwrap() = person.to_owned();
    let metadata = serde_json::json!({
        "client_name": client, "redirect_uris": [HONEST], "token_endpoint_auth_method": "none",
    });
    let client = world.register_with(metadata).await;
    let tokens = world.redeem(&client, &world.code(&client).await).await.json();
    (client, tokens["refresh_token"].as_str().unwrap().to_owned())
}

async fn living(world: &World) -> Vec<LivingGrant> {
    world.grants().await.living(None, world.clock.now()).await.unwrap()
}

#[tokio::test]
async fn an_operator_sees_who_signed_in_with_what() {
    let world = World::new().await;
    let (client, refresh) = sign_in(&world, "alice", "Editor").await;
    world.clock.advance(10);
    assert_eq!(world.refresh(&client, &refresh).await.status, 200);
    sign_in(&world, "bob", "Terminal").await;

    let [alice, bob] = <[LivingGrant; 2]>::try_from(living(&world).await).unwrap();
    assert_eq!(alice.grant.client_name.as_str(), "Editor");
    assert_eq!(alice.grant.client.as_str(), client.id);
    assert_eq!(alice.grant.resource.as_str(), world.at("/mcp"));
    assert_eq!(alice.refreshed_at.map(|at| at.seconds()), Some(world.clock.seconds() - 1));
    assert_eq!((bob.refreshed_at, bob.grant.granted_at.seconds()), (None, world.clock.seconds()));
    assert!(bob.until > world.clock.now());

    let address = alice.grant.email.clone().unwrap();
    assert!(alice.is_of(&address.to_uppercase()) && alice.is_of(&alice.grant.subject) && alice.is_of(&alice.grant.idp_subject));
    assert!(!alice.is_of(&address[1..]) && !alice.is_of("") && !bob.is_of(&address), "a person is named whole");
    assert!(alice.person_contains("ALIC") && !bob.person_contains("alic"));
    assert!(alice.client_contains("edit") && alice.client_contains(&client.id) && !bob.client_contains("edit"));
}

#[tokio::test]
async fn an_operator_ends_grants_one_by_one_or_a_persons_all() {
    let world = World::new().await;
    let alice = [sign_in(&world, "alice", "Editor").await, sign_in(&world, "alice", "Terminal").await];
    let (bobs, refresh) = sign_in(&world, "bob", "Editor").await;
    let (grants, now) = (world.grants().await, world.clock.now());

    let person = living(&world).await[0].grant.subject.clone();
    assert_eq!(grants.end_all(|living| living.is_of(&person), now).await.unwrap(), 2);
    assert_eq!(grants.end_all(|living| living.is_of(&person), now).await.unwrap(), 0);
    for (client, refresh) in &alice {
        let refused = world.refresh(client, refresh).await;
        assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str()), (400, Some("invalid_grant")));
    }
    let answer = world.refresh(&bobs, &refresh).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    let id = living(&world).await[0].grant.id.clone();
    assert_eq!(grants.end(&id, now).await.unwrap(), Ended::Now);
    assert_eq!(grants.end(&id, now).await.unwrap(), Ended::Before);
    assert_eq!(grants.end(&GrantId::new([7; 16]), now).await.unwrap(), Ended::Unknown);
    assert!(living(&world).await.is_empty());
    let next = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(world.refresh(&bobs, &next).await.status, 400);
}
