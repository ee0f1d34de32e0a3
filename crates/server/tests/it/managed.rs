//! A managed identity: what Azure says of us stands for a secret (learn.microsoft.com, "REST endpoint reference" of managed identities).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use deputy_protocol::secret::ClientSecret;
use deputy_server::config::{Credential, ManagedIdentity};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::hearing::tokens;
use crate::support::http::Browser;
use crate::support::idp::Faults;
use crate::support::{HONEST, World};

const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Azure, as a machine in it sees it.
struct Azure {
    origin: String,
    asked: AtomicUsize,
    /// What it answers next: a status, and seconds until the token ends.
    says: Mutex<(u16, u64)>,
    now: Mutex<u64>,
}

impl Azure {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let azure = Arc::new(Self { origin, asked: AtomicUsize::new(0), says: Mutex::new((200, 3600)), now: Mutex::new(0) });
        let router = Router::new()
            .route("/metadata/identity/oauth2/token", get(machine))
            .route("/msi/token", get(service))
            .with_state(Arc::clone(&azure));
        tokio::spawn(async move { axum::serve(listener, router).await });
        azure
    }

    fn answer(&self) -> (StatusCode, String) {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let (status, lives) = *self.says.lock().unwrap();
        let ends = *self.now.lock().unwrap() + lives;
        let body =
            json!({ "access_token": format!("azure.says.{asked}"), "expires_on": ends.to_string(), "token_type": "Bearer" });
        (StatusCode::from_u16(status).unwrap(), body.to_string())
    }

    fn says(&self, status: u16, lives: u64) {
        *self.says.lock().unwrap() = (status, lives);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn world(self: &Arc<Self>, identity: ManagedIdentity) -> World {
        let world = World::with(|config| config.idps[0].credential = Credential::Managed(identity)).await;
        world.idp.misbehave(Faults { takes_assertions: true, ..Faults::default() });
        self.tell(&world);
        world
    }

    fn tell(&self, world: &World) {
        *self.now.lock().unwrap() = world.clock.seconds();
    }
}

fn is_for_us(query: Option<&str>, version: &str) -> bool {
    let asked: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let expected = [("api-version", version), ("resource", AUDIENCE), ("client_id", "the-identity")];
    asked == expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

async fn machine(State(azure): State<Arc<Azure>>, headers: HeaderMap, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let fits = headers.get("metadata").is_some_and(|value| value == "true") && is_for_us(query.as_deref(), "2018-02-01");
    if fits { azure.answer() } else { (StatusCode::BAD_REQUEST, String::new()) }
}

async fn service(State(azure): State<Arc<Azure>>, headers: HeaderMap, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let fits = headers.get("x-identity-header").is_some_and(|value| value == "ours") && is_for_us(query.as_deref(), "2019-08-01");
    if fits { azure.answer() } else { (StatusCode::UNAUTHORIZED, String::new()) }
}

fn of_machine(azure: &Azure) -> ManagedIdentity {
    ManagedIdentity::of_machine(&azure.origin, AUDIENCE, "the-identity").unwrap()
}

fn sent(world: &World) -> String {
    world.idp.forms.lock().unwrap().last().cloned().unwrap()["client_assertion"].clone()
}

#[tokio::test]
async fn what_azure_says_of_us_stands_for_a_secret_and_is_kept_until_shortly_before_its_end() {
    let azure = Azure::start().await;
    let world = azure.world(of_machine(&azure)).await;
    let (client, _, token) = world.signed_in().await;
    assert_eq!(sent(&world), "azure.says.1");
    world.clock.advance(3600 - 301);
    let (_, token) = tokens(&world.refresh(&client, &token).await);
    assert_eq!((sent(&world).as_str(), azure.asked()), ("azure.says.1", 1));
    world.clock.advance(1);
    azure.tell(&world);
    world.signed_in().await;
    assert_eq!((sent(&world).as_str(), azure.asked()), ("azure.says.2", 2));
    world.clock.advance(61);
    tokens(&world.refresh(&client, &token).await);
    let header = ClientSecret::from_text("ours".to_owned());
    let service = ManagedIdentity::of_service(&format!("{}/msi/token", azure.origin), header, AUDIENCE, "the-identity").unwrap();
    let world = azure.world(service).await;
    world.signed_in().await;
    assert_eq!(sent(&world), "azure.says.3");
}

#[tokio::test]
async fn nobody_is_signed_out_while_azure_is_silent() {
    let azure = Azure::start().await;
    let world = azure.world(of_machine(&azure)).await;
    let (client, _, token) = world.signed_in().await;
    azure.says(503, 3600);
    // Shortly before the end of what it said: that still counts.
    world.clock.advance(3600 - 60);
    let (_, token) = tokens(&world.refresh(&client, &token).await);
    assert_eq!((sent(&world).as_str(), azure.asked()), ("azure.says.1", 2));
    world.clock.advance(61);
    let answer = world.refresh(&client, &token).await;
    assert!(answer.status == 503 && !answer.header("retry-after").is_empty(), "{}", answer.text());
    // What counts no more, or for ever, is no answer.
    for lives in [0, 10 * 24 * 3600] {
        azure.tell(&world);
        azure.says(200, lives);
        world.clock.advance(3);
        assert_eq!(world.refresh(&client, &token).await.status, 503, "{lives}");
    }
    azure.tell(&world);
    azure.says(200, 3600);
    world.clock.advance(3);
    tokens(&world.refresh(&client, &token).await);
}

#[tokio::test]
async fn azure_is_asked_once_for_all_who_wait() {
    let azure = Azure::start().await;
    let world = azure.world(of_machine(&azure)).await.alone().await;
    azure.says(500, 0);
    let client = world.register(HONEST).await;
    let at_once = (0..8).map(|_| async { world.approve(&mut Browser::default(), &client).await.status.as_u16() });
    assert_eq!(futures_util::future::join_all(at_once).await, [503; 8]);
    assert_eq!(azure.asked(), 1);
    world.clock.advance(3);
    azure.says(200, 3600);
    azure.tell(&world);
    let at_once = (0..8).map(|_| async { world.approve(&mut Browser::default(), &client).await.sent("code").is_some() });
    assert_eq!(futures_util::future::join_all(at_once).await, [true; 8]);
    assert_eq!(azure.asked(), 2);
}
