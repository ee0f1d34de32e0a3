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

#[cfg(test)]
mod tests {
    use std::future::Ready;
    use std::task::Waker;

    use arc_swap::ArcSwap;
    use deputy_protocol::Issuer;
    use deputy_protocol::resource::ResourceUri;
    use deputy_protocol::scope::Scopes;
    use jsonwebtoken::jwk::JwkSet;

    use super::*;
    use crate::NothingRevoked;

    /// A service that has no room.
    struct Full;

    impl Service<Request<()>> for Full {
        type Response = Response<()>;
        type Error = ();
        type Future = Ready<Result<Response<()>, ()>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::ready(Err(()))
        }
    }

    #[test]
    fn a_service_without_room_is_waited_for() {
        let keys = Arc::new(ArcSwap::from_pointee(JwkSet { keys: Vec::new() }));
        let (issuer, resource) = (Issuer::parse("https://h").unwrap(), ResourceUri::parse("https://h/mcp").unwrap());
        let verifier = Verifier::new(issuer, resource, Scopes::parse("mcp").unwrap(), keys, Arc::new(NothingRevoked));
        let mut service = protect(Arc::new(verifier), Arc::new(|| Timestamp::from_seconds(0))).layer(Full);
        assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}
