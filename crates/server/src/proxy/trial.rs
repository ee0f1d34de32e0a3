//! A first word to an MCP server, as a client of it would say it.

use std::time::Duration;

use bytes::Bytes;
use deputy_protocol::Reason;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use url::Url;

use super::Limits;
use super::forward::Pool;

/// What an MCP server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendTrial {
    /// It speaks MCP, of this version.
    Mcp(String),
    /// It wants credentials of its own (401, 403).
    WantsCredentials(u16),
    /// It answered something else.
    Other(u16),
}

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 256 * 1024;
const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"deputy-check","version":"1"}}}"#;

pub(crate) async fn greet(url: &Url) -> Result<BackendTrial, String> {
    let uri: Uri = url.as_str().parse().map_err(|_| "it is not an http(s) URL".to_owned())?;
    let pool = Pool::to(&uri, &Limits::default()).map_err(|reason: Reason| reason.message().to_owned())?;
    let said = tokio::time::timeout(PATIENCE, say_hello(&pool, &uri)).await;
    said.map_err(|_| format!("it did not answer within {} seconds", PATIENCE.as_secs()))?
}

async fn say_hello(pool: &Pool, uri: &Uri) -> Result<BackendTrial, String> {
    let answer = pool.send(request(Method::POST, uri, None, HELLO)).await.map_err(|error| cause(&error))?;
    let (head, body) = answer.into_parts();
    let status = head.status.as_u16();
    if let 401 | 403 = status {
        return Ok(BackendTrial::WantsCredentials(status));
    }
    let version = if head.status.is_success() { version(body).await } else { None };
    if let Some(session) = head.headers.get("mcp-session-id") {
        // A polite client ends its session; a server that does not know that says so.
        let _ = pool.send(request(Method::DELETE, uri, Some(session), "")).await;
    }
    Ok(version.map_or(BackendTrial::Other(status), BackendTrial::Mcp))
}

fn request(method: Method, uri: &Uri, session: Option<&HeaderValue>, body: &'static str) -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(session) = session {
        headers.insert("mcp-session-id", session.clone());
    }
    let mut request = Request::new(Full::new(Bytes::from_static(body.as_bytes())));
    *request.method_mut() = method;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    request
}

/// The version in an answer to `initialize`: a JSON document, or the first event that is one.
async fn version(body: hyper::body::Incoming) -> Option<String> {
    let mut body = Limited::new(body, ANSWER_MAX);
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            read.extend_from_slice(&data);
        }
        if let Some(version) = version_in(&read) {
            return Some(version);
        }
    }
    None
}

fn version_in(read: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(read).ok()?;
    let documents = std::iter::once(text).chain(text.lines().filter_map(|line| line.strip_prefix("data:")));
    documents.filter_map(|document| serde_json::from_str::<serde_json::Value>(document.trim()).ok()).find_map(|document| {
        let version = document.pointer("/result/protocolVersion")?.as_str()?;
        let plain = version.len() <= 32 && version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        plain.then(|| version.to_owned())
    })
}

fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_json_and_in_events() {
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}"#;
        let events = format!("event: message\nid: 1\ndata: {answer}\n\n");
        for good in [answer.to_owned(), events, format!(": hello\n\ndata:{answer}\n")] {
            assert_eq!(version_in(good.as_bytes()).as_deref(), Some("2025-06-18"), "{good}");
        }
        for bad in ["", "<html>", r#"{"jsonrpc":"2.0","id":1,"error":{}}"#, r#"{"result":{"protocolVersion":"a b\u001b[2J"}}"#] {
            assert_eq!(version_in(bad.as_bytes()), None, "{bad}");
        }
    }
}
