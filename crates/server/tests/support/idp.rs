//! An OpenID provider that signs in without a question, as one with a live session and a remembered consent does — and that misbehaves
//! on purpose when told to.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Router;
use axum::extract::{RawForm, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_protocol::secret::sha256;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::clock::TestClock;

pub const CLIENT_ID: &str = "deputy-at-idp";
pub const CLIENT_SECRET: &str = "the one static secret";

/// Changes an ID token's claims just before it is signed.
pub type Edit<T> = Arc<dyn Fn(&mut T) + Send + Sync>;

/// How to misbehave.
#[derive(Clone, Default)]
pub struct Faults {
    /// Edits the claims.
    pub claims: Option<Edit<Value>>,
    /// Replaces the whole signed token.
    pub id_token: Option<Edit<String>>,
    /// Answers the token request like this instead.
    pub token: Option<(u16, String)>,
    /// Adds this to the redirect, or replaces what is there.
    pub redirect: Vec<(&'static str, Option<String>)>,
    /// Takes a code with any verifier.
    pub ignores_pkce: bool,
    /// Edits the discovery document.
    pub discovery: Option<Edit<Value>>,
    /// How to answer a refresh request.
    pub refresh: Option<OnRefresh>,
    /// Takes any client assertion instead of the secret.
    pub takes_assertions: bool,
    /// Edits the key set.
    pub keys: Option<Edit<Value>>,
    /// How to refuse a token on behalf of somebody.
    pub on_behalf: Option<(u16, Value)>,
    /// How Microsoft Graph answers which of the groups that it is asked about somebody is in; it is not there without.
    pub graph: Option<(u16, Value)>,
}

/// How to answer a refresh request otherwise than by new tokens for an old one. Who is in them, `Faults::claims` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefresh {
    /// Take it and say nothing.
    Hang,
    /// This status and no tokens; the token stays good.
    Status(u16),
    /// Rotate, and cut the connection instead of answering.
    Cut,
    /// Keep the old refresh token and send none.
    NoRotation,
    /// Send no ID token.
    NoIdToken,
}

#[derive(Clone)]
struct Issued {
    nonce: Option<String>,
    challenge: String,
    redirect_uri: String,
    person: String,
}

struct Key {
    kid: String,
    pkcs8: Vec<u8>,
    jwk: Value,
}

pub struct Idp {
    pub issuer: String,
    pub faults: Mutex<Faults>,
    /// Whom it signs in.
    pub person: Mutex<String>,
    pub authorizations: AtomicUsize,
    pub exchanges: AtomicUsize,
    pub key_requests: AtomicUsize,
    /// The form of every token request.
    pub forms: Mutex<Vec<HashMap<String, String>>>,
    /// What Microsoft Graph was asked, with which credentials.
    pub graph: Mutex<Vec<(String, Value)>>,
    /// The query of every authorization request.
    pub asked: Mutex<Vec<HashMap<String, String>>>,
    key: Mutex<Key>,
    codes: Mutex<HashMap<String, Issued>>,
    /// The refresh tokens that are good, and whose they are.
    renewable: Mutex<HashMap<String, String>>,
    disabled: Mutex<HashSet<String>>,
    refreshes: Mutex<HashMap<String, usize>>,
    clock: Arc<TestClock>,
}

fn new_key(kid: &str) -> Key {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).expect("a key");
    let point = pair.public_key().as_ref().to_vec();
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
    });
    Key { kid: kid.to_owned(), pkcs8: pkcs8.as_ref().to_vec(), jwk }
}

impl Idp {
    pub async fn start(clock: Arc<TestClock>) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let idp = Arc::new(Self {
            issuer,
            faults: Mutex::default(),
            person: Mutex::new("alice".to_owned()),
            authorizations: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            key_requests: AtomicUsize::new(0),
            forms: Mutex::default(),
            graph: Mutex::default(),
            asked: Mutex::default(),
            key: Mutex::new(new_key("first")),
            codes: Mutex::default(),
            renewable: Mutex::default(),
            disabled: Mutex::default(),
            refreshes: Mutex::default(),
            clock,
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            // As Entra has it: the tenant stands in front.
            .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/v1.0/me/checkMemberGroups", post(member_groups))
            .with_state(Arc::clone(&idp));
        tokio::spawn(async move { axum::serve(listener, router).await });
        idp
    }

    pub fn misbehave(&self, faults: Faults) {
        *self.faults.lock().expect("a lock") = faults;
    }

    pub fn rotate_key(&self) {
        *self.key.lock().expect("a lock") = new_key("second");
    }

    pub fn authorizations(&self) -> usize {
        self.authorizations.load(Ordering::SeqCst)
    }

    pub fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }

