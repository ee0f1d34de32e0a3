//! Which requests of a connection are under way, from their head to the last byte of their answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::time::Instant;

/// How often an idle connection is looked at, as a part of how long it may be idle.
const LOOKS: u32 = 4;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    open: usize,
    since: Instant,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { open: 0, since: Instant::now() })))
    }

    fn change(&self, edit: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { open: edit(state.open), since: Instant::now() };
    }

    fn begin(self: &Arc<Self>) -> Open {
        self.change(|open| open.saturating_add(1));
        Open(Arc::clone(self))
    }

    /// Waits until no request has been under way for this long.
    pub(super) async fn quiet_for(&self, long: Duration) {
        loop {
            tokio::time::sleep(long / LOOKS).await;
            let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.open == 0 && state.since.elapsed() >= long {
                return;
            }
        }
    }
}

/// A request under way.
#[derive(Debug)]
struct Open(Arc<Activity>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.change(|open| open.saturating_sub(1));
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub(super) struct Counted {
    router: TowerToHyperService<Router>,
    activity: Arc<Activity>,
}

impl Counted {
    pub(super) fn new(router: TowerToHyperService<Router>, activity: Arc<Activity>) -> Self {
        Self { router, activity }
    }
}

impl Service<Request<Incoming>> for Counted {
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (open, answer) = (self.activity.begin(), self.router.call(request));
        Box::pin(async move { Ok(answer.await?.map(|body| CountedBody { body, _open: open })) })
    }
}

/// A body whose request is under way for as long as it is sent.
#[derive(Debug)]
pub(super) struct CountedBody {
    body: Body,
    _open: Open,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
