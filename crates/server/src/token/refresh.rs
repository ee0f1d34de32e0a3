//! `grant_type=refresh_token` (RFC 6749 §6; AS-83…88; decision 5).

use deputy_protocol::Reason;
use deputy_protocol::client::Client;
use deputy_protocol::params::Params;
use deputy_protocol::secret::RefreshToken;

use super::{TokenResponse, mint};
use crate::error::Failure;
use crate::gateway::Shared;
use crate::seal::{open_successor, seal_successor};
use crate::store::{NewRefresh, Rotation};

/// Rotates a refresh token. The same token within the grace window gives the same successor: a lost response or two processes that
/// refresh at once log nobody out, and nobody gets two lives.
pub(super) async fn rotate(gateway: &Shared, client: &Client, params: &Params) -> Result<TokenResponse, Failure> {
    if !client.registration.refresh {
        return Err(Reason::RefreshNotAllowed.into());
    }
    let token = RefreshToken::presented(params.require("refresh_token")?).ok_or(Reason::RefreshUnknown)?;
    let record = gateway.store.refresh(&token.digest()).await?.ok_or(Reason::RefreshUnknown)?;
    let checked = record.check(&client.id, params, gateway.policy())?;
    let record = checked.record();

    let now = gateway.clock.now();
    let successor = RefreshToken::new(&gateway.random()?);
    let sealed = seal_successor(&token, &successor)?;
    let new = NewRefresh { digest: successor.digest(), ends_at: gateway.lifetimes.refresh_ends(record.grant.granted_at, now) };
    let grace = gateway.lifetimes.refresh_grace;
    match gateway.store.rotate(&checked, &new, &sealed, grace, now).await? {
        Rotation::Rotated(redeemed) => Ok(mint::mint(gateway, *redeemed, checked.scopes().clone(), Some(&successor))?),
        Rotation::Replayed(redeemed, sealed) => {
            let successor =
                open_successor(&token, sealed).ok_or_else(|| Failure::internal("a stored successor does not open"))?;
            tracing::info!(target: "deputy::event", event = "refresh_replayed", grant = %record.grant.id);
            Ok(mint::mint(gateway, *redeemed, checked.scopes().clone(), Some(&successor))?)
        }
        Rotation::Reused(grant) => {
            tracing::warn!(target: "deputy::event", event = "refresh_reused", %grant);
            gateway.revoked.add(grant);
            Err(Reason::RefreshReused.into())
        }
        Rotation::Expired => Err(Reason::RefreshExpired.into()),
        Rotation::Revoked => Err(Reason::GrantRevoked.into()),
        Rotation::Unknown => Err(Reason::RefreshUnknown.into()),
    }
}
