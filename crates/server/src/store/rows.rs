//! Between columns and types: every column is read through its type's own parser.

use deputy_protocol::Timestamp;
use deputy_protocol::secret::Digest;

use crate::store::{StoreError, StoreResult};

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::new(format_args!("a stored {what} cannot be read"))
}

/// Seconds as the database's integer.
pub(super) fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.seconds()).unwrap_or(i64::MAX)
}

/// Seconds from the database's integer.
pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(u64::try_from(seconds).unwrap_or_default())
}

/// A text column through a type's own parser.
pub(super) fn parsed<T, E>(column: &'static str, text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> StoreResult<T> {
    parse(text).map_err(|_| damaged(column))
}

/// A text as a JSON text, for types that are read by `serde`.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
}

pub(super) fn digest<T>(bytes: Vec<u8>) -> StoreResult<Digest<T>> {
    <[u8; 32]>::try_from(bytes).map(Digest::from_stored).map_err(|_| damaged("digest"))
}
