//! The proxy over real sockets: a client, the proxy, and a backend that writes down what it sees.

mod messages;
mod requests;
mod responses;
mod sessions;
mod streams;

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use deputy_guard::Revocations;
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::scope::Scopes;
use deputy_protocol::web::Origins;
use deputy_protocol::{GrantId, Issuer, Timestamp};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http_body_util::BodyExt as _;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tokio::net::TcpListener;

use super::*;

const NOW: u64 = 1_800_000_000;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[derive(Debug)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
struct Revoked(Mutex<HashSet<GrantId>>);

impl Revocations for Revoked {
    fn is_revoked(&self, grant: &GrantId) -> bool {
        self.0.lock().unwrap().contains(grant)
    }
}

/// What the backend saw of a request.
#[derive(Clone)]
struct Seen {
    head: Parts,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Vec<&str> {
        self.head.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// One gateway with one backend.
struct Gate {
    origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    clock: Arc<TestClock>,
    revoked: Arc<Revoked>,
    key: EncodingKey,
    client: hyper_util::client::legacy::Client<hyper_util::client::legacy::connect::HttpConnector, Body>,
}

type Backend = Arc<dyn Fn(Parts) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

async fn serve_backend(backend: Backend, seen: Arc<Mutex<Vec<Seen>>>) -> String {
    let handler = move |request: Request<Body>| {
        let (backend, seen) = (Arc::clone(&backend), Arc::clone(&seen));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
            seen.lock().unwrap().push(Seen { head: head.clone(), body });
            backend(head).await
        }
    };
    serve(Router::new().fallback(handler)).await
}

impl Gate {
    async fn start<F, R>(backend: F) -> Self
    where
        F: Fn(Parts) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let seen = Arc::default();
        let backend: Backend = Arc::new(move |head| backend(head).boxed());
        let backend = serve_backend(backend, Arc::clone(&seen)).await;
        Self::before(&format!("{backend}/mcp?tenant=7"), seen).await
    }

    async fn before(backend: &str, seen: Arc<Mutex<Vec<Seen>>>) -> Self {
        Self::with_rules(backend, seen, CallRules::default()).await
    }

    async fn with_rules(backend: &str, seen: Arc<Mutex<Vec<Seen>>>, calls: CallRules) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("k1".to_owned());
        let keys = Arc::new(ArcSwap::from_pointee(JwkSet { keys: vec![jwk] }));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let uri = ResourceUri::parse(&format!("{origin}/mcp")).unwrap();
        let (clock, revoked) = (Arc::new(TestClock(AtomicU64::new(NOW))), Arc::new(Revoked::default()));
        let scopes = Scopes::parse("mcp").unwrap();
        let issuer = Issuer::parse(&origin).unwrap();
        let verifier = Verifier::new(issuer, uri.clone(), scopes.clone(), keys, Arc::clone(&revoked) as Arc<dyn Revocations>);
        let origins = Origins::new(&origin, &[]).unwrap();
        let proxy = Proxy::new(ProxyConfig {
            resource: ProtectedResource { uri, path: "/mcp".to_owned(), name: "test".to_owned(), scopes, calls },
            backend: backend.parse().unwrap(),
            verifier: Arc::new(verifier),
            clients: Arc::default(),
            hosts: origins.host_rule(),
            origins: origins.origin_rule(),
            seal: Arc::new(crate::seal::Seal::of(&[7; 32]).unwrap()),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            told: Told::Headers,
            tokens: None,
            limits: Limits {
                request_body: 1024,
                large_body: 512,
                large_requests: 2,
                recheck: Duration::from_millis(5),
                ..Limits::default()
            },
        });
        let proxy = Arc::new(proxy.unwrap());
        let handler = move |request: Request<Body>| {
            let proxy = Arc::clone(&proxy);
            async move { proxy.handle(request).await }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await.unwrap() });
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        Self { origin, seen, clock, revoked, key, client }
    }

    fn claims(&self) -> serde_json::Value {
        serde_json::json!({
            "iss": self.origin, "sub": "sub-1", "aud": format!("{}/mcp", self.origin), "client_id": "client-1", "iat": NOW,
            "exp": NOW + 300, "jti": "j", "scope": "mcp", "grant": "g_1", "email": "ada@example.com", "name": "Ada Lovelace, 100% Ädä",
            "client_name": "Claude",
        })
    }

    fn token(&self) -> String {
        self.sign(&self.claims())
    }

    fn sign(&self, claims: &serde_json::Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some("k1".to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// A POST with a token, to be changed.
    fn request(&self) -> http::request::Builder {
        Request::post(format!("{}/mcp", self.origin))
            .header("authorization", format!("Bearer {}", self.token()))
            .header("content-type", "application/json")
    }

    async fn send(&self, request: Request<Body>) -> Response<hyper::body::Incoming> {
        self.client.request(request).await.unwrap()
    }

    async fn post(&self) -> Response<hyper::body::Incoming> {
        self.send(self.request().body(Body::from(PING)).unwrap()).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn only_seen(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1);
        seen[0].clone()
    }
}

fn answer(status: u16, content_type: &str, body: &'static str) -> Response<Body> {
    let mut response = Response::builder().status(status);
    if !content_type.is_empty() {
        response = response.header("content-type", content_type);
    }
    response.body(Body::from(body)).unwrap()
}

async fn json(_: Parts) -> Response<Body> {
    answer(200, "application/json", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
}

async fn text(response: Response<hyper::body::Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn header<'r, B>(response: &'r Response<B>, name: &str) -> &'r str {
    let mut values = response.headers().get_all(name).iter();
    let value = values.next().map_or("", |value| value.to_str().unwrap());
    assert!(values.next().is_none(), "{name} stands twice");
    value
}
