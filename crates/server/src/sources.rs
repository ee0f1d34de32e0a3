//! How much a source on the network may ask for without credentials (A-230, AS-48, AS-94): what costs us is counted, and who is far ahead of
//! everybody is told to wait. Whoever comes with good credentials is never counted, so a hosted client behind one address is not locked out;
//! and what others behind it do at the pages and at registration keeps nobody from the token endpoint.
//!
//! Nothing else depends on where a request comes from, and forwarded headers count from the configured proxies alone.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::response::Response;
use deputy_protocol::Reason;
use http::{HeaderMap, HeaderName, StatusCode};
use ipnet::IpNet;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::routes::Endpoint;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How much a source may be ahead, and how much of it is forgiven in a second.
const BURST: u32 = 2000;
const EACH_SECOND: u32 = 100;
/// Most sources that are remembered. A source is forgotten when all is forgiven.
const SOURCES_MAX: u64 = 65_536;

/// Where a connection comes from, as an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// One source: an IPv4 address however it is written, and the 64 bits of IPv6 that a household or a machine gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    /// Whose address this is.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()),
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }
}

/// What each source has cost.
#[derive(Debug)]
pub(crate) struct Sources {
    trusted: Vec<IpNet>,
    debts: Cache<(Source, Account), Arc<Mutex<Debt>>>,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Account {
    /// Pages and registration.
    Pages,
    /// What comes with credentials.
    Credentials,
}

impl Account {
    /// Where an endpoint is counted; what is the same for everybody costs nothing, and nobody is kept from it.
    const fn of(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Register | Endpoint::Authorize | Endpoint::Consent | Endpoint::Callback | Endpoint::Finish => {
                Some(Self::Pages)
            }
            Endpoint::Token | Endpoint::Revoke => Some(Self::Credentials),
            Endpoint::Stopped
            | Endpoint::ServerMetadata
            | Endpoint::ResourceMetadata
            | Endpoint::Jwks
            | Endpoint::Verify
            | Endpoint::Health
            | Endpoint::Stylesheet => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Debt {
    owed: f64,
    at: Instant,
}

impl Debt {
    /// What is left of it by now.
    fn now(self) -> f64 {
        (self.owed - self.at.elapsed().as_secs_f64() * f64::from(EACH_SECOND)).max(0.0)
    }
}

impl Sources {
    /// With these proxies in front, which say for whom they ask.
    pub(crate) fn new(trusted: Vec<IpNet>) -> Self {
        let forgiven = Duration::from_secs(u64::from(BURST / EACH_SECOND));
        Self { trusted, debts: Cache::builder().max_capacity(SOURCES_MAX).time_to_idle(forgiven).build() }
    }

    /// Who is asking. Nobody in particular, when the peer is on our own machine or network and no proxy that is trusted: all the world may
    /// be behind it.
    pub(crate) fn of(&self, peer: Option<Peer>, headers: &HeaderMap) -> Option<Source> {
        let Peer(peer) = peer?;
        let address = if self.trusts(peer) { self.forwarded(headers)? } else { peer };
        deputy_fetch::address::is_public(address.to_canonical()).then(|| Source::of(address))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address.to_canonical()))
    }

    /// The last address that none of our proxies has. Each of them adds, at the end, whom it was asked by.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        // By bytes: a stranger's odd byte spoils its own entry, not what our proxy added behind it.
        let entries = headers.get_all(FORWARDED_FOR).iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut addresses = entries.map(|entry| std::str::from_utf8(entry).ok().and_then(|text| address(text.trim())));
        addresses.find(|address| !address.is_some_and(|address| self.trusts(address)))?
    }

    /// Whether a source may go on at this endpoint.
    pub(crate) fn admits(&self, source: Source, endpoint: Endpoint) -> bool {
        let debt = Account::of(endpoint).and_then(|account| self.debts.get(&(source, account)));
        debt.is_none_or(|debt| debt.lock().unwrap_or_else(PoisonError::into_inner).now() < f64::from(BURST))
    }

    /// Counts a request that begins as if it went badly: who hangs up before the answer has cost us that.
    pub(crate) fn begins(&self, source: Source, endpoint: Endpoint, fetches: bool) {
        self.count(source, endpoint, f64::from(at_first(endpoint, fetches)));
    }

    /// Counts what it has cost instead.
    pub(crate) fn ends(&self, source: Source, endpoint: Endpoint, fetches: bool, response: &Response) {
        let cost = cost(endpoint, response.status(), response.extensions().get().copied());
        self.count(source, endpoint, f64::from(cost) - f64::from(at_first(endpoint, fetches)));
    }

