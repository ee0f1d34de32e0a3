//! `grant_type=refresh_token` (RFC 6749 §6; AS-83…88; decision 5).

use std::sync::Arc;

use deputy_protocol::Reason;
use deputy_protocol::family::{Generation, Line, LineUse, NewRefresh, Place, RefreshRecord};
use deputy_protocol::params::Params;
use deputy_protocol::secret::RefreshToken;

use super::client_auth::Caller;
use super::{TokenResponse, hearing, mint};
use crate::error::Failure;
use crate::gateway::Shared;
use crate::seal::{open_successor, seal_successor};
use crate::store::once::{self, Successor};
use crate::store::{HeldGrant, Rotation};

/// Rotates a refresh token. The same token within the grace window gives the same successor: a lost response or two processes that
/// refresh at once log nobody out, and nobody gets two lives.
pub(super) async fn rotate(gateway: &Arc<Shared>, caller: &Caller, params: &Params) -> Result<TokenResponse, Failure> {
    let client = &caller.client;
    if !client.registration.refresh {
        return Err(Reason::RefreshNotAllowed.into());
    }
    let token = RefreshToken::presented(params.require("refresh_token")?).ok_or(Reason::RefreshUnknown)?;
    let place = gateway.seal.place_of(&token).ok_or(Reason::RefreshUnknown)?;
    let held = gateway.store.grant(&place.grant).await?.ok_or(Reason::RefreshUnknown)?;
    held.grant.refreshed_by(&client.id)?;
    let held = if is_alive(gateway, &held, &place) { hearing::heard(gateway, held).await? } else { held };
    let record = RefreshRecord { place, grant: held.grant.clone() };
    let checked = record.check(&client.id, params, gateway.policy())?;

    let now = gateway.clock.now();
    let (grant, scopes) = (held.grant.id.clone(), checked.scopes().clone());
    let ends_at = gateway.lifetimes.refresh_ends(held.grant.granted_at, now);
    let successor = |generation: Generation| {
        let successor = gateway.seal.refresh_token(&grant, generation)?;
        let sealed = seal_successor(&token, &successor)?;
        Ok(Successor { new: NewRefresh { digest: successor.digest(), ends_at }, sealed, token: successor })
    };
    match once::rotate(
        gateway.store.as_ref(),
        held,
        checked,
        successor,
        gateway.lifetimes.refresh_grace,
        caller.assertion.as_ref(),
        now,
    )
    .await?
    {
        Rotation::Rotated(redeemed, successor) => Ok(mint::mint(gateway, *redeemed, scopes, Some(&successor))?),
        Rotation::Replayed(redeemed, sealed) => {
            let successor =
                open_successor(&token, &sealed).ok_or_else(|| Failure::internal("a stored successor does not open"))?;
            tracing::info!(target: "deputy::event", event = "refresh_replayed", %grant);
            Ok(mint::mint(gateway, *redeemed, scopes, Some(&successor))?)
        }
        Rotation::Reused(grant) => {
            tracing::warn!(target: "deputy::event", event = "refresh_reused", %grant);
            gateway.revoked.add(grant);
            Err(Reason::RefreshReused.into())
        }
        Rotation::Expired => Err(Reason::RefreshExpired.into()),
        Rotation::AssertionUsed => Err(Reason::AssertionReplayed.into()),
        Rotation::Revoked => Err(Reason::GrantRevoked.into()),
        Rotation::Unknown => Err(Reason::RefreshUnknown.into()),
    }
}

/// Whether a use of this token gives a new one. Who only gets the same successor again, or nothing, is no reason to ask the provider.
fn is_alive(gateway: &Shared, held: &HeldGrant, place: &Place) -> bool {
    let (grace, now) = (gateway.lifetimes.refresh_grace, gateway.clock.now());
    let judge = |line: &Line| matches!(line.judge(place, held.standing(), grace, now), LineUse::Rotate);
    held.line.as_ref().is_some_and(judge)
}
