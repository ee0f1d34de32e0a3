//! Peers that say nothing, say it slowly, or do not listen. The limits are short; nothing waits longer than for their end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::stream::{self, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Limits, PREFACE, serve_within};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(600);

fn patient() -> Limits {
    Limits { first_bytes: LONG, idle: LONG, unread: LONG, connections: 16, of_one_address: 16 }
}

/// A server with these limits; `/large` gives more than any buffer holds, `/slow` never ends.
async fn server(limits: Limits) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(|| async { "ok" }))
        .route("/large", get(|| async { vec![0_u8; 64 << 20] }))
        .route("/o", get(|| async { "ok" }))
        .route("/s", get(|| async { endless() }))
        .route("/slow", get(|| async { endless() }));
    tokio::spawn(serve_within(listener, router, limits, std::future::pending()));
    connect(address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

/// A body that begins and never goes on.
fn endless() -> Body {
    let begun = stream::once(std::future::ready(Ok::<_, Infallible>("x")));
    Body::from_stream(begun.chain(stream::pending()))
}

/// Reads until the server ends the connection.
async fn ends(mut peer: TcpStream) -> usize {
    let mut read = Vec::new();
    // A reset is an end too.
    let _ = tokio::time::timeout(Duration::from_secs(30), peer.read_to_end(&mut read)).await.expect("an end");
    read.len()
}

#[tokio::test]
async fn a_230_a_peer_that_says_nothing_is_left() {
    assert_eq!(ends(server(Limits { first_bytes: SHORT, ..patient() }).await).await, 0);
}

#[tokio::test]
async fn a_230_the_beginning_of_a_preface_is_nothing() {
    for said in [&PREFACE[..3], &PREFACE[..23]] {
        let mut peer = server(Limits { first_bytes: SHORT, ..patient() }).await;
        peer.write_all(said).await.unwrap();
        assert_eq!(ends(peer).await, 0);
    }
}

#[tokio::test]
async fn a_230_a_head_that_does_not_end_is_left() {
    let mut peer = server(Limits { idle: SHORT, ..patient() }).await;
    peer.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    ends(peer).await;
}

#[tokio::test]
async fn a_231_http2_without_a_stream_is_left() {
    let mut peer = server(Limits { idle: SHORT, ..patient() }).await;
    peer.write_all(PREFACE).await.unwrap();
    // An empty SETTINGS frame.
    peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    assert!(ends(peer).await > 0, "its own settings came");
}

#[tokio::test]
async fn a_230_whoever_does_not_read_is_left() {
    let mut peer = server(Limits { unread: SHORT, ..patient() }).await;
    peer.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Nothing is read until the server has given up: then the rest never comes.
    let mut byte = [0; 1];
    while peer.write_all(b"x").await.is_ok() {
        tokio::task::yield_now().await;
    }
    let _ = peer.read(&mut byte).await;
}

/// Begins HTTP/2 with this window for answers and asks for a path of one letter.
async fn ask_http2(peer: &mut TcpStream, window: u32, path: u8) {
    let mut said = PREFACE.to_vec();
    // SETTINGS with SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
    said.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4]);
    said.extend(window.to_be_bytes());
    // HEADERS, the whole request: GET, http, the path, :authority "a" (RFC 7541 appendix A).
    said.extend([0, 0, 9, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x04, 2, b'/', path, 0x41, 1, b'a']);
    peer.write_all(&said).await.unwrap();
}

/// The socket is read, so no write ever waits; it is the stream that gets no room.
#[tokio::test]
async fn a_231_whoever_gives_an_answer_no_window_is_left() {
    let mut peer = server(Limits { unread: SHORT, ..patient() }).await;
    ask_http2(&mut peer, 0, b'o').await;
    assert!(ends(peer).await > 0, "the head of the answer came");
}

#[tokio::test]
async fn an_open_http2_stream_is_neither_idle_nor_unread() {
    let mut peer = server(Limits { idle: SHORT, unread: SHORT, ..patient() }).await;
    ask_http2(&mut peer, 65_535, b's').await;
    let more = tokio::time::timeout(SHORT * 5, ends(peer)).await;
    assert!(more.is_err(), "it was ended");
}

#[tokio::test]
async fn a_stream_that_is_open_is_not_idle() {
    let mut peer = server(Limits { idle: SHORT, ..patient() }).await;
    peer.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut begun = vec![0; 16];
    peer.read_exact(&mut begun).await.unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 200"));
    // Several times as long as an idle connection may last.
    let more = tokio::time::timeout(SHORT * 5, ends(peer)).await;
    assert!(more.is_err(), "it was ended");
}

#[tokio::test]
async fn a_230_one_address_does_not_take_every_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { of_one_address: 1, ..patient() };
    tokio::spawn(serve_within(listener, Router::new().route("/", get(|| async { "ok" })), limits, std::future::pending()));
    let mut first = connect(address);
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    let mut second = connect(address);
    // Whose place it is, no header says: the limit counts addresses.
    let _ = second
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.9\r\nforwarded: for=203.0.113.9\r\n\r\n")
        .await;
    assert_eq!(ends(second).await, 0, "a second one from there");
    drop(first);
    // Its place comes free.
    loop {
        let mut again = connect(address);
        if again.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.is_ok() && ends(again).await > 0 {
            break;
        }
    }
}
