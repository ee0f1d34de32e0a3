//! The development identity provider, which the demo uses too, in the manner of Entra ID: one static confidential client, no registration, and a long memory.
//!
//! It signs in whoever is picked from a list, asks once whether the one registered application may know who they are, and remembers both
//! in the browser: the next time it redirects straight back. That memory is what the confused-deputy attack rides on, so that the flaw
//! would show here if the gateway had it.

mod command;
mod entra;
mod memory;
mod pages;
mod people;
mod signing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawForm, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_protocol::secret::{ClientSecret, sha256};
use deputy_server::clock::{Clock as _, SystemClock};
use deputy_server::random;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

pub(crate) use command::{Options, run};
use memory::{Memory, lock};
pub(crate) use people::PEOPLE;
use people::Person;
use signing::SigningKey;

/// The directory's id, as Entra has one.
const TENANT: &str = "7d3f2c1a-0f64-4a8e-9c55-de0c0de0c0de";
/// Our registration there.
pub(crate) const CLIENT_ID: &str = "5f0e7a52-3b1d-4c1e-8a57-0000000demo";
const CODE_LIFETIME: Duration = Duration::from_secs(60);
const FOREIGN_PAGE: &str = "This form was not sent from a page of this provider.";
const SESSION_COOKIE: &str = "demo_idp_session";

/// A browser's session: who is signed in, and whether the application was consented to.
struct Session {
    person: &'static Person,
    consented: bool,
}

/// What a code or a refresh token stands for.
#[derive(Clone)]
struct Issued {
    person: &'static Person,
    nonce: Option<String>,
    challenge: String,
    redirect_uri: String,
    scope: String,
    /// Whether the request brought the `claims` of a challenge.
    stepped_up: bool,
    at: Instant,
}

/// The provider.
pub(crate) struct Idp {
    issuer: String,
    entra: bool,
    client_id: String,
    redirect_uri: String,
    secret: ClientSecret,
    key: SigningKey,
    sessions: Mutex<Memory<Session>>,
    codes: Mutex<Memory<Issued>>,
    refresh: Mutex<Memory<&'static Person>>,
    /// Entra's refresh tokens, with what they are for.
    long: Mutex<Memory<Issued>>,
    access: Mutex<Memory<&'static Person>>,
}

impl Idp {
    /// A provider at `origin` that knows one application, with this redirect URI.
    pub(crate) fn new(origin: &str, redirect_uri: String) -> anyhow::Result<Arc<Self>> {
        let secret = ClientSecret::from_text(URL_SAFE_NO_PAD.encode(random::bytes::<32>()?));
        Ok(Arc::new(Self::with(origin, redirect_uri, CLIENT_ID.to_owned(), secret, false)?))
    }

    fn with(origin: &str, redirect_uri: String, client_id: String, secret: ClientSecret, entra: bool) -> anyhow::Result<Self> {
        Ok(Self {
            issuer: format!("{origin}/{TENANT}/v2.0"),
            entra,
            client_id,
            redirect_uri,
            secret,
            key: SigningKey::new()?,
            sessions: Mutex::new(Memory::default()),
            codes: Mutex::new(Memory::default()),
            refresh: Mutex::new(Memory::default()),
            long: Mutex::new(Memory::default()),
            access: Mutex::new(Memory::default()),
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The application's secret, as an operator would copy it from the console.
    pub(crate) fn secret(&self) -> ClientSecret {
        self.secret.clone()
    }

    /// Everything that it answers.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        let at = |path: &str| format!("/{TENANT}{path}");
        let router = Router::new()
            .route(&at("/v2.0/.well-known/openid-configuration"), get(discovery))
            .route(&at("/discovery/v2.0/keys"), get(keys))
            .route(&at("/oauth2/v2.0/authorize"), get(authorize))
            .route(&at("/oauth2/v2.0/logout"), get(logout))
            .route(&at("/login"), post(login))
            .route(&at("/consent"), post(consent))
            .route(&at("/oauth2/v2.0/token"), if self.entra { post(entra::token) } else { post(token) })
            .route(&at("/userinfo"), get(userinfo));
        let router = if self.entra { entra::more_routes(router) } else { router };
        router.with_state(Arc::clone(self))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.trim_end_matches("/v2.0"))
    }
}

type Fields = HashMap<String, String>;

fn fields(encoded: &[u8]) -> Fields {
    form_urlencoded::parse(encoded).into_owned().collect()
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body.to_string()).into_response()
}

