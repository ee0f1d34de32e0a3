//! GitHub, which is not OpenID: an OAuth app, or a GitHub App whose tokens end.
//! <https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>,
//! <https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens>

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawForm, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::people::Person;
use super::{CODE_LIFETIME, Fields, Idp, Manners, authorize, fields, is_the_application, json_answer, lock};

/// The organisation of whoever is in a group.
const ORGANISATION: &str = "demo";

pub(super) fn routes(router: Router<Arc<Idp>>) -> Router<Arc<Idp>> {
    router
        .route("/login/oauth/authorize", get(authorize))
        .route("/login/oauth/access_token", post(token))
        // As a GitHub Enterprise Server has it.
        .route("/api/v3/user", get(user))
        .route("/api/v3/user/emails", get(emails))
        .route("/api/v3/user/orgs", get(orgs))
        .route("/api/v3/user/teams", get(teams))
}

/// Errors have the status 200, and answers are forms unless JSON is asked for.
/// <https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>
async fn token(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    let body = match exchange(&idp, &headers, &fields(&form)) {
        Ok(body) => body,
        Err(error) => {
            json!({ "error": error, "error_description": "See the documentation.", "error_uri": "https://docs.github.com" })
        }
    };
    let wants_json = headers.get(ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("json")));
    if wants_json {
        return json_answer(StatusCode::OK, &body);
    }
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    for (name, value) in body.as_object().into_iter().flatten() {
        encoded.append_pair(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
    }
    ([(CONTENT_TYPE, "application/x-www-form-urlencoded")], encoded.finish()).into_response()
}

pub(super) fn exchange(idp: &Idp, headers: &HeaderMap, form: &Fields) -> Result<Value, &'static str> {
    if !is_the_application(idp, headers, form) {
        return Err("incorrect_client_credentials");
    }
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let person = match field("grant_type") {
        // It works once.
        "refresh_token" => lock(&idp.refresh).take(field("refresh_token")).ok_or("bad_refresh_token")?,
        _ => {
            let issued = lock(&idp.codes).take(field("code")).ok_or("bad_verification_code")?;
            if issued.at.elapsed() >= CODE_LIFETIME
                || URL_SAFE_NO_PAD.encode(sha256(field("code_verifier").as_bytes())) != issued.challenge
            {
                return Err("bad_verification_code");
            }
            if field("redirect_uri") != issued.redirect_uri {
                return Err("redirect_uri_mismatch");
            }
            issued.person
        }
    };
    let access = lock(&idp.access).keep(person).ok_or("server_error")?;
    if !matches!(idp.manners, Manners::GitHub { app: true }) {
        return Ok(json!({ "access_token": access, "scope": "read:user,user:email,read:org", "token_type": "bearer" }));
    }
    let refresh = lock(&idp.refresh).keep(person).ok_or("server_error")?;
    Ok(json!({
        "access_token": access, "expires_in": 28_800, "refresh_token": refresh, "refresh_token_expires_in": 15_897_600, "scope": "", "token_type": "bearer",
    }))
}

fn whose(idp: &Idp, headers: &HeaderMap) -> Option<&'static Person> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    token.and_then(|token| lock(&idp.access).get_mut(token).copied()).filter(|person| !person.disabled)
}

async fn user(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    told(&idp, &headers, |person| json!({ "login": person.id, "id": person.number(), "name": person.name, "type": "User" }))
}

async fn emails(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    told(&idp, &headers, |person| {
        let private = format!("{}@users.noreply.github.example", person.id);
        json!([
            { "email": private, "primary": false, "verified": true, "visibility": null },
            { "email": person.email, "primary": true, "verified": true, "visibility": "private" },
        ])
    })
}

async fn orgs(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    told(&idp, &headers, |person| if person.groups.is_empty() { json!([]) } else { json!([{ "login": ORGANISATION }]) })
}

async fn teams(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    told(&idp, &headers, |person| {
        let team =
            |name: &&str| json!({ "slug": name.to_lowercase().replace(' ', "-"), "organization": { "login": ORGANISATION } });
        Value::Array(person.groups.iter().map(team).collect())
    })
}

fn told(idp: &Idp, headers: &HeaderMap, say: impl Fn(&Person) -> Value) -> Response {
    match whose(idp, headers) {
        Some(person) => json_answer(StatusCode::OK, &say(person)),
        None => json_answer(StatusCode::UNAUTHORIZED, &json!({ "message": "Bad credentials" })),
    }
}
