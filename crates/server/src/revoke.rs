//! Token revocation (RFC 7009; AS-92, A-108).
//!
//! Either kind of token ends its whole grant: a client that gives one up is done. Whatever the token was, the answer is 200; only the
//! client that a token was issued to can end anything.

use axum::response::Response;
use deputy_guard::jws;
use deputy_protocol::access_token::{ACCESS_TOKEN_TYPE, AccessTokenClaims};
use deputy_protocol::client::Client;
use deputy_protocol::family::may_revoke;
use deputy_protocol::params::Params;
use deputy_protocol::secret::RefreshToken;
use deputy_protocol::{GrantId, Reason};
use http::StatusCode;
use jsonwebtoken::Algorithm;

use crate::dispatch::Incoming;
use crate::error::{Failure, json, json_body};
use crate::gateway::Shared;
use crate::store::{Revoke, Step};
use crate::token::client_auth;

/// `POST /revoke`.
pub(crate) async fn post(gateway: &Shared, request: &Incoming) -> Response {
    revoke(gateway, request).await.unwrap_or_else(|failure| json(&failure, "revoke", None))
}

async fn revoke(gateway: &Shared, request: &Incoming) -> Result<Response, Failure> {
    let params = client_auth::form(request)?;
    let client = client_auth::authenticate(gateway, request, &params).await?.client;
    if let Some(grant) = grant_of(gateway, &client, &params).await? {
        end(gateway, grant, Reason::RevokedByClient).await?;
    }
    Ok(json_body(StatusCode::OK, &serde_json::Map::new()))
}

/// The grant of the token, if it is this client's.
async fn grant_of(gateway: &Shared, client: &Client, params: &Params) -> Result<Option<GrantId>, Failure> {
    let token = params.require("token")?;
    if let Some(token) = RefreshToken::presented(token) {
        let Some(place) = gateway.seal.place_of(&token) else { return Ok(None) };
        let held = gateway.store.grant(&place.grant).await?;
        return Ok(held.filter(|held| may_revoke(&client.id, &held.grant.client)).map(|held| held.grant.id));
    }
    let keys = gateway.keyring.public().load();
    let Ok(claims) = jws::verify_typed::<AccessTokenClaims>(token, &keys, &[Algorithm::ES256], ACCESS_TOKEN_TYPE) else {
        return Ok(None);
    };
    let claims = claims.into_inner();
    Ok(may_revoke(&client.id, &claims.client_id).then_some(claims.grant))
}

/// Revokes a grant durably, then at once in this process; others follow the feed.
pub(crate) async fn end(gateway: &Shared, grant: GrantId, why: Reason) -> Result<(), Failure> {
    gateway.store.take(Step::Revoke(Revoke { grant: grant.clone(), why, now: gateway.clock.now() })).await?;
    tracing::info!(target: "deputy::event", event = "grant_revoked", %grant, reason = why.code());
    gateway.revoked.add(grant);
    Ok(())
}
