//! What reaches the backend.

use super::*;

#[tokio::test]
async fn a_175_without_a_good_token_the_backend_sees_nothing() {
    let gate = Gate::start(json).await;
    let mut other = gate.claims();
    other["aud"] = format!("{}/other", gate.origin).into();
    let mut old = gate.claims();
    old["exp"] = NOW.into();
    let tokens =
        [None, Some("garbage".to_owned()), Some(gate.sign(&other)), Some(gate.sign(&old)), Some(format!("{}x", gate.token()))];
    for method in ["POST", "GET", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"] {
        for token in &tokens {
            let mut request = Request::builder().method(method).uri(format!("{}/mcp", gate.origin)).header("mcp-session-id", "s");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = gate.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.status(), 401, "{method} {token:?}");
            let challenge = header(&response, "www-authenticate");
            assert!(challenge.starts_with(&format!(r#"Bearer resource_metadata="{}/.well-known/"#, gate.origin)), "{challenge}");
            assert_eq!(challenge.contains("error="), token.is_some(), "{challenge}");
        }
    }
    assert!(gate.seen().is_empty());
}

#[tokio::test]
async fn rs_15_rs_16_only_one_authorization_header_counts() {
    let gate = Gate::start(json).await;
    let twice = gate.request().header("authorization", "Bearer x").body(Body::empty()).unwrap();
    assert_eq!(gate.send(twice).await.status(), 400);
    let token = gate.token();
    let elsewhere = Request::post(format!("{}/mcp?access_token={token}", gate.origin))
        .header("cookie", format!("access_token={token}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("access_token={token}")));
    assert_eq!(gate.send(elsewhere.unwrap()).await.status(), 401);
    assert!(gate.seen().is_empty());
}

#[tokio::test]
async fn a_186_a_196_a_204_only_known_headers_pass_and_identity_is_ours() {
    let gate = Gate::start(json).await;
    let stripped = [
        "cookie",
        "proxy-authorization",
        "x-api-key",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-user",
        "forwarded",
        "x-real-ip",
        "remote-user",
        "x-auth-user",
        "x-gw-user",
        "x-deputy-admin",
        "te",
        "keep-alive",
        "origin",
        "referer",
        "accept-encoding",
        "sec-fetch-site",
        "range",
        "http2-settings",
    ];
    let mut request = gate.request();
    for name in stripped {
        if name != "origin" {
            request = request.header(name, "evil");
        }
    }
    for name in
        ["x-deputy-subject", "X-Deputy-Email", "x-deputy-scope", "x-deputy-client", "x-deputy-name", "x-deputy-client-name"]
    {
        request = request.header(name, "admin").header(name, "root");
    }
    request = request.header("connection", "close, mcp-dropped, x-deputy-subject").header("mcp-dropped", "1");
    let passing = [
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "ping"),
        ("mcp-param-anything", "=?base64?w6Q=?="),
        ("last-event-id", "7"),
        ("traceparent", "00-1-1-01"),
        ("user-agent", "test/1"),
    ];
    for (name, value) in passing {
        request = request.header(name, value);
    }
    assert_eq!(gate.send(request.body(Body::from(PING)).unwrap()).await.status(), 200);

    let seen = gate.only_seen();
    for name in stripped.iter().chain(&["authorization", "connection", "mcp-dropped", "upgrade", "expect"]) {
        assert!(seen.header(name).is_empty(), "{name}: {:?}", seen.header(name));
    }
    for (name, value) in passing {
        assert_eq!(seen.header(name), [value], "{name}");
    }
    for (name, value) in [
        ("x-deputy-subject", "sub-1"),
        ("x-deputy-email", "ada@example.com"),
        ("x-deputy-name", "Ada%20Lovelace,%20100%25%20%C3%84d%C3%A4"),
        ("x-deputy-client", "client-1"),
        ("x-deputy-client-name", "Claude"),
        ("x-deputy-scope", "mcp"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(seen.header(name), [value], "{name}");
    }
    assert!(!format!("{:?}", seen.head.headers).contains(&gate.token()));
    assert_eq!(seen.body, PING.as_bytes());
}

#[tokio::test]
async fn the_backend_gets_its_own_address_and_no_query_of_the_client() {
    let gate = Gate::start(json).await;
    let mut request = gate.request().body(Body::from(PING)).unwrap();
    *request.uri_mut() = format!("{}/mcp?tenant=8&admin=1", gate.origin).parse().unwrap();
    assert_eq!(gate.send(request).await.status(), 200);
    let seen = gate.only_seen();
    assert_eq!(seen.head.uri.path_and_query().unwrap(), "/mcp?tenant=7");
    assert_ne!(format!("http://{}", seen.header("host")[0]), gate.origin);
}

#[tokio::test]
async fn a_192_other_paths_are_not_this_resource() {
    let gate = Gate::start(json).await;
    for path in ["/", "/mcp/", "//mcp", "/MCP", "/mcp%2f", "/%6dcp", "/mcp;x", "/mcp/../mcp", "/.well-known/../mcp"] {
        let mut request = gate.request().body(Body::from(PING)).unwrap();
        *request.uri_mut() = format!("{}{path}", gate.origin).parse().unwrap();
        assert_eq!(gate.send(request).await.status(), 404, "{path}");
    }
    assert!(gate.seen().is_empty());
}

#[tokio::test]
async fn a_209_a_repeated_header_is_refused() {
    let gate = Gate::start(json).await;
    for name in ["content-type", "mcp-method", "mcp-name", "mcp-session-id", "mcp-protocol-version", "last-event-id"] {
        let request = gate.request().header(name, "a").header(name, "b").body(Body::from(PING)).unwrap();
        assert_eq!(gate.send(request).await.status(), 400, "{name}");
    }
    assert!(gate.seen().is_empty());
}

#[tokio::test]
async fn only_the_methods_of_mcp_pass() {
    let gate = Gate::start(json).await;
    for method in ["PUT", "PATCH", "TRACE", "OPTIONS"] {
        let request = gate.request().method(method).body(Body::empty()).unwrap();
        let response = gate.send(request).await;
        assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, "POST, GET, DELETE"), "{method}");
    }
    assert!(gate.seen().is_empty());
    for method in ["GET", "DELETE", "POST"] {
        let request = gate.request().method(method).body(Body::from(PING)).unwrap();
        assert_eq!(gate.send(request).await.status(), 200, "{method}");
    }
    let bodies: Vec<_> = gate.seen().iter().map(|seen| seen.body.len()).collect();
    assert_eq!(bodies, [0, 0, PING.len()]);
}

#[tokio::test]
async fn px_19_large_bodies_are_refused_announced_or_not() {
    let gate = Gate::start(json).await;
    let fits = gate.request().body(Body::from(format!("{PING:1024}"))).unwrap();
    assert_eq!(gate.send(fits).await.status(), 200);
    let announced = gate.request().body(Body::from(format!("{PING:1025}"))).unwrap();
    assert_eq!(gate.send(announced).await.status(), 413);
    assert_eq!(gate.seen().len(), 1);
    let chunks = futures_util::stream::iter((0..50).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100])));
    let unannounced = gate.request().body(Body::from_stream(chunks)).unwrap();
    let response = gate.send(unannounced).await;
    assert_eq!(response.status(), 413);
    assert!(text(response).await.contains("request_too_large"));
    let zipped = gate.request().header("content-encoding", "gzip").body(Body::from("x")).unwrap();
    assert_eq!(gate.send(zipped).await.status(), 415);
}

