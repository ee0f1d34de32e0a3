//! The provider's word at a refresh: OC-10, OC-11; A-111…A-116; I9.

use std::sync::Arc;
use std::time::Duration;

use deputy_server::config::Credential;
use serde_json::json;

use crate::support::http::{Answer, claims, form, send};
use crate::support::idp::{Edit, Faults, OnRefresh};
use crate::support::{Client, World};

/// A word of the default age is old after this.
pub(crate) const OLD: u64 = 61;

pub(crate) fn refused(answer: &Answer, reason: &str) {
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some(reason)), "{}", answer.text());
}

fn outage(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
}

pub(crate) fn tokens(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    (text("access_token"), text("refresh_token"))
}

fn on_refresh(how: OnRefresh) -> Faults {
    Faults { refresh: Some(how), ..Faults::default() }
}

pub(crate) fn says(edit: serde_json::Value) -> Faults {
    let edit: Edit<serde_json::Value> =
        Arc::new(move |claims| claims.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone()));
    Faults { claims: Some(edit), ..Faults::default() }
}

/// How often the provider was asked, and how often with the same token at most.
fn asked(world: &World) -> (usize, usize) {
    let refreshes = world.idp.refreshes();
    (refreshes.values().sum(), refreshes.values().copied().max().unwrap_or_default())
}

/// Refreshes until the outage is over, as clients do.
async fn recovers(world: &World, client: &Client, token: &str) -> (String, String) {
    let recovered = async {
        loop {
            let answer = world.refresh(client, token).await;
            if answer.status == 200 {
                return tokens(&answer);
            }
            outage(&answer);
            // The breaker counts seconds.
            world.clock.advance(1);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), recovered).await.expect("service returns by itself")
}

#[tokio::test]
async fn oc_10_a_refresh_asks_the_provider_when_its_word_is_old() {
    let world = World::new().await;
    let (client, _, mut token) = world.signed_in().await;
    for (later, times) in [(0, 0), (60, 0), (1, 1), (60, 1), (1, 2), (100_000, 3)] {
        world.clock.advance(later);
        token = tokens(&world.refresh(&client, &token).await).1;
        assert_eq!(asked(&world), (times, times.min(1)), "+{later}");
    }
    // The same successor again is no reason to ask.
    let (first, second) = (token.clone(), tokens(&world.refresh(&client, &token).await).1);
    world.clock.advance(60);
    assert_eq!(tokens(&world.refresh(&client, &first).await).1, second);
    assert_eq!(asked(&world).0, 3);
}

#[tokio::test]
async fn a_111_a_116_whom_the_provider_disabled_is_out_within_one_access_token_lifetime() {
    let world = World::new().await;
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(60);
    world.idp.disable("alice");
    // The word is a minute old and counts still; what rests on it ends one lifetime after it was heard.
    let (access, token) = tokens(&world.refresh(&client, &token).await);
    assert_eq!(world.call(&access).await.status, 200);
    world.clock.advance(239);
    assert_eq!(world.call(&access).await.status, 200);
    world.clock.advance(1);
    assert_eq!(world.call(&access).await.status, 401, "300 s after the word");
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    assert_eq!(asked(&world), (1, 1), "no storm");
}

#[tokio::test]
async fn a_111_the_end_of_a_grant_at_the_provider_ends_it_here_at_once() {
    let world = World::new().await;
    let (client, access, token) = world.signed_in().await;
    world.clock.advance(OLD);
    world.idp.disable("alice");
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    assert_eq!(world.call(&access).await.status, 401);
}

#[tokio::test]
async fn a_112_an_outage_of_the_provider_logs_nobody_out() {
    for how in [OnRefresh::Status(429), OnRefresh::Status(500), OnRefresh::Status(503)] {
        let world = World::new().await;
        let (client, access, token) = world.signed_in().await;
        world.clock.advance(OLD);
        world.idp.misbehave(on_refresh(how));
        for _ in 0..3 {
            outage(&world.refresh(&client, &token).await);
            assert_eq!(world.call(&access).await.status, 200, "an unexpired token keeps working");
        }
        world.idp.misbehave(Faults::default());
        let (access, token) = recovers(&world, &client, &token).await;
        assert_eq!(world.call(&access).await.status, 200);
        world.clock.advance(OLD);
        assert_eq!(world.refresh(&client, &token).await.status, 200);
    }
}

#[tokio::test]
async fn a_112_a_rotated_client_secret_at_the_provider_logs_nobody_out() {
    let world = World::new().await;
    let (client, access, token) = world.signed_in().await;
    world.clock.advance(OLD);
    let wrong = world
        .again_with(|config| {
            config.idps[0].credential =
                Credential::Secret(deputy_protocol::secret::ClientSecret::from_text("the-old-secret".to_owned()));
        })
        .await;
    let answer = elsewhere(&world, &wrong, &client, &token).await;
    outage(&answer);
    assert!(answer.text().contains("refuses this server itself"), "{}", answer.text());
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!(world.refresh(&client, &token).await.status, 200, "with the right one");
}

