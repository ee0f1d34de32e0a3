use futures_util::FutureExt as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::ProxyUrl;

const HOST: &str = "app.test";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: Application/JSON; charset=utf-8\r\n";

/// An https server that says the same to everybody, with the certificate of an authority of its own.
struct Server {
    port: u16,
    pem: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// It writes `answer`, over and over if `endless`, and then waits for the other side to close if `waits`.
    async fn start(answer: impl Into<Vec<u8>>, endless: bool, waits: bool) -> Self {
        let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let names = vec![HOST.to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).expect("parameters").signed_by(&key, &ca).expect("signed");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let (connections, answer) = (Arc::new(AtomicUsize::new(0)), answer.into());
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(speak(acceptor.clone(), stream, answer.clone(), endless, waits));
            }
        });
        Self { port, pem: ca.pem(), connections }
    }

    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        Self::start(answer, false, false).await
    }

    fn url(&self, host: &str) -> StrangersUrl {
        StrangersUrl::parse(&format!("https://{host}:{}/client.json", self.port)).expect("a URL")
    }

    fn config(&self, reach: Reach) -> GuardedConfig {
        let certificates = Certificates::from_pem(self.pem.as_bytes()).expect("certificates");
        GuardedConfig { reach, egress: Egress::Direct, certificates }
    }

    /// A client on loopback, to whom every name is this machine.
    fn client(&self) -> GuardedClient {
        GuardedClient::with_resolver(&self.config(Reach::PublicAndLoopback), Names::are(&[["127.0.0.1"]])).expect("a client")
    }

    async fn ask(&self) -> Result<GuardedAnswer, FetchError> {
        self.client().get(&self.url(HOST), 100).await
    }
}

async fn speak(acceptor: TlsAcceptor, stream: TcpStream, answer: Vec<u8>, endless: bool, waits: bool) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    stream.write_all(&answer).await.ok()?;
    if endless {
        loop {
            stream.write_all(&answer).await.ok()?;
        }
    }
    stream.flush().await.ok()?;
    if waits {
        stream.read_u8().await.ok()?;
    }
    stream.shutdown().await.ok()
}

