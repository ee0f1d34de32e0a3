//! What the deployment of a test stands on: `DEPUTY_TEST_STORE=postgres` for another database, `DEPUTY_TEST_REPLICAS=3` for several gateways
//! of which each request meets another.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use deputy_protocol::secret::ClientSecret;
use deputy_server::clock::Clock;
use deputy_server::{Config, Gateway, StartError, StoreConfig};
use futures_util::future::BoxFuture;
use tower::Service;

use super::clock::TestClock;
use super::postgres;

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Whether the state is in the file of SQLite.
pub fn on_sqlite() -> bool {
    setting("DEPUTY_TEST_STORE").is_none_or(|store| store == "sqlite")
}

/// How many gateways there are.
pub fn count() -> usize {
    setting("DEPUTY_TEST_REPLICAS").map_or(1, |count| count.parse().expect("a number"))
}

/// A new store.
pub async fn store() -> StoreConfig {
    if on_sqlite() {
        return StoreConfig::Sqlite;
    }
    let store = StoreConfig::Postgres(ClientSecret::from_text(postgres::database().await));
    deputy_server::migrate(&store).await.expect("tables");
    store
}

/// Starts all gateways of a configuration.
pub async fn start(config: Config, clock: &Arc<TestClock>) -> Result<Vec<Gateway>, StartError> {
    let mut gateways = Vec::new();
    for _ in 1..count() {
        gateways.push(Gateway::start_at(config.clone(), Arc::clone(clock) as Arc<dyn Clock>).await?);
    }
    gateways.push(Gateway::start_at(config, Arc::clone(clock) as Arc<dyn Clock>).await?);
    Ok(gateways)
}

/// One router for all of them: each request goes to the next.
pub fn in_turn(gateways: &[Gateway]) -> Router {
    match gateways {
        [one] => one.router(),
        several => {
            let routers = several.iter().map(Gateway::router).collect();
            Router::new().fallback_service(InTurn { routers, next: Arc::new(AtomicUsize::new(0)) })
        }
    }
}

#[derive(Clone)]
struct InTurn {
    routers: Vec<Router>,
    next: Arc<AtomicUsize>,
}

impl Service<Request> for InTurn {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut router = self.routers[self.next.fetch_add(1, Ordering::SeqCst) % self.routers.len()].clone();
        Box::pin(async move { router.call(request).await })
    }
}
