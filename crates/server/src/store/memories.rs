//! Remembered decisions. Compiled once for each database, as a child of `statements`.

use deputy_protocol::ids::GrantId;
use deputy_protocol::remember::Memory;
use deputy_protocol::secret::{BrowserKey, Digest};
use sqlx::{query, query_scalar};

use super::{Connection, json};
use crate::store::StoreResult;
use crate::store::rows::{parsed, seconds};

/// Most decisions that are looked at.
const LOOKED_AT: i64 = 64;

/// Keeps a decision, in the place of an older one of the same browser about the same client and server.
pub(super) async fn keep(connection: &mut Connection, memory: &Memory) -> StoreResult<()> {
    query(
        "INSERT INTO memories (browser, client, resource, subject, decision, until) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (browser, client, resource) DO UPDATE SET subject = $4, decision = $5, until = $6",
    )
    .bind(memory.browser().as_bytes().as_slice())
    .bind(memory.client().as_str())
    .bind(memory.resource().as_str())
    .bind(memory.subject().id().to_string())
    .bind(json(memory)?)
    .bind(seconds(memory.until()))
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what the person of a grant decided about its client, in every browser: what was revoked does not come back by itself.
pub(super) async fn forget(connection: &mut Connection, grant: &GrantId) -> StoreResult<()> {
    query(
        "DELETE FROM memories WHERE subject = (SELECT subject FROM grants WHERE id = $1) \
         AND client = (SELECT client FROM grants WHERE id = $1)",
    )
    .bind(grant.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn forget_all(connection: &mut Connection) -> StoreResult<bool> {
    Ok(query("DELETE FROM memories").execute(connection).await?.rows_affected() > 0)
}

pub(in crate::store) async fn memories(connection: &mut Connection, browser: &Digest<BrowserKey>) -> StoreResult<Vec<Memory>> {
    let decisions: Vec<String> = query_scalar("SELECT decision FROM memories WHERE browser = $1 ORDER BY until DESC LIMIT $2")
        .bind(browser.as_bytes().as_slice())
        .bind(LOOKED_AT)
        .fetch_all(connection)
        .await?;
    decisions.iter().map(|decision| parsed("decision", decision, |text| serde_json::from_str(text))).collect()
}
