//! The feed by which every process learns of revocations. Compiled once for each database, as a child of `statements`.

use deputy_protocol::{GrantId, Timestamp};
use sqlx::{Row as _, query, query_scalar};

use super::{Connection, Row};
use crate::store::rows::seconds;
use crate::store::{Revocation, StoreResult};

/// Most entries that are read at once.
const PAGE: i64 = 10_000;
/// Entries of one second at most, before the next second's numbers are reached.
const OF_A_SECOND: i64 = 1 << 20;

/// Adds an entry, in the transaction that revokes.
///
/// Numbers grow with the time, and not only with the entries: when an old copy of the database is restored under running gateways, what is
/// revoked then has a higher number than whatever they read before.
pub(super) async fn tell(connection: &mut Connection, grant: &GrantId, now: Timestamp) -> StoreResult<()> {
    // The head stays locked until this transaction ends, so the feed fills up in the order of its numbers.
    let sequence: i64 = query_scalar("UPDATE feed SET head = CASE WHEN head < $1 THEN $1 ELSE head + 1 END RETURNING head")
        .bind(seconds(now).saturating_mul(OF_A_SECOND).min(i64::MAX / 2))
        .fetch_one(&mut *connection)
        .await?;
    query("INSERT INTO revocations (sequence, grant_id, at) VALUES ($1, $2, $3)")
        .bind(sequence)
        .bind(grant.as_str())
        .bind(seconds(now))
        .execute(connection)
        .await?;
    Ok(())
}

pub(in crate::store) async fn revocations_after(connection: &mut Connection, sequence: i64) -> StoreResult<Vec<Revocation>> {
    let rows = query("SELECT sequence, grant_id FROM revocations WHERE sequence > $1 ORDER BY sequence LIMIT $2");
    let read =
        |row: &Row| Ok(Revocation { sequence: row.try_get("sequence")?, grant: GrantId::from_stored(row.try_get("grant_id")?) });
    rows.bind(sequence).bind(PAGE).fetch_all(connection).await?.iter().map(read).collect()
}

pub(in crate::store) async fn feed_head(connection: &mut Connection) -> StoreResult<i64> {
    Ok(query_scalar("SELECT head FROM feed").fetch_one(connection).await?)
}
