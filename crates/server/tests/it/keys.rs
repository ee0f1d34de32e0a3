//! Signing keys that rotate while gateways run: A-241, AS-91, decision 8.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::http::send;
use crate::support::{Client, World, replicas};

/// The keys that a gateway publishes.
async fn published(world: &World, known_as: &World) -> BTreeSet<String> {
    let host = known_as.origin.trim_start_matches("http://");
    let url = format!("http://127.0.0.1:{}/jwks", world.origin_port);
    let keys = send(http::Method::GET, &url, &[("host", host)], "").await.json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Waits until every gateway publishes so many keys: each reads the store once a second.
async fn publish(worlds: &[&Arc<World>], count: usize) -> BTreeSet<String> {
    let agreed = async {
        loop {
            let mut sets = BTreeSet::new();
            for world in worlds {
                if replicas::count() > 1 {
                    // Behind one address there are several, and only one of them answers here.
                    world.catch_up().await;
                }
                sets.insert(published(world, worlds[0]).await);
            }
            if let (1, Some(set)) = (sets.len(), sets.first().filter(|set| set.len() == count)) {
                return set.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), agreed).await.expect("the gateways agree")
}

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

async fn refreshed(world: &World, client: &Client, refresh: &mut String) -> String {
    let answer = world.refresh(client, refresh).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    *refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// Somebody who refreshes and calls all the time, at the gateway and its two replicas.
fn load(worlds: [Arc<World>; 3], goes_on: &Arc<AtomicBool>, calls: &Arc<AtomicUsize>) -> tokio::task::JoinHandle<()> {
    let (goes_on, calls) = (Arc::clone(goes_on), Arc::clone(calls));
    tokio::spawn(async move {
        let (client, _, mut refresh) = worlds[0].signed_in().await;
        while goes_on.load(Ordering::SeqCst) {
            let access = refreshed(&worlds[0], &client, &mut refresh).await;
            for world in &worlds {
                assert_eq!(world.call_at(&worlds[0], &access).await.status, 200, "{}", kid(&access));
            }
            calls.fetch_add(1, Ordering::SeqCst);
        }
    })
}

#[tokio::test]
async fn a_241_as_91_keys_rotate_under_load_and_nobody_is_refused() {
    let world = Arc::new(World::new().await);
    let worlds = [Arc::clone(&world), Arc::new(world.again().await), Arc::new(world.again().await)];
    let all: Vec<&Arc<World>> = worlds.iter().collect();
    let (goes_on, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let load = load(worlds.clone(), &goes_on, &calls);
    let more = async || {
        let before = calls.load(Ordering::SeqCst);
        while calls.load(Ordering::SeqCst) < before + 3 && !load.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    let (client, old_access, mut refresh) = world.signed_in().await;
    let first = kid(&old_access);
    more().await;

    let made = world.rotate_signing_key().await.unwrap();
    let again = world.rotate_signing_key().await.unwrap_err().to_string();
    assert!(again.contains("under way"), "{again}");
    let both = publish(&all, 2).await;
    assert_eq!(both, BTreeSet::from([first.clone(), made.kid.clone()]), "published before it signs");
    more().await;
    world.clock.advance(119);
    let access = refreshed(&world, &client, &mut refresh).await;
    assert_eq!(kid(&access), first);
    // It counts as made a second after the one before, whatever the clock said.
    world.clock.advance(2);
    let access = refreshed(&world, &client, &mut refresh).await;
    assert_eq!(kid(&access), made.kid);
    assert_eq!(world.call(&old_access).await.status, 200, "what the old key signed stays valid");
    more().await;

    goes_on.store(false, Ordering::SeqCst);
    load.await.unwrap();
    world.clock.advance(2 * 3600);
    assert_eq!(publish(&all, 1).await, BTreeSet::from([made.kid.clone()]));
    let claims = crate::support::http::claims(&refreshed(&world, &client, &mut refresh).await);
    assert_eq!(world.call(&world.gateway.sign_anything(&claims).unwrap()).await.status, 200);
    world.clock.advance(24 * 3600);
    let _ = world.signed_in().await;
    world.gateway.forget().await;
    assert_eq!(world.rows().await.iter().find(|(table, _)| *table == "signing_keys").unwrap().1, 1, "and forgotten");
}

#[tokio::test]
async fn a_store_of_another_master_key_is_said_so() {
    let world = World::new().await;
    let other = tempfile::tempdir().unwrap();
    world.signed_in().await;
    std::fs::create_dir(other.path().join("data")).unwrap();
    if world.postgres().is_none() {
        for entry in std::fs::read_dir(world.data.path().join("data")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "master.key" {
                std::fs::copy(entry.path(), other.path().join("data").join(entry.file_name())).unwrap();
            }
        }
    }
    let said = world.try_again_in(other.path().join("data")).await.err().expect("a refusal").to_string();
    assert!(said.contains("was master.key replaced?"), "{said}");
}