    fn count(&self, source: Source, endpoint: Endpoint, amount: f64) {
        let Some(account) = Account::of(endpoint).filter(|_| amount != 0.0) else { return };
        let debt = self.debts.get_with((source, account), || Arc::new(Mutex::new(Debt { owed: 0.0, at: Instant::now() })));
        let mut debt = debt.lock().unwrap_or_else(PoisonError::into_inner);
        *debt = Debt { owed: (debt.now() + amount).max(0.0), at: Instant::now() };
    }
}

/// What a request costs whose client has to be fetched, and is not there: connections, names, and the patience of another host.
const FETCH: u32 = 40;

/// What a request may come to cost.
fn at_first(endpoint: Endpoint, fetches: bool) -> u32 {
    if fetches {
        FETCH
    } else if matches!(endpoint, Endpoint::Register | Endpoint::Token | Endpoint::Revoke) {
        4
    } else {
        2
    }
}

/// What an answer has cost us, beside what every request costs. Our own failures and the provider's are nobody's debt.
fn cost(endpoint: Endpoint, answered: StatusCode, reason: Option<Reason>) -> u32 {
    if reason.is_some_and(is_about_a_document) {
        return FETCH;
    }
    if answered.is_server_error() {
        return 0;
    }
    match Account::of(endpoint) {
        None => 0,
        Some(Account::Pages) if endpoint == Endpoint::Register => 4,
        Some(Account::Pages) => 2,
        // A guess; what an honest client holds that has lost its grant is told so once.
        Some(Account::Credentials) if answered == StatusCode::UNAUTHORIZED => 4,
        Some(Account::Credentials) if answered.is_client_error() => 1,
        Some(Account::Credentials) => 0,
    }
}

/// Whether another host was asked in vain.
const fn is_about_a_document(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DocumentMissing
            | Reason::DocumentUnreachable
            | Reason::DocumentMalformed
            | Reason::DocumentOtherClient
            | Reason::DocumentSecret
            | Reason::DocumentAuthMethod
            | Reason::DocumentKeys
    )
}

