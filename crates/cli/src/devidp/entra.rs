//! What Entra ID does differently from a plain OpenID provider, as far as its applications can see it.
//!
//! Not emulated: RS256 (this provider signs with ES256), certificates and federated credentials, on-behalf-of, access tokens of version 1.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawForm, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use deputy_server::clock::{Clock as _, SystemClock};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::people::Person;
use super::{CODE_LIFETIME, Fields, Idp, Issued, TENANT, authorize, fields, is_the_application, json_answer, keys, lock};

/// The directory that only some people are in.
const OTHER_TENANT: &str = "0e4d1b2c-55aa-4c3f-8f11-07e407e407e4";
/// The addresses for people of any tenant.
/// <https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc>
const ANY_TENANT: [&str; 2] = ["organizations", "common"];
/// Groups that a JWT has room for.
/// <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>
const MOST_GROUPS: usize = 200;
const GRAPH: &str = "https://graph.microsoft.com";

/// Addresses that a plain provider does not have.
pub(super) fn more_routes(mut router: Router<Arc<Idp>>) -> Router<Arc<Idp>> {
    for tenant in ANY_TENANT {
        router = router
            .route(&format!("/{tenant}/v2.0/.well-known/openid-configuration"), get(any_tenant))
            .route(&format!("/{tenant}/discovery/v2.0/keys"), get(keys))
            .route(&format!("/{tenant}/oauth2/v2.0/authorize"), get(authorize))
            .route(&format!("/{tenant}/oauth2/v2.0/token"), post(token));
    }
    router.route("/v1.0/me/getMemberObjects", post(member_objects))
}

/// The metadata for people of any tenant: the issuer is a pattern, to be filled with the token's `tid`.
/// <https://learn.microsoft.com/entra/identity-platform/access-tokens#multitenant-applications>
async fn any_tenant(State(idp): State<Arc<Idp>>, uri: Uri) -> Response {
    let tenant = uri.path().split('/').nth(1).unwrap_or_default();
    let origin = origin(&idp);
    let at = |path: &str| format!("{origin}/{tenant}{path}");
    json_answer(
        StatusCode::OK,
        &json!({
            "issuer": format!("{origin}/{{tenantid}}/v2.0"),
            "authorization_endpoint": at("/oauth2/v2.0/authorize"),
            "token_endpoint": at("/oauth2/v2.0/token"),
            "jwks_uri": at("/discovery/v2.0/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
        }),
    )
}

fn origin(idp: &Idp) -> &str {
    idp.issuer.strip_suffix(&format!("/{TENANT}/v2.0")).unwrap_or_default()
}

/// The one resource that the scopes are for: what stands before the last slash; Graph where nothing does.
/// <https://learn.microsoft.com/entra/identity-platform/scopes-oidc>
pub(super) fn resource(scope: &str) -> Result<&str, ()> {
    const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];
    let mut resources =
        scope.split(' ').filter(|name| !name.is_empty() && !OPENID.contains(name)).map(|name| match name.rsplit_once('/') {
            Some((resource, _)) => resource,
            None => GRAPH,
        });
    let first = resources.next().unwrap_or(GRAPH);
    if resources.all(|other| other == first) { Ok(first) } else { Err(()) }
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
    if !is_the_application(idp, headers, form) {
        return Err(refusal("invalid_client", 7_000_215, "Invalid client secret provided."));
    }
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
        "client_credentials" => return about_itself(idp, uri, field("scope")),
        _ => return Err(refusal("unsupported_grant_type", 70_003, "The grant type is not supported.")),
    };
    if issued.person.elsewhere && uri.path().starts_with(&format!("/{TENANT}/")) {
        return Err(refusal("invalid_grant", 50_020, "The user account does not exist in this tenant."));
    }
    if issued.person.second_factor && !issued.stepped_up {
        let claims =
            Some(r#"{"access_token":{"capolids":{"essential":true,"values":["00000000-0000-4000-8000-0000000000ca"]}}}"#);
        let text = "You must use multi-factor authentication to access this resource.";
        return Err(Refusal { claims, ..refusal("interaction_required", 50_076, text) });
    }
    if let Some(scope) = form.get("scope").filter(|scope| !scope.is_empty()) {
        issued.scope.clone_from(scope);
    }
    if resource(&issued.scope).is_err() {
        return Err(refusal("invalid_scope", 70_011, "The scopes are for more than one resource."));
    }
    tokens(idp, issued)
}

