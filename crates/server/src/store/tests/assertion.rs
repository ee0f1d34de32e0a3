//! A client's assertion counts once, on both stores and over all replicas (A-169; RFC 7523 §3).

use deputy_protocol::claims::SignedClaims;
use deputy_protocol::client::assertion::{Assertion, ExpectedAssertion, check};

use super::*;

const ENDS: u64 = 300;

fn assertion(name: &str) -> Assertion {
    let issuer = Issuer::parse("https://mcp.test").unwrap();
    let exp = START + ENDS - 60;
    let claims = serde_json::json!({ "iss": "c", "sub": "c", "aud": issuer, "exp": exp, "jti": name });
    let claims = SignedClaims::assume_verified(serde_json::from_value(claims).unwrap());
    let now = Timestamp::from_seconds(START);
    check(claims, ExpectedAssertion { client: &client(), issuer: &issuer, token_endpoint: "", now }).unwrap()
}

fn successor(at: usize) -> NewRefresh {
    NewRefresh { digest: token(at).digest(), ends_at: Timestamp::from_seconds(START + IDLE) }
}

/// Redeems the code of a grant; its refresh token is then that of this number.
async fn use_code(store: &dyn Store, grant: u8, with: &Assertion) -> Redemption {
    let held = store.code(&code(grant).digest()).await.unwrap().unwrap();
    let form = format!("code_verifier={}", Verifier::new(&[grant; 32]).expose());
    let (rules, catalog) = deployment();
    let today = Policy { rules: &rules, catalog: &catalog };
    let checked = held.record.clone().check(&client(), &Params::parse(form.as_bytes()).unwrap(), today).unwrap();
    let first = Some(successor(usize::from(grant)));
    once::redeem(store, held, checked, first, Some(with), Timestamp::from_seconds(START)).await.unwrap()
}

/// Uses the refresh token of number `at` and generation `generation`, for the one of number `next`.
async fn use_token(
    store: &dyn Store,
    grant: u8,
    (at, generation): (usize, u32),
    next: usize,
    with: &Assertion,
) -> Rotation<usize> {
    let place = Place { grant: grant_id(grant), generation: Generation::from_number(generation), digest: token(at).digest() };
    let held = store.grant(&place.grant).await.unwrap().unwrap();
    let (rules, catalog) = deployment();
    let record = RefreshRecord { place, grant: held.grant.clone() };
    let checked = record.check(&client(), &Params::parse(b"").unwrap(), Policy { rules: &rules, catalog: &catalog }).unwrap();
    let make = |_| Ok(Successor { new: successor(next), sealed: next.to_string(), token: next });
    let now = Timestamp::from_seconds(START + 1);
    once::rotate(store, held, checked, make, Duration::from_secs(GRACE), Some(with), now).await.unwrap()
}

async fn known(store: &dyn Store) -> i64 {
    let rows = store.count().await.unwrap();
    rows.into_iter().find(|(table, _)| *table == "assertions").unwrap().1
}

async fn counts_once(stores: Replicas) {
    complete(&stores).await;
    let [store, other] = [stores[0].as_ref(), stores[1].as_ref()];
    let one = assertion("1");
    assert!(matches!(use_code(store, 0, &one).await, Redemption::First(_)));
    // Another code, another replica: the assertion is used, the code is not.
    assert!(matches!(use_code(other, 1, &one).await, Redemption::AssertionUsed));
    assert!(matches!(use_code(other, 1, &assertion("2")).await, Redemption::First(_)));
    // Nor does it count for a refresh token, which stays alive.
    assert!(matches!(use_token(other, 0, (0, 0), 10, &one).await, Rotation::AssertionUsed));
    let three = assertion("3");
    assert!(matches!(use_token(store, 0, (0, 0), 10, &three).await, Rotation::Rotated(_, 10)));
    assert_eq!(known(store).await, 3);
    // Whose answer was lost sends the same again, or the same token with another assertion: the same successor, and nothing is used up.
    for with in [&three, &assertion("4")] {
        let Rotation::Replayed(_, sealed) = use_token(other, 0, (0, 0), 11, with).await else { panic!("no replay") };
        assert_eq!(sealed, "10");
    }
    assert_eq!(known(store).await, 3);
    // A second use of a code revokes, whatever it comes with.
    assert!(matches!(use_code(store, 1, &assertion("2")).await, Redemption::Replay(_)));
    assert_eq!(known(store).await, 3);
}