#[tokio::test]
async fn a_217_a_218_foreign_hosts_and_origins_are_refused_first() {
    let gate = Gate::start(json).await;
    for host in ["evil.test", "127.0.0.1", "localhost.evil.test"] {
        let response = gate.send(gate.request().header("host", host).body(Body::from(PING)).unwrap()).await;
        assert_eq!(response.status(), 421, "{host}");
    }
    for origin in ["https://evil.test", "null", "http://localhost.evil.test"] {
        let response = gate.send(gate.request().header("origin", origin).body(Body::from(PING)).unwrap()).await;
        assert_eq!(response.status(), 403, "{origin}");
        assert_eq!(header(&response, "access-control-allow-origin"), "");
        let preflight = Request::options(format!("{}/mcp", gate.origin)).header("origin", origin);
        let preflight = preflight.header("access-control-request-method", "POST").body(Body::empty()).unwrap();
        assert_eq!(gate.send(preflight).await.status(), 403, "{origin}");
    }
    let two = gate.request().header("origin", "http://localhost:1").header("origin", "http://localhost:1").body(Body::from(PING));
    assert_eq!(gate.send(two.unwrap()).await.status(), 403);
    assert!(gate.seen().is_empty());
}

#[tokio::test]
async fn a_220_pages_of_allowed_origins_may_ask_and_read() {
    let gate = Gate::start(|_| async {
        let mut response = answer(200, "application/json", "{}");
        response.headers_mut().insert("access-control-allow-origin", "*".parse().unwrap());
        response.headers_mut().insert("access-control-allow-credentials", "true".parse().unwrap());
        response
    })
    .await;
    let inspector = "http://localhost:6274";
    let preflight = Request::options(format!("{}/mcp", gate.origin))
        .header("origin", inspector)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, Mcp-Param-Region, x-evil")
        .body(Body::empty());
    let response = gate.send(preflight.unwrap()).await;
    assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (204, inspector));
    let allowed = header(&response, "access-control-allow-headers");
    for name in ["authorization", "mcp-session-id", "mcp-protocol-version", "last-event-id", "mcp-param-region"] {
        assert!(allowed.split(", ").any(|known| known == name), "{name}");
    }
    assert!(!allowed.contains("x-evil"));
    assert!(gate.seen().is_empty());

    let called = gate.send(gate.request().header("origin", inspector).body(Body::from(PING)).unwrap()).await;
    assert_eq!(header(&called, "access-control-allow-origin"), inspector);
    assert_eq!(header(&called, "access-control-allow-credentials"), "");
    let refused = Request::post(format!("{}/mcp", gate.origin)).header("origin", inspector).body(Body::empty());
    let refused = gate.send(refused.unwrap()).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "access-control-allow-origin")), (401, inspector));
    assert!(header(&refused, "access-control-expose-headers").contains("www-authenticate"));
}

