//! The two cookies of a transaction, in both spellings (decision 2; CON-09…11, CON-36, A-221).
//!
//! - The *ownership* cookie is set with the consent page: this browser was shown it.
//! - The *state* cookie is set with the redirect to the provider: this browser approved it. It carries the transaction, sealed.
//!
//! On https both have the `__Host-` prefix and `Secure`, and no other spelling is ever read. On loopback http neither can hold, so the
//! names differ there. Each transaction has its own cookies, so tabs do not disturb each other; a browser keeps a few, then the oldest go.

use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use deputy_protocol::TransactionId;
use deputy_protocol::remember::MEMORY_LIFETIME;
use deputy_protocol::secret::{BrowserKey, IdpState};
use deputy_protocol::transaction::TRANSACTION_LIFETIME;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

const OWNERSHIP: &str = "deputy-own-";
const STATE: &str = "deputy-state-";
const KNOWN: &str = "deputy-known";
/// Browsers cut a cookie at 4096 bytes with its name and attributes (RFC 6265 §6.1).
const PIECE_MAX: usize = 3600;
/// Most open transactions whose cookies a browser keeps, of each kind.
const OPEN_MAX: usize = 6;
/// Most cookies of ours that are looked at in one request: twice what a browser can hold, so that more were made up.
const READ_MAX: usize = 64;
/// Most pieces of one state cookie.
const PIECES_MAX: usize = 8;

/// How cookies are spelled in this deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookieStyle {
    secure: bool,
}

/// The cookies that a request brought.
#[derive(Debug)]
pub(crate) struct Jar {
    style: CookieStyle,
    cookies: Vec<(String, String)>,
}

impl CookieStyle {
    /// The style for an origin.
    pub(crate) fn of(origin: &str) -> Self {
        Self { secure: origin.starts_with("https://") }
    }

    /// Lets the browser be known again, for as long as a decision is remembered.
    pub(crate) fn set_known(self, headers: &mut HeaderMap, sealed: &str) {
        self.write(headers, KNOWN, sealed, Duration::seconds(i64::try_from(MEMORY_LIFETIME.as_secs()).unwrap_or(0)));
    }

    const fn prefix(self) -> &'static str {
        if self.secure { "__Host-" } else { "" }
    }

    /// Reads the cookies of a request: those in our own spelling, and only those.
    pub(crate) fn read(self, headers: &HeaderMap) -> Jar {
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let cookies = lines
            .flat_map(Cookie::split_parse)
            .filter_map(Result::ok)
            .filter_map(|cookie| Some((cookie.name().strip_prefix(self.prefix())?.to_owned(), cookie.value().to_owned())))
            .filter(|(name, _)| is_ours(name))
            .take(READ_MAX)
            .collect();
        Jar { style: self, cookies }
    }

    fn write(self, headers: &mut HeaderMap, name: &str, value: &str, max_age: Duration) {
        let cookie = Cookie::build((format!("{}{name}", self.prefix()), value))
            .path("/")
            .secure(self.secure)
            .http_only(true)
            .same_site(SameSite::Lax)
            .max_age(max_age);
        // Names and values are our own base64url and digits, so the header is always valid.
        if let Ok(line) = HeaderValue::from_str(&cookie.to_string()) {
            headers.append(SET_COOKIE, line);
        }
    }

    fn delete(self, headers: &mut HeaderMap, name: &str) {
        self.write(headers, name, "", Duration::ZERO);
    }

    fn lifetime() -> Duration {
        Duration::seconds(i64::try_from(TRANSACTION_LIFETIME.as_secs()).unwrap_or(600))
    }
}

