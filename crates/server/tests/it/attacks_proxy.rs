//! What peers do to the way to the backend: smuggling, upgrades, floods, mixing, hoarding, and a clock that jumps (R19, R21, R23, R27, R28, R30).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::http::{claims, post_form, send};
use crate::support::log::Log;
use crate::support::{HONEST, PING, World};

/// How long a server may think before it is told that there is nothing more.
const PATIENCE: Duration = Duration::from_millis(300);

/// Writes bytes as they are and reads what comes until the server ends the connection, or has nothing more to say.
async fn speak(origin: &str, bytes: &[u8]) -> String {
    let host = origin.trim_start_matches("http://").replace("localhost", "127.0.0.1");
    let stream = std::net::TcpStream::connect(host).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await;
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // Whoever still waits for more hears that there is none.
    let _ = stream.shutdown().await;
    let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("the server ends it");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Writes bytes and waits until the server ends the connection of its own accord.
async fn ended(origin: &str, bytes: &[u8]) {
    let host = origin.trim_start_matches("http://").replace("localhost", "127.0.0.1");
    let stream = std::net::TcpStream::connect(host).unwrap();
    stream.set_nonblocking(true).unwrap();
    let (mut read, mut write) = tokio::net::TcpStream::from_std(stream).unwrap().into_split();
    let (mut answer, until) = (Vec::new(), Duration::from_secs(30));
    let (_, end) = tokio::join!(write.write_all(bytes), tokio::time::timeout(until, read.read_to_end(&mut answer)));
    let _ = end.expect("the server ends it");
    drop(write);
}

/// A POST with these header lines, and a second request hidden behind it.
fn framed(world: &World, access: &str, lines: &str, body: &str) -> Vec<u8> {
    let host = world.origin.trim_start_matches("http://");
    format!(
        "POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {access}\r\ncontent-type: application/json\r\n{lines}\r\n{body}\
         POST /mcp HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 12\r\n\r\n\"SMUGGLED-1\""
    )
    .into_bytes()
}

#[tokio::test]
async fn a_200_bytes_that_two_readers_would_cut_differently() {
    let world = World::new().await;
    let (_, access, _) = world.signed_in().await;
    let chunk = |length: &str| format!("{length}\r\n{PING}\r\n0\r\n\r\n");
    let (chunked, huge, negative, bare) = (chunk("28"), chunk("fffffffffffffffff"), chunk("-28"), format!("28\n{PING}\n0\n\n"));
    for (lines, body) in [
        ("content-length: 6\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\nG"),
        ("content-length: 4\r\ntransfer-encoding: chunked\r\n", "5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"),
        ("transfer-encoding: xchunked\r\ncontent-length: 40\r\n", PING),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", chunked.as_str()),
        ("transfer-encoding: chunked, identity\r\n", chunked.as_str()),
        ("transfer-encoding : chunked\r\n", chunked.as_str()),
        ("content-length: 40\r\ncontent-length: 41\r\n", PING),
        ("content-length: 40, 41\r\n", PING),
        ("content-length: +40\r\n", PING),
        ("content-length: -40\r\n", PING),
        ("content-length: 0x28\r\n", PING),
        ("content-length : 40\r\n", PING),
        ("content-length: 40\r\n obs-fold: x\r\n", PING),
        ("transfer-encoding: chunked\r\n", huge.as_str()),
        ("transfer-encoding: chunked\r\n", negative.as_str()),
        ("transfer-encoding: chunked\r\n", bare.as_str()),
        ("x-nul: a\0b\r\ncontent-length: 40\r\n", PING),
        ("content-length: 40\r\nx-bare: a\rb\r\n", PING),
        ("x: y\r\n", "0\r\n\r\n"),
    ] {
        let before = world.backend.requests();
        let answer = speak(&world.origin, &framed(&world, &access, lines, body)).await;
        let good = answer.matches("HTTP/1.1 200").count();
        assert!(world.backend.requests() <= before + 1, "{lines:?} {body:?}: two requests arrived\n{answer}");
        assert!(good <= 1, "{lines:?} {body:?}: two were answered\n{answer}");
        assert!(!answer.contains("SMUGGLED"), "{lines:?} {body:?}\n{answer}");
    }
    // The same with nothing wrong: the hidden one is a request of its own, without a token.
    let answer = speak(&world.origin, &framed(&world, &access, "content-length: 40\r\n", PING)).await;
    assert_eq!((answer.matches("HTTP/1.1 200").count(), answer.matches("HTTP/1.1 401").count()), (1, 1), "{answer}");
}

#[tokio::test]
async fn a_202_nothing_is_upgraded() {
    let world = World::new().await;
    let (_, access, _) = world.signed_in().await;
    let host = world.origin.trim_start_matches("http://");
    for upgrade in [
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n",
    ] {
        let head = format!(
            "GET /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {access}\r\n{upgrade}\r\nRAW-BYTES-AFTER-THE-HEAD"
        );
        let answer = speak(&world.origin, head.as_bytes()).await;
        assert!(!answer.contains(" 101 ") && !answer.contains("RAW-BYTES"), "{answer}");
        for header in ["upgrade", "http2-settings", "sec-websocket-key"] {
            assert_eq!(world.backend.header(header), None, "{header}");
        }
    }
    let connect = format!("CONNECT example.com:443 HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {access}\r\n\r\n");
    let answer = speak(&world.origin, connect.as_bytes()).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
}

#[tokio::test]
async fn a_194_a_query_changes_no_decision() {
    let world = World::new().await;
    for query in ["x=/.well-known/", "/health", "/.well-known/oauth-protected-resource", "path=/authorize", "%2f..%2fhealth"] {
        let answer = send(Method::POST, &world.at(&format!("/mcp?{query}")), &[], "{}").await;
        assert_eq!(answer.status, 401, "{query}");
    }
    assert_eq!(world.backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_213_everybody_uses_the_same_ids_and_gets_their_own_answers() {
    let world = Arc::new(World::new().await);
    let client = world.register(HONEST).await;
    let mut people = Vec::new();
    for number in 0..8 {
        *world.idp.person.lock().unwrap() = format!("person{number}");
        let tokens = world.redeem(&client, &world.code(&client).await).await.json();
        people.push(tokens["access_token"].as_str().unwrap().to_owned());
    }
    let calls = people.into_iter().enumerate().map(|(person, access)| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let bearer = format!("Bearer {access}");
            let headers =
                [("authorization", bearer.as_str()), ("content-type", "application/json"), ("accept", "application/json")];
            for id in 0..40 {
                let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping","params":{{"nonce":"{person}-{id}"}}}}"#);
                let answer = send(Method::POST, &world.at("/mcp"), &headers, body.clone()).await;
                assert_eq!(answer.text(), body, "an answer of somebody else's");
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_214_the_backend_can_tell_people_apart_and_knows_them_again() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut seen = Vec::new();
    for person in ["alice", "bob", "alice"] {
        *world.idp.person.lock().unwrap() = person.to_owned();
        let tokens = world.redeem(&client, &world.code(&client).await).await.json();
        let access = tokens["access_token"].as_str().unwrap();
        assert_eq!(world.call(access).await.status, 200);
        let subject = world.backend.header("x-deputy-subject").unwrap();
        assert_eq!(claims(access)["sub"], subject.as_str());
        seen.push(subject);
    }
    assert!(seen[0] == seen[2] && seen[0] != seen[1], "{seen:?}");
}

#[tokio::test]
async fn a_230_what_is_too_large_is_refused_early() {
    let world = World::new().await;
    let (_, access, _) = world.signed_in().await;
    let large = "x".repeat(1 << 20);
    for path in ["/token", "/register", "/revoke", "/consent", "/finish"] {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = send(Method::POST, &world.at(path), &headers, large.clone()).await;
        assert_eq!(answer.status, 413, "{path}");
    }
    let bearer = format!("Bearer {access}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    assert_eq!(send(Method::POST, &world.at("/mcp"), &headers, "x".repeat(5 << 20)).await.status, 413);
    let host = world.origin.trim_start_matches("http://");
    let many: String = (0..1000).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "x".repeat(200 << 10);
    for head in [
        format!("GET /health HTTP/1.1\r\nhost: {host}\r\n{many}\r\n"),
        format!("GET /health HTTP/1.1\r\nhost: {host}\r\nx: {long}\r\n\r\n"),
        format!("GET /authorize?state={long} HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    ] {
        let answer = speak(&world.origin, head.as_bytes()).await;
        assert!(
            ["HTTP/1.1 431", "HTTP/1.1 414", "HTTP/1.1 413", "HTTP/1.1 400"].iter().any(|start| answer.starts_with(start)),
            "{answer}"
        );
    }
    let answer = send(Method::GET, &world.at(&format!("/authorize?state={}", "x".repeat(60 << 10))), &[], "").await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    assert_eq!(world.backend.requests(), 0);
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn a_231_floods_of_frames_harm_nobody_else() {
    let world = World::new().await;
    let (_, access, _) = world.signed_in().await;
    // :method GET, :scheme http, :path /, :authority "a" (RFC 7541 appendix A).
    let head = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
    let open = |stream: u32| frame(1, 0x5, stream, &head);
    let rapid_reset: Vec<u8> =
        (0..20_000_u32).flat_map(|n| [open(2 * n + 1), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()).collect();
    let mut continuation = frame(1, 0x1, 1, &head);
    for _ in 0..20_000 {
        continuation.extend(frame(9, 0, 1, b"\x00\x01x\x01y"));
    }
    let pings: Vec<u8> = (0..50_000).flat_map(|_| frame(6, 0, 0, b"12345678")).collect();
    let settings: Vec<u8> = (0..50_000).flat_map(|_| frame(4, 0, 0, &[])).collect();
    let streams: Vec<u8> = (0..10_000_u32).flat_map(|n| frame(1, 0x4, 2 * n + 1, &head)).collect();
    for (name, flood) in [
        ("rapid reset", rapid_reset),
        ("continuation", continuation),
        ("ping", pings),
        ("settings", settings),
        ("streams", streams),
    ] {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        bytes.extend(flood);
        if ["rapid reset", "continuation"].contains(&name) {
            ended(&world.origin, &bytes).await;
        } else {
            speak(&world.origin, &bytes).await;
        }
        assert_eq!(world.call(&access).await.status, 200, "after {name}");
    }
}

#[tokio::test]
async fn a_234_one_person_does_not_hold_every_stream() {
    if crate::support::replicas::count() > 1 {
        // The cap is each process's own.
        return;
    }
    let world = World::with(|config| config.servers[0].url = stuck().parse().unwrap()).await;
    let client = world.register(HONEST).await;
    let mut access = Vec::new();
    for person in ["alice", "bob"] {
        *world.idp.person.lock().unwrap() = person.to_owned();
        let tokens = world.redeem(&client, &world.code(&client).await).await.json();
        access.push(tokens["access_token"].as_str().unwrap().to_owned());
    }
    let host = world.origin.trim_start_matches("http://").to_owned();
    let hold = async |token: &str| {
        let stream = std::net::TcpStream::connect(host.replace("localhost", "127.0.0.1")).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let head =
            format!("GET /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut held = Vec::new();
    for _ in 0..128 {
        held.push(hold(&access[0]).await);
    }
    // One of Alice's is refused: which one the server saw last is its own affair.
    held.push(hold(&access[0]).await);
    let refused = first_answer(&mut held).await;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.to_lowercase().contains("retry-after"), "{refused}");
    // Bob has places of his own: his request waits for the backend like hers.
    let mut bobs = vec![hold(&access[1]).await];
    let early = tokio::time::timeout(Duration::from_millis(300), first_answer(&mut bobs)).await;
    assert!(early.is_err(), "{early:?}");
    // When hers have gone, she may again.
    held.clear();
    loop {
        let mut again = vec![hold(&access[0]).await];
        if tokio::time::timeout(Duration::from_millis(300), first_answer(&mut again)).await.is_err() {
            break;
        }
    }
}

/// A backend that takes every connection and never answers.
fn stuck() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream);
        }
    });
    url
}

/// What the first of these connections says that says something.
async fn first_answer(streams: &mut [tokio::net::TcpStream]) -> String {
    let mut buffer = vec![0; 4096];
    loop {
        for stream in streams.iter_mut() {
            if let Ok(length) = stream.try_read(&mut buffer)
                && length > 0
            {
                return String::from_utf8_lossy(&buffer[..length]).into_owned();
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_235_a_backend_in_trouble_is_alone_with_it() {
    let world = World::with(|config| {
        let mut bad = config.servers[0].clone();
        bad.path = "/bad".to_owned();
        bad.url = stuck().parse().unwrap();
        config.servers.push(bad);
    })
    .await;
    let client = world.register(HONEST).await;
    let token = async |path: &str| {
        let resource = world.at(path);
        let mut browser = crate::support::http::Browser::default();
        let page = browser.open(&world.authorize_url(&client, &[("resource", &resource)]), HONEST).await;
        let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
        let end = browser.open(sent.location().unwrap().as_str(), HONEST).await;
        world.redeem(&client, &end.sent("code").unwrap()).await.json()["access_token"].as_str().unwrap().to_owned()
    };
    let (good, bad) = (token("/mcp").await, token("/bad").await);
    let (bearer, url) = (format!("Bearer {bad}"), world.at("/bad"));
    let hanging: Vec<_> = (0..100)
        .map(|_| {
            let (bearer, url) = (bearer.clone(), url.clone());
            tokio::spawn(async move {
                send(Method::POST, &url, &[("authorization", &bearer), ("content-type", "application/json")], PING).await.status
            })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(world.call(&good).await.status, 200);
    }
    assert!(hanging.iter().all(|request| !request.is_finished()), "they hang");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

/// The log is the whole process's, so the test has one of its own.
#[test]
fn a_239_nobody_writes_lines_of_the_log() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "attacks_proxy::log_of_one_process", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

const ALONE: &str = "DEPUTY_TEST_ALONE";

#[tokio::test]
async fn log_of_one_process() {
    if std::env::var(ALONE).is_err() {
        return;
    }
    let log = Log::default();
    tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).init();
    let world = World::new().await;
    let forged = "x\r\n2026-01-01 INFO FORGED\u{1b}[31m\u{2028}FORGED\"}\n{\"forged\":true";
    *world.idp.person.lock().unwrap() = forged.to_owned();
    let metadata = serde_json::json!({"client_name": forged, "redirect_uris": [HONEST], "token_endpoint_auth_method": "none"});
    let client = world.register_with(metadata).await;
    let code = world.code(&client).await;
    assert_eq!(world.redeem(&client, &code).await.status, 200);
    world.redeem(&client, &code).await;
    let odd = [("grant_type", forged), ("client_id", forged), ("code", forged)];
    post_form(&world.at("/token"), &odd).await;
    send(Method::GET, &world.at("/authorize?client_id=%0d%0aFORGED&state=%1b%5b31m"), &[], "").await;
    let text = log.text();
    let begins: BTreeSet<&str> = text.lines().map(|line| line.trim_start().split(' ').nth(1).unwrap_or_default()).collect();
    assert!(begins.iter().all(|level| ["INFO", "WARN", "ERROR", ""].contains(level)), "{begins:?}");
    for line in text.lines() {
        assert!(line.starts_with("20") && line.contains("Z "), "a line that is not ours: {line:?}");
        assert!(!line.contains(['\u{1b}', '\u{2028}', '\r']), "{line:?}");
    }
    assert!(text.contains("signed_in"), "the log is read at all: {text}");
}

#[tokio::test]
async fn a_250_a_clock_that_jumps_revives_nothing_and_forgets_nobody() {
    let world = World::new().await;
    let (client, access, refresh) = world.signed_in().await;
    let (other, ended, _) = world.signed_in().await;
    assert_eq!(world.call(&ended).await.status, 200);
    let form = [("token", ended.as_str()), ("client_id", other.id.as_str())];
    assert_eq!(post_form(&world.at("/revoke"), &form).await.status, 200);
    for jump in [3600_i64, -3600, 400 * 86_400, -400 * 86_400] {
        if jump > 0 {
            world.clock.advance(jump.unsigned_abs());
            assert_eq!(world.call(&access).await.status, 401, "out of its time");
            // Everything that forgets runs with the wrong time.
            world.gateway.forget().await;
        } else {
            world.clock.set_back(jump.unsigned_abs());
            assert_eq!(world.call(&access).await.status, 200, "in its time again");
            assert_eq!(world.call(&ended).await.status, 401, "revoked is revoked");
        }
    }
    assert_eq!(world.refresh(&client, &refresh).await.status, 200, "and nobody was logged out");
    // Two hours ahead for a moment, then a restart: the feed still knows.
    world.clock.advance(7200);
    world.gateway.forget().await;
    world.clock.set_back(7200);
    let (origin, again) = (world.origin.clone(), world.again().await);
    let (host, bearer) = (origin.trim_start_matches("http://"), format!("Bearer {ended}"));
    let url = format!("http://127.0.0.1:{}/mcp", again.origin_port);
    let answer = send(Method::POST, &url, &[("host", host), ("authorization", &bearer)], "{}").await;
    assert_eq!(answer.status, 401, "revoked is revoked after a restart too");
}

/// What is written under a wrong clock is no proof that the clock is right.
#[tokio::test]
async fn a_250_a_revocation_under_a_wrong_clock_does_not_make_it_right() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    let (other, _, ended) = world.signed_in().await;
    world.clock.advance(400 * 86_400);
    let form = [("token", ended.as_str()), ("client_id", other.id.as_str())];
    assert_eq!(post_form(&world.at("/revoke"), &form).await.status, 200);
    world.gateway.forget().await;
    world.clock.set_back(400 * 86_400);
    assert_eq!(world.refresh(&client, &refresh).await.status, 200, "nobody else was logged out");
    assert_ne!(world.refresh(&other, &ended).await.status, 200, "and what was ended stays so");
}
