//! What Google does differently from a plain OpenID provider.
//! <https://developers.google.com/identity/openid-connect/openid-connect>

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawForm, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use deputy_server::clock::{Clock as _, SystemClock};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::people::Person;
use super::{CODE_LIFETIME, Fields, Idp, authorize, fields, is_the_application, json_answer, keys, lock, userinfo};

/// The Workspace organisation; people with other addresses are of none.
const ORGANISATION: &str = "demo.example";

pub(super) fn routes(router: Router<Arc<Idp>>) -> Router<Arc<Idp>> {
    router
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/oauth2/v3/certs", get(keys))
        .route("/o/oauth2/v2/auth", get(authorize))
        .route("/token", post(token))
        .route("/v1/userinfo", get(userinfo))
}

/// There is no scope `offline_access`: `access_type=offline` asks for a refresh token.
async fn discovery(State(idp): State<Arc<Idp>>) -> Response {
    json_answer(
        StatusCode::OK,
        &json!({
            "issuer": idp.issuer,
            "authorization_endpoint": idp.url("/o/oauth2/v2/auth"),
            "token_endpoint": idp.url("/token"),
            "userinfo_endpoint": idp.url("/v1/userinfo"),
            "jwks_uri": idp.url("/oauth2/v3/certs"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "scopes_supported": ["openid", "email", "profile"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }),
    )
}

async fn token(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    match exchange(&idp, &headers, &fields(&form)) {
        Ok(body) => json_answer(StatusCode::OK, &body),
        Err((status, error)) => json_answer(status, &json!({ "error": error, "error_description": "Bad Request" })),
    }
}

type Refusal = (StatusCode, &'static str);

pub(super) fn exchange(idp: &Idp, headers: &HeaderMap, form: &Fields) -> Result<Value, Refusal> {
    const INVALID_GRANT: Refusal = (StatusCode::BAD_REQUEST, "invalid_grant");
    const FAILED: Refusal = (StatusCode::INTERNAL_SERVER_ERROR, "server_error");
    if !is_the_application(idp, headers, form) {
        return Err((StatusCode::UNAUTHORIZED, "invalid_client"));
    }
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let (person, nonce, refresh) = match field("grant_type") {
        "authorization_code" => {
            let issued = lock(&idp.codes).take(field("code")).ok_or(INVALID_GRANT)?;
            let fits = URL_SAFE_NO_PAD.encode(sha256(field("code_verifier").as_bytes())) == issued.challenge
                && field("redirect_uri") == issued.redirect_uri
                && issued.at.elapsed() < CODE_LIFETIME;
            if !fits {
                return Err(INVALID_GRANT);
            }
            let refresh = if issued.offline { Some(lock(&idp.refresh).keep(issued.person).ok_or(FAILED)?) } else { None };
            (issued.person, issued.nonce, refresh)
        }
        // It goes on working, and no new one comes.
        "refresh_token" => (lock(&idp.refresh).get_mut(field("refresh_token")).copied().ok_or(INVALID_GRANT)?, None, None),
        _ => return Err((StatusCode::BAD_REQUEST, "unsupported_grant_type")),
    };
    if person.disabled {
        return Err(INVALID_GRANT);
    }
    let access = lock(&idp.access).keep(person).ok_or(FAILED)?;
    let id_token = idp.key.sign(&claims(idp, person, nonce)).map_err(|_| FAILED)?;
    let mut body = json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": access, "id_token": id_token });
    if let (Some(refresh), Some(body)) = (refresh, body.as_object_mut()) {
        body.insert("refresh_token".to_owned(), json!(refresh));
    }
    Ok(body)
}

/// `hd` is there for people of an organisation; `sub` is a number that no other account ever has.
pub(super) fn claims(idp: &Idp, person: &Person, nonce: Option<String>) -> Value {
    let now = SystemClock.now().seconds();
    let mut claims = json!({
        "iss": idp.issuer, "azp": idp.client_id, "aud": idp.client_id, "sub": person.number().to_string(), "email": person.email,
        "email_verified": true, "name": person.name, "iat": now, "exp": now + 3600,
    });
    let domain = person.email.rsplit('@').next().filter(|domain| *domain == ORGANISATION);
    if let Some(claims) = claims.as_object_mut() {
        claims.extend(domain.map(|domain| ("hd".to_owned(), json!(domain))));
        claims.extend(nonce.map(|nonce| ("nonce".to_owned(), json!(nonce))));
    }
    claims
}