impl Jar {
    fn get(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The ownership cookie of a transaction.
    pub(crate) fn ownership(&self, id: &TransactionId) -> Option<BrowserKey> {
        BrowserKey::presented(self.get(&format!("{OWNERSHIP}{id}"))?)
    }

    /// Sets the ownership cookie of a new transaction, and lets the oldest of too many go.
    pub(crate) fn set_ownership(&self, headers: &mut HeaderMap, id: &TransactionId, key: &BrowserKey) {
        self.make_room(headers, OWNERSHIP);
        self.style.write(headers, &format!("{OWNERSHIP}{id}"), key.expose(), CookieStyle::lifetime());
    }

    /// Ends the ownership of a transaction: it is decided.
    pub(crate) fn clear_ownership(&self, headers: &mut HeaderMap, id: &TransactionId) {
        self.style.delete(headers, &format!("{OWNERSHIP}{id}"));
    }

    /// The sealed key under which this browser's decisions are remembered.
    pub(crate) fn known(&self) -> Option<String> {
        self.get(KNOWN).map(str::to_owned)
    }

    /// The sealed transaction that was approved in this browser under `state`.
    pub(crate) fn state(&self, state: &IdpState) -> Option<String> {
        let base = self.state_base(state)?;
        let pieces: String = (0..PIECES_MAX).map_while(|piece| self.get(&format!("{base}{piece}"))).collect();
        (!pieces.is_empty()).then_some(pieces)
    }

    /// Any sealed transaction of this browser: what a server without the comparison takes.
    #[cfg(feature = "test-hooks")]
    pub(crate) fn any_state(&self) -> Option<String> {
        let (name, _) = self.cookies.iter().find(|(name, _)| name.starts_with(STATE))?;
        let (base, _) = name.split_once('.')?;
        Some((0..PIECES_MAX).map_while(|piece| self.get(&format!("{base}.{piece}"))).collect())
    }

    /// Sets the state cookie, in pieces if it is long: a client's `state` may have 4096 bytes.
    pub(crate) fn set_state(&self, headers: &mut HeaderMap, id: &TransactionId, state: &IdpState, sealed: &str) {
        self.make_room(headers, STATE);
        // The id's first eight digits are the start time: the oldest sorts first.
        let started = id.as_str().get(..8).unwrap_or_default();
        let base = format!("{STATE}{started}{}.", tail(state));
        let mut rest = sealed;
        for piece in 0.. {
            let (head, after) = rest.split_at_checked(PIECE_MAX).unwrap_or((rest, ""));
            self.style.write(headers, &format!("{base}{piece}"), head, CookieStyle::lifetime());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }

    /// Ends a state: it is used up.
    pub(crate) fn clear_state(&self, headers: &mut HeaderMap, state: &IdpState) {
        let Some(base) = self.state_base(state) else { return };
        for (name, _) in self.cookies.iter().filter(|(name, _)| name.starts_with(&base)) {
            self.style.delete(headers, name);
        }
    }

    /// The name of the state cookie for `state`, without the number of the piece.
    fn state_base(&self, state: &IdpState) -> Option<String> {
        let tail = format!("{}.", tail(state));
        let found = self.cookies.iter().find_map(|(name, _)| {
            let end = name.strip_prefix(STATE)?.find(&tail)?;
            name.get(..STATE.len() + end + tail.len())
        })?;
        Some(found.to_owned())
    }

    fn make_room(&self, headers: &mut HeaderMap, kind: &str) {
        let group = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let mut open: Vec<String> =
            self.cookies.iter().filter(|(name, _)| name.starts_with(kind)).map(|(name, _)| group(name)).collect();
        open.sort();
        open.dedup();
        for old in open.iter().take(open.len().saturating_sub(OPEN_MAX - 1)) {
            for (name, _) in self.cookies.iter().filter(|(name, _)| group(name) == *old) {
                self.style.delete(headers, name);
            }
        }
    }
}

/// Whether a cookie's name, without its prefix, has a shape that we write: other cookies of the origin are nobody's work.
fn is_ours(name: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(id) = name.strip_prefix(OWNERSHIP) {
        return TransactionId::parse(id).is_some();
    }
    if name == KNOWN {
        return true;
    }
    let state = name.strip_prefix(STATE).and_then(|rest| rest.split_once('.'));
    state.is_some_and(|(base, piece)| base.len() == 24 && hex(base) && piece.parse().is_ok_and(|piece: usize| piece < PIECES_MAX))
}

/// What ties a state cookie's name to its state, without revealing it.
fn tail(state: &IdpState) -> String {
    state.digest().as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deputy_protocol::Timestamp;

    fn id(n: u8) -> TransactionId {
        TransactionId::new(Timestamp::from_seconds(u64::from(n)), [n; 16])
    }

    /// What a browser sends after these answers.
    fn send(answers: &[HeaderMap]) -> HeaderMap {
        let mut jar: Vec<(String, String)> = Vec::new();
        for line in answers.iter().flat_map(|headers| headers.get_all(SET_COOKIE)) {
            let cookie = Cookie::parse(line.to_str().expect("ascii")).expect("cookie");
            jar.retain(|(name, _)| name != cookie.name());
            if cookie.max_age() != Some(Duration::ZERO) {
                jar.push((cookie.name().to_owned(), cookie.value().to_owned()));
            }
        }
        let line = jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        HeaderMap::from_iter([(COOKIE, line.parse().expect("header"))])
    }

    #[test]
    fn con_36_on_https_only_the_host_prefix_counts() {
        let (https, http) = (CookieStyle::of("https://a.test"), CookieStyle::of("http://localhost:8000"));
        let mut answer = HeaderMap::new();
        http.read(&HeaderMap::new()).set_ownership(&mut answer, &id(1), &BrowserKey::new(&[1; 32]));
        let request = send(&[answer]);
        assert!(http.read(&request).ownership(&id(1)).is_some());
        assert!(https.read(&request).ownership(&id(1)).is_none());
    }

    #[test]
    fn a_221_attributes() {
        let mut answer = HeaderMap::new();
        CookieStyle::of("https://a.test").read(&HeaderMap::new()).set_ownership(&mut answer, &id(1), &BrowserKey::new(&[1; 32]));
        let line = answer[SET_COOKIE].to_str().expect("ascii");
        assert!(line.starts_with("__Host-deputy-own-"), "{line}");
        for part in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/", "; Max-Age=600"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("Domain"), "{line}");
    }

    #[test]
    fn a_long_state_cookie_comes_back_whole_and_is_cleared_whole() {
        let style = CookieStyle::of("https://a.test");
        let (state, sealed) = (IdpState::new(&[1; 32]), "x".repeat(10_000));
        let mut answer = HeaderMap::new();
        style.read(&HeaderMap::new()).set_state(&mut answer, &id(1), &state, &sealed);
        assert!(answer.get_all(SET_COOKIE).iter().all(|line| line.len() < 4096));
        let request = send(std::slice::from_ref(&answer));
        assert_eq!(style.read(&request).state(&state).as_deref(), Some(sealed.as_str()));
        assert_eq!(style.read(&request).state(&IdpState::new(&[2; 32])), None);
        let mut cleared = HeaderMap::new();
        style.read(&request).clear_state(&mut cleared, &state);
        assert_eq!(send(&[answer, cleared])[COOKIE], "");
    }

    #[test]
    fn a_230_what_nobody_of_us_wrote_costs_nothing() {
        let style = CookieStyle::of("http://localhost:8000");
        let read = |names: &mut dyn Iterator<Item = String>| {
            let line = names.map(|name| format!("{name}=x")).collect::<Vec<_>>().join("; ");
            style.read(&HeaderMap::from_iter([(COOKIE, line.parse().expect("header"))])).cookies.len()
        };
        assert_eq!(read(&mut (0..5000).map(|n| format!("deputy-own-{n}"))), 0);
        assert_eq!(read(&mut (0..5000).map(|n| format!("deputy-state-{n}.0"))), 0);
        assert_eq!(read(&mut (0..5000).map(|n| format!("deputy-own-{n:040x}"))), READ_MAX);
        assert_eq!(read(&mut (0..5000).map(|n| format!("deputy-state-{n:024x}.{}", n % 9))), READ_MAX);
    }

    #[test]
    fn a_029_a_browser_keeps_a_few() {
        let style = CookieStyle::of("https://a.test");
        let mut answers = Vec::new();
        for n in 0..50 {
            let mut answer = HeaderMap::new();
            style.read(&send(&answers)).set_ownership(&mut answer, &id(n), &BrowserKey::new(&[n; 32]));
            answers.push(answer);
        }
        let request = send(&answers);
        assert!(request[COOKIE].len() < 4096, "{}", request[COOKIE].len());
        assert!(style.read(&request).ownership(&id(49)).is_some());
        assert!(style.read(&request).ownership(&id(0)).is_none());
    }
}
