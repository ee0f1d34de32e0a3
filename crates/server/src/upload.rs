//! Reading a request's body as a whole, within limits.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use deputy_protocol::Reason;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::error::Failure;

/// Reads a body of at most `limit` bytes in at most `time`. The rest of a longer one is not waited for.
///
/// # Errors
/// [`Reason::RequestTooLarge`], [`Reason::RequestTooSlow`], or [`Reason::ParametersMalformed`] when it breaks off.
pub(crate) async fn whole(body: Body, limit: usize, time: Duration) -> Result<Bytes, Failure> {
    let whole = tokio::time::timeout(time, Limited::new(body, limit).collect()).await;
    match whole.map_err(|_| Failure::from(Reason::RequestTooSlow))? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Reason::RequestTooLarge.into()),
        Err(error) => Err(Failure::detailed(Reason::ParametersMalformed, error.to_string())),
    }
}
