use super::*;
use serde_json::{Value, json};

/// Calls a tool of a fresh server over a socket, as the gateway would for these identity headers.
async fn call(tool: &str, arguments: Value, identity: &[(&str, &str)]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    tokio::spawn(deputy_server::serve(listener, router(), std::future::pending()));
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
    let mut headers = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    headers.extend_from_slice(identity);
    let url = url.parse().expect("a URL");
    let answer = crate::demo::call::post(&url, &headers, message.to_string()).await.expect("an answer");
    let text = answer.pointer("/result/content/0/text").and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn whoami_says_what_the_gateway_says() {
    let identity = [
        ("x-deputy-subject", "u_1"),
        ("x-deputy-name", "Carol%20D%C3%ADaz"),
        ("x-deputy-client-name", "Test"),
        ("x-deputy-scope", "mcp"),
    ];
    let said = call("whoami", json!({}), &identity).await;
    for part in ["Carol Díaz", "u_1", "Test", "mcp"] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn whoami_says_plainly_when_nobody_vouches() {
    assert_eq!(call("whoami", json!({}), &[]).await, NOBODY);
    let twice = [("x-deputy-subject", "u_1"), ("x-deputy-subject", "u_2")];
    assert_eq!(call("whoami", json!({}), &twice).await, NOBODY);
}

#[tokio::test]
async fn the_small_tools_work() {
    assert_eq!(call("echo", json!({"text": "hello"}), &[]).await, "hello");
    assert_eq!(call("count", json!({"n": 1}), &[]).await, "Counted to 1.");
    let now = call("time", json!({}), &[]).await;
    assert!(now.ends_with('Z') && now.len() >= 20, "{now}");
}

#[test]
fn notes_belong_to_one_person_and_are_bounded() {
    let notes = Notes::default();
    for n in 0..MAX_NOTES {
        assert_eq!(notes.add("u_1".to_owned(), "x".to_owned()), Ok(n + 1));
    }
    assert!(notes.add("u_1".to_owned(), "x".to_owned()).is_err());
    assert!(notes.add("u_2".to_owned(), "x".repeat(501)).is_err());
    assert_eq!(notes.of("u_2"), Vec::<String>::new());
}
