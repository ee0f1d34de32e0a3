//! What Entra ID does differently from a plain OpenID provider, as far as its applications can see it.

mod azure;
pub(crate) mod credential;
mod graph;
mod on_behalf;
pub(super) mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawForm, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use deputy_server::clock::{Clock as _, SystemClock};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::{CODE_LIFETIME, Fields, Idp, Issued, TENANT, authorize, fields, json_answer, lock};
use credential::Certificate;

/// The directory that only some people are in.
const OTHER_TENANT: &str = "0e4d1b2c-55aa-4c3f-8f11-07e407e407e4";

/// What the portal knows of the application, beside what every provider knows.
#[derive(Default)]
pub(crate) struct Registration {
    pub(crate) certificate: Option<Certificate>,
    pub(crate) access_tokens: AccessTokens,
}

/// The version of the access tokens for the application's own API (`requestedAccessTokenVersion` in its manifest).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AccessTokens {
    /// The first
    #[value(name = "1")]
    V1,
    /// The second
    #[default]
    #[value(name = "2")]
    V2,
}

/// What a challenge wants the next sign-in to bring along.
const CHALLENGE: &str = r#"{"access_token":{"capolids":{"essential":true,"values":["00000000-0000-4000-8000-0000000000ca"]}}}"#;

/// The addresses for people of any tenant.
/// <https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc>
const ANY_TENANT: [&str; 2] = ["organizations", "common"];
/// Addresses that a plain provider does not have.
pub(super) fn more_routes(mut router: Router<Arc<Idp>>) -> Router<Arc<Idp>> {
    for tenant in ANY_TENANT {
        router = router.route(&format!("/{tenant}/oauth2/v2.0/authorize"), get(authorize));
    }
    for tenant in [TENANT].into_iter().chain(ANY_TENANT) {
        router = router
            .route(&format!("/{tenant}/v2.0/.well-known/openid-configuration"), get(metadata))
            .route(&format!("/{tenant}/discovery/v2.0/keys"), get(keys))
            .route(&format!("/{tenant}/oauth2/v2.0/token"), post(token));
    }
    azure::routes(graph::routes(router))
}

/// The metadata of one tenant, or of any: then the issuer is a pattern, to be filled with the token's `tid`.
/// <https://learn.microsoft.com/entra/identity-platform/access-tokens#multitenant-applications>
async fn metadata(State(idp): State<Arc<Idp>>, uri: Uri) -> Response {
    let tenant = uri.path().split('/').nth(1).unwrap_or_default();
    let at = |path: &str| format!("{}/{tenant}{path}", origin(&idp));
    json_answer(
        StatusCode::OK,
        // As Entra's, it does not mention PKCE, although PKCE works.
        &json!({
            "issuer": issuer_for(&idp, tenant),
            "authorization_endpoint": at("/oauth2/v2.0/authorize"),
            "token_endpoint": at("/oauth2/v2.0/token"),
            "userinfo_endpoint": idp.url("/userinfo"),
            "end_session_endpoint": at("/oauth2/v2.0/logout"),
            "jwks_uri": at("/discovery/v2.0/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
        }),
    )
}

/// Its keys, each with the issuer that it signs for.
/// <https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-issuer>
async fn keys(State(idp): State<Arc<Idp>>, uri: Uri) -> Response {
    let tenant = uri.path().split('/').nth(1).unwrap_or_default();
    let mut key = idp.key.public().clone();
    if let Some(members) = key.as_object_mut() {
        let kid = members.get("kid").cloned().unwrap_or_default();
        members.insert("x5t".to_owned(), kid);
        members.insert("issuer".to_owned(), json!(issuer_for(&idp, tenant)));
    }
    json_answer(StatusCode::OK, &json!({ "keys": [key] }))
}

fn issuer_for(idp: &Idp, tenant: &str) -> String {
    let tenant = if ANY_TENANT.contains(&tenant) { "{tenantid}" } else { tenant };
    format!("{}/{tenant}/v2.0", origin(idp))
}

fn origin(idp: &Idp) -> &str {
    idp.issuer.strip_suffix(&format!("/{TENANT}/v2.0")).unwrap_or_default()
}

/// What goes wrong, by Entra's number.
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: &'static str,
    pub(super) code: u32,
    text: &'static str,
    claims: Option<&'static str>,
}

const fn refusal(error: &'static str, code: u32, text: &'static str) -> Refusal {
    Refusal { error, code, text, claims: None }
}