/// A refresh at another process of the deployment.
async fn elsewhere(world: &World, other: &World, client: &Client, token: &str) -> Answer {
    let body = form(&[("grant_type", "refresh_token"), ("client_id", &client.id), ("refresh_token", token)]);
    let host = world.origin.trim_start_matches("http://");
    let headers = [("host", host), ("content-type", "application/x-www-form-urlencoded")];
    send(http::Method::POST, &format!("http://127.0.0.1:{}/token", other.origin_port), &headers, body).await
}

#[tokio::test]
async fn a_113_a_lost_answer_is_not_asked_for_again_and_the_session_goes_on() {
    let world = World::new().await;
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    world.idp.misbehave(on_refresh(OnRefresh::Cut));
    let (access, mut token) = tokens(&world.refresh(&client, &token).await);
    assert_eq!(world.call(&access).await.status, 200);
    world.idp.misbehave(Faults::default());
    for _ in 0..11 {
        world.clock.advance(3600);
        token = tokens(&world.refresh(&client, &token).await).1;
    }
    assert_eq!(asked(&world), (1, 1), "I9: what was sent is not sent again");
    world.clock.advance(3600);
    let over = world.refresh(&client, &token).await;
    refused(&over, "invalid_grant");
    assert!(over.text().contains("too long ago that the identity provider vouched"), "{}", over.text());
}

#[tokio::test]
async fn a_113_a_note_without_an_answer_is_a_lost_answer() {
    let world = World::new().await;
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    // A process noted that it would ask, and died.
    let asking_since = 1_800_000_000 + OLD;
    world.sql(&format!("UPDATE words SET asking = 'dead', asking_since = {asking_since}")).await;
    world.clock.advance(31);
    let token = tokens(&world.refresh(&client, &token).await).1;
    assert_eq!(asked(&world).0, 0);
    // Its answer comes after all: it counts.
    world.clock.advance(OLD);
    assert_eq!(world.refresh(&client, &token).await.status, 200);
    assert_eq!(asked(&world).0, 0);
}

/// The store does not take what the provider answered, until [`mended`].
async fn answers_are_not_taken(world: &World) {
    let fault = if world.postgres().is_none() {
        "CREATE TRIGGER fault BEFORE UPDATE ON words WHEN NEW.asking IS NULL BEGIN SELECT RAISE(ABORT, 'fault'); END"
    } else {
        "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fault'; END $$; \
         CREATE TRIGGER fault BEFORE UPDATE ON words FOR EACH ROW WHEN (NEW.asking IS NULL) EXECUTE FUNCTION fault()"
    };
    world.sql(fault).await;
}

async fn mended(world: &World) {
    world.sql(if world.postgres().is_none() { "DROP TRIGGER fault" } else { "DROP TRIGGER fault ON words" }).await;
}

