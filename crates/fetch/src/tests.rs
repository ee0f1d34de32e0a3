use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

fn client(time: u64, body: usize) -> Client {
    Client::with_limits(Limits { time: Duration::from_millis(time), body }).expect("a client")
}

async fn ask(client: &Client, url: &str) -> Result<Answer, FetchError> {
    client.get(&Endpoint::parse(url).expect("an endpoint"), Credentials::None).await
}

#[test]
fn only_https_or_loopback() {
    for good in ["https://idp.test/a?b=c", "http://localhost:1/", "http://127.0.0.1", "http://[::1]:3/x"] {
        assert!(Endpoint::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "http://idp.test",
        "ftp://localhost",
        "https://u:p@idp.test",
        "https://idp.test/#f",
        "http://localhost.evil.test",
        "idp.test",
        "file:///x",
    ] {
        assert!(Endpoint::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_local_stays_there() {
    for good in
        ["http://169.254.169.254/metadata/identity", "http://127.0.0.1:41741/MSI/token/", "http://localhost:42356/msi/token"]
    {
        assert!(Endpoint::parse_local(good).is_ok(), "{good}");
    }
    for bad in [
        "http://10.0.0.1/",
        "http://169.253.169.254/",
        "https://169.254.169.254/",
        "http://169.254.169.254.evil.test/",
        "http://a@127.0.0.1/",
    ] {
        assert!(Endpoint::parse_local(bad).is_err(), "{bad}");
    }
    assert!(Endpoint::parse("http://169.254.169.254/").is_err());
}

#[test]
fn a_document_is_an_object_in_utf_8() {
    #[derive(serde::Deserialize)]
    struct Document {
        a: u8,
    }
    assert_eq!(object::<Document>(b" {\"a\":1,\"b\":[]}").map(|document| document.a), Ok(1));
    for bad in [&b"[1]"[..], b"{\"a\":1,\"b\":\"\xaf\"}", b"{\"a\":1,\"a\":1}", b"{\"a\":1}x", b""] {
        assert!(object::<Document>(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn a_133_redirects_are_not_followed() {
    let origin = serve(
        Router::new().route("/", get(|| async { Redirect::temporary("/other") })).route("/other", get(|| async { "other" })),
    )
    .await;
    let answer = ask(&client(5000, 1000), &origin).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn a_132_large_and_silent_answers_end() {
    let huge = get(|| async { "x".repeat(2000) });
    let silent = get(|| async { std::future::pending::<&str>().await });
    let origin = serve(Router::new().route("/huge", huge).route("/silent", silent)).await;
    let refused = ask(&client(5000, 1000), &format!("{origin}/huge")).await;
    assert!(matches!(refused, Err(FetchError::TooLarge { .. })), "{refused:?}");
    let refused = ask(&client(50, 1000), &format!("{origin}/silent?secret")).await.expect_err("late");
    assert!(matches!(refused, FetchError::TimedOut { .. }));
    assert!(!refused.to_string().contains("secret"));
}

async fn post(client: &Client, origin: &str) -> Result<Answer, FetchError> {
    client.post_form(&Endpoint::parse(origin).expect("an endpoint"), Credentials::None, "secret=1".to_owned()).await
}

/// A server that does with each connection what `with` does.
async fn accept<F: Future<Output = ()> + Send + 'static>(with: impl Fn(TcpStream) -> F + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let origin = format!("127.0.0.1:{}", listener.local_addr().expect("an address").port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(with(stream));
        }
    });
    origin
}

/// Reads until the form is there.
async fn read_form(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"secret=1") {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await.expect("readable");
        assert_ne!(read, 0, "the form never came");
        seen.extend_from_slice(&chunk[..read]);
    }
}

#[tokio::test]
async fn a_113_what_never_left_is_known_never_to_have_left() {
    let refused = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("an address");
    let no_tls = accept(|stream| async move { drop(stream) }).await;
    let plain = accept(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    for origin in
        [format!("http://{refused}"), format!("https://{refused}"), format!("https://{no_tls}"), format!("https://{plain}")]
    {
        let error = post(&client(5000, 1000), &origin).await.expect_err("nobody there");
        assert!(matches!(error, FetchError::Unreachable { .. }) && !error.was_sent(), "{origin} {error:?}");
    }
}

#[tokio::test]
async fn a_112_a_deadline_that_passes_before_there_is_a_connection_leaves_no_doubt() {
    let silent = accept(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let error = post(&client(100, 1000), &format!("https://{silent}")).await.expect_err("TLS never begins");
    assert!(matches!(error, FetchError::TimedOut { sent: false, .. }) && !error.was_sent(), "{error:?}");
    let error = post(&client(100, 1000), &format!("http://{silent}")).await.expect_err("no answer");
    assert!(matches!(error, FetchError::TimedOut { sent: true, .. }) && error.was_sent(), "{error:?}");
}

#[tokio::test]
async fn a_113_what_may_have_arrived_is_said_to_have_been_sent_and_is_not_sent_again() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        "nonsense\r\n\r\n",
    ] {
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let origin = accept(move |mut stream| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                read_form(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        })
        .await;
        let error = post(&client(5000, 1000), &format!("http://{origin}")).await.expect_err("cut");
        assert!(matches!(error, FetchError::Broken { .. }) && error.was_sent(), "{answer:?} {error:?}");
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_113_a_form_has_a_connection_of_its_own() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    // Keeps each connection for one answer and closes it when the next request arrives: what a kept connection risks.
    let origin = accept(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            read_form(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.expect("written");
            let _ = stream.read(&mut [0; 1]).await;
        }
    })
    .await;
    let client = client(5000, 1000);
    for times in 1..=3 {
        let answer = post(&client, &format!("http://{origin}")).await.expect("an answer");
        assert_eq!((answer.status, connections.load(Ordering::SeqCst)), (StatusCode::OK, times));
    }
}

#[test]
fn a_shorter_deadline_is_never_a_longer_one() {
    let short = client(50, 1000);
    assert_eq!(short.within(Duration::from_secs(3)).limits.time, Duration::from_millis(50));
    assert_eq!(client(5000, 7).within(Duration::from_secs(3)).limits.time, Duration::from_secs(3));
}
