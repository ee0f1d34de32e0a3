//! The `Cookie` lines of a request, one a line, read for one transaction.

use deputy_protocol::TransactionId;
use deputy_protocol::secret::{BrowserKey, IdpState};
use deputy_server::probes::Cookies;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::NOW;

const SECURE: &str = "https://mcp.test";
const PLAIN: &str = "http://localhost:8000";

fn request(lines: impl IntoIterator<Item = impl AsRef<[u8]>>) -> HeaderMap {
    let values = lines.into_iter().filter_map(|line| HeaderValue::from_bytes(line.as_ref()).ok());
    values.map(|value| (COOKIE, value)).collect()
}

/// Names and values as RFC 6265 §5.4 lays them out.
fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

pub fn run(data: &[u8]) {
    let id = TransactionId::new(NOW, [1; 16]);
    let state = IdpState::new(&[2; 32]);
    let headers = request(data.split(|&b| b == b'\n').take(16));
    let brought = pairs(&headers);
    for (origin, prefix) in [(SECURE, "__Host-"), (PLAIN, "")] {
        let jar = Cookies::read(origin, &headers);
        if let Some(key) = jar.ownership(&id) {
            let name = format!("{prefix}deputy-own-{id}");
            assert!(brought.iter().any(|(n, v)| *n == name && v == key.expose()), "from another spelling");
        }
        if brought.len() < 64 {
            assert_eq!(jar.state(&state), pieces(&brought, prefix, &state));
        }
        for answer in [jar.end(&state), jar.begin(&id, &BrowserKey::new(&[3; 32])), jar.approve(&id, &state, "sealed")] {
            only_ours(&answer, prefix);
        }
        comes_back(origin, data, &id, &state);
    }
}

/// The state cookie read a second time: the first name of our shape with this state's digest says which pieces belong together.
fn pieces(brought: &[(String, String)], prefix: &str, state: &IdpState) -> Option<String> {
    let tail: String = state.digest().as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let base = brought.iter().find_map(|(name, _)| {
        let (base, piece) = name.split_once('.')?;
        let started = base.strip_prefix(&format!("{prefix}deputy-state-"))?.strip_suffix(&tail)?;
        let hex = started.len() == 8 && started.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (hex && piece.parse::<usize>().is_ok_and(|piece| piece < 8)).then_some(base)
    })?;
    let piece = |at: usize| brought.iter().find(|(name, _)| *name == format!("{base}.{at}")).map(|(_, value)| value.as_str());
    let all: String = (0..8).map_while(piece).collect();
    (!all.is_empty()).then_some(all)
}

/// What we set is ours, and fit for its place.
fn only_ours(answer: &HeaderMap, prefix: &str) {
    for line in answer.get_all(SET_COOKIE) {
        let line = line.to_str().unwrap();
        assert!(line.starts_with(&format!("{prefix}deputy-")) && line.len() < 4096, "{line}");
        assert_eq!(prefix.is_empty(), !line.contains("; Secure"), "{line}");
        assert!(line.contains("; HttpOnly") && line.contains("; SameSite=Lax") && line.contains("; Path=/"), "{line}");
        assert!(!line.contains("Domain"), "{line}");
    }
}

/// Whatever other cookies stand around them, ours come back as they were set.
fn comes_back(origin: &str, data: &[u8], id: &TransactionId, state: &IdpState) {
    let foreign: Vec<&[u8]> =
        data.split(|&b| b == b'\n').filter(|line| !line.windows(7).any(|w| w == b"deputy-")).take(8).collect();
    let before = Cookies::read(origin, &request(&foreign));
    let sealed = "c2VhbGVk".repeat(1 + data.len() % 600);
    let key = BrowserKey::new(&[3; 32]);
    let set = [before.begin(id, &key), before.approve(id, state, &sealed)];
    let ours = set
        .iter()
        .flat_map(|answer| answer.get_all(SET_COOKIE))
        .map(|line| line.as_bytes().split(|&b| b == b';').next().unwrap());
    let after = Cookies::read(origin, &request(foreign.iter().copied().chain(ours)));
    assert_eq!(after.ownership(id).map(|found| found.digest()), Some(key.digest()));
    assert_eq!(after.state(state).as_deref(), Some(sealed.as_str()));
}
