//! An old copy of the database is restored: what was revoked since does not stay alive.

use deputy_server::clock::Clock as _;
use hyper::body::Incoming;

use crate::revocation::{Deployment, SignedIn, next, soon};
use crate::support::World;
use crate::support::http::post_form;

/// In the order in which rows may be written.
const TABLES: [&str; 8] = ["grants", "words", "lines", "completed_transactions", "codes", "revocations", "feed", "signing_keys"];

async fn copy(world: &World) {
    let copied: Vec<_> = TABLES.iter().map(|table| format!("CREATE TABLE old_{table} AS SELECT * FROM {table};")).collect();
    world.sql(&copied.concat()).await;
}

async fn restore(world: &World) {
    let deleted = TABLES.iter().rev().map(|table| format!("DELETE FROM {table};"));
    let written = TABLES.iter().map(|table| format!("INSERT INTO {table} SELECT * FROM old_{table};"));
    let all: String = deleted.chain(written).collect();
    world.sql(&format!("BEGIN;{all}COMMIT;")).await;
    // Nobody restores within the second.
    world.clock.advance(1);
}

/// Gives a grant up through the first gateway, and waits until the others have read of it in the feed.
async fn give_up(deployment: &Deployment, who: &SignedIn) {
    let mut streams = [deployment.events(1, &who.access).await, deployment.events(2, &who.access).await];
    let form = [("client_id", who.client.id.as_str()), ("token", who.refresh.as_str())];
    assert_eq!(post_form(&deployment.worlds[0].at("/revoke"), &form).await.status, 200);
    for events in &mut streams {
        assert_eq!(next(events).await, None);
    }
}

async fn refresh(world: &World, who: &SignedIn) -> (u16, String) {
    let answer = world.refresh(&who.client, &who.refresh).await;
    (answer.status.as_u16(), answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

fn refused() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

#[tokio::test]
async fn a_246_after_the_fence_nothing_of_before_works_anywhere() {
    let deployment = Box::pin(Deployment::start()).await;
    let world = &deployment.worlds[0];
    let (revoked, mut rotated, kept) = (deployment.sign_in().await, deployment.sign_in().await, deployment.sign_in().await);
    let mut streams: Vec<Incoming> = Vec::new();
    copy(world).await;
    give_up(&deployment, &revoked).await;
    assert_eq!(refresh(world, &rotated).await.0, 200);
    let later = deployment.sign_in().await;
    for at in [1, 2] {
        streams.push(deployment.events(at, &kept.access).await);
    }

    restore(world).await;
    let ended = world.grants().await.end_all(|_| true, world.clock.now()).await.unwrap();
    assert!((2..=3).contains(&ended), "{ended}: a gateway may have been quicker with what it knew to be revoked");
    for events in &mut streams {
        assert_eq!(next(events).await, None, "who runs hears of it, although the feed went back");
    }
    for who in [&revoked, &rotated, &kept, &later] {
        assert_eq!(refresh(world, who).await, refused());
    }
    // A new process too, which remembers nothing.
    let new = world.again().await;
    for who in [&revoked, &rotated, &kept] {
        assert_eq!(new.call_at(world, &who.access).await.status, 401);
    }
    rotated = deployment.sign_in().await;
    assert_eq!(refresh(world, &rotated).await.0, 200, "people sign in again");
}

#[tokio::test]
async fn a_246_a_gateway_that_runs_revokes_again_what_it_knows() {
    let deployment = Box::pin(Deployment::start()).await;
    let world = &deployment.worlds[0];
    let (revoked, kept) = (deployment.sign_in().await, deployment.sign_in().await);
    copy(world).await;
    give_up(&deployment, &revoked).await;
    restore(world).await;
    let again = async {
        while refresh(world, &revoked).await != refused() {
            tokio::task::yield_now().await;
        }
    };
    soon(again).await;
    assert_eq!(refresh(world, &kept).await.0, 200, "nobody else is logged out");
}
