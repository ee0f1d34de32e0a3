//! The way out of a guarded request: the addresses that were judged are the ones that are dialled, or a proxy of the operator's does it.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tower::Service;
use url::{Host, Url};

use crate::address::{Reach, is_local_name, is_public};

/// Most names that are looked up at once. A lookup cannot be called off and holds a thread until the last name server was silent for long
/// enough, which is longer than anybody waits here; the other threads are for the rest of the house.
const LOOKUPS: usize = 64;
/// Most addresses of a name that are tried, and how long each: one that leads nowhere leaves time for the next.
const ATTEMPTS: usize = 4;
const ATTEMPT: Duration = Duration::from_millis(1200);

type BoxError = Box<dyn StdError + Send + Sync>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How guarded requests leave this machine. No variable of the environment changes it.
#[derive(Clone, Debug, Default)]
pub enum Egress {
    /// Straight to the address that was judged.
    #[default]
    Direct,
    /// Through this proxy (`CONNECT`), and never otherwise. It resolves the names, so it must refuse what lies inside; addresses and names that
    /// are local by what they say are refused here.
    Proxy(ProxyUrl),
}

/// The address of a forward proxy: `http`, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl(Uri);

/// An address that is not a forward proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a forward proxy: http://host:port, without user name and path")]
pub struct NotAProxy;

impl ProxyUrl {
    /// Accepts `http://host:port`.
    ///
    /// # Errors
    /// [`NotAProxy`].
    pub fn parse(raw: &str) -> Result<Self, NotAProxy> {
        let url = Url::parse(raw).map_err(|_| NotAProxy)?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || url.path() != "/" || !plain {
            return Err(NotAProxy);
        }
        url.as_str().parse().map(Self).map_err(|_| NotAProxy)
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Turns a name into addresses. Tests have one that changes its mind.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a host, with this port.
    fn resolve(&self, host: String, port: u16) -> Boxed<io::Result<Vec<SocketAddr>>>;
}

/// This machine's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: String, port: u16) -> Boxed<io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }
}

/// The address may not be asked.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a public address")]
pub(crate) struct NotPublic;

/// Connects guarded requests.
#[derive(Clone)]
pub(crate) struct Connector {
    reach: Reach,
    resolver: Arc<dyn Resolve>,
    lookups: Arc<Semaphore>,
    proxy: Option<Tunnel<HttpConnector>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("reach", &self.reach).field("proxy", &self.proxy.is_some()).finish_non_exhaustive()
    }
}

impl Connector {
    pub(crate) fn new(reach: Reach, egress: &Egress, resolver: Arc<dyn Resolve>) -> Self {
        let proxy = match egress {
            Egress::Direct => None,
            Egress::Proxy(proxy) => Some(Tunnel::new(proxy.0.clone(), HttpConnector::new())),
        };
        Self { reach, resolver, lookups: Arc::new(Semaphore::new(LOOKUPS)), proxy }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let host = Host::parse(uri.host().unwrap_or_default())?;
        let port = uri.port_u16().unwrap_or(443);
        match &self.proxy {
            None => self.dial(host, port).await,
            Some(_) if !may_be_asked_for(&host) => Err(NotPublic.into()),
            Some(proxy) => Ok(proxy.clone().call(uri).await?),
        }
    }

    /// Looks a name up in a task of its own, which keeps its place until the lookup is over, even when nobody waits for it any more.
    async fn resolve(&self, name: String, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
        let place = Arc::clone(&self.lookups).try_acquire_owned().map_err(|_| "too many names are being looked up")?;
        let resolver = Arc::clone(&self.resolver);
        let lookup = tokio::spawn(async move {
            let found = resolver.resolve(name, port).await;
            drop(place);
            found
        });
        Ok(lookup.await??)
    }

    /// One address that is not public spoils them all: whoever mixes them wants something.
    async fn dial(self, host: Host, port: u16) -> Result<TokioIo<TcpStream>, BoxError> {
        let addresses = match host {
            Host::Domain(name) => self.resolve(name, port).await?,
            Host::Ipv4(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Ipv6(address) => vec![SocketAddr::new(address.into(), port)],
        };
        if addresses.iter().any(|address| !self.reach.allows(address.ip())) {
            return Err(NotPublic.into());
        }
        let mut last: BoxError = "it has no address".into();
        for address in in_turns(&addresses).take(ATTEMPTS) {
            match attempt(address).await {
                Ok(stream) => return Ok(TokioIo::new(stream)),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

async fn attempt(address: SocketAddr) -> io::Result<TcpStream> {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    tokio::time::timeout(ATTEMPT, TcpStream::connect(address)).await?
}

/// The addresses, of one family and the other by turns: where one of them leads nowhere, the other is tried in time.
fn in_turns(addresses: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
    let leader = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.is_ipv6() == leader);
    let mut sides = [first.into_iter(), second.into_iter()];
    std::iter::from_fn(move || {
        sides.rotate_left(1);
        let [then, now] = &mut sides;
        now.next().or_else(|| then.next())
    })
}

/// What a proxy may be asked for. Its loopback is not ours, so no loopback is allowed there.
fn may_be_asked_for(host: &Host) -> bool {
    match host {
        Host::Domain(name) => !is_local_name(name),
        Host::Ipv4(address) => is_public(IpAddr::V4(*address)),
        Host::Ipv6(address) => is_public(IpAddr::V6(*address)),
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Boxed<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name server that never answers.
    struct Silence;

    impl Resolve for Silence {
        fn resolve(&self, _: String, _: u16) -> Boxed<io::Result<Vec<SocketAddr>>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_163_a_lookup_that_goes_on_keeps_its_place() {
        let connector = Connector::new(Reach::Public, &Egress::Direct, Arc::new(Silence));
        let ask =
            || tokio::time::timeout(Duration::from_secs(1), connector.clone().connect(Uri::from_static("https://app.test/")));
        for _ in 0..LOOKUPS {
            assert!(ask().await.is_err(), "nobody answers");
        }
        let refused = ask().await.expect("at once").expect_err("all threads are taken");
        assert!(refused.to_string().contains("too many names"), "{refused}");
    }

    #[test]
    fn the_families_take_turns() {
        let parse = |text: &str| SocketAddr::new(text.parse().expect("an address"), 443);
        let all = ["2606::1", "2606::2", "2606::3", "1.1.1.1", "1.1.1.2"].map(parse);
        let order: Vec<_> = in_turns(&all).collect();
        assert_eq!(order, ["2606::1", "1.1.1.1", "2606::2", "1.1.1.2", "2606::3"].map(parse));
        assert_eq!(in_turns(&all[3..]).collect::<Vec<_>>(), ["1.1.1.1", "1.1.1.2"].map(parse));
        assert_eq!(in_turns(&[]).count(), 0);
    }
}