async fn discovery(State(idp): State<Arc<Idp>>) -> Response {
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

async fn keys(State(idp): State<Arc<Idp>>) -> Response {
    json_answer(StatusCode::OK, &json!({ "keys": [idp.key.public()] }))
}

/// An authorization request of the one application, checked.
struct Asked {
    state: String,
    nonce: Option<String>,
    challenge: String,
    scope: String,
    stepped_up: bool,
}

impl Asked {
    /// Reads a request, or says in Entra's manner what is wrong with it. Nothing wrong is ever redirected.
    fn read(idp: &Idp, query: &Fields) -> Result<Self, &'static str> {
        let is = |name: &str, value: &str| query.get(name).is_some_and(|found| found == value);
        if !is("client_id", &idp.client_id) {
            return Err("AADSTS700016: no application with this client_id is registered in the directory.");
        }
        if !is("redirect_uri", &idp.redirect_uri) {
            return Err("AADSTS50011: the redirect_uri is not the one that is registered for the application.");
        }
        if query.contains_key("resource") {
            return Err("AADSTS901002: the parameter 'resource' is not supported.");
        }
        if !is("response_type", "code") || !is("code_challenge_method", "S256") {
            return Err("AADSTS900144: response_type=code and PKCE with S256 are required.");
        }
        let take = |name: &str| query.get(name).cloned().filter(|value| !value.is_empty());
        let challenge = take("code_challenge").ok_or("AADSTS900144: code_challenge is missing.")?;
        let scope = take("scope").unwrap_or_default();
        if idp.entra && entra::resource(&scope).is_err() {
            return Err("AADSTS28000: the scopes are for more than one resource.");
        }
        let stepped_up = query.contains_key("claims");
        Ok(Self { state: take("state").unwrap_or_default(), nonce: take("nonce"), challenge, scope, stepped_up })
    }
}

async fn authorize(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    next_step(&idp, session_of(&headers).as_deref(), &query)
}

/// Where a browser with this session goes on: the sign-in page, the consent page, or straight back.
fn next_step(idp: &Idp, session: Option<&str>, query: &str) -> Response {
    let asked = match Asked::read(idp, &fields(query.as_bytes())) {
        Ok(asked) => asked,
        Err(text) => return pages::refused(text),
    };
    let known = session.and_then(|key| lock(&idp.sessions).get_mut(key).map(|session| (session.person, session.consented)));
    match known {
        None => sign_in(idp, query),
        Some((person, false)) => pages::consent(&idp.url("/consent"), query, person),
        Some((person, true)) => send_back(idp, person, asked),
    }
}

fn sign_in(idp: &Idp, query: &str) -> Response {
    let cases = if idp.entra { people::CASES } else { &[] };
    pages::sign_in(&idp.url("/login"), query, PEOPLE.iter().chain(cases))
}

fn send_back(idp: &Idp, person: &'static Person, asked: Asked) -> Response {
    let Asked { state, nonce, challenge, scope, stepped_up } = asked;
    let issued =
        Issued { person, nonce, challenge, redirect_uri: idp.redirect_uri.clone(), scope, stepped_up, at: Instant::now() };
    let Some(code) = lock(&idp.codes).keep(issued) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let answer = form_urlencoded::Serializer::new(String::new()).append_pair("code", &code).append_pair("state", &state).finish();
    (StatusCode::SEE_OTHER, [(LOCATION, format!("{}?{answer}", idp.redirect_uri))]).into_response()
}