    /// How often each refresh token arrived.
    pub fn refreshes(&self) -> HashMap<String, usize> {
        self.refreshes.lock().expect("a lock").clone()
    }

    /// Takes a person's account away.
    pub fn disable(&self, person: &str) {
        self.disabled.lock().expect("a lock").insert(person.to_owned());
    }

    fn new_refresh_token(&self, person: &str) -> String {
        let random = URL_SAFE_NO_PAD.encode(deputy_server::random::bytes::<16>().expect("random"));
        let token = format!("IDP-REFRESH-CANARY-{random}");
        self.renewable.lock().expect("a lock").insert(token.clone(), person.to_owned());
        token
    }

    /// An ID token about `person`, now.
    fn id_token(&self, person: &str, nonce: Option<&str>, faults: &Faults) -> String {
        let now = self.clock.seconds();
        let mut claims = json!({
            "iss": self.issuer, "sub": person, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce,
            "email": format!("{person}@corp.test"), "email_verified": true, "name": person,
        });
        if let Some(edit) = &faults.claims {
            edit(&mut claims);
        }
        let mut id_token = self.sign(&claims);
        if let Some(edit) = &faults.id_token {
            edit(&mut id_token);
        }
        id_token
    }

    /// The public key, for those who would sign with it.
    pub fn public_key(&self) -> Value {
        self.key.lock().expect("a lock").jwk.clone()
    }

    /// Signs a token's claims again, under another header.
    pub fn resign(&self, header: &Value, token: &str) -> String {
        let key = self.key.lock().expect("a lock");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.pkcs8).expect("a key");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), token.split('.').nth(1).expect("claims"));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn sign(&self, claims: &Value) -> String {
        let key = self.key.lock().expect("a lock");
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&key.pkcs8)).expect("signed")
    }
}

