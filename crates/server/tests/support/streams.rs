//! An MCP server whose answers do not end by themselves, and that knows how many of them are still wanted.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use http::Method;
use http::header::CONTENT_TYPE;
use tokio::sync::watch;

/// The body of a POST that is answered when the test is over.
pub const SILENT: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"silent"}}"#;

#[derive(Debug, Default)]
pub struct Streams {
    events: watch::Sender<usize>,
    open: watch::Sender<usize>,
}

/// An answer that goes on. It counts until nobody wants it any more.
struct Open(Arc<Streams>);

impl Open {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.open.send_modify(|open| *open += 1);
        Self(Arc::clone(streams))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Streams {
    pub async fn start() -> (Arc<Self>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let streams = Arc::new(Self::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&streams));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (streams, url)
    }

    /// Sends an event to everybody who listens.
    pub fn say_something(&self) {
        self.events.send_modify(|events| *events += 1);
    }

    /// Waits until so many answers go on.
    pub async fn until_open(&self, count: usize) {
        self.open.subscribe().wait_for(|open| *open == count).await.expect("it lives");
    }
}

/// GET is an event stream, POST a JSON answer that is begun; [`SILENT`] gets not even that.
async fn answer(State(streams): State<Arc<Streams>>, method: Method, body: Bytes) -> Response {
    let open = Open::new(&streams);
    if body == SILENT {
        let _open = open;
        return std::future::pending().await;
    }
    if method == Method::GET {
        let events = stream::unfold((streams.events.subscribe(), open), |(mut events, open)| async move {
            events.changed().await.ok()?;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"data: {}\n\n")), (events, open)))
        });
        let hello = stream::once(std::future::ready(Ok(Bytes::from_static(b": hello\n\n"))));
        return ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(hello.chain(events))).into_response();
    }
    let begun = stream::once(std::future::ready(Ok::<_, Infallible>(Bytes::from_static(b"{"))));
    let rest = stream::unfold(open, |open| async move {
        std::future::pending::<()>().await;
        Some((Ok(Bytes::new()), open))
    });
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(begun.chain(rest))).into_response()
}
