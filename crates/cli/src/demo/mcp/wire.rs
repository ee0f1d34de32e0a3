//! The demo's MCP server as it looks on the wire: versions, answers, streams, refusals.

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::*;

const ANNA: [(&str, &str); 6] = [
    ("x-deputy-subject", "anna"),
    ("x-deputy-email", "anna@example.com"),
    ("x-deputy-name", "Anna%20M%C3%BCller"),
    ("x-deputy-client", "c1"),
    ("x-deputy-client-name", "100%25%20Client"),
    ("x-deputy-scope", "mcp mcp:write"),
];

async fn start() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router()).await });
    url
}

async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: &Value) -> Response<String> {
    let mut request = Request::builder().method(method).uri(url).header("content-type", "application/json");
    request = request.header("accept", "application/json, text/event-stream");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<axum::body::Bytes>::from(body.to_string())).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    Response::from_parts(parts, String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap())
}

/// The messages of an answer, be it JSON or an event stream.
fn messages(answer: &Response<String>) -> Vec<Value> {
    if answer.headers()["content-type"] == "application/json" {
        return vec![serde_json::from_str(answer.body()).unwrap()];
    }
    let data = answer.body().lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    data.filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).unwrap()).collect()
}

async fn ask(url: &str, headers: &[(&str, &str)], method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = send(Method::POST, url, headers, &body).await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.body());
    messages(&answer).pop().unwrap()["result"].take()
}

async fn call(url: &str, headers: &[(&str, &str)], tool: &str, arguments: Value) -> Value {
    ask(url, headers, "tools/call", json!({"name": tool, "arguments": arguments})).await
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn every_version_with_a_handshake_is_agreed_to() {
    let url = start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client});
        let result = ask(&url, &ANNA, "initialize", params).await;
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "deputy-demo");
    }
}

#[tokio::test]
async fn lists_its_tools() {
    let result = ask(&start().await, &ANNA, "tools/list", json!({})).await;
    let names: Vec<_> = result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["count", "echo", "notes_add", "notes_list", "time", "whoami"]);
}

#[tokio::test]
async fn whoami_repeats_what_the_gateway_says() {
    let url = start().await;
    let result = call(&url, &ANNA, "whoami", json!({})).await;
    let said = "You are Anna Müller.\nE-mail: anna@example.com\nSubject: anna\nClient acting for you: 100% Client\nScopes: mcp mcp:write";
    assert_eq!(text(&result), said);
    assert_eq!(result["structuredContent"]["client_id"], "c1");
    assert_eq!(result["structuredContent"]["scopes"], json!(["mcp", "mcp:write"]));
}

#[tokio::test]
async fn whoever_comes_around_the_gateway_is_nobody() {
    let url = start().await;
    let twice = [("x-deputy-subject", "anna"), ("x-deputy-subject", "ben")];
    for headers in [&[][..], &twice, &[("x-deputy-subject", "%ff")]] {
        let result = call(&url, headers, "whoami", json!({})).await;
        assert_eq!(text(&result), NOBODY);
        assert_eq!(result["structuredContent"]["signed_in"], false);
        assert_eq!(call(&url, headers, "notes_list", json!({})).await["isError"], true);
    }
}

#[tokio::test]
async fn serves_2026_07_28_without_a_handshake() {
    let url = start().await;
    let version = "2026-07-28";
    let mut headers = ANNA.to_vec();
    headers.extend([("mcp-protocol-version", version), ("mcp-method", "tools/call"), ("mcp-name", "whoami")]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let result = ask(&url, &headers, "tools/call", json!({"name": "whoami", "arguments": {}, "_meta": meta})).await;
    assert!(text(&result).starts_with("You are Anna Müller."));
}

#[tokio::test]
async fn count_streams_its_progress() {
    let params = json!({"name": "count", "arguments": {"n": 2}, "_meta": {"progressToken": "p"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let answer = send(Method::POST, &start().await, &ANNA, &body).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let messages = messages(&answer);
    let steps: Vec<_> = messages.iter().filter_map(|message| message["params"]["progress"].as_f64()).collect();
    assert_eq!(steps, [1.0, 2.0]);
    assert_eq!(text(&messages.last().unwrap()["result"]), "Counted to 2.");
}

#[tokio::test]
async fn a_person_sees_only_their_own_notes() {
    let (url, ben) = (start().await, [("x-deputy-subject", "ben")]);
    call(&url, &ANNA, "notes_add", json!({"text": "buy tea"})).await;
    assert_eq!(text(&call(&url, &ANNA, "notes_list", json!({})).await), "1. buy tea");
    assert_eq!(text(&call(&url, &ben, "notes_list", json!({})).await), "You have no notes.");
}

#[tokio::test]
async fn pages_in_a_browser_are_refused_and_there_are_no_sessions() {
    let url = start().await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    for header in [("origin", "http://localhost:8000"), ("host", "evil.example")] {
        assert_eq!(send(Method::POST, &url, &[header], &body).await.status(), StatusCode::FORBIDDEN);
    }
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(send(method, &url, &ANNA, &body).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn there_is_room_for_a_hundred_people() {
    let url = start().await;
    for person in 0..MAX_PEOPLE {
        let subject = person.to_string();
        let kept = call(&url, &[("x-deputy-subject", &subject)], "notes_add", json!({"text": "x"})).await;
        assert_eq!(kept["isError"], false);
    }
    assert_eq!(call(&url, &ANNA, "notes_add", json!({"text": "x"})).await["isError"], true);
    let known = [("x-deputy-subject", "0")];
    assert_eq!(call(&url, &known, "notes_add", json!({"text": "y"})).await["isError"], false);
}