/// The session cookie. Cookies do not know ports, so its name is not one of the gateway's.
fn session_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(SESSION_COOKIE)?.strip_prefix('=').map(str::to_owned))
}

/// Whether a form was sent from a page of this provider. Browsers say so in every POST.
fn from_own_page(idp: &Idp, headers: &HeaderMap) -> bool {
    let own = |origin: &str| idp.issuer.strip_prefix(origin).is_some_and(|rest| rest.starts_with('/'));
    headers.get(ORIGIN).is_none_or(|origin| origin.to_str().is_ok_and(own))
}

async fn login(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    if !from_own_page(&idp, &headers) {
        return pages::refused(FOREIGN_PAGE);
    }
    let form = fields(&form);
    let query = form.get("request").cloned().unwrap_or_default();
    let Some(person) = form.get("person").and_then(|id| people::find(id)) else {
        return sign_in(&idp, &query);
    };
    let Some(key) = lock(&idp.sessions).keep(Session { person, consented: false }) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = next_step(&idp, Some(&key), &query);
    if let Ok(cookie) = HeaderValue::from_str(&format!("{SESSION_COOKIE}={key}; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400")) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Forgets who is signed in, so that somebody else can be picked.
async fn logout(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    if let Some(session) = session_of(&headers) {
        lock(&idp.sessions).take(&session);
    }
    let mut response = pages::signed_out();
    let gone = format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    if let Ok(cookie) = HeaderValue::from_str(&gone) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

async fn consent(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    if !from_own_page(&idp, &headers) {
        return pages::refused(FOREIGN_PAGE);
    }
    let form = fields(&form);
    let query = form.get("request").cloned().unwrap_or_default();
    let session = session_of(&headers);
    if form.get("consent").is_none_or(|answer| answer != "yes") {
        return denied(&idp, &query);
    }
    if let Some(known) = session.as_deref()
        && let Some(session) = lock(&idp.sessions).get_mut(known)
    {
        session.consented = true;
    }
    next_step(&idp, session.as_deref(), &query)
}

fn denied(idp: &Idp, query: &str) -> Response {
    match Asked::read(idp, &fields(query.as_bytes())) {
        Err(text) => pages::refused(text),
        Ok(asked) => {
            let answer = form_urlencoded::Serializer::new(String::new())
                .append_pair("error", "access_denied")
                .append_pair("state", &asked.state)
                .finish();
            (StatusCode::SEE_OTHER, [(LOCATION, format!("{}?{answer}", idp.redirect_uri))]).into_response()
        }
    }
}

async fn token(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    let form = fields(&form);
    match exchange(&idp, &headers, &form) {
        Ok(body) => json_answer(StatusCode::OK, &body),
        Err((status, error)) => {
            json_answer(status, &json!({ "error": error, "error_description": "AADSTS: the demo provider refused this." }))
        }
    }
}

type Refusal = (StatusCode, &'static str);

fn exchange(idp: &Idp, headers: &HeaderMap, form: &Fields) -> Result<Value, Refusal> {
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

fn claims(idp: &Idp, person: &Person, nonce: Option<String>) -> Value {
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

/// The one client, by header or by form (RFC 6749 §2.3.1). Id and secret have no character that form encoding changes.
fn is_the_application(idp: &Idp, headers: &HeaderMap, form: &Fields) -> bool {
    let by_header = headers
        .get(AUTHORIZATION)
        .and_then(|value| STANDARD.decode(value.to_str().ok()?.strip_prefix("Basic ")?).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned())));
    let by_form = form.get("client_id").cloned().zip(form.get("client_secret").cloned());
    by_header.or(by_form).is_some_and(|(id, secret)| id == idp.client_id && ClientSecret::from_text(secret).matches(&idp.secret))
}

async fn userinfo(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned));
    let person = token.and_then(|token| lock(&idp.access).get_mut(&token).copied());
    match person {
        Some(person) => json_answer(StatusCode::OK, &Value::Object(person.claims())),
        None => json_answer(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" })),
    }
}

#[cfg(test)]
mod tests;
