//! What is judged of a message, and what the backend then reads: A-188, A-207, A-209, A-215.

use deputy_protocol::access::Criterion;
use deputy_protocol::mcp::rules::{CallRule, Otherwise, Pattern, Then};

use super::*;

async fn gate(calls: CallRules) -> Gate {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let backend = serve_backend(Arc::new(|head| json(head).boxed()), Arc::clone(&seen)).await;
    Gate::with_rules(&format!("{backend}/mcp"), seen, calls).await
}

fn rule(methods: &[&str], names: &[&str], people: &[&str], then: Then) -> CallRule {
    let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::new(text)).collect();
    let people = people.iter().map(|text| Criterion::read(text, &[]).unwrap()).collect();
    CallRule { methods: patterns(methods), names: patterns(names), people, then }
}

/// Admins may delete, writers may write, and nobody else may do what nobody thought of.
fn strict() -> CallRules {
    let allow = |scopes: &str| Then::Allow(if scopes.is_empty() { Scopes::none() } else { Scopes::parse(scopes).unwrap() });
    CallRules {
        rules: vec![
            rule(&["tools/call"], &["delete_*"], &["group:Admins"], allow("admin")),
            rule(&["tools/call"], &["delete_*"], &[], Then::Deny),
            rule(&["tools/call"], &["write"], &[], allow("write audit")),
            rule(&["tools/call"], &["read", "list_*"], &[], allow("")),
            rule(&["resources/read"], &["file:///public/*"], &[], allow("")),
        ],
        otherwise: Otherwise::Deny,
        hides: false,
    }
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{{"name":"{tool}","arguments":{{"name":"read"}}}}}}"#)
}

impl Gate {
    async fn say(
        &self,
        criteria: &[&str],
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> (u16, serde_json::Value, String) {
        let mut claims = self.claims();
        claims["criteria"] = criteria.into();
        let mut request = Request::post(format!("{}/mcp", self.origin))
            .header("authorization", format!("Bearer {}", self.sign(&claims)))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(Body::from(body.into())).unwrap()).await;
        let (status, challenge) = (response.status().as_u16(), header(&response, "www-authenticate").to_owned());
        (status, serde_json::from_str(&text(response).await).unwrap_or_default(), challenge)
    }
}

#[tokio::test]
async fn a_215_the_first_rule_about_a_call_decides_and_the_refusal_says_which_call() {
    let gate = gate(strict()).await;
    for allowed in
        [call("read"), call("list_all"), PING.to_owned(), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.into()]
    {
        assert_eq!(gate.say(&[], &[], allowed.clone()).await.0, 200, "{allowed}");
    }
    assert_eq!(gate.seen().len(), 4);
    assert_eq!(gate.seen()[0].body, call("read").as_bytes(), "byte for byte");
    let nameless = r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"arguments":{}}}"#.to_owned();
    let elsewhere = r#"{"jsonrpc":"2.0","id":"x","method":"resources/read","params":{"uri":"file:///etc/passwd"}}"#.to_owned();
    let unknown = r#"{"jsonrpc":"2.0","id":"x","method":"tools/invent"}"#.to_owned();
    for denied in [call("delete_all"), call("Read"), call("read "), call("other"), nameless, elsewhere, unknown] {
        let (status, body, _) = gate.say(&["group:Staff"], &[], denied.clone()).await;
        assert_eq!((status, &body["error"]["data"]["reason"]), (403, &"call_denied".into()), "{denied}");
        assert_eq!((&body["id"], &body["error"]["code"]), (&"x".into(), &(-32003).into()), "{denied}");
    }
    assert_eq!(gate.seen().len(), 4);
}

