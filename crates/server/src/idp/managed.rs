//! A managed identity of Azure's: what Azure itself says about the machine or the service that we run on, in place of a secret
//! (learn.microsoft.com, "Configure an application to trust a managed identity").

use std::time::Duration;

use deputy_fetch::{Client as FetchClient, Credentials};
use deputy_protocol::Timestamp;
use deputy_protocol::secret::ClientSecret;
use serde::Deserialize;

use super::IdpFailure;
use super::lease::{Lease, Lent};
use crate::config::ManagedIdentity;

/// How long before its end an assertion is renewed.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// How long Azure may take: it is on this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer counts no token of Azure's.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// What Azure last said.
#[derive(Debug, Default)]
pub(super) struct Managed(Lease);

/// The answer, in which numbers are texts.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_on: Seconds,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Seconds {
    fn at(&self) -> Option<Timestamp> {
        let seconds = match self {
            Self::Number(seconds) => Some(*seconds),
            Self::Text(text) => text.parse().ok(),
        };
        seconds.map(Timestamp::from_seconds)
    }
}

impl Managed {
    /// An assertion that counts now.
    pub(super) async fn assertion(
        &self,
        identity: &ManagedIdentity,
        fetch: &FetchClient,
        now: Timestamp,
    ) -> Result<ClientSecret, IdpFailure> {
        let asked = async {
            ask(identity, &fetch.within(PATIENCE), now).await.map_err(|why| {
                tracing::warn!(
                    target: "deputy::idp", detail = why,
                    "Azure gives no token for the managed identity; nobody is signed out for it. Does deputy run in Azure, with this user-assigned \
                     identity?"
                );
                IdpFailure::outage(why)
            })
        };
        self.0.token(now, AHEAD, asked).await
    }
}

async fn ask(identity: &ManagedIdentity, fetch: &FetchClient, now: Timestamp) -> Result<Lent, String> {
    let (name, value) = &identity.header;
    let answer =
        fetch.get(&identity.endpoint, Credentials::Named(name, value.clone())).await.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("the managed identity's endpoint answered {}", answer.status));
    }
    let read: Answer = answer.json().map_err(|error| format!("the managed identity's endpoint: {error}"))?;
    let ends = read.expires_on.at().filter(|ends| now < *ends && *ends < now.after(LONGEST));
    let ends = ends.ok_or("the managed identity's endpoint gives a token that does not count now")?;
    Ok(Lent { token: ClientSecret::from_text(read.access_token), ends })
}
