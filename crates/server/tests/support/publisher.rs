//! A host on loopback that publishes metadata documents over https, with a certificate of an authority of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use deputy_fetch::Certificates;
use deputy_server::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What lies at a path: a whole answer, as it is written.
#[derive(Clone, Debug)]
pub struct Page {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Page {
    pub fn json(document: &Value) -> Self {
        Self { status: 200, headers: Vec::new(), body: document.to_string() }.header("content-type", "application/json")
    }

    pub fn failure(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("HTTP/1.1 {} X\r\n{headers}content-length: {}\r\n\r\n{}", self.status, self.body.len(), self.body).into_bytes()
    }
}

pub struct Publisher {
    port: u16,
    pem: String,
    pages: Mutex<HashMap<String, Page>>,
    /// How many requests came, of which path.
    requests: watch::Sender<Vec<String>>,
    /// Whether answers are held back.
    held: watch::Sender<bool>,
}

impl Publisher {
    pub async fn start() -> Arc<Self> {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).expect("parameters").signed_by(&key, &ca).expect("signed");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let publisher = Arc::new(Self {
            port: listener.local_addr().expect("an address").port(),
            pem: ca.pem(),
            pages: Mutex::default(),
            requests: watch::Sender::new(Vec::new()),
            held: watch::Sender::new(false),
        });
        let served = Arc::clone(&publisher);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&served).answer(acceptor.clone(), stream));
            }
        });
        publisher
    }

    async fn answer(self: Arc<Self>, acceptor: TlsAcceptor, stream: TcpStream) -> Option<()> {
        let mut stream = acceptor.accept(stream).await.ok()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let path = String::from_utf8(head).ok()?.split(' ').nth(1)?.to_owned();
        let page = self.pages.lock().expect("a lock").get(&path).cloned();
        self.requests.send_modify(|requests| requests.push(path));
        self.held.subscribe().wait_for(|held| !held).await.ok()?;
        stream.write_all(&page.unwrap_or_else(|| Page::failure(404)).bytes()).await.ok()?;
        stream.shutdown().await.ok()
    }

    /// What a gateway needs to fetch here.
    pub fn trusted(&self, config: &mut Config) {
        config.documents.certificates = Certificates::from_pem(self.pem.as_bytes()).expect("certificates");
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// A good document of the client at this path.
    pub fn document(&self, path: &str, redirect: &str) -> Value {
        json!({
            "client_id": self.url(path), "client_name": "Published client", "redirect_uris": [redirect], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        })
    }

    pub fn publish(&self, path: &str, page: Page) {
        self.pages.lock().expect("a lock").insert(path.to_owned(), page);
    }

    /// How often a path was asked for.
    pub fn requests(&self, path: &str) -> usize {
        self.requests.borrow().iter().filter(|known| *known == path).count()
    }

    /// How many requests came at all.
    pub fn all_requests(&self) -> usize {
        self.requests.borrow().len()
    }

    /// Holds answers back, or lets them go.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Waits until some path that begins so was asked for.
    pub async fn wait_for_some(&self, prefix: &str) {
        let any = |requests: &Vec<String>| requests.iter().any(|path| path.starts_with(prefix));
        self.requests.subscribe().wait_for(any).await.expect("a publisher");
    }

    /// Waits until a path was asked for that often.
    pub async fn wait_for(&self, path: &str, times: usize) {
        let enough = |requests: &Vec<String>| requests.iter().filter(|known| *known == path).count() >= times;
        self.requests.subscribe().wait_for(enough).await.expect("a publisher");
    }
}
