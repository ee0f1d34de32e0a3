//! `grant_type=authorization_code` (RFC 6749 §4.1.3; AS-64, AS-79…82).

use deputy_protocol::Reason;
use deputy_protocol::client::Client;
use deputy_protocol::params::Params;
use deputy_protocol::secret::{AuthorizationCode, RefreshToken};

use super::{TokenResponse, mint};
use crate::error::Failure;
use crate::gateway::Shared;
use crate::store::{NewRefresh, Redemption};

/// Redeems a code. Everything that can be wrong with the request is checked before the code is used up.
pub(super) async fn redeem(gateway: &Shared, client: &Client, params: &Params) -> Result<TokenResponse, Failure> {
    let code = AuthorizationCode::presented(params.require("code")?).ok_or(Reason::CodeUnknown)?;
    let record = gateway.store.code(&code.digest()).await?.ok_or(Reason::CodeUnknown)?;
    let checked = record.check(&client.id, params, gateway.policy())?;
    let record = checked.record();

    let now = gateway.clock.now();
    let refresh = if record.refresh { Some(RefreshToken::new(&gateway.random()?)) } else { None };
    let ends_at = gateway.lifetimes.refresh_ends(record.grant.granted_at, now);
    let first = refresh.as_ref().map(|token| NewRefresh { digest: token.digest(), ends_at });
    match gateway.store.redeem_code(&checked, first.as_ref(), now).await? {
        Redemption::First(redeemed) => {
            tracing::info!(target: "deputy::event", event = "tokens_issued", grant = %record.grant.id);
            Ok(mint::mint(gateway, *redeemed, record.grant.scopes.clone(), refresh.as_ref())?)
        }
        Redemption::Replay(grant) => {
            gateway.revoked.add(grant);
            Err(Reason::CodeReplayed.into())
        }
        Redemption::Expired => Err(Reason::CodeExpired.into()),
        Redemption::Revoked => Err(Reason::GrantRevoked.into()),
        Redemption::Unknown => Err(Reason::CodeUnknown.into()),
    }
}