/// An address as proxies write it, some of them with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(address, _)| address);
    bare.parse().ok().or_else(|| bare.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole request.
    fn spend(sources: &Sources, source: Source, endpoint: Endpoint, answered: StatusCode, reason: Option<Reason>) {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = answered;
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        sources.begins(source, endpoint, reason.is_some());
        sources.ends(source, endpoint, reason.is_some(), &response);
    }

    fn sources(trusted: &[&str]) -> Sources {
        Sources::new(trusted.iter().map(|net| net.parse().unwrap()).collect())
    }

    fn who(sources: &Sources, peer: &str, forwarded: &[&str]) -> Option<String> {
        let headers = forwarded.iter().map(|line| (FORWARDED_FOR, line.parse().unwrap())).collect();
        sources.of(Some(Peer(peer.parse().unwrap())), &headers).map(|source| source.0.to_string())
    }

    #[test]
    fn a_198_forwarded_headers_count_from_configured_proxies_alone() {
        let none = sources(&[]);
        assert_eq!(who(&none, "8.8.8.8", &["9.9.9.9"]).as_deref(), Some("8.8.8.8"));
        assert_eq!(who(&none, "127.0.0.1", &["9.9.9.9"]), None, "all the world may be behind it");
        assert_eq!(who(&none, "10.0.0.7", &[]), None);
        let proxies = sources(&["127.0.0.1/32", "10.0.0.0/8", "2001:4860::/32"]);
        for (peer, forwarded, source) in [
            ("127.0.0.1", vec!["9.9.9.9"], Some("9.9.9.9")),
            ("10.1.1.1", vec!["1.1.1.1, 9.9.9.9, 10.2.2.2"], Some("9.9.9.9")),
            ("10.1.1.1", vec!["1.1.1.1", "9.9.9.9", "10.2.2.2"], Some("9.9.9.9")),
            ("10.1.1.1", vec!["9.9.9.9:4711"], Some("9.9.9.9")),
            ("2001:4860::1", vec!["[2a00::1:2:3:4:5]:99"], Some("2a00:0:0:1::")),
            ("::ffff:10.1.1.1", vec!["2a00::1"], Some("2a00::")),
            ("8.8.8.8", vec!["9.9.9.9"], Some("8.8.8.8")),
            // What cannot be read, and what is on our own network, is nobody in particular.
            ("10.1.1.1", vec!["9.9.9.9, garbage"], None),
            ("10.1.1.1", vec![], None),
            ("10.1.1.1", vec!["192.168.0.1"], None),
            ("10.1.1.1", vec!["10.0.0.9"], None),
        ] {
            assert_eq!(who(&proxies, peer, &forwarded).as_deref(), source, "{peer} {forwarded:?}");
        }
        assert!(proxies.of(None, &HeaderMap::new()).is_none());
        // An odd byte of a stranger's hides nobody, and lends nobody's address.
        let odd = |line: &[u8]| (FORWARDED_FOR, http::HeaderValue::from_bytes(line).unwrap());
        let peer = Some(Peer(IpAddr::from([10, 1, 1, 1])));
        for lines in
            [vec![odd(b"\xff, 9.9.9.9")], vec![odd(b"1.1.1.1"), odd(b"\xff, 9.9.9.9")], vec![odd(b"\xff"), odd(b"9.9.9.9")]]
        {
            let headers: HeaderMap = lines.into_iter().collect();
            assert_eq!(proxies.of(peer, &headers), Some(Source(IpAddr::from([9, 9, 9, 9]))));
        }
    }

    #[test]
    fn a_230_what_counts_as_one_address() {
        let same = |a: &str, b: &str| Source::of(a.parse().unwrap()) == Source::of(b.parse().unwrap());
        assert!(same("192.0.2.1", "::ffff:192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
        assert!(same("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff") && !same("2001:db8::1", "2001:db8:0:1::1"));
    }

    #[tokio::test(start_paused = true)]
    async fn as_94_guesses_are_counted_and_forgiven() {
        let (sources, guesser, other) = (sources(&[]), Source(IpAddr::from([8, 8, 8, 8])), Source(IpAddr::from([9, 9, 9, 9])));
        let mut guesses = 0;
        while sources.admits(guesser, Endpoint::Token) {
            spend(&sources, guesser, Endpoint::Token, StatusCode::UNAUTHORIZED, None);
            guesses += 1;
        }
        assert_eq!(guesses, 500);
        assert!(sources.admits(other, Endpoint::Token));
        for free in [Endpoint::Authorize, Endpoint::Register, Endpoint::Jwks, Endpoint::ServerMetadata] {
            assert!(sources.admits(guesser, free), "{free:?}: what others behind the address do is another account");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(sources.admits(guesser, Endpoint::Token), "25 more");
        for _ in 0..25 {
            spend(&sources, guesser, Endpoint::Token, StatusCode::UNAUTHORIZED, None);
        }
        assert!(!sources.admits(guesser, Endpoint::Token));
    }

    #[tokio::test(start_paused = true)]
    async fn good_credentials_cost_nothing() {
        let (sources, hosted) = (sources(&[]), Source(IpAddr::from([8, 8, 8, 8])));
        for _ in 0..100_000 {
            spend(&sources, hosted, Endpoint::Token, StatusCode::OK, None);
            spend(&sources, hosted, Endpoint::Token, StatusCode::SERVICE_UNAVAILABLE, Some(Reason::StoreUnavailable));
        }
        assert!(sources.admits(hosted, Endpoint::Token));
        // A hosted client registers for each of its people: so many at once, and 25 a second for ever.
        for _ in 0..499 {
            spend(&sources, hosted, Endpoint::Register, StatusCode::CREATED, None);
        }
        assert!(sources.admits(hosted, Endpoint::Register));
        spend(&sources, hosted, Endpoint::Register, StatusCode::CREATED, None);
        assert!(!sources.admits(hosted, Endpoint::Register) && sources.admits(hosted, Endpoint::Token));
    }

    #[tokio::test(start_paused = true)]
    async fn a_163_whoever_makes_us_ask_other_hosts_in_vain_is_soon_told_to_wait() {
        let (sources, stranger) = (sources(&[]), Source(IpAddr::from([8, 8, 8, 8])));
        for _ in 0..50 {
            assert!(sources.admits(stranger, Endpoint::Authorize));
            spend(&sources, stranger, Endpoint::Authorize, StatusCode::SERVICE_UNAVAILABLE, Some(Reason::DocumentUnreachable));
        }
        assert!(!sources.admits(stranger, Endpoint::Authorize));
        // Who hangs up before the answer has cost as much; who stays, and is an honest client, nearly nothing.
        let (gone, honest) = (Source(IpAddr::from([9, 9, 9, 9])), Source(IpAddr::from([7, 7, 7, 7])));
        for _ in 0..50 {
            sources.begins(gone, Endpoint::Authorize, true);
            sources.begins(honest, Endpoint::Authorize, true);
            sources.ends(honest, Endpoint::Authorize, true, &Response::new(axum::body::Body::empty()));
        }
        assert!(!sources.admits(gone, Endpoint::Authorize) && sources.admits(honest, Endpoint::Authorize));
    }

    #[tokio::test]
    async fn a_230_there_are_only_so_many() {
        let sources = sources(&[]);
        for n in 0..200_000_u32 {
            sources.begins(Source(std::net::Ipv4Addr::from_bits(n).into()), Endpoint::Register, false);
        }
        sources.debts.run_pending_tasks();
        assert!(sources.debts.entry_count() <= SOURCES_MAX);
    }
}
