//! The way out of a guarded request: the addresses that were judged are the ones that are dialled, or a proxy of the operator's does it.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tower::Service;
use url::{Host, Url};

use crate::address::{Reach, is_local_name};

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
        Self { reach, resolver, proxy }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let host = Host::parse(uri.host().unwrap_or_default())?;
        let port = uri.port_u16().unwrap_or(443);
        match &self.proxy {
            None => self.dial(host, port).await,
            Some(_) if !self.may_be_asked_for(&host) => Err(NotPublic.into()),
            Some(proxy) => Ok(proxy.clone().call(uri).await?),
        }
    }

    /// What a proxy may be asked for: the address is not known here.
    fn may_be_asked_for(&self, host: &Host) -> bool {
        match host {
            Host::Domain(name) => !is_local_name(name),
            Host::Ipv4(address) => self.reach.allows((*address).into()),
            Host::Ipv6(address) => self.reach.allows((*address).into()),
        }
    }

    /// One address that is not public spoils them all: whoever mixes them wants something.
    async fn dial(self, host: Host, port: u16) -> Result<TokioIo<TcpStream>, BoxError> {
        let addresses = match host {
            Host::Domain(name) => self.resolver.resolve(name, port).await?,
            Host::Ipv4(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Ipv6(address) => vec![SocketAddr::new(address.into(), port)],
        };
        if addresses.iter().any(|address| !self.reach.allows(address.ip())) {
            return Err(NotPublic.into());
        }
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        let stream = TcpStream::connect(addresses.as_slice()).await?;
        Ok(TokioIo::new(stream))
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
