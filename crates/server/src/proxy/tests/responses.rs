//! What reaches the client.

use super::*;

#[tokio::test]
async fn a_204_a_205_only_json_and_what_mcp_needs_passes() {
    let gate = Gate::start(|_| async {
        let mut response = answer(200, "Application/JSON; charset=utf-7", "{\"a\":  1}");
        for (name, value) in [
            ("set-cookie", "session=evil"),
            ("www-authenticate", "Bearer resource_metadata=\"https://evil.test\""),
            ("location", "https://evil.test"),
            ("server", "backend/1"),
            ("x-powered-by", "backend"),
            ("link", "<https://evil.test>; rel=preload"),
            ("refresh", "0; url=https://evil.test"),
            ("clear-site-data", "*"),
            ("content-security-policy", "default-src *"),
            ("strict-transport-security", "max-age=0"),
            ("cache-control", "public, max-age=60"),
            ("proxy-authenticate", "Basic"),
            ("connection", "mcp-internal"),
            ("mcp-internal", "1"),
            ("mcp-session-id", "s1"),
            ("retry-after", "3"),
        ] {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        response
    })
    .await;
    let response = gate.post().await;
    let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    let expected = [
        "cache-control",
        "content-length",
        "content-security-policy",
        "content-type",
        "date",
        "mcp-session-id",
        "retry-after",
        "x-content-type-options",
    ];
    assert_eq!(names, expected);
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(header(&response, "content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!((header(&response, "cache-control"), header(&response, "x-content-type-options")), ("no-store", "nosniff"));
    assert_eq!(text(response).await, "{\"a\":  1}");
}

#[tokio::test]
async fn px_12_px_18_statuses_are_relayed_unless_they_would_mislead() {
    let statuses = Arc::new(Mutex::new((200, "", "")));
    let script = Arc::clone(&statuses);
    let gate = Gate::start(move |_| {
        let (status, content_type, body) = *script.lock().unwrap();
        async move { answer(status, content_type, body) }
    })
    .await;
    let html = "<script>alert(1)</script>";
    let rpc = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"m"}}"#;
    for (status, content_type, body, relayed, same) in [
        (202, "", "", 202, true),
        (202, "text/plain", "Accepted", 202, false),
        (200, "", "", 200, true),
        (204, "", "", 204, true),
        (400, "application/json", rpc, 400, true),
        (404, "application/json", rpc, 404, true),
        (405, "application/json", rpc, 405, true),
        (405, "", "", 405, true),
        (403, "application/json", rpc, 403, true),
        (500, "application/json", rpc, 500, true),
        (200, "text/html", html, 502, false),
        (200, "image/svg+xml", html, 502, false),
        (200, "application/jsonp", html, 502, false),
        (200, "", html, 502, false),
        (404, "text/html", html, 404, false),
        (500, "text/plain", "trace", 500, false),
        (301, "application/json", rpc, 502, false),
        (401, "application/json", rpc, 502, false),
        (407, "application/json", rpc, 502, false),
        (403, "text/html", html, 502, false),
    ] {
        *statuses.lock().unwrap() = (status, content_type, body);
        let response = gate.post().await;
        assert_eq!(response.status(), relayed, "{status} {content_type}");
        assert_eq!(header(&response, "www-authenticate"), "");
        let (kind, got) = (header(&response, "content-type").to_owned(), text(response).await);
        assert_eq!(got == body, same, "{status} {content_type}: {got}");
        assert!(got.is_empty() || kind == "application/json", "{status} {content_type}: {kind}");
        assert!(!same || got.is_empty() || got == rpc);
        assert!(same || !got.contains("-320"), "PX-13: {got}");
    }
}

#[tokio::test]
async fn a_backend_that_is_away_is_no_logout() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let gate = Gate::before(&format!("http://{address}/mcp"), Arc::default()).await;
    let response = gate.post().await;
    assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (503, "5"));
    assert_eq!(header(&response, "content-type"), "application/json");
    assert!(text(response).await.contains("backend_unreachable"));
}

#[tokio::test]
async fn px_14_a_private_caching_rule_passes() {
    let gate = Gate::start(|_| async {
        let mut response = answer(200, "application/json", "{}");
        response.headers_mut().insert("cache-control", "private, max-age=5".parse().unwrap());
        response
    })
    .await;
    assert_eq!(header(&gate.post().await, "cache-control"), "private, max-age=5");
}

#[test]
fn a_backend_must_be_an_http_url() {
    let forwarder = |backend: &str| {
        let verifier = Verifier::new(
            Issuer::parse("https://h").unwrap(),
            ResourceUri::parse("https://h/mcp").unwrap(),
            Scopes::default(),
            Arc::new(ArcSwap::from_pointee(JwkSet { keys: Vec::new() })),
            Arc::new(deputy_guard::NothingRevoked),
        );
        let clock = Arc::new(TestClock(AtomicU64::new(NOW)));
        let seal = Arc::new(crate::seal::Seal::of(&[7; 32]).unwrap());
        let sessions = Sessions::new(seal, ResourceUri::parse("https://h/mcp").unwrap());
        Forwarder::new(backend.parse().unwrap(), sessions, Arc::new(verifier), clock, Limits::default(), CallRules::default())
            .map(|_| ())
    };
    for backend in ["/mcp", "ftp://h/mcp", "http://user@h/mcp", "h:80"] {
        assert_eq!(forwarder(backend), Err(Reason::UrlInvalid), "{backend}");
    }
    for backend in ["http://127.0.0.1:9000/mcp", "https://backend.example.com/mcp?key=1"] {
        assert_eq!(forwarder(backend), Ok(()), "{backend}");
    }
}
