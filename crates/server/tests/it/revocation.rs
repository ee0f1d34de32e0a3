//! A grant that ends through one replica ends at all of them, with every answer that goes on under it (I4, A-109, R32).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use deputy_protocol::GrantId;
use deputy_server::Ended;
use deputy_server::clock::Clock as _;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use crate::support::http::{claims, client, post_form};
use crate::support::streams::{SILENT, Streams};
use crate::support::{Client, HONEST, PING, World};

/// Three gateways of one deployment before one MCP server.
pub struct Deployment {
    pub worlds: [World; 3],
    pub backend: Arc<Streams>,
}

/// What a sign-in gave.
pub struct SignedIn {
    pub client: Client,
    pub code: String,
    pub access: String,
    pub refresh: String,
}

/// Answers that go on through one gateway.
struct Answers {
    events: Incoming,
    begun: Incoming,
    awaited: tokio::task::JoinHandle<Response<Incoming>>,
}

/// Waits for what comes without anybody's help, and not for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("within the bound")
}

impl Deployment {
    pub async fn start() -> Self {
        let (backend, url) = Streams::start().await;
        let first = World::with(|config| config.servers[0].url = url.parse().unwrap()).await;
        let again = async || first.again_with(|config| config.servers[0].url = url.parse().unwrap()).await;
        let (second, third) = (again().await, again().await);
        Self { worlds: [first, second, third], backend }
    }

    /// Signs in through the first.
    pub async fn sign_in(&self) -> SignedIn {
        let world = &self.worlds[0];
        let client = world.register(HONEST).await;
        let code = world.code(&client).await;
        let tokens = world.redeem(&client, &code).await.json();
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        SignedIn { access: text("access_token"), refresh: text("refresh_token"), client, code }
    }

    fn request(&self, at: usize, method: Method, token: &str, body: &'static str) -> Request<Full<Bytes>> {
        let host = self.worlds[0].origin.trim_start_matches("http://");
        Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}/mcp", self.worlds[at].origin_port))
            .header("host", host)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap()
    }

    pub async fn events(&self, at: usize, token: &str) -> Incoming {
        let events = client().request(self.request(at, Method::GET, token, "")).await.unwrap();
        assert_eq!(events.status(), 200);
        let mut events = events.into_body();
        assert_eq!(next(&mut events).await.unwrap(), ": hello\n\n");
        events
    }

    /// An event stream, an answer that is begun and one that is awaited, all under one token.
    async fn answers(&self, at: usize, token: &str) -> Answers {
        let events = self.events(at, token).await;
        let begun = client().request(self.request(at, Method::POST, token, PING)).await.unwrap();
        assert_eq!(begun.status(), 200);
        let mut begun = begun.into_body();
        assert_eq!(next(&mut begun).await.unwrap(), "{");
        let silent = self.request(at, Method::POST, token, SILENT);
        let awaited = tokio::spawn(async move { client().request(silent).await.unwrap() });
        Answers { events, begun, awaited }
    }
}

/// The next piece of an answer; `None` at its proper end.
pub async fn next(body: &mut Incoming) -> Option<Bytes> {
    soon(body.frame()).await.map(|frame| frame.expect("not cut").into_data().unwrap())
}

impl Answers {
    /// Each has ended as it should: the event stream between two events, what was begun visibly cut, what was awaited with a challenge.
    async fn have_ended(mut self) {
        assert_eq!(next(&mut self.events).await, None);
        assert!(soon(self.begun.frame()).await.unwrap().is_err(), "half an answer must not look whole");
        let refused = soon(self.awaited).await.unwrap();
        assert_eq!(refused.status(), 401);
        assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    }
}

/// Ends a grant by `end`, which may use the first gateway only, while answers go on through the other two.
async fn ends_everywhere(end: impl AsyncFnOnce(&World, &SignedIn)) {
    let deployment = Box::pin(Deployment::start()).await;
    let (ended, other) = (deployment.sign_in().await, deployment.sign_in().await);
    let mut bystanders = Vec::new();
    let mut answers = Vec::new();
    for at in [1, 2] {
        bystanders.push(deployment.events(at, &other.access).await);
        answers.push(deployment.answers(at, &ended.access).await);
    }
    deployment.backend.until_open(8).await;

    end(&deployment.worlds[0], &ended).await;
    for answers in answers {
        answers.have_ended().await;
    }
    // The backend need not work for nobody.
    soon(deployment.backend.until_open(2)).await;
    deployment.backend.say_something();
    for events in &mut bystanders {
        assert_eq!(next(events).await.unwrap(), "data: {}\n\n", "another grant of the same person goes on");
    }
    for at in 0..3 {
        // Several gateways may stand behind each address: each stream has shown one of them.
        deployment.worlds[at].catch_up().await;
        let refused = client().request(deployment.request(at, Method::GET, &ended.access, "")).await.unwrap();
        assert_eq!(refused.status(), 401, "replica {at}");
    }
    let again = deployment.worlds[0].refresh(&ended.client, &ended.refresh).await;
    assert_eq!((again.status.as_u16(), again.json()["error"].as_str()), (400, Some("invalid_grant")));
}

#[tokio::test]
async fn a_109_r32_what_its_client_gives_up_ends_at_every_replica() {
    ends_everywhere(async |world, signed_in| {
        let form = [("client_id", signed_in.client.id.as_str()), ("token", signed_in.refresh.as_str())];
        assert_eq!(post_form(&world.at("/revoke"), &form).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_109_r32_what_the_operator_ends_ends_at_every_replica() {
    ends_everywhere(async |world, signed_in| {
        let claims = claims(&signed_in.access);
        let grant = GrantId::from_stored(claims["grant"].as_str().unwrap().to_owned());
        assert_eq!(world.grants().await.end(&grant, world.clock.now()).await.unwrap(), Ended::Now);
    })
    .await;
}

#[tokio::test]
async fn a_109_r32_a_replayed_code_ends_its_grant_at_every_replica() {
    ends_everywhere(async |world, signed_in| {
        assert_eq!(world.redeem(&signed_in.client, &signed_in.code).await.status, 400);
    })
    .await;
}

#[tokio::test]
async fn a_109_r32_a_refresh_token_used_after_its_grace_ends_its_grant_at_every_replica() {
    ends_everywhere(async |world, signed_in| {
        assert_eq!(world.refresh(&signed_in.client, &signed_in.refresh).await.status, 200);
        world.clock.advance(61);
        assert_eq!(world.refresh(&signed_in.client, &signed_in.refresh).await.status, 400);
    })
    .await;
}
