//! An MCP server of a kind: counts requests, remembers the last one's headers, echoes bodies.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

#[derive(Default)]
pub struct Backend {
    requests: AtomicUsize,
    headers: Mutex<HeaderMap>,
    refuses: AtomicBool,
}

impl Backend {
    pub async fn start() -> (Arc<Self>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let backend = Arc::new(Self::default());
        let router = Router::new().fallback(echo).with_state(Arc::clone(&backend));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (backend, url)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Answers 401 from now on, or not.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.headers.lock().expect("a lock");
        headers.get(name).map(|value| value.to_str().expect("ascii").to_owned())
    }
}

async fn echo(State(backend): State<Arc<Backend>>, headers: HeaderMap, body: Bytes) -> Response {
    backend.requests.fetch_add(1, Ordering::SeqCst);
    *backend.headers.lock().expect("a lock") = headers;
    if backend.refuses.load(Ordering::SeqCst) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    ([("content-type", "application/json")], body).into_response()
}
