//! What a browser sees: signing in, consenting, going back.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawForm, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::people::{self, PEOPLE, Person};
use super::{Fields, Idp, Issued, Manners, Session, entra, fields, lock, pages};

const FOREIGN_PAGE: &str = "This form was not sent from a page of this provider.";
pub(super) const SESSION_COOKIE: &str = "demo_idp_session";

/// An authorization request of the one application, checked.
pub(super) struct Asked {
    state: String,
    nonce: Option<String>,
    challenge: String,
    scope: String,
    stepped_up: bool,
    /// Google: whether a refresh token is asked for, and whether consent is.
    offline: bool,
    consent: bool,
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
        if idp.entra().is_some() && entra::tokens::resource(idp, &scope).is_err() {
            return Err("AADSTS28000: the scopes are for more than one resource.");
        }
        let google = matches!(idp.manners, Manners::Google);
        Ok(Self {
            state: take("state").unwrap_or_default(),
            nonce: take("nonce"),
            challenge,
            scope,
            stepped_up: query.contains_key("claims"),
            offline: google && is("access_type", "offline"),
            consent: google && is("prompt", "consent"),
        })
    }
}

pub(super) async fn authorize(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    next_step(&idp, session_of(&headers).as_deref(), &query)
}

/// Where a browser with this session goes on: the sign-in page, the consent page, or straight back.
pub(super) fn next_step(idp: &Idp, session: Option<&str>, query: &str) -> Response {
    let asked = match Asked::read(idp, &fields(query.as_bytes())) {
        Ok(asked) => asked,
        Err(text) => return pages::refused(text),
    };
    let known = session.and_then(|key| lock(&idp.sessions).get_mut(key).map(|session| (session.person, session.consented)));
    match known {
        None => sign_in(idp, query),
        Some((person, false)) => pages::consent(&idp.url("/consent"), query, person),
        Some((person, true)) if asked.consent => pages::consent(&idp.url("/consent"), query, person),
        // Google's refresh token comes with consent alone.
        Some((person, true)) => send_back(idp, person, Asked { offline: false, ..asked }),
    }
}

pub(super) fn sign_in(idp: &Idp, query: &str) -> Response {
    let cases = if matches!(idp.manners, Manners::Plain) { &[] } else { people::CASES };
    pages::sign_in(&idp.url("/login"), query, PEOPLE.iter().chain(cases))
}

pub(super) fn send_back(idp: &Idp, person: &'static Person, asked: Asked) -> Response {
    let Asked { state, nonce, challenge, scope, stepped_up, offline, .. } = asked;
    let issued = Issued {
        person,
        nonce,
        challenge,
        redirect_uri: idp.redirect_uri.clone(),
        scope,
        stepped_up,
        offline,
        at: Instant::now(),
    };
    let Some(code) = lock(&idp.codes).keep(issued) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let answer = form_urlencoded::Serializer::new(String::new()).append_pair("code", &code).append_pair("state", &state).finish();
    (StatusCode::SEE_OTHER, [(LOCATION, format!("{}?{answer}", idp.redirect_uri))]).into_response()
}

/// The session cookie. Cookies do not know ports, so its name is not one of the gateway's.
pub(super) fn session_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(SESSION_COOKIE)?.strip_prefix('=').map(str::to_owned))
}

/// Whether a form was sent from a page of this provider. Browsers say so in every POST.
pub(super) fn from_own_page(idp: &Idp, headers: &HeaderMap) -> bool {
    let own = |origin: &str| idp.issuer.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    headers.get(ORIGIN).is_none_or(|origin| origin.to_str().is_ok_and(own))
}

pub(super) async fn login(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
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
pub(super) async fn logout(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
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

pub(super) async fn consent(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    if !from_own_page(&idp, &headers) {
        return pages::refused(FOREIGN_PAGE);
    }
    let form = fields(&form);
    let query = form.get("request").cloned().unwrap_or_default();
    let session = session_of(&headers);
    if form.get("consent").is_none_or(|answer| answer != "yes") {
        return denied(&idp, &query);
    }
    let consents = |session: &mut Session| {
        session.consented = true;
        session.person
    };
    let person = session.as_deref().and_then(|known| lock(&idp.sessions).get_mut(known).map(consents));
    match (person, Asked::read(&idp, &fields(query.as_bytes()))) {
        (Some(person), Ok(asked)) => send_back(&idp, person, asked),
        (None, _) | (_, Err(_)) => next_step(&idp, session.as_deref(), &query),
    }
}

pub(super) fn denied(idp: &Idp, query: &str) -> Response {
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