/// Until the provider was asked so often.
async fn asked_times(world: &World, times: usize) {
    let asked = async {
        while asked(world).0 < times {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("the provider is asked");
}

#[tokio::test]
async fn a_113_a_store_that_fails_after_the_providers_answer_gets_it_later() {
    let world = Arc::new(World::new().await);
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    answers_are_not_taken(&world).await;
    let refresh = tokio::spawn({
        let (world, client, token) = (Arc::clone(&world), client.clone(), token.clone());
        async move { world.refresh(&client, &token).await }
    });
    asked_times(&world, 1).await;
    mended(&world).await;
    let token = tokens(&refresh.await.unwrap()).1;
    world.clock.advance(OLD);
    assert_eq!(world.refresh(&client, &token).await.status, 200);
    assert_eq!(asked(&world), (2, 1), "the new token was kept and used");
}

#[tokio::test]
async fn a_111_a_116_a_store_that_fails_after_the_providers_no_hears_it_later() {
    let world = Arc::new(World::new().await);
    let (client, access, token) = world.signed_in().await;
    world.clock.advance(OLD);
    world.idp.disable("alice");
    let postgres = world.postgres().is_some();
    world
        .sql(if postgres {
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fault'; END $$; \
             CREATE TRIGGER fault BEFORE INSERT ON revocations FOR EACH ROW EXECUTE FUNCTION fault()"
        } else {
            "CREATE TRIGGER fault BEFORE INSERT ON revocations BEGIN SELECT RAISE(ABORT, 'fault'); END"
        })
        .await;
    let refresh = tokio::spawn({
        let (world, client, token) = (Arc::clone(&world), client.clone(), token.clone());
        async move { world.refresh(&client, &token).await }
    });
    asked_times(&world, 1).await;
    world.sql(if postgres { "DROP TRIGGER fault ON revocations" } else { "DROP TRIGGER fault" }).await;
    refused(&refresh.await.unwrap(), "invalid_grant");
    assert_eq!(world.call(&access).await.status, 401);
    world.clock.advance(100);
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    assert_eq!(asked(&world), (1, 1));
}

#[tokio::test]
async fn i9_many_refreshes_over_three_gateways_ask_the_provider_once() {
    let world = Arc::new(World::new().await);
    let others = [Arc::new(world.again().await), Arc::new(world.again().await)];
    let (client, _, mut token) = world.signed_in().await;
    for round in 1..=3 {
        world.clock.advance(OLD);
        let tasks: Vec<_> = (0..30)
            .map(|n| {
                let at = if n % 3 == 0 { Arc::clone(&world) } else { Arc::clone(&others[n % 3 - 1]) };
                let (world, client, token) = (Arc::clone(&world), client.clone(), token.clone());
                tokio::spawn(async move { tokens(&elsewhere(&world, &at, &client, &token).await).1 })
            })
            .collect();
        let mut successors = std::collections::HashSet::new();
        for task in tasks {
            successors.insert(task.await.unwrap());
        }
        assert_eq!(successors.len(), 1, "nobody refused, one successor");
        token = successors.into_iter().next().unwrap();
        assert_eq!(asked(&world), (round, 1));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_lose_the_answer() {
    let world = World::new().await;
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    answers_are_not_taken(&world).await;
    // The request is given up while the answer is on its way to the store.
    tokio::select! {
        answer = world.refresh(&client, &token) => panic!("{}", answer.text()),
        () = asked_times(&world, 1) => {}
    }
    mended(&world).await;
    let token = tokens(&world.refresh(&client, &token).await).1;
    world.clock.advance(OLD);
    assert_eq!(world.refresh(&client, &token).await.status, 200);
    assert_eq!(asked(&world), (2, 1), "the answer was kept, and its token used once");
}

#[tokio::test]
async fn r32_what_the_provider_says_today_is_what_the_rules_judge() {
    let world = World::with(|config| config.access = deputy_protocol::access::Rules::parse(&["group:staff"]).unwrap());
    let world = world.await;
    world.idp.misbehave(says(json!({ "groups": ["staff"] })));
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    world.idp.misbehave(says(json!({ "groups": ["guests"] })));
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    // Put back in time: nobody was logged out for a mistake.
    world.clock.advance(OLD);
    world.idp.misbehave(says(json!({ "groups": ["staff"], "email": "new@corp.test" })));
    let (access, _) = tokens(&world.refresh(&client, &token).await);
    assert_eq!(claims(&access)["email"], "new@corp.test");
}

#[tokio::test]
async fn r32_an_address_that_is_not_verified_any_more_does_not_count() {
    let world = World::with(|config| config.access = deputy_protocol::access::Rules::parse(&["domain:corp.test"]).unwrap());
    let world = world.await;
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    world.idp.misbehave(says(json!({ "email": null })));
    let token = tokens(&world.refresh(&client, &token).await).1;
    world.clock.advance(OLD);
    world.idp.misbehave(says(json!({ "email_verified": false })));
    refused(&world.refresh(&client, &token).await, "invalid_grant");
}

#[tokio::test]
async fn another_subject_ends_the_grant() {
    let world = World::new().await;
    let (client, access, token) = world.signed_in().await;
    world.clock.advance(OLD);
    world.idp.misbehave(says(json!({ "sub": "mallory" })));
    refused(&world.refresh(&client, &token).await, "invalid_grant");
    assert_eq!(world.call(&access).await.status, 401);
}

/// Somebody whose clock is ahead gives a question up that is still under way; then the provider says that it did not use the token.
#[tokio::test]
async fn a_112_a_251_what_was_given_up_too_early_and_not_used_is_good_again() {
    let world = World::new().await;
    if world.postgres().is_some() {
        return; // The trigger below is SQLite's.
    }
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    let given_up = "CREATE TRIGGER given_up AFTER UPDATE OF asking ON words WHEN NEW.asking IS NOT NULL BEGIN \
                    UPDATE words SET tokens = 'spent', renewable = 0 WHERE grant_id = NEW.grant_id; END";
    world.sql(given_up).await;
    world.idp.misbehave(on_refresh(OnRefresh::Status(503)));
    outage(&world.refresh(&client, &token).await);
    world.sql("DROP TRIGGER given_up").await;
    world.idp.misbehave(Faults::default());
    let (_, token) = recovers(&world, &client, &token).await;
    world.clock.advance(OLD);
    tokens(&world.refresh(&client, &token).await);
    assert_eq!(world.idp.refreshes().len(), 2, "asked again, with what was never used");
}

/// A note that could not be written, or of which nobody knows: nothing is sent, and the next refresh asks.
#[tokio::test]
async fn a_113_i9_without_a_note_nothing_is_sent_and_the_grant_goes_on() {
    let world = World::new().await;
    if world.postgres().is_some() {
        return; // The trigger below is SQLite's.
    }
    let (client, _, token) = world.signed_in().await;
    world.clock.advance(OLD);
    // The note fails.
    let no_notes = "CREATE TRIGGER no_notes BEFORE UPDATE OF asking ON words WHEN NEW.asking IS NOT NULL BEGIN \
                    SELECT RAISE(ABORT, 'no note'); END";
    world.sql(no_notes).await;
    let answer = world.refresh(&client, &token).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(world.idp.refreshes().len(), 0, "nothing was sent without a note");
    world.sql("DROP TRIGGER no_notes").await;
    recovers(&world, &client, &token).await;
}
