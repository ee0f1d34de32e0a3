//! Minting access tokens (RFC 9068; AS-90). The only caller of the signing key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::Reason;
use deputy_protocol::access_token::AccessTokenClaims;
use deputy_protocol::scope::Scopes;
use deputy_protocol::secret::RefreshToken;

use super::TokenResponse;
use crate::gateway::Shared;
use crate::store::Redeemed;

/// Mints the tokens of a grant that the store gave out: the proof is consumed.
pub(super) fn mint(
    gateway: &Shared,
    redeemed: Redeemed,
    scopes: Scopes,
    refresh: Option<&RefreshToken>,
) -> Result<TokenResponse, Reason> {
    let (grant, word) = redeemed.into_parts();
    let now = gateway.clock.now();
    let jti = URL_SAFE_NO_PAD.encode(gateway.random::<16>()?);
    let calls = &gateway.catalog.by_uri(&grant.resource).ok_or(Reason::ResourceNotGranted)?.calls;
    let criteria = calls.criteria(&grant.known());
    let claims = grant.access_token(&gateway.issuer, scopes.clone(), &word, &gateway.lifetimes, now, jti);
    let claims = AccessTokenClaims { criteria, ..claims };
    let lives = claims.exp.since(now).min(gateway.lifetimes.access_token_promise());
    let token = gateway.keyring.sign(&claims, now)?;
    Ok(TokenResponse::new(token, lives.as_secs(), refresh, scopes))
}
