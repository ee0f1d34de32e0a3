//! A provider that answers each path with what a test says, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;

/// How to answer.
#[derive(Clone, Debug)]
pub enum Reply {
    Json(Value),
    Status(u16),
    Redirect(u16, String),
    /// Takes the request and says nothing.
    Silent,
    /// Begins to answer and stops.
    Stalled,
    /// Ten megabytes.
    Huge,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Sent {
    pub path: String,
    pub authorization: Option<String>,
    pub form: HashMap<String, String>,
}

pub struct Scripted {
    pub origin: String,
    replies: Mutex<HashMap<String, Reply>>,
    sent: watch::Sender<Vec<Sent>>,
}

impl Scripted {
    pub async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let scripted = Arc::new(Self { origin, replies: Mutex::default(), sent: watch::Sender::default() });
        scripted.reply("/.well-known/openid-configuration", Reply::Json(scripted.document()));
        scripted.reply("/keys", Reply::Json(json!({ "keys": [] })));
        scripted.reply("/token", Reply::Json(json!({ "access_token": "a", "token_type": "Bearer", "id_token": "a.b.c" })));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&scripted));
        tokio::spawn(async move { axum::serve(listener, router).await });
        scripted
    }

    /// Good metadata.
    pub fn document(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.origin);
        json!({ "issuer": self.origin, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"), "jwks_uri": at("/keys") })
    }

    /// Answers `path` like this from now on.
    pub fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().expect("a lock").insert(path.to_owned(), reply);
    }

    /// The requests to `path` so far.
    pub fn requests(&self, path: &str) -> Vec<Sent> {
        self.sent.borrow().iter().filter(|sent| sent.path == path).cloned().collect()
    }

    /// Waits until `path` was asked `times` times.
    pub async fn wait_for(&self, path: &str, times: usize) {
        let enough = |sent: &Vec<Sent>| sent.iter().filter(|sent| sent.path == path).count() >= times;
        self.sent.subscribe().wait_for(enough).await.expect("it lives");
    }
}

async fn answer(State(scripted): State<Arc<Scripted>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let authorization = headers.get(AUTHORIZATION).map(|value| value.to_str().expect("ascii").to_owned());
    let form = form_urlencoded::parse(&body).into_owned().collect();
    scripted.sent.send_modify(|sent| sent.push(Sent { path: uri.path().to_owned(), authorization, form }));
    let reply = scripted.replies.lock().expect("a lock").get(uri.path()).cloned();
    let status = |code: u16| StatusCode::from_u16(code).expect("a status");
    match reply {
        Some(Reply::Json(value)) => ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response(),
        Some(Reply::Status(code)) => status(code).into_response(),
        Some(Reply::Redirect(code, to)) => (status(code), [(LOCATION, to)]).into_response(),
        Some(Reply::Silent) => std::future::pending().await,
        Some(Reply::Stalled) => {
            let begun = stream::once(std::future::ready(Ok::<_, std::io::Error>(Bytes::from_static(b"{"))));
            Body::from_stream(begun.chain(stream::pending())).into_response()
        }
        Some(Reply::Huge) => vec![b' '; 10_000_000].into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
