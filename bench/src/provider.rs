//! The identity provider and the MCP server behind the gateway, both stubs for speed.
//!
//! A stub: it signs everybody in at once, checks nothing that its client sends, and keeps no session. What it leaves out is the provider's
//! work, not the gateway's: ID tokens are real ones (ES256, nonce), discovery, keys and the token endpoint are asked over HTTP. Only the
//! browser's visit to its authorization endpoint is a function call here: [`answer`] to the redirect.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Router;
use axum::extract::{RawForm, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::Outcome;

/// The gateway's registration at the provider.
pub(crate) const CLIENT_ID: &str = "deputy-at-idp";
/// Its secret.
pub(crate) const CLIENT_SECRET: &str = "the one static secret";

/// The running stubs.
pub(crate) struct Provider {
    /// The provider's issuer.
    pub(crate) issuer: String,
    key: EncodingKey,
    jwk: Value,
}

impl Provider {
    /// Listens on a port of loopback, for as long as the program runs.
    pub(crate) async fn start() -> Outcome<Arc<Self>> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?;
        let (x, y) = pair.public_key().as_ref().get(1..65).ok_or("no point")?.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench", "x": x, "y": y});
        let provider = Arc::new(Self { issuer, key: EncodingKey::from_ec_der(pkcs8.as_ref()), jwk });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/mcp", post(mcp))
            .with_state(Arc::clone(&provider));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(provider)
    }

    /// The MCP server behind the gateway.
    pub(crate) fn backend(&self) -> String {
        format!("{}/mcp", self.issuer)
    }
}

/// Where the provider sends the browser that came with this query: back at once, with a code that says what the ID token must.
pub(crate) fn answer(query: &str) -> Outcome<String> {
    let asked = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let redirect = asked("redirect_uri").ok_or("no redirect_uri for the provider")?;
    let state = asked("state").ok_or("no state for the provider")?;
    let code = format!("code.{}", asked("nonce").unwrap_or_default());
    let pairs = [("code", code), ("state", state)];
    Ok(format!("{redirect}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()))
}

fn json_answer(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Response {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    json_answer(&json!({
        "issuer": provider.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"), "jwks_uri": at("/keys"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(State(provider): State<Arc<Provider>>) -> Response {
    json_answer(&json!({ "keys": [provider.jwk] }))
}

/// Tokens for any code, and for any refresh token.
async fn token(State(provider): State<Arc<Provider>>, RawForm(body): RawForm) -> Response {
    let code = form_urlencoded::parse(&body).find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
    let nonce = code.as_deref().and_then(|code| code.strip_prefix("code.")).filter(|nonce| !nonce.is_empty());
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let mut claims = json!({
        "iss": provider.issuer, "sub": "alice", "aud": CLIENT_ID, "iat": now, "exp": now + 300,
        "email": "alice@corp.test", "email_verified": true, "name": "alice",
    });
    if let (Some(nonce), Some(claims)) = (nonce, claims.as_object_mut()) {
        claims.insert("nonce".to_owned(), nonce.into());
    }
    let header = Header { kid: Some("bench".to_owned()), ..Header::new(Algorithm::ES256) };
    let Ok(id_token) = jsonwebtoken::encode(&header, &claims, &provider.key) else {
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    json_answer(&json!({
        "access_token": "an access token of the provider", "token_type": "Bearer", "expires_in": 3600,
        "refresh_token": "a refresh token of the provider", "id_token": id_token,
    }))
}

async fn mcp() -> Response {
    json_answer(&json!({"jsonrpc": "2.0", "id": 1, "result": {}}))
}
