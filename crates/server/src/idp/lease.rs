//! A token that somebody gives for a while: asked for by one at a time for all who wait, and anew before its end.

use std::time::Duration;

use deputy_protocol::Timestamp;
use deputy_protocol::secret::ClientSecret;
use tokio::sync::Mutex;

use super::IdpFailure;

/// How long nobody asks again after an outage: those who waited for the answer share it.
const PAUSE: Duration = Duration::from_secs(2);

/// A token and its end.
#[derive(Clone, Debug)]
pub(crate) struct Lent {
    pub(crate) token: ClientSecret,
    pub(crate) ends: Timestamp,
}

/// What was last given.
#[derive(Debug, Default)]
pub(crate) struct Lease(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    lent: Option<Lent>,
    outage: Option<(Timestamp, IdpFailure)>,
}

impl Lease {
    /// A token that counts now. `ask` is run when the last one ends within `ahead`; while it meets an outage, that one counts to its end.
    pub(crate) async fn token(
        &self,
        now: Timestamp,
        ahead: Duration,
        ask: impl Future<Output = Result<Lent, IdpFailure>>,
    ) -> Result<ClientSecret, IdpFailure> {
        let mut last = self.0.lock().await;
        if let Some(lent) = last.lent.as_ref().filter(|lent| now.after(ahead) < lent.ends) {
            return Ok(lent.token.clone());
        }
        let shared = last.outage.take().filter(|(when, _)| now < when.after(PAUSE));
        let (when, failure) = match shared {
            Some(shared) => shared,
            None => match ask.await {
                Ok(lent) => return Ok(last.lent.insert(lent).token.clone()),
                Err(failure) => (now, failure),
            },
        };
        if !failure.outage {
            return Err(failure);
        }
        last.outage = Some((when, failure.clone()));
        last.lent.as_ref().filter(|lent| now < lent.ends).map(|lent| lent.token.clone()).ok_or(failure)
    }

    /// Forgets it: the next one asks.
    pub(crate) async fn forget(&self) {
        self.0.lock().await.lent = None;
    }
}
