//! JSON-RPC bodies, after three lines of headers (version, method, name) and a NUL if there are any. Held against three other readers.

use deputy_protocol::mcp::{Body, Era, Headers, Kind, Message, agrees, peek};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

const NAMED: [(&str, &str); 8] = [
    ("tools/call", "name"),
    ("prompts/get", "name"),
    ("resources/read", "uri"),
    ("resources/subscribe", "uri"),
    ("resources/unsubscribe", "uri"),
    ("tasks/get", "taskId"),
    ("tasks/update", "taskId"),
    ("tasks/cancel", "taskId"),
];

pub fn run(data: &[u8]) {
    let nul = data.iter().position(|&b| b == 0);
    let (headers, body) = nul.map_or((&b""[..], data), |at| (&data[..at], &data[at + 1..]));
    let Ok(peeked) = peek(body) else { return };
    // Whatever we accept, others can read: this reader has the same limits and takes the last of two members.
    let value: Value = serde_json::from_slice(body).expect("readable");
    match (&peeked, &value) {
        (Body::One(message), Value::Object(_)) => {
            same(message, &value);
            lenient(message, std::str::from_utf8(body).unwrap());
            headers_agree(message, headers);
        }
        (Body::Batch(messages), Value::Array(values)) => {
            assert_eq!(messages.len(), values.len());
            messages.iter().zip(values).for_each(|(message, value)| same(message, value));
        }
        _ => panic!("one and several are mixed up"),
    }
}

fn name_in<'v>(value: &'v Value, method: Option<&str>) -> Option<&'v str> {
    let (_, member) = NAMED.iter().find(|(known, _)| Some(*known) == method)?;
    value["params"][*member].as_str()
}

fn same(message: &Message<'_>, value: &Value) {
    assert_eq!(value["jsonrpc"], "2.0");
    assert_eq!(message.method(), value["method"].as_str());
    assert_eq!(message.name(), name_in(value, message.method()));
    assert_eq!(message.version(), value["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str());
    let members = value.as_object().unwrap();
    match message.kind() {
        Kind::Request => assert!(value["id"].is_string() || value["id"].is_number()),
        Kind::Notification => assert!(!members.contains_key("id") && members.contains_key("method")),
        Kind::Response => assert!(members.contains_key("result") != members.contains_key("error") && message.method().is_none()),
    }
}

/// All members of an object with their raw text, in order, as a reader sees them that forgets nothing.
fn members(json: &str) -> Option<Vec<(String, &RawValue)>> {
    struct All;
    impl<'de> Visitor<'de> for All {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(member) = map.next_entry()? {
                all.push(member);
            }
            Ok(all)
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_map(All).ok()
}

/// A reader that takes the first of two members, or any spelling, finds the same ones.
fn lenient(message: &Message<'_>, body: &str) {
    let all = members(body).unwrap();
    let spelled = |name: &str| all.iter().filter(|(key, _)| key.to_lowercase() == name.to_lowercase()).collect::<Vec<_>>();
    for name in ["jsonrpc", "id", "method", "params", "result", "error"] {
        assert!(spelled(name).len() <= 1, "{name}");
    }
    let method = spelled("method").first().map(|(_, raw)| serde_json::from_str::<String>(raw.get()).unwrap());
    assert_eq!(method.as_deref(), message.method());
    let Some(params) = spelled("params").first().and_then(|(_, raw)| members(raw.get())) else { return };
    for name in ["name", "uri", "taskId", "_meta"] {
        assert!(params.iter().filter(|(key, _)| key.to_lowercase() == name.to_lowercase()).count() <= 1, "{name}");
    }
}

fn headers_agree(message: &Message<'_>, headers: &[u8]) {
    let Ok(text) = std::str::from_utf8(headers) else { return };
    let mut lines = text.split('\n').map(|line| Some(line).filter(|line| !line.is_empty()));
    let mut next = || lines.next().flatten();
    let headers = Headers { version: next(), method: next(), name: next() };
    match agrees(headers, message) {
        Ok(Era::Modern) if message.kind() != Kind::Response => {
            assert_eq!(headers.method.map(|method| method.trim_matches([' ', '\t'])), message.method());
            assert!(headers.version.is_some_and(|version| message.version().is_none_or(|body| body == version)));
            let older = |method: &str| method.ends_with("subscribe");
            if NAMED.iter().any(|(method, _)| Some(*method) == message.method() && !older(method)) {
                assert_eq!(headers.name.is_some(), message.name().is_some());
            }
        }
        Ok(Era::Modern) => assert!(headers.version.is_some()),
        Ok(Era::Legacy) => assert!(message.version().is_none()),
        Err(_) => {}
    }
}
