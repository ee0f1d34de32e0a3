//! The feed's numbers on both stores: they grow with each entry and with the time, also when the clock goes back.

use super::*;

async fn numbers([store, other]: &Replicas) {
    complete_on(store.as_ref()).await;
    let mut last = 0;
    for (grant, at) in [(0, START), (1, START + 1), (2, 7), (3, u64::MAX), (4, START)] {
        let revoke = Revoke { grant: grant_id(grant), why: Reason::RevokedByClient, now: Timestamp::from_seconds(at) };
        assert!(store.take(Change::Revoke(revoke)).await.unwrap());
        let told = other.revocations_after(last).await.unwrap();
        assert_eq!(told.iter().map(|told| told.grant.clone()).collect::<Vec<_>>(), [grant_id(grant)], "at {at}");
        // What was revoked in an earlier second, in this database or in one that it was restored over, has a lower number.
        assert!(at > START + 1 || told[0].sequence >= i64::try_from(at << 20).unwrap(), "{told:?} at {at}");
        last = told[0].sequence;
        assert_eq!(other.feed_head().await.unwrap(), last);
    }
}

async fn complete_on(store: &dyn Store) {
    for grant in 0..5 {
        assert!(store.take(Change::Complete(Box::new(completed(grant)))).await.unwrap());
    }
}

#[tokio::test]
async fn a_246_the_feed_of_sqlite_grows_with_the_time() {
    let data = tempfile::tempdir().unwrap();
    numbers(&sqlite(&data.path().join("db")).await).await;
}

#[tokio::test]
async fn a_246_the_feed_of_postgres_grows_with_the_time() {
    numbers(&postgres().await).await;
}
