//! The backend's answer on its way to the client: frame by frame as it comes, for as long as the permit holds (PX-06, PX-07).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use deputy_guard::{Permit, Verifier};
use deputy_protocol::{Reason, Timestamp};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::places::Place;

/// Asks again and again whether a request may go on.
pub(super) struct Watch {
    permit: Permit,
    ends: Timestamp,
    verifier: Arc<Verifier>,
    clock: Arc<dyn Clock>,
    ticks: Interval,
    #[expect(dead_code, reason = "held, and given back when it is dropped")]
    place: Option<Place<String>>,
}

impl Watch {
    pub(super) fn new(permit: Permit, ends: Timestamp, verifier: Arc<Verifier>, clock: Arc<dyn Clock>, every: Duration) -> Self {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { permit, ends, verifier, clock, ticks, place: None }
    }

    /// The same, which takes up this place for as long as it lives.
    pub(super) fn holding(self, place: Place<String>) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Ready once the request may go on no more, with the reason.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        loop {
            ready!(self.ticks.poll_tick(cx));
            if let Err(reason) = self.verifier.not_revoked(&self.permit) {
                return Poll::Ready(reason);
            }
            if self.clock.now() >= self.ends {
                return Poll::Ready(Reason::TokenExpired);
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// A watched answer. Dropping it, which is what the server does when the client leaves, drops the request to the backend.
pub(super) struct Watched {
    answer: Option<Incoming>,
    watch: Watch,
    /// An event stream may end between two events; anything else that is cut must look cut.
    may_end_early: bool,
}

impl Watched {
    pub(super) fn new(answer: Incoming, watch: Watch, may_end_early: bool) -> Self {
        Self { answer: Some(answer), watch, may_end_early }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(answer) = this.answer.as_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(reason) = this.watch.poll_ended(cx) {
            tracing::info!(reason = reason.code(), "stream ended");
            this.answer = None;
            return Poll::Ready(if this.may_end_early { None } else { Some(Err(reason.into())) });
        }
        loop {
            match ready!(Pin::new(&mut *answer).poll_frame(cx)) {
                // Trailers are headers: nothing in MCP needs them.
                Some(Ok(frame)) if frame.is_trailers() => {}
                other => return Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.answer.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
