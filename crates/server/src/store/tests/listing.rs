//! The list of living grants, on both stores: every one once, whatever ends or begins between two pages.

use super::*;
use crate::store::LivingGrant;

/// Enough for three pages.
const MANY: u16 = 1100;

/// A sign-in with an id of its own; several share their second.
fn numbered(number: u16) -> Completed {
    let mut completed = completed(0);
    let random = u128::from(number).to_be_bytes();
    let granted_at = Timestamp::from_seconds(START + u64::from(number / 700));
    completed.transaction = TransactionId::new(granted_at, random);
    completed.grant = Grant { id: GrantId::new(random), granted_at, ..completed.grant };
    completed.code = AuthorizationCode::new(&[number.to_be_bytes(); 16].concat().try_into().unwrap()).digest();
    completed
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(START + seconds)
}

fn ids(page: &[LivingGrant]) -> Vec<GrantId> {
    page.iter().map(|living| living.grant.id.clone()).collect()
}

/// The whole list; `ends` says whether the last of each page is revoked before the next is read.
async fn list([store, other]: &Replicas, ends: bool) -> Vec<GrantId> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = store.living_grants(after.as_ref(), at(0)).await.unwrap();
        assert!(page.len() <= 500);
        all.extend(ids(&page));
        let Some(last) = page.into_iter().next_back() else { return all };
        if ends {
            let revoke = Revoke { grant: last.grant.id.clone(), why: Reason::RevokedByOperator, now: at(0) };
            assert!(other.take(Change::Revoke(revoke)).await.unwrap());
        }
        after = Some(last);
    }
}

async fn pages(stores: &Replicas) {
    for number in 0..MANY {
        assert!(stores[0].take(Change::Complete(Box::new(numbered(number)))).await.unwrap());
    }
    let mut expected: Vec<_> = (0..MANY).map(|number| numbered(number).grant.id).collect();
    assert_eq!(list(stores, true).await, expected);
    for last in [1099, 999, 499] {
        expected.remove(last);
    }
    assert_eq!(list(stores, false).await, expected, "what was revoked is not alive");
}

/// One grant with refresh tokens and one without.
async fn lives([store, other]: &Replicas) {
    let mut without = completed(1);
    without.grant.ends_at = at(360);
    for completed in [completed(0), without] {
        assert!(store.take(Change::Complete(Box::new(completed))).await.unwrap());
    }
    let mut model = Model { now: START, ..Model::default() };
    act(store.as_ref(), &mut model, &Act::Redeem(0)).await;
    let [one, two] = <[LivingGrant; 2]>::try_from(other.living_grants(None, at(0)).await.unwrap()).unwrap();
    assert_eq!((one.refreshed_at, one.until, one.grant.email), (None, at(IDLE), None));
    assert_eq!((two.refreshed_at, two.until), (None, at(360)));
    model.now = START + 10;
    act(store.as_ref(), &mut model, &Act::RotateNewest(0)).await;
    let page = other.living_grants(None, at(360)).await.unwrap();
    assert_eq!(ids(&page), [grant_id(0)], "the other has ended");
    assert_eq!((page[0].refreshed_at, page[0].until), (Some(at(10)), at(10 + IDLE)));
    assert!(other.living_grants(None, at(10 + IDLE)).await.unwrap().is_empty(), "idle");
}

#[tokio::test]
async fn sqlite_lists_every_living_grant_once() {
    let data = tempfile::tempdir().unwrap();
    pages(&sqlite(&data.path().join("pages")).await).await;
    lives(&sqlite(&data.path().join("lives")).await).await;
}

#[tokio::test]
async fn postgres_lists_every_living_grant_once() {
    pages(&postgres().await).await;
    lives(&postgres().await).await;
}
