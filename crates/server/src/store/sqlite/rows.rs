//! Between rows and types: every column is read through its type's own parser.

use deputy_protocol::Timestamp;
use deputy_protocol::client::DisplayName;
use deputy_protocol::family::Grant;
use deputy_protocol::ids::{ClientId, GrantId, Issuer};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::store::{StoreError, StoreResult};

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError(format!("a stored {what} cannot be read"))
}

/// Seconds as SQLite's integer.
pub(super) fn sql(time: Timestamp) -> i64 {
    i64::try_from(time.seconds()).unwrap_or(i64::MAX)
}

/// A time that may be missing.
pub(super) fn maybe_time(row: &SqliteRow, column: &str) -> StoreResult<Option<Timestamp>> {
    let seconds: Option<i64> = row.try_get(column)?;
    Ok(seconds.map(|seconds| Timestamp::from_seconds(u64::try_from(seconds).unwrap_or_default())))
}

pub(super) fn time(row: &SqliteRow, column: &str) -> StoreResult<Timestamp> {
    let seconds: i64 = row.try_get(column)?;
    Ok(Timestamp::from_seconds(u64::try_from(seconds).unwrap_or_default()))
}

/// Reads a text column through a type's own parser.
pub(super) fn parsed<T, E>(row: &SqliteRow, column: &'static str, parse: impl FnOnce(&str) -> Result<T, E>) -> StoreResult<T> {
    let text: String = row.try_get(column)?;
    parse(&text).map_err(|_| damaged(column))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
}

pub(super) fn read_grant(row: &SqliteRow) -> StoreResult<Grant> {
    Ok(Grant {
        id: GrantId::from_stored(row.try_get("id")?),
        subject: row.try_get("subject")?,
        idp: parsed(row, "idp", Issuer::parse)?,
        idp_subject: row.try_get("idp_subject")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        groups: parsed(row, "groups", |text| serde_json::from_str(text))?,
        client: parsed(row, "client", ClientId::parse)?,
        client_name: parsed(row, "client_name", from_json::<DisplayName>)?,
        resource: parsed(row, "resource", from_json)?,
        scopes: parsed(row, "scopes", from_json)?,
        granted_at: time(row, "granted_at")?,
        ends_at: time(row, "ends_at")?,
    })
}
