//! Remembered decisions, on both stores: found by their browser alone, replaced, revoked with a grant, forgotten in time.

use deputy_protocol::remember::Memory;
use deputy_protocol::secret::BrowserKey;
use serde_json::json;

use super::*;

fn browser(n: u8) -> BrowserKey {
    BrowserKey::new(&[n; 32])
}

fn memory(n: u8, client: &str, scopes: &str) -> Memory {
    let until = Timestamp::from_seconds(START + GRANT);
    let value = json!({
        "subject": {"idp": "https://idp.test", "sub": "alice"}, "browser": browser(n).digest(), "client": client, "client_name": "Test",
        "redirect": "https://app.test/cb", "resource": "https://mcp.test/mcp", "scopes": scopes, "until": until,
    });
    serde_json::from_value(value).unwrap()
}

/// A sign-in that is remembered. The grant is of the person who decided.
fn remembered(grant: u8, memory: Memory) -> Change {
    let mut completed = completed(grant);
    completed.grant.subject = memory.subject().id().to_string();
    completed.grant.client = memory.client().clone();
    completed.memory = Some(memory);
    Change::Complete(Box::new(completed))
}

async fn of(store: &dyn Store, n: u8) -> Vec<String> {
    let known = store.memories(&browser(n).digest()).await.unwrap();
    let mut known: Vec<_> = known.iter().map(|memory| serde_json::to_string(memory).unwrap()).collect();
    known.sort();
    known
}

fn texts(memories: &[Memory]) -> Vec<String> {
    memories.iter().map(|memory| serde_json::to_string(memory).unwrap()).collect()
}

async fn memories([store, other]: &Replicas) {
    let (first, wider, of_other) = (memory(1, "c", "read"), memory(1, "c", "read write"), memory(1, "d", "read"));
    assert!(store.take(remembered(0, first.clone())).await.unwrap());
    assert!(!other.take(remembered(0, wider.clone())).await.unwrap(), "a sign-in that is not complete leaves nothing");
    assert_eq!(of(&**other, 1).await, texts(&[first]));
    assert!(of(&**other, 2).await.is_empty(), "another browser");
    assert!(store.take(remembered(1, wider.clone())).await.unwrap());
    assert_eq!(of(&**other, 1).await, texts(std::slice::from_ref(&wider)), "one decision for each client and server");
    assert!(store.take(remembered(2, of_other.clone())).await.unwrap());
    assert!(store.take(remembered(3, memory(2, "c", "read"))).await.unwrap());
    assert_eq!(of(&**other, 1).await, texts(&[wider, of_other.clone()]));
    // What is revoked does not come back by itself, in no browser of its person.
    let revoke = Revoke { grant: grant_id(0), why: Reason::RevokedByOperator, now: Timestamp::from_seconds(START) };
    assert!(other.take(Change::Revoke(revoke)).await.unwrap());
    assert_eq!(of(&**store, 1).await, texts(&[of_other]));
    assert!(of(&**store, 2).await.is_empty());
    let sweep = Sweep::at(Timestamp::from_seconds(START + GRANT), None, Duration::ZERO).unwrap();
    while store.take(Change::Sweep(sweep)).await.unwrap() {}
    assert!(of(&**store, 1).await.is_empty());
    assert!(store.take(remembered(4, memory(3, "c", "read"))).await.unwrap());
    assert!(other.take(Change::ForgetDecisions).await.unwrap());
    assert!(of(&**store, 3).await.is_empty());
}

#[tokio::test]
async fn sqlite_remembers_decisions() {
    let data = tempfile::tempdir().unwrap();
    memories(&sqlite(&data.path().join("decisions")).await).await;
}

#[tokio::test]
async fn postgres_remembers_decisions() {
    memories(&postgres().await).await;
}
