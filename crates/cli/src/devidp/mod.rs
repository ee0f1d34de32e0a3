//! The development identity provider, which the demo uses too, in the manner of Entra ID: one static confidential client, no registration, and a long memory.
//!
//! It signs in whoever is picked from a list, asks once whether the one registered application may know who they are, and remembers both
//! in the browser: the next time it redirects straight back. That memory is what the confused-deputy attack rides on, so that the flaw
//! would show here if the gateway had it.

mod browser;
mod command;
mod entra;
mod github;
mod google;
mod memory;
mod pages;
mod people;
mod plain;
mod signing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_protocol::secret::ClientSecret;
use deputy_server::random;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use browser::{authorize, consent, login, logout};
pub(crate) use command::{Options, run};
use memory::{Memory, lock};
pub(crate) use people::PEOPLE;
use people::Person;
use plain::{discovery, token};
use signing::SigningKey;

/// The directory's id, as Entra has one.
const TENANT: &str = "7d3f2c1a-0f64-4a8e-9c55-de0c0de0c0de";
/// Our registration there.
pub(crate) const CLIENT_ID: &str = "5f0e7a52-3b1d-4c1e-8a57-0000000demo";
const CODE_LIFETIME: Duration = Duration::from_secs(60);

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
    /// Google: whether a refresh token comes with it.
    offline: bool,
    at: Instant,
}

/// Whose manners the provider has.
pub(crate) enum Manners {
    /// Those of a plain OpenID provider.
    Plain,
    /// Those of Entra.
    Entra(Box<entra::Registration>),
    /// Those of Google.
    Google,
    /// Those of GitHub.
    GitHub {
        /// Whether it is a GitHub App, whose tokens end.
        app: bool,
    },
}

impl Issued {
    /// Something for this person, and nothing more.
    fn about(person: &'static Person) -> Self {
        let none = String::new;
        Self {
            person,
            nonce: None,
            challenge: none(),
            redirect_uri: none(),
            scope: none(),
            stepped_up: false,
            offline: false,
            at: Instant::now(),
        }
    }
}

/// The provider.
pub(crate) struct Idp {
    issuer: String,
    manners: Manners,
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
        Ok(Arc::new(Self::with(origin, redirect_uri, CLIENT_ID.to_owned(), secret, Manners::Plain)?))
    }

    fn with(
        origin: &str,
        redirect_uri: String,
        client_id: String,
        secret: ClientSecret,
        manners: Manners,
    ) -> anyhow::Result<Self> {
        let (key, issuer) = match manners {
            Manners::Plain => (SigningKey::es256(), format!("{origin}/{TENANT}/v2.0")),
            Manners::Entra(_) => (SigningKey::rs256(), format!("{origin}/{TENANT}/v2.0")),
            Manners::Google | Manners::GitHub { .. } => (SigningKey::rs256(), origin.to_owned()),
        };
        Ok(Self {
            issuer,
            manners,
            client_id,
            redirect_uri,
            secret,
            key: key?,
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
        let at = |path: &str| self.path(path);
        let router = Router::new()
            .route(&at("/oauth2/v2.0/authorize"), get(authorize))
            .route(&at("/oauth2/v2.0/logout"), get(logout))
            .route(&at("/login"), post(login))
            .route(&at("/consent"), post(consent))
            .route(&at("/userinfo"), get(userinfo));
        let router = match self.manners {
            Manners::Entra(_) => entra::more_routes(router),
            Manners::Google => google::routes(router),
            Manners::GitHub { .. } => github::routes(router),
            Manners::Plain => router
                .route(&at("/v2.0/.well-known/openid-configuration"), get(discovery))
                .route(&at("/discovery/v2.0/keys"), get(keys))
                .route(&at("/oauth2/v2.0/token"), post(token)),
        };
        router.with_state(Arc::clone(self))
    }

    /// The application's registration, at Entra.
    fn entra(&self) -> Option<&entra::Registration> {
        match &self.manners {
            Manners::Entra(registration) => Some(registration),
            Manners::Plain | Manners::Google | Manners::GitHub { .. } => None,
        }
    }

    /// Where a page of its own lies: below the tenant, where there is one.
    fn path(&self, path: &str) -> String {
        match self.manners {
            Manners::Plain | Manners::Entra(_) => format!("/{TENANT}{path}"),
            Manners::Google | Manners::GitHub { .. } => path.to_owned(),
        }
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

async fn keys(State(idp): State<Arc<Idp>>) -> Response {
    json_answer(StatusCode::OK, &json!({ "keys": [idp.key.public()] }))
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
#[cfg(test)]
mod whole;
