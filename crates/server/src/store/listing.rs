//! What there is: the grants that are alive, a page at a time; those that ended idle; counts. Compiled once for each database, as a child of `statements`.

use deputy_protocol::family::Replaced;
use deputy_protocol::{GrantId, Timestamp};
use sqlx::{Row as _, query, query_scalar};

use super::{Connection, Row, SWEPT_MAX, maybe_time, read_grant};
use crate::store::rows::{parsed, seconds, time};
use crate::store::{LivingGrant, Rows, StoreResult};

/// Most grants of one page.
const PAGE: i64 = 500;

/// The grants that are alive `now`, oldest first, after this one. The next page begins after the last of this; the last page is empty.
pub(in crate::store) async fn living_grants(
    connection: &mut Connection,
    after: Option<&LivingGrant>,
    now: Timestamp,
) -> StoreResult<Vec<LivingGrant>> {
    let (granted_at, id) = after.map_or((-1, ""), |after| (seconds(after.grant.granted_at), after.grant.id.as_str()));
    let rows = query(concat!(
        "SELECT ",
        grant_columns!(),
        ", l.ends_at AS line_ends_at, l.recent FROM grants g LEFT JOIN lines l ON l.grant_id = g.id \
         WHERE g.revoked_at IS NULL AND g.ends_at > $1 AND (l.ends_at IS NULL OR l.ends_at > $1) \
         AND (g.granted_at, g.id) > ($2, $3) ORDER BY g.granted_at, g.id LIMIT $4",
    ))
    .bind(seconds(now))
    .bind(granted_at)
    .bind(id)
    .bind(PAGE);
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &Row) -> StoreResult<LivingGrant> {
    let grant = read_grant(row)?;
    let recent: Option<String> = row.try_get("recent")?;
    let recent: Vec<Replaced> = match recent {
        Some(text) => parsed("recent", &text, |text| serde_json::from_str(text))?,
        None => Vec::new(),
    };
    let until = maybe_time(row, "line_ends_at")?.map_or(grant.ends_at, |line| line.min(grant.ends_at));
    Ok(LivingGrant { grant, refreshed_at: recent.first().map(|newest| newest.at), until })
}

pub(in crate::store) async fn idle_grants(connection: &mut Connection, now: Timestamp) -> StoreResult<Vec<GrantId>> {
    let ids = query_scalar("SELECT grant_id FROM lines WHERE ends_at <= $1 LIMIT $2").bind(seconds(now)).bind(SWEPT_MAX);
    Ok(ids.fetch_all(connection).await?.into_iter().map(GrantId::from_stored).collect())
}

pub(in crate::store) async fn newest_sign_in(connection: &mut Connection) -> StoreResult<Option<Timestamp>> {
    let newest: Option<i64> = query_scalar("SELECT max(granted_at) FROM grants").fetch_one(connection).await?;
    Ok(newest.map(time))
}

pub(in crate::store) async fn count(connection: &mut Connection) -> StoreResult<Rows> {
    let mut rows = Vec::new();
    for (table, statement) in [
        ("grants", "SELECT count(*) FROM grants"),
        ("words", "SELECT count(*) FROM words"),
        ("lines", "SELECT count(*) FROM lines"),
        ("completed_transactions", "SELECT count(*) FROM completed_transactions"),
        ("codes", "SELECT count(*) FROM codes"),
        ("memories", "SELECT count(*) FROM memories"),
        ("assertions", "SELECT count(*) FROM assertions"),
        ("revocations", "SELECT count(*) FROM revocations"),
        ("signing_keys", "SELECT count(*) FROM signing_keys"),
    ] {
        rows.push((table, query_scalar(statement).fetch_one(&mut *connection).await?));
    }
    Ok(rows)
}
