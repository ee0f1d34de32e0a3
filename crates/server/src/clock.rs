//! The only clock.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use deputy_protocol::Timestamp;

/// Where the time comes from. Tests bring their own.
pub trait Clock: Send + Sync + Debug {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as the epoch: every token is then expired, which fails closed.
        Timestamp::from_seconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }
}
