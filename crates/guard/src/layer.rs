//! The guard as a tower layer, for servers that protect themselves.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use deputy_protocol::Timestamp;
use http::{Request, Response};
use http_body_util::{Either, Full};
use tower::{Layer, Service};

use crate::verifier::Verifier;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A layer that lets a request pass with a valid token only. The [`Permit`](crate::Permit) is then in the request's extensions; every
/// other request is answered here and reaches nothing behind (RS-07).
#[must_use]
pub fn protect(verifier: Arc<Verifier>, clock: Clock) -> Protect {
    Protect { verifier, clock }
}

/// The layer of [`protect`].
#[derive(Clone)]
pub struct Protect {
    verifier: Arc<Verifier>,
    clock: Clock,
}

impl fmt::Debug for Protect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protect").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Protect {
    type Service = Protected<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Protected { guard: self.clone(), inner }
    }
}

/// A service behind [`protect`].
#[derive(Clone, Debug)]
pub struct Protected<S> {
    guard: Protect,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Protected<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<Either<R, Full<Bytes>>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let now = (self.guard.clock)();
        match self.guard.verifier.verify(request.headers(), now) {
            Ok(permit) => {
                request.extensions_mut().insert(permit);
                let answer = self.inner.call(request);
                Box::pin(async move { answer.await.map(|response| response.map(Either::Left)) })
            }
            Err(refused) => {
                tracing::info!(reason = refused.reason().code(), "refused");
                // The response is made inside, so that `R` need not be `Send`.
                Box::pin(async move { Ok(refused.response().map(Either::Right)) })
            }
        }
    }
}