#[tokio::test]
async fn a_230_large_bodies_of_a_person_are_few_at_once_and_small_ones_go_on() {
    let gate = Gate::start(json).await;
    let (mut held, mut feeds) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (feed, body) = tokio::sync::mpsc::channel::<Result<&'static str, std::io::Error>>(1);
        let body = futures_util::stream::unfold(body, |mut body| async { body.recv().await.map(|piece| (piece, body)) });
        let (client, request) = (gate.client.clone(), gate.request().body(Body::from_stream(body)).unwrap());
        held.push(tokio::spawn(async move { client.request(request).await.unwrap().status() }));
        feed.send(Ok("")).await.unwrap();
        feeds.push(feed);
    }
    let large = async || gate.send(gate.request().body(Body::from(format!("{PING:1000}"))).unwrap()).await;
    let answer = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            // The two are on their way; once they are there, there is no room.
            let answer = large().await;
            if answer.status() == 429 {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(header(&answer.await.expect("the two take the room"), "retry-after"), "5");
    assert_eq!(gate.post().await.status(), 200);
    for feed in feeds {
        feed.send(Ok(PING)).await.unwrap();
    }
    for held in held {
        assert_eq!(held.await.unwrap(), 200);
    }
    assert_eq!(large().await.status(), 200);
}