/// A token about the application itself, for one API by its `.default`.
/// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
fn about_itself(idp: &Idp, uri: &Uri, scope: &str) -> Result<Value, Refusal> {
    if !uri.path().starts_with(&format!("/{TENANT}/")) {
        return Err(refusal("invalid_request", 50_194, "Use a tenant-specific endpoint for this grant."));
    }
    let Some(api) = scope.strip_suffix("/.default") else {
        return Err(refusal("invalid_scope", 70_011, "The scope of this grant is one API's .default."));
    };
    let now = SystemClock.now().seconds();
    let claims = json!({
        "iss": format!("{}/{TENANT}/v2.0", origin(idp)), "tid": TENANT, "aud": api.strip_prefix("api://").unwrap_or(api), "azp": idp.client_id, "ver": "2.0",
        "iat": now, "nbf": now, "exp": now + 3600,
    });
    let access = idp.key.sign(&claims).map_err(|_| refusal("server_error", 90_033, "A transient error has occurred."))?;
    Ok(json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": access }))
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

fn tokens(idp: &Idp, issued: Issued) -> Result<Value, Refusal> {
    const FAILED: Refusal = refusal("server_error", 90_033, "A transient error has occurred.");
    let has = |name: &str| issued.scope.split(' ').any(|scope| scope == name);
    let (openid, offline) = (has("openid"), has("offline_access"));
    // Graph's tokens are nobody's to read but Graph's.
    // https://learn.microsoft.com/entra/identity-platform/access-tokens
    let access = match resource(&issued.scope) {
        Ok(GRAPH) | Err(()) => lock(&idp.access).keep(issued.person).ok_or(FAILED)?,
        Ok(api) => idp.key.sign(&access_claims(idp, &issued, api)).map_err(|_| FAILED)?,
    };
    let mut body = json!({ "token_type": "Bearer", "scope": issued.scope, "expires_in": 3600, "access_token": access });
    let Some(answer) = body.as_object_mut() else { return Err(FAILED) };
    if openid {
        let id_token = idp.key.sign(&id_claims(idp, &issued)).map_err(|_| FAILED)?;
        answer.insert("id_token".to_owned(), json!(id_token));
    }
    if offline {
        answer.insert("refresh_token".to_owned(), json!(lock(&idp.long).keep(issued).ok_or(FAILED)?));
    }
    Ok(body)
}

/// What every token of version 2 says.
fn common_claims(idp: &Idp, person: &Person) -> Map<String, Value> {
    let (now, tenant) = (SystemClock.now().seconds(), if person.elsewhere { OTHER_TENANT } else { TENANT });
    let claims = [
        ("iss", json!(format!("{}/{tenant}/v2.0", origin(idp)))),
        ("tid", json!(tenant)),
        ("oid", json!(person.object)),
        // https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference: sub is made for each application.
        ("sub", json!(URL_SAFE_NO_PAD.encode(sha256(format!("{} {}", idp.client_id, person.object).as_bytes())))),
        ("ver", json!("2.0")),
        ("iat", json!(now)),
        ("nbf", json!(now)),
        ("exp", json!(now + 3600)),
        ("name", json!(person.name)),
        ("preferred_username", json!(person.email)),
    ];
    claims.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>
pub(super) fn id_claims(idp: &Idp, issued: &Issued) -> Value {
    let person = issued.person;
    let mut claims = common_claims(idp, person);
    let mut say = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    say("aud", json!(idp.client_id));
    if let Some(nonce) = &issued.nonce {
        say("nonce", json!(nonce));
    }
    if issued.scope.split(' ').any(|scope| scope == "email") {
        say("email", json!(person.email));
        say("xms_edov", json!(true));
    }
    if !person.roles.is_empty() {
        say("roles", json!(person.roles));
    }
    let groups = groups(person);
    if groups.len() > MOST_GROUPS {
        // Overage: Entra names a Graph that is gone; applications ask /me/getMemberObjects instead.
        let endpoint = format!("https://graph.windows.net/{TENANT}/users/{}/getMemberObjects", person.object);
        say("_claim_names", json!({ "groups": "src1" }));
        say("_claim_sources", json!({ "src1": { "endpoint": endpoint } }));
    } else if !groups.is_empty() {
        say("groups", json!(groups));
    }
    Value::Object(claims)
}

/// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>
fn access_claims(idp: &Idp, issued: &Issued, api: &str) -> Value {
    let mut claims = common_claims(idp, issued.person);
    let scopes = issued.scope.split(' ').filter_map(|scope| scope.strip_prefix(api)?.strip_prefix('/'));
    let scopes: Vec<&str> = scopes.collect();
    claims.insert("aud".to_owned(), json!(api.strip_prefix("api://").unwrap_or(api)));
    claims.insert("azp".to_owned(), json!(idp.client_id));
    claims.insert("scp".to_owned(), json!(scopes.join(" ")));
    Value::Object(claims)
}

/// Groups are told by their ids.
fn groups(person: &Person) -> Vec<String> {
    let named = person.groups.iter().map(|name| (*name).to_owned());
    let more = (0..person.more_groups).map(|number| format!("Group {number}"));
    named.chain(more).map(|name| guid(&name)).collect()
}

fn guid(name: &str) -> String {
    let hex: String = sha256(name.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32))
}

/// All groups of the person whose token it is.
/// <https://learn.microsoft.com/graph/api/directoryobject-getmemberobjects>
async fn member_objects(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match token.and_then(|token| lock(&idp.access).get_mut(token).copied()) {
        Some(person) => json_answer(StatusCode::OK, &json!({ "value": groups(person) })),
        None => json_answer(StatusCode::UNAUTHORIZED, &json!({ "error": { "code": "InvalidAuthenticationToken" } })),
    }
}

#[cfg(test)]
mod tests;