/// Two requests with one assertion at the same time, at two replicas.
async fn counts_once_in_a_race(stores: Replicas) {
    complete(&stores).await;
    let (one, two) = (assertion("1"), assertion("2"));
    let raced = tokio::join!(use_code(stores[0].as_ref(), 0, &one), use_code(stores[1].as_ref(), 1, &one));
    let (won, lost) = match raced {
        (Redemption::First(_), Redemption::AssertionUsed) => (0, 1),
        (Redemption::AssertionUsed, Redemption::First(_)) => (1, 0),
        other => panic!("{other:?}"),
    };
    assert!(matches!(use_code(stores[0].as_ref(), lost, &two).await, Redemption::First(_)));
    // The same refresh at both: one token comes of it.
    let three = assertion("3");
    let place = (usize::from(won), 0);
    let raced = tokio::join!(
        use_token(stores[0].as_ref(), won, place, 10, &three),
        use_token(stores[1].as_ref(), won, place, 11, &three)
    );
    let living = match raced {
        (Rotation::Rotated(_, living), Rotation::Replayed(_, again))
        | (Rotation::Replayed(_, again), Rotation::Rotated(_, living)) => {
            assert_eq!(again, living.to_string());
            living
        }
        other => panic!("{other:?}"),
    };
    // And of two living tokens with one assertion, one is replaced.
    let four = assertion("4");
    let raced = tokio::join!(
        use_token(stores[0].as_ref(), won, (living, 1), 12, &four),
        use_token(stores[1].as_ref(), lost, (usize::from(lost), 0), 13, &four)
    );
    let outcomes = (matches!(raced.0, Rotation::Rotated(..)), matches!(raced.1, Rotation::Rotated(..)));
    assert!(matches!(outcomes, (true, false) | (false, true)), "{raced:?}");
    assert!(matches!(raced.0, Rotation::AssertionUsed) || matches!(raced.1, Rotation::AssertionUsed), "{raced:?}");
}

/// It is forgotten a day after its age would refuse it: a clock that jumped brings none back.
async fn is_forgotten_late(stores: Replicas) {
    complete(&stores).await;
    let store = stores[0].as_ref();
    assert!(matches!(use_code(store, 0, &assertion("1")).await, Redemption::First(_)));
    let mut newer = completed(9);
    newer.grant.granted_at = Timestamp::from_seconds(START + 100_000);
    newer.grant.ends_at = Timestamp::from_seconds(START + 200_000);
    assert!(store.take(Change::Complete(Box::new(newer))).await.unwrap());
    for (at, left) in [(ENDS - 1, 1), (ENDS, 1), (ENDS + 86_399, 1), (ENDS + 86_400, 0)] {
        sweep(store, Timestamp::from_seconds(START + at)).await;
        assert_eq!(known(store).await, left, "at +{at}");
    }
}

#[tokio::test]
async fn a_169_an_assertion_counts_once_on_sqlite() {
    let data = tempfile::tempdir().unwrap();
    counts_once(sqlite(&data.path().join("one")).await).await;
    counts_once_in_a_race(sqlite(&data.path().join("race")).await).await;
    is_forgotten_late(sqlite(&data.path().join("sweep")).await).await;
}

#[tokio::test]
async fn a_169_an_assertion_counts_once_on_postgres() {
    counts_once(postgres().await).await;
    counts_once_in_a_race(postgres().await).await;
    is_forgotten_late(postgres().await).await;
}