/// Answers in turn; the last stays.
struct Names {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Names {
    fn are<const N: usize>(answers: &[[&str; N]]) -> Arc<Self> {
        let parse = |text: &&str| text.parse().expect("an address");
        let answers = answers.iter().map(|answer| answer.iter().map(parse).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Names {
    fn resolve(&self, _: String, port: u16) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer = self.answers[at].iter().map(|address| SocketAddr::new(*address, port)).collect();
        Box::pin(std::future::ready(Ok(answer)))
    }
}

fn not_public(answer: Result<GuardedAnswer, FetchError>) {
    assert!(matches!(answer, Err(FetchError::NotPublic { .. })), "{answer:?}");
}

#[test]
fn only_https_without_user_and_fragment() {
    for bad in [
        "http://app.test/",
        "http://127.0.0.1/",
        "ftp://a.test/",
        "https://u@a.test/",
        "https://:p@a.test/",
        "https://a.test/#",
        "x",
        "",
    ] {
        assert_eq!(StrangersUrl::parse(bad), Err(NotAskable), "{bad}");
    }
    for bad in ["https://proxy.test:3128", "http://u:p@proxy.test:3128", "http://proxy.test/path", "proxy.test:3128"] {
        assert!(ProxyUrl::parse(bad).is_err(), "{bad}");
    }
    assert!(ProxyUrl::parse("http://proxy.test:3128").is_ok());
}

#[tokio::test]
async fn an_answer_comes_with_its_headers() {
    let server = Server::saying(format!("{OK}cache-control: max-age=60\r\ncontent-length: 2\r\n\r\n{{}}")).await;
    let answer = server.ask().await.expect("an answer");
    assert_eq!(
        (answer.status, answer.media_type.as_str(), answer.body.as_ref()),
        (StatusCode::OK, "application/json", &b"{}"[..])
    );
    assert_eq!(answer.headers["cache-control"], "max-age=60");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let server = Server::saying(format!("{OK}content-length: 2\r\n\r\n{{}}")).await;
    let config = GuardedConfig { reach: Reach::PublicAndLoopback, ..GuardedConfig::default() };
    let client = GuardedClient::with_resolver(&config, Names::are(&[["127.0.0.1"]])).expect("a client");
    assert!(matches!(client.get(&server.url(HOST), 100).await, Err(FetchError::Unreachable { .. })));
    assert!(
        matches!(server.client().get(&server.url("other.test"), 100).await, Err(FetchError::Unreachable { .. })),
        "another name"
    );
}

#[tokio::test]
async fn a_158_no_connection_to_an_address_that_is_not_public() {
    let server = Server::saying(OK).await;
    let client = GuardedClient::new(&server.config(Reach::Public)).expect("a client");
    // As a literal in every spelling, and as a name that the resolver knows.
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
    ] {
        not_public(client.get(&server.url(host), 100).await);
    }
    for addresses in [["127.0.0.1", "127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["10.0.0.1", "::1"]] {
        let client = GuardedClient::with_resolver(&server.config(Reach::Public), Names::are(&[addresses])).expect("a client");
        not_public(client.get(&server.url(HOST), 100).await);
    }
    for private in ["10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"] {
        let client =
            GuardedClient::with_resolver(&server.config(Reach::PublicAndLoopback), Names::are(&[[private]])).expect("a client");
        not_public(client.get(&server.url(HOST), 100).await);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

/// The name is resolved once: what was judged is dialled. Where the second answer would count, a connection would come.
#[tokio::test]
async fn a_160_a_resolver_that_changes_its_mind() {
    let server = Server::saying(OK).await;
    let names = Names::are(&[["192.0.2.1"], ["127.0.0.1"]]);
    let client = GuardedClient::with_resolver(&server.config(Reach::PublicAndLoopback), Arc::clone(&names) as Arc<dyn Resolve>);
    not_public(client.expect("a client").get(&server.url(HOST), 100).await);
    assert_eq!((names.asked.load(Ordering::SeqCst), server.connections.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_162_redirects_are_not_followed() {
    let elsewhere = Server::saying(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let target = format!("https://{HOST}:{}/", elsewhere.port);
        let server = Server::saying(format!("HTTP/1.1 {status} X\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n")).await;
        assert_eq!(server.ask().await.expect("an answer").status.as_u16(), status);
    }
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_163_large_encoded_and_endless_answers_end() {
    let large = format!("{OK}content-length: 101\r\n\r\n{}", "x".repeat(101));
    assert!(matches!(Server::saying(large).await.ask().await, Err(FetchError::TooLarge { limit: 100, .. })));
    let open = Server::start(format!("{OK}\r\n"), true, false).await;
    assert!(matches!(open.ask().await, Err(FetchError::TooLarge { .. })), "no length, and no end");
    let gzip = format!("{OK}content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{{}}");
    assert!(matches!(Server::saying(gzip).await.ask().await, Err(FetchError::Encoded { .. })));
    let cut = Server::saying(format!("{OK}content-length: 50\r\n\r\n{{}}")).await;
    assert!(matches!(cut.ask().await, Err(FetchError::Broken { .. })));
    for head in ["x: y\r\n".repeat(65), format!("x: {}\r\n", "y".repeat(HEAD_MAX))] {
        let server = Server::saying(format!("{OK}{head}content-length: 2\r\n\r\n{{}}")).await;
        assert!(matches!(server.ask().await, Err(FetchError::Unreachable { .. })), "{} bytes", head.len());
    }
}

/// The clock stands still and jumps to the deadline when nothing else is left to do.
#[tokio::test]
async fn a_163_silent_answers_end() {
    let server = Server::start(format!("{OK}content-length: 50\r\n\r\n{{"), false, true).await;
    let (client, url) = (server.client(), server.url(HOST));
    let asked = tokio::spawn(async move { client.get(&url, 100).await });
    while server.connections.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(TIME).await;
    assert!(matches!(asked.await.expect("an end"), Err(FetchError::TimedOut { .. })));
}

#[tokio::test]
async fn a_163_only_so_many_at_once() {
    let server = Server::start("", false, true).await;
    let client = server.client();
    let waiting: Vec<_> = (0..AT_ONE_HOST)
        .map(|_| {
            let (client, url) = (client.clone(), server.url(HOST));
            tokio::spawn(async move { client.get(&url, 100).await })
        })
        .collect();
    while server.connections.load(Ordering::SeqCst) < AT_ONE_HOST {
        tokio::task::yield_now().await;
    }
    // Another host has places of its own, until there are none at all.
    let mut others = Vec::new();
    for at in 0..AT_ONCE - AT_ONE_HOST {
        others.push(client.place(&format!("{at}.test")).await);
    }
    let none = client.place("one-more.test");
    tokio::pin!(none);
    assert!(none.as_mut().now_or_never().is_none());
    drop(others);
    drop(none.await);
    // At this host one waits for its turn, and gets it.
    let fifth = client.place(HOST);
    tokio::pin!(fifth);
    assert!(fifth.as_mut().now_or_never().is_none());
    waiting[0].abort();
    drop(fifth.await);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    for ended in waiting {
        let _ = ended.await;
    }
    assert_eq!((client.places.available_permits(), client.hosts.0.lock().expect("unlocked").len()), (AT_ONCE, 0));
}

/// A proxy that answers `CONNECT`, counts, and connects to the server whatever it was asked for.
async fn proxy(server: &Server) -> (ProxyUrl, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = ProxyUrl::parse(&format!("http://{}", listener.local_addr().expect("an address"))).expect("a proxy");
    let (asked, port) = (Arc::new(Mutex::new(Vec::new())), server.port);
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.expect("a byte"));
            }
            let line = String::from_utf8(head).expect("text").lines().next().unwrap_or_default().to_owned();
            seen.lock().expect("unlocked").push(line);
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("written");
            #[expect(clippy::disallowed_methods, reason = "a proxy connects")]
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (url, asked)
}

#[tokio::test]
async fn a_174_through_the_proxy_and_never_past_it() {
    let server = Server::saying(format!("{OK}content-length: 2\r\n\r\n{{}}")).await;
    let (url, asked) = proxy(&server).await;
    let names = Names::are(&[["127.0.0.1"]]);
    // Loopback is allowed: that means ours, not the proxy's.
    let config = GuardedConfig { egress: Egress::Proxy(url), ..server.config(Reach::PublicAndLoopback) };
    let client = GuardedClient::with_resolver(&config, Arc::clone(&names) as Arc<dyn Resolve>).expect("a client");
    let answer = client.get(&server.url(HOST), 100).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(*asked.lock().expect("unlocked"), [format!("CONNECT {HOST}:{} HTTP/1.1", server.port)]);
    for host in ["127.0.0.1", "[::1]", "10.0.0.1", "localhost", "vault.internal", "printer"] {
        not_public(client.get(&server.url(host), 100).await);
    }
    assert_eq!((asked.lock().expect("unlocked").len(), names.asked.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_174_a_proxy_that_is_away_is_not_gone_around() {
    let server = Server::saying(OK).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("an address");
    let proxy = ProxyUrl::parse(&format!("http://{closed}")).expect("a proxy");
    let config = GuardedConfig { egress: Egress::Proxy(proxy), ..server.config(Reach::PublicAndLoopback) };
    let client = GuardedClient::with_resolver(&config, Names::are(&[["127.0.0.1"]])).expect("a client");
    assert!(matches!(client.get(&server.url(HOST), 100).await, Err(FetchError::Unreachable { .. })));
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_address_where_nobody_answers_leaves_the_others() {
    let server = Server::saying(format!("{OK}content-length: 2\r\n\r\n{{}}")).await;
    for addresses in [["::1", "127.0.0.1"], ["127.0.0.2", "127.0.0.1"]] {
        let client = GuardedClient::with_resolver(&server.config(Reach::PublicAndLoopback), Names::are(&[addresses]));
        let answer = client.expect("a client").get(&server.url(HOST), 100).await;
        assert_eq!(answer.expect("an answer").status, StatusCode::OK, "{addresses:?}");
    }
}
