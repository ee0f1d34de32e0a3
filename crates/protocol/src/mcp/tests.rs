//! The peek and the headers, by their attacks.

use super::*;
use proptest::prelude::*;

fn one(body: &str) -> Result<Message<'_>, Reason> {
    match peek(body.as_bytes())? {
        Body::One(message) => Ok(message),
        Body::Batch(_) => panic!("a batch: {body}"),
    }
}

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"name":"x","method":[1]}}}"#;

#[test]
fn what_clients_send_is_read() {
    let call = one(CALL).unwrap();
    assert_eq!((call.kind(), call.method(), call.name()), (Kind::Request, Some("tools/call"), Some("add")));
    for (body, kind, method, name) in [
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Kind::Notification, "notifications/initialized", None),
        (r#"{"id":"a","method":"ping","params":null,"jsonrpc":"2.0"}"#, Kind::Request, "ping", None),
        (
            r#"{"jsonrpc":"2.0","id":1,"params":{"uri":"a:b"},"method":"resources/read"}"#,
            Kind::Request,
            "resources/read",
            Some("a:b"),
        ),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"tasks/get","params":{"taskId":"t"}}"#, Kind::Request, "tasks/get", Some("t")),
        (r#" {"jsonrpc":"2.0","id":1,"method":"other","params":{"name":{"a":1}}} "#, Kind::Request, "other", None),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools\/c\u0061ll","params":{"n\u0061me":"\u0061dd"}}"#,
            Kind::Request,
            "tools/call",
            Some("add"),
        ),
    ] {
        let message = one(body).unwrap();
        assert_eq!((message.kind(), message.method(), message.name()), (kind, Some(method), name), "{body}");
    }
    for answer in [r#""id":1,"result":{}"#, r#""id":"x","error":{}"#, r#""id":null,"error":{}"#] {
        assert_eq!(one(&format!(r#"{{"jsonrpc":"2.0",{answer}}}"#)).unwrap().kind(), Kind::Response, "{answer}");
    }
}

#[test]
fn a_207_a_batch_is_seen_as_one() {
    let batch = format!("[{CALL},{CALL}]");
    let Ok(Body::Batch(messages)) = peek(batch.as_bytes()) else { panic!("no batch") };
    assert_eq!(messages.iter().map(|message| message.name()).collect::<Vec<_>>(), [Some("add"), Some("add")]);
    for body in ["[]".to_owned(), "[1]".to_owned(), format!("[[{CALL}]]"), format!("[{}]", vec![CALL; BATCH_MAX + 1].join(","))] {
        assert_eq!(peek(body.as_bytes()), Err(Reason::MessageMalformed), "{body}");
    }
}

#[test]
fn a_209_a_judged_member_stands_once() {
    for members in [
        r#""id":1,"method":"tools/list","method":"tools/call""#,
        r#""id":1,"method":"tools/list","m\u0065thod":"tools/call""#,
        r#""id":1,"id":1,"method":"ping""#,
        r#""id":1,"method":"ping","params":{},"params":{}"#,
        r#""id":1,"method":"ping","jsonrpc":"2.0""#,
        r#""id":1,"method":"tools/call","params":{"name":"a","name":"b"}"#,
        r#""id":1,"method":"ping","params":{"name":"a","name":"a"}"#,
        r#""id":1,"method":"ping","params":{"_meta":{},"_meta":{}}"#,
        r#""id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"a","io.modelcontextprotocol/protocolVersion":"a"}}"#,
        r#""id":1,"result":{},"result":{}"#,
    ] {
        assert_eq!(one(&format!(r#"{{"jsonrpc":"2.0",{members}}}"#)), Err(Reason::MessageAmbiguous), "{members}");
    }
}

#[test]
fn a_209_a_member_in_other_letters_is_refused() {
    for members in [
        r#""id":1,"method":"tools/list","Method":"tools/call""#,
        r#""id":1,"METHOD":"tools/call""#,
        r#""id":1,"method":"tools/call","params":{"name":"a","Name":"b"}"#,
        r#""id":1,"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"b"}"#,
        r#""id":1,"method":"tasks/get","params":{"tas\u212aid":"b"}"#,
    ] {
        assert_eq!(one(&format!(r#"{{"jsonrpc":"2.0",{members}}}"#)), Err(Reason::MessageAmbiguous), "{members}");
    }
}

#[test]
fn what_is_no_message_is_refused() {
    for body in [
        "",
        "1",
        "{}",
        "null",
        "\"x\"",
        "{",
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
        r#"{"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":["ping"]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":1}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["add"]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":null}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":1e999}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":"\ud800"}"#,
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
    ] {
        assert_eq!(one(body), Err(Reason::MessageMalformed), "{body}");
    }
    assert_eq!(peek(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"x\":\"\xff\"}"), Err(Reason::MessageMalformed));
}

#[test]
fn depth_is_limited_in_what_is_skipped_too() {
    let nested = |depth: usize| {
        let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","x":{value}}}"#);
        peek(body.as_bytes()).map(|_| ())
    };
    assert_eq!(nested(126), Ok(()));
    assert_eq!(nested(127), Err(Reason::MessageMalformed));
    assert_eq!(nested(100_000), Err(Reason::MessageMalformed));
}

fn modern(method: &str, params: &str) -> String {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{meta}{params}}}}}"#)
}

#[test]
fn a_209_headers_and_body_agree_or_nothing_goes_on() {
    let call = modern("tools/call", r#","name":"é dd""#);
    let message = one(&call).unwrap();
    let good = Headers { version: Some("2026-07-28"), method: Some(" tools/call\t"), name: Some("=?base64?w6kgZGQ=?=") };
    assert_eq!(agrees(good, &message), Ok(Era::Modern));
    for bad in [
        Headers { method: Some("tools/list"), ..good },
        Headers { method: Some("Tools/call"), ..good },
        Headers { method: None, ..good },
        Headers { name: Some("add"), ..good },
        Headers { name: None, ..good },
        Headers { name: Some("=?base64?w6kgZGQ?="), ..good },
        Headers { name: Some("=?base64?/w==?="), ..good },
        Headers { version: None, ..good },
        Headers { version: Some("2025-11-25"), ..good },
        Headers { version: Some("2027-01-01"), ..good },
    ] {
        assert_eq!(agrees(bad, &message), Err(Reason::HeadersDisagree), "{bad:?}");
    }
    let list = modern("tools/list", "");
    let headers = Headers { version: Some("2026-07-28"), method: Some("tools/list"), name: None };
    assert_eq!(agrees(headers, &one(&list).unwrap()), Ok(Era::Modern));
}

#[test]
fn px_10_headers_of_older_clients_mean_nothing() {
    let message = one(CALL).unwrap();
    for version in [None, Some("2025-11-25"), Some("2025-03-26"), Some("draft"), Some("9999"), Some("2026-07-2x")] {
        let headers = Headers { version, method: Some("tools/list"), name: Some("safe") };
        assert_eq!(agrees(headers, &message), Ok(Era::Legacy), "{version:?}");
    }
    // A modern header makes the request modern, and then its method must be there.
    let headers = Headers { version: Some("2026-07-28"), method: None, name: None };
    assert_eq!(agrees(headers, &message), Err(Reason::HeadersDisagree));
    let answer = one(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
    assert_eq!(agrees(headers, &answer), Ok(Era::Modern));
}

proptest! {
    /// The order of members does not matter, and what is not judged changes nothing.
    #[test]
    fn order_and_strangers_change_nothing(order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(), stranger in "[a-z]{7,9}", value in "[ -!#-\\[\\]-~]{0,9}") {
        let parts = [
            r#""jsonrpc":"2.0""#.to_owned(),
            r#""id":1"#.to_owned(),
            r#""method":"tools/call""#.to_owned(),
            r#""params":{"name":"add"}"#.to_owned(),
            format!(r#""{stranger}x":"{value}""#),
        ];
        let body = order.iter().map(|&at: &usize| parts[at].as_str()).collect::<Vec<_>>().join(",");
        let body = format!("{{{body}}}");
        let message = one(&body).unwrap();
        prop_assert_eq!(message.name(), Some("add"));
    }
}

#[test]
fn px_12_a_version_that_nobody_knows_is_the_backends_to_refuse() {
    let body =
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"draft-9"}}}"#;
    let message = one(body).unwrap();
    assert_eq!(era(Some("draft-9"), &message), Ok(Era::Modern));
    for other in [None, Some("draft-8"), Some("2026-07-28")] {
        assert_eq!(era(other, &message), Err(Reason::HeadersDisagree), "{other:?}");
    }
}
