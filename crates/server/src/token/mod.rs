//! The token endpoint (RFC 6749 §3.2; AS-75…91).

pub(crate) mod client_auth;
mod code;
mod hearing;
mod mint;
mod refresh;

use std::sync::Arc;

use axum::response::Response;
use deputy_protocol::Reason;
use deputy_protocol::scope::Scopes;
use deputy_protocol::secret::RefreshToken;
use http::StatusCode;
use serde::Serialize;

use crate::dispatch::Incoming;
use crate::error::{Failure, json, json_body};
use crate::gateway::Shared;

/// A successful answer (RFC 6749 §5.1). The scope is always stated (AS-69).
#[derive(Serialize)]
struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    scope: Scopes,
}

impl TokenResponse {
    fn new(access_token: String, expires_in: u64, refresh: Option<&RefreshToken>, scope: Scopes) -> Self {
        let refresh_token = refresh.map(|token| token.expose().to_owned());
        Self { access_token, token_type: "Bearer", expires_in, refresh_token, scope }
    }
}

/// `POST /token`.
pub(crate) async fn post(gateway: &Arc<Shared>, request: &Incoming) -> Response {
    match exchange(gateway, request).await {
        Ok(tokens) => json_body(StatusCode::OK, &tokens),
        Err(failure) => json(&failure, "token", None),
    }
}

async fn exchange(gateway: &Arc<Shared>, request: &Incoming) -> Result<TokenResponse, Failure> {
    let params = client_auth::form(request)?;
    // An unknown grant type is answered before the client is asked who it is.
    let grant_type = params.require("grant_type")?;
    if !matches!(grant_type, "authorization_code" | "refresh_token") {
        return Err(Reason::GrantTypeUnsupported.into());
    }
    let caller = client_auth::authenticate(gateway, request, &params).await?;
    if grant_type == "refresh_token" {
        refresh::rotate(gateway, &caller, &params).await
    } else {
        code::redeem(gateway, &caller, &params).await
    }
}
