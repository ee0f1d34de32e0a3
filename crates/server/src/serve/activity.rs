//! Which requests of a connection are under way, from their head to the last byte of their answer, and who keeps whom waiting.

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

use super::Limits;
use crate::sources::Peer;

/// How often a connection is looked at, as a part of how long it may be idle or unread.
const LOOKS: u32 = 4;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    /// Requests under way.
    open: usize,
    /// Those of them that wait for us or a backend. The others wait for their peer to read.
    ours: usize,
    /// When one last began, went on or ended.
    since: Instant,
}

impl State {
    /// How long this may last.
    fn patience(&self, limits: Limits) -> Duration {
        match (self.open, self.ours) {
            (0, _) => limits.idle,
            // HTTP/2 has windows of its own: a peer may read the connection and leave every answer unread (RFC 9113 §5.2).
            (_, 0) => limits.unread,
            _ => Duration::MAX,
        }
    }
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { open: 0, ours: 0, since: Instant::now() })))
    }

    fn change(&self, edit: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut state);
        state.since = Instant::now();
    }

    fn begin(self: &Arc<Self>) -> Open {
        self.change(|state| {
            state.open = state.open.saturating_add(1);
            state.ours = state.ours.saturating_add(1);
        });
        Open { activity: Arc::clone(self), ours: true }
    }

    /// Waits until no request has been under way for too long, or every one has waited for its peer for too long.
    pub(super) async fn over(&self, limits: Limits) {
        loop {
            tokio::time::sleep(limits.idle.min(limits.unread) / LOOKS).await;
            let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.since.elapsed() >= state.patience(limits) {
                return;
            }
        }
    }
}

/// A request under way.
#[derive(Debug)]
struct Open {
    activity: Arc<Activity>,
    ours: bool,
}

impl Open {
    /// It waits for us: there is nothing to send.
    fn waits_for_us(&mut self) {
        if !self.ours {
            self.ours = true;
            self.activity.change(|state| state.ours = state.ours.saturating_add(1));
        }
    }

    /// It waits for its peer: there is something to read.
    fn waits_for_peer(&mut self) {
        let was_ours = usize::from(std::mem::take(&mut self.ours));
        self.activity.change(|state| state.ours = state.ours.saturating_sub(was_ours));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.waits_for_peer();
        self.activity.change(|state| state.open = state.open.saturating_sub(1));
    }
}

/// A service whose requests are counted, and say where they come from.
#[derive(Clone)]
pub(super) struct Counted {
    router: TowerToHyperService<Router>,
    peer: Peer,
    activity: Arc<Activity>,
}

impl Counted {
    pub(super) fn new(router: TowerToHyperService<Router>, peer: Peer, activity: Arc<Activity>) -> Self {
        Self { router, peer, activity }
    }
}

impl Service<Request<Incoming>> for Counted {
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        let (mut open, answer) = (self.activity.begin(), self.router.call(request));
        Box::pin(async move {
            let answer = answer.await?;
            open.waits_for_peer();
            Ok(answer.map(|body| CountedBody { body, open }))
        })
    }
}

/// A body whose request is under way for as long as it is sent. The library asks for a frame when there is room for it at the peer.
#[derive(Debug)]
pub(super) struct CountedBody {
    body: Body,
    open: Open,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match frame {
            Poll::Pending => self.open.waits_for_us(),
            Poll::Ready(_) => self.open.waits_for_peer(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