#[tokio::test]
async fn a_188_rs_12_a_missing_scope_is_asked_for_with_all_that_is_needed() {
    let gate = gate(strict()).await;
    let (status, _, challenge) = gate.say(&[], &[], call("write")).await;
    assert_eq!(status, 403);
    assert!(
        challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(r#"scope="audit mcp write""#),
        "{challenge}"
    );
    // Who may delete lacks a scope for it; who may not hears of none.
    let (status, _, challenge) = gate.say(&["group:Admins"], &[], call("delete_all")).await;
    assert!(status == 403 && challenge.contains(r#"scope="admin mcp""#), "{challenge}");
    assert_eq!(gate.say(&[], &[], call("delete_all")).await.2, "");
    // Nobody knows whether this one is an admin.
    assert_eq!(gate.say(&["?group:Admins"], &[], call("delete_all")).await.2, "");
    assert!(gate.seen().is_empty());
}

#[tokio::test]
async fn a_207_a_batch_goes_as_a_whole_and_with_one_version_alone() {
    let gate = gate(strict()).await;
    let batch = |second: &str| format!("[{},{}]", call("read"), call(second));
    assert_eq!(gate.say(&[], &[("mcp-protocol-version", "2025-03-26")], batch("list_all")).await.0, 200);
    assert_eq!(gate.say(&[], &[], batch("list_all")).await.0, 200);
    assert_eq!(gate.say(&[], &[], batch("delete_all")).await.1["error"]["data"]["reason"], "call_denied");
    assert_eq!(gate.say(&[], &[], batch("write")).await.0, 403);
    for version in ["2025-06-18", "2025-11-25", "2026-07-28", "other"] {
        let (status, body, _) = gate.say(&[], &[("mcp-protocol-version", version)], batch("list_all")).await;
        assert_eq!((status, &body["error"]["code"]), (400, &(-32600).into()), "{version}");
    }
    assert_eq!(gate.seen().len(), 2);
}

#[tokio::test]
async fn a_209_px_08_modern_headers_say_what_the_body_says() {
    let gate = gate(strict()).await;
    let version = ("mcp-protocol-version", "2026-07-28");
    let good = [version, ("mcp-method", "tools/call"), ("mcp-name", "read")];
    assert_eq!(gate.say(&[], &good, call("read")).await.0, 200);
    for lie in [
        [version, ("mcp-method", "tools/list"), ("mcp-name", "read")],
        [version, ("mcp-method", "tools/call"), ("mcp-name", "list_all")],
        [version, ("mcp-method", "TOOLS/CALL"), ("mcp-name", "read")],
        [version, ("mcp-method", "tools/call"), ("x-other", "read")],
        [("mcp-protocol-version", "2026-07-28, 2025-06-18"), ("mcp-method", "ping"), ("mcp-name", "x")],
    ] {
        let (status, body, _) = gate.say(&[], &lie, call("read")).await;
        let legacy = lie[0].1.contains(',');
        assert_eq!((status, legacy || body["error"]["code"] == -32020), (if legacy { 200 } else { 400 }, true), "{lie:?} {body}");
    }
    // Before, they mean nothing, are not believed, and do not reach those who might.
    let older = [("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/call"), ("mcp-name", "read")];
    assert_eq!(gate.say(&[], &older, call("delete_all")).await.0, 403);
    assert_eq!(gate.say(&[], &older, call("read")).await.0, 200);
    let last = gate.seen().pop().unwrap();
    assert!(last.header("mcp-method").is_empty() && last.header("mcp-name").is_empty());
}

#[tokio::test]
async fn a_body_that_others_might_read_otherwise_goes_nowhere() {
    let gate = gate(CallRules::default()).await;
    for body in ["", "{}", "null", "[]", "{", r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, "\u{feff}{}"] {
        let (status, said, _) = gate.say(&[], &[], body).await;
        assert_eq!((status, &said["error"]["code"], &said["id"]), (400, &(-32600).into(), &serde_json::Value::Null), "{body}");
    }
    for content_type in
        ["text/plain", "application/json; charset=utf-16", "application/json;charset=latin1", "application/jsonp", ""]
    {
        let request = Request::post(format!("{}/mcp", gate.origin)).header("authorization", format!("Bearer {}", gate.token()));
        let request = request.header("content-type", content_type).body(Body::from(PING)).unwrap();
        assert_eq!(gate.send(request).await.status(), 415, "{content_type}");
    }
    assert!(gate.seen().is_empty());
    for content_type in ["Application/JSON", "application/json; charset=UTF-8", "application/json;charset=\"utf-8\""] {
        let request = Request::post(format!("{}/mcp", gate.origin)).header("authorization", format!("Bearer {}", gate.token()));
        let request = request.header("content-type", content_type).body(Body::from(PING)).unwrap();
        assert_eq!(gate.send(request).await.status(), 200, "{content_type}");
    }
}

#[tokio::test]
async fn a_216_what_somebody_may_not_call_is_not_shown_to_them() {
    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"delete_all"},{"name":"write"}]}}"#;
    for (content_type, body) in [("application/json", LIST.to_owned()), ("text/event-stream", format!("data: {LIST}\n\n"))] {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let said = body.clone();
        let backend: Backend = Arc::new(move |_| {
            let said = said.clone();
            async move { Response::builder().header("content-type", content_type).body(Body::from(said)).unwrap() }.boxed()
        });
        let backend = serve_backend(backend, Arc::clone(&seen)).await;
        let gate = Gate::with_rules(&format!("{backend}/mcp"), seen, CallRules { hides: true, ..strict() }).await;
        let list = async |criteria: &[&str]| {
            let mut claims = gate.claims();
            claims["criteria"] = criteria.into();
            let request = gate.request().header("authorization", "").body(Body::from(PING)).unwrap();
            let (mut head, body) = request.into_parts();
            head.headers.insert("authorization", format!("Bearer {}", gate.sign(&claims)).parse().unwrap());
            let text = text(gate.send(Request::from_parts(head, body)).await).await;
            ["read", "delete_all", "write"].map(|tool| text.contains(&format!(r#""name":"{tool}""#)))
        };
        // Who lacks a scope for a tool is shown it, and asked for the scope.
        assert_eq!(list(&[]).await, [true, false, true], "{content_type}");
        assert_eq!(list(&["group:Admins"]).await, [true, true, true], "{content_type}");
        assert_eq!(list(&["?group:Admins"]).await, [true, false, true], "{content_type}");
    }
}
