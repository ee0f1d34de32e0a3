//! An MCP server of a kind: counts requests, remembers the last one's headers, echoes bodies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;

#[derive(Default)]
pub struct Backend {
    requests: AtomicUsize,
    headers: Mutex<HeaderMap>,
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

    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.headers.lock().expect("a lock");
        headers.get(name).map(|value| value.to_str().expect("ascii").to_owned())
    }
}

async fn echo(State(backend): State<Arc<Backend>>, headers: HeaderMap, body: Bytes) -> Response {
    backend.requests.fetch_add(1, Ordering::SeqCst);
    *backend.headers.lock().expect("a lock") = headers;
    ([("content-type", "application/json")], body).into_response()
}