async fn discovery(State(idp): State<Arc<Idp>>) -> Response {
    let at = |path: &str| format!("{}{path}", idp.issuer);
    let mut document = json!({
        "issuer": idp.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"), "jwks_uri": at("/keys"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    });
    if let Some(edit) = idp.faults.lock().expect("a lock").discovery.clone() {
        edit(&mut document);
    }
    answer(200, &document)
}

async fn keys(State(idp): State<Arc<Idp>>) -> Response {
    idp.key_requests.fetch_add(1, Ordering::SeqCst);
    let mut document = json!({ "keys": [idp.public_key()] });
    if let Some(edit) = idp.faults.lock().expect("a lock").keys.clone() {
        edit(&mut document);
    }
    answer(200, &document)
}

fn pairs(encoded: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

async fn authorize(State(idp): State<Arc<Idp>>, RawQuery(query): RawQuery) -> Response {
    idp.authorizations.fetch_add(1, Ordering::SeqCst);
    let asked = pairs(query.unwrap_or_default().as_bytes());
    idp.asked.lock().expect("a lock").push(asked.clone());
    if asked.get("client_id").map(String::as_str) != Some(CLIENT_ID)
        || asked.get("code_challenge_method").map(String::as_str) != Some("S256")
    {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let code = URL_SAFE_NO_PAD.encode(deputy_server::random::bytes::<16>().expect("random"));
    let issued = Issued {
        nonce: asked.get("nonce").cloned(),
        challenge: asked["code_challenge"].clone(),
        redirect_uri: asked["redirect_uri"].clone(),
        person: idp.person.lock().expect("a lock").clone(),
    };
    idp.codes.lock().expect("a lock").insert(code.clone(), issued);
    let mut answer = vec![("code", code), ("state", asked["state"].clone())];
    for (name, value) in idp.faults.lock().expect("a lock").redirect.clone() {
        answer.retain(|(known, _)| *known != name);
        answer.extend(value.map(|value| (name, value)));
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(answer).finish();
    Redirect::to(&format!("{}?{query}", asked["redirect_uri"])).into_response()
}

async fn token(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawForm(body): RawForm) -> Response {
    let form = pairs(&body);
    let faults = idp.faults.lock().expect("a lock").clone();
    let renewed = (form.get("grant_type").map(String::as_str) == Some("refresh_token")).then(|| form["refresh_token"].clone());
    match &renewed {
        Some(token) => *idp.refreshes.lock().expect("a lock").entry(token.clone()).or_default() += 1,
        None if form.contains_key("assertion") => {}
        None => _ = idp.exchanges.fetch_add(1, Ordering::SeqCst),
    }
    if let Some((status, body)) = faults.token {
        return (StatusCode::from_u16(status).expect("a status"), body).into_response();
    }
    let secret: String = form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect();
    let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{secret}")));
    idp.forms.lock().expect("a lock").push(form.clone());
    let asserted = faults.takes_assertions && form.contains_key("client_assertion");
    if !asserted && headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) != Some(expected.as_str()) {
        return refuse("invalid_client");
    }
    match renewed {
        _ if form.get("grant_type").map(String::as_str) == Some(JWT_BEARER) => on_behalf(&idp, &form, &faults),
        Some(token) => refresh(&idp, &token, &form, &faults).await,
        None => exchange(&idp, &form, &faults),
    }
}

fn exchange(idp: &Idp, form: &HashMap<String, String>, faults: &Faults) -> Response {
    let Some(issued) = form.get("code").and_then(|code| idp.codes.lock().expect("a lock").remove(code)) else {
        return refuse("invalid_grant");
    };
    let verifier = form.get("code_verifier").cloned().unwrap_or_default();
    if (URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())) != issued.challenge && !faults.ignores_pkce)
        || form.get("redirect_uri") != Some(&issued.redirect_uri)
    {
        return refuse("invalid_grant");
    }
    let id_token = idp.id_token(&issued.person, issued.nonce.as_deref(), faults);
    let refresh_token = idp.new_refresh_token(&issued.person);
    answer(
        200,
        &json!({
            "access_token": "IDP-ACCESS-CANARY", "token_type": "Bearer", "expires_in": 3600, "refresh_token": refresh_token,
            "id_token": id_token,
        }),
    )
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// As Entra does it: the person's token for us against one for an API, as often as one likes.
fn on_behalf(idp: &Idp, form: &HashMap<String, String>, faults: &Faults) -> Response {
    if let Some((status, error)) = &faults.on_behalf {
        return answer(*status, error);
    }
    let (assertion, scope) = (&form["assertion"], &form["scope"]);
    assert_eq!(form["requested_token_use"], "on_behalf_of");
    if !assertion.starts_with("IDP-ACCESS-CANARY") {
        return refuse("invalid_grant");
    }
    let count = idp.forms.lock().expect("a lock").iter().filter(|form| form.contains_key("assertion")).count();
    answer(200, &json!({ "access_token": format!("API-CANARY-{count}-{scope}"), "token_type": "Bearer", "expires_in": 3600 }))
}

/// RFC 6749 §6, with rotation: a token is good for one use.
async fn refresh(idp: &Idp, token: &str, form: &HashMap<String, String>, faults: &Faults) -> Response {
    match faults.refresh {
        Some(OnRefresh::Hang) => return std::future::pending().await,
        Some(OnRefresh::Status(status)) => return StatusCode::from_u16(status).expect("a status").into_response(),
        _ if form.len() != 2 && !faults.takes_assertions => return refuse("invalid_request"),
        _ => (),
    }
    let person = idp.renewable.lock().expect("a lock").get(token).cloned();
    let Some(person) = person.filter(|person| !idp.disabled.lock().expect("a lock").contains(person)) else {
        return refuse("invalid_grant");
    };
    let mut tokens = json!({ "access_token": "IDP-ACCESS-CANARY-RENEWED", "token_type": "Bearer", "expires_in": 3600 });
    if faults.refresh != Some(OnRefresh::NoRotation) {
        idp.renewable.lock().expect("a lock").remove(token);
        tokens["refresh_token"] = json!(idp.new_refresh_token(&person));
    }
    if faults.refresh != Some(OnRefresh::NoIdToken) {
        tokens["id_token"] = json!(idp.id_token(&person, None, faults));
    }
    if faults.refresh == Some(OnRefresh::Cut) {
        // Ends the connection's task, without a word on stderr.
        std::panic::resume_unwind(Box::new("cut"));
    }
    answer(200, &tokens)
}

/// <https://learn.microsoft.com/graph/api/user-checkmembergroups>
async fn member_groups(State(idp): State<Arc<Idp>>, headers: HeaderMap, body: String) -> Response {
    let credentials = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    idp.graph.lock().expect("a lock").push((credentials, serde_json::from_str(&body).expect("a question")));
    let (status, said) = idp.faults.lock().expect("a lock").graph.clone().unwrap_or((404, json!({})));
    answer(status, &said)
}

fn refuse(error: &str) -> Response {
    answer(400, &json!({ "error": error }))
}

fn answer(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).expect("a status"), [("content-type", "application/json")], body.to_string()).into_response()
}
