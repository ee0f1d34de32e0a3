//! `grant_type=authorization_code` (RFC 6749 §4.1.3; AS-64, AS-79…82).

use deputy_protocol::Reason;
use deputy_protocol::family::{Generation, NewRefresh};
use deputy_protocol::params::Params;
use deputy_protocol::secret::AuthorizationCode;

use super::client_auth::Caller;
use super::{TokenResponse, mint};
use crate::error::Failure;
use crate::gateway::Shared;
use crate::store::{Redemption, once};

/// Redeems a code. Everything that can be wrong with the request is checked before the code is used up.
pub(super) async fn redeem(gateway: &Shared, caller: &Caller, params: &Params) -> Result<TokenResponse, Failure> {
    let code = AuthorizationCode::presented(params.require("code")?).ok_or(Reason::CodeUnknown)?;
    let held = gateway.store.code(&code.digest()).await?.ok_or(Reason::CodeUnknown)?;
    let checked = held.record.clone().check(&caller.client.id, params, gateway.policy())?;
    let grant = &checked.record().grant;
    let (grant_id, scopes) = (grant.id.clone(), grant.scopes.clone());

    let now = gateway.clock.now();
    let refresh = if held.record.refresh { Some(gateway.seal.refresh_token(&grant_id, Generation::default())?) } else { None };
    let ends_at = gateway.lifetimes.refresh_ends(grant.granted_at, now);
    let first = refresh.as_ref().map(|token| NewRefresh { digest: token.digest(), ends_at });
    match once::redeem(gateway.store.as_ref(), held, checked, first, caller.assertion.as_ref(), now).await? {
        Redemption::First(redeemed) => {
            tracing::info!(target: "deputy::event", event = "tokens_issued", grant = %grant_id);
            Ok(mint::mint(gateway, *redeemed, scopes, refresh.as_ref())?)
        }
        Redemption::Replay(grant) => {
            gateway.revoked.add(grant);
            Err(Reason::CodeReplayed.into())
        }
        Redemption::Expired => Err(Reason::CodeExpired.into()),
        Redemption::AssertionUsed => Err(Reason::AssertionReplayed.into()),
        Redemption::Revoked => Err(Reason::GrantRevoked.into()),
        Redemption::Unknown => Err(Reason::CodeUnknown.into()),
    }
}
