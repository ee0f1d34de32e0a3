//! What a plain OpenID provider says: its metadata, its tokens.

use std::sync::Arc;

use axum::extract::{RawForm, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use deputy_server::clock::{Clock as _, SystemClock};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::people::Person;
use super::{CODE_LIFETIME, Fields, Idp, TENANT, fields, is_the_application, json_answer, lock};

pub(super) async fn discovery(State(idp): State<Arc<Idp>>) -> Response {
    // Like Entra's, it does not mention PKCE, although PKCE works.
    json_answer(
        StatusCode::OK,
        &json!({
            "issuer": idp.issuer,
            "authorization_endpoint": idp.url("/oauth2/v2.0/authorize"),
            "token_endpoint": idp.url("/oauth2/v2.0/token"),
            "userinfo_endpoint": idp.url("/userinfo"),
            "end_session_endpoint": idp.url("/oauth2/v2.0/logout"),
            "jwks_uri": idp.url("/discovery/v2.0/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
        }),
    )
}

pub(super) async fn token(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    let form = fields(&form);
    match exchange(&idp, &headers, &form) {
        Ok(body) => json_answer(StatusCode::OK, &body),
        Err((status, error)) => {
            json_answer(status, &json!({ "error": error, "error_description": "AADSTS: the demo provider refused this." }))
        }
    }
}

pub(super) type Refusal = (StatusCode, &'static str);

pub(super) fn exchange(idp: &Idp, headers: &HeaderMap, form: &Fields) -> Result<Value, Refusal> {
    const INVALID_GRANT: Refusal = (StatusCode::BAD_REQUEST, "invalid_grant");
    if !is_the_application(idp, headers, form) {
        return Err((StatusCode::UNAUTHORIZED, "invalid_client"));
    }
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let (person, nonce) = match field("grant_type") {
        "authorization_code" => {
            let issued = lock(&idp.codes).take(field("code")).ok_or(INVALID_GRANT)?;
            let fits = URL_SAFE_NO_PAD.encode(sha256(field("code_verifier").as_bytes())) == issued.challenge
                && field("redirect_uri") == issued.redirect_uri
                && issued.at.elapsed() < CODE_LIFETIME;
            if !fits {
                return Err(INVALID_GRANT);
            }
            (issued.person, issued.nonce)
        }
        // Rotating: each refresh token works once.
        "refresh_token" => (lock(&idp.refresh).take(field("refresh_token")).ok_or(INVALID_GRANT)?, None),
        _ => return Err((StatusCode::BAD_REQUEST, "unsupported_grant_type")),
    };
    let failed = (StatusCode::INTERNAL_SERVER_ERROR, "server_error");
    let access = lock(&idp.access).keep(person).ok_or(failed)?;
    let refresh = lock(&idp.refresh).keep(person).ok_or(failed)?;
    let id_token = idp.key.sign(&claims(idp, person, nonce)).map_err(|_| failed)?;
    Ok(
        json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": access, "refresh_token": refresh, "id_token": id_token }),
    )
}

pub(super) fn claims(idp: &Idp, person: &Person, nonce: Option<String>) -> Value {
    let now = SystemClock.now().seconds();
    let token = [
        ("iss", json!(idp.issuer)),
        ("aud", json!(idp.client_id)),
        ("tid", json!(TENANT)),
        ("iat", json!(now)),
        ("exp", json!(now + 300)),
        ("nonce", json!(nonce)),
    ];
    let mut claims = person.claims();
    claims.extend(token.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(claims)
}
