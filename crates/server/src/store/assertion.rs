//! Client assertions, each of which counts once. Compiled once for each database, as a child of `statements`.

use deputy_protocol::client::assertion::Assertion;
use sqlx::query;

use super::Connection;
use crate::store::StoreResult;
use crate::store::rows::seconds;

/// Whether an assertion was used.
pub(in crate::store) async fn is_used(connection: &mut Connection, assertion: Option<&Assertion>) -> StoreResult<bool> {
    let Some(assertion) = assertion else { return Ok(false) };
    let used = query("SELECT 1 FROM assertions WHERE digest = $1").bind(assertion.digest().as_bytes().as_slice());
    Ok(used.fetch_optional(connection).await?.is_some())
}

/// Uses an assertion up, as a part of the step that it was presented for. Whether that was its first use: SQLite has one writer, so nobody
/// came in since [`is_used`]; in PostgreSQL somebody may have, and the transaction is rolled back.
pub(super) async fn use_up(connection: &mut Connection, assertion: Option<&Assertion>) -> StoreResult<bool> {
    let Some(assertion) = assertion else { return Ok(true) };
    let used = query("INSERT INTO assertions (digest, ends_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(assertion.digest().as_bytes().as_slice())
        .bind(seconds(assertion.ends()))
        .execute(connection)
        .await?;
    Ok(used.rows_affected() == 1)
}