impl Refusal {
    /// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow#error-response-1>
    fn response(&self) -> Response {
        const ID: &str = "00000000-0000-4000-8000-000000000000";
        let status = if self.error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        let description = format!("AADSTS{}: {} Trace ID: {ID} Correlation ID: {ID}", self.code, self.text);
        let timestamp = timestamp();
        let mut body = json!({
            "timestamp": timestamp, "error": self.error, "error_description": description, "error_codes": [self.code], "trace_id": ID, "correlation_id": ID,
        });
        // https://learn.microsoft.com/entra/identity-platform/v2-conditional-access-dev-guide
        if let (Some(claims), Some(body)) = (self.claims, body.as_object_mut()) {
            body.insert("suberror".to_owned(), json!("basic_action"));
            body.insert("claims".to_owned(), json!(claims));
        }
        json_answer(status, &body)
    }
}

/// As in `2016-01-09 02:02:12Z`.
fn timestamp() -> String {
    let seconds = i64::try_from(SystemClock.now().seconds()).unwrap_or_default();
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}Z", at.date())
}

/// The token endpoint.
pub(super) async fn token(State(idp): State<Arc<Idp>>, uri: Uri, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    match exchange(&idp, &uri, &headers, &fields(&form)) {
        Ok(body) => json_answer(StatusCode::OK, &body),
        Err(refusal) => refusal.response(),
    }
}

pub(super) fn exchange(idp: &Idp, uri: &Uri, headers: &HeaderMap, form: &Fields) -> Result<Value, Refusal> {
    credential::check(idp, uri, headers, form)?;
    // RFC 8707 is not spoken here.
    if form.contains_key("resource") {
        return Err(refusal("invalid_request", 901_002, "The 'resource' request parameter is not supported."));
    }
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let mut issued = match field("grant_type") {
        "authorization_code" => redeemed(idp, field("code"), field("code_verifier"), field("redirect_uri"))?,
        // An old refresh token goes on working beside the new one.
        // https://learn.microsoft.com/entra/identity-platform/refresh-tokens
        "refresh_token" => renewed(idp, field("refresh_token"))?,
        "client_credentials" => return tokens::about_itself(idp, uri, field("scope")),
        on_behalf::GRANT => return on_behalf::exchanged(idp, form),
        _ => return Err(refusal("unsupported_grant_type", 70_003, "The grant type is not supported.")),
    };
    if issued.person.elsewhere && uri.path().starts_with(&format!("/{TENANT}/")) {
        return Err(refusal("invalid_grant", 50_020, "The user account does not exist in this tenant."));
    }
    if issued.person.second_factor && !issued.stepped_up {
        let text = "You must use multi-factor authentication to access this resource.";
        return Err(Refusal { claims: Some(CHALLENGE), ..refusal("interaction_required", 50_076, text) });
    }
    if let Some(scope) = form.get("scope").filter(|scope| !scope.is_empty()) {
        issued.scope.clone_from(scope);
    }
    if tokens::resource(idp, &issued.scope).is_err() {
        return Err(refusal("invalid_scope", 70_011, "The scopes are for more than one resource."));
    }
    tokens::of(idp, issued)
}

fn redeemed(idp: &Idp, code: &str, verifier: &str, redirect_uri: &str) -> Result<Issued, Refusal> {
    let issued = lock(&idp.codes).take(code);
    let issued = issued.ok_or(refusal("invalid_grant", 9_002_313, "The code is not known or was redeemed."))?;
    if issued.at.elapsed() >= CODE_LIFETIME {
        return Err(refusal("invalid_grant", 70_008, "The code has expired."));
    }
    if redirect_uri != issued.redirect_uri {
        return Err(refusal("invalid_grant", 50_011, "The redirect_uri is not the one of the authorization request."));
    }
    if URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())) != issued.challenge {
        return Err(refusal("invalid_grant", 501_481, "The code_verifier does not match the code_challenge."));
    }
    Ok(issued)
}

fn renewed(idp: &Idp, token: &str) -> Result<Issued, Refusal> {
    let issued = lock(&idp.long).get_mut(token).cloned();
    let issued = issued.ok_or(refusal("invalid_grant", 9_002_313, "The refresh token is not known."))?;
    if issued.person.disabled {
        return Err(refusal("invalid_grant", 50_057, "The user account is disabled."));
    }
    Ok(Issued { nonce: None, ..issued })
}

#[cfg(test)]
pub(super) mod tests;
