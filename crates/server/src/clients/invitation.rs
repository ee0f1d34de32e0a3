//! Invitations: initial access tokens, with which clients register where not everybody may (RFC 7591 §3.1).
//!
//! An invitation is sealed, so nothing is stored, and it counts any number of times until it ends: a client that registers for each of its
//! connections needs it each time.

use std::path::Path;
use std::time::Duration;

use deputy_protocol::secret::ClientSecret;
use deputy_protocol::{Reason, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::gateway::StartError;
use crate::master;
use crate::seal::{Purpose, Seal};

/// Makes a leaked one recognisable to secret scanners; must never change.
const PREFIX: &str = "dpi_";

#[derive(Debug, Serialize, Deserialize)]
struct Invitation {
    #[serde(rename = "u")]
    until: Timestamp,
}

/// Proof that a client was invited. Made by [`judge`] only.
#[derive(Debug)]
pub(crate) struct Invited(());

/// Makes an invitation that counts until then.
pub(super) fn make(seal: &Seal, until: Timestamp) -> Result<ClientSecret, Reason> {
    Ok(ClientSecret::from_text(format!("{PREFIX}{}", seal.seal(Purpose::Invitation, &Invitation { until })?)))
}

/// Whether that is an invitation, and counts.
pub(super) fn judge(seal: &Seal, token: Option<&str>, now: Timestamp) -> Result<Invited, Reason> {
    let token = token.ok_or(Reason::InvitationMissing)?;
    let sealed = token.strip_prefix(PREFIX).ok_or(Reason::InvitationInvalid)?;
    let invitation: Invitation = seal.open(Purpose::Invitation, sealed).ok_or(Reason::InvitationInvalid)?;
    if now < invitation.until { Ok(Invited(())) } else { Err(Reason::InvitationInvalid) }
}

/// Makes an invitation to the deployment that keeps its master secret here; its gateways take it at once.
///
/// # Errors
/// When the data directory cannot be used.
pub fn invite(data_dir: &Path, lifetime: Duration, now: Timestamp) -> Result<ClientSecret, StartError> {
    let seal = Seal::new(&master::load_or_create(data_dir, now)?).map_err(Failure::from)?;
    Ok(make(&seal, now.after(lifetime)).map_err(Failure::from)?)
}
