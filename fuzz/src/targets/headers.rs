//! Headers on their way to the backend and back, as lines of `name: value`. Only what stands on the lists passes.

use std::sync::{Arc, LazyLock};

use deputy_guard::{NothingRevoked, Permit, Verifier};
use deputy_protocol::Issuer;
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::scope::Scopes;
use deputy_server::probes;
use http::header::{AUTHORIZATION, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{NOW, jws};

static PERMIT: LazyLock<Permit> = LazyLock::new(|| {
    let (token, keys) = jws::genuine();
    let (issuer, resource) = (Issuer::parse("https://mcp.test").unwrap(), ResourceUri::parse("https://mcp.test/mcp").unwrap());
    let keys = Arc::new(arc_swap::ArcSwap::from_pointee(keys.clone()));
    let verifier = Verifier::new(issuer, resource, Scopes::parse("read").unwrap(), keys, Arc::new(NothingRevoked));
    let headers = [(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap())].into_iter().collect();
    verifier.verify(&headers, NOW).unwrap()
});

const REQUEST: [&str; 9] = [
    "content-type",
    "last-event-id",
    "accept",
    "accept-language",
    "user-agent",
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
];
const ANSWER: [&str; 4] = ["allow", "content-encoding", "retry-after", "cache-control"];

pub fn run(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|&b| b == b'\n').take(64) {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()))
        {
            headers.append(name, value);
        }
    }
    to_backend(&headers);
    from_backend(&headers);
}

fn named_in_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(name.as_str()))
}

fn to_backend(headers: &HeaderMap) {
    let Ok(sent) = probes::to_backend(headers, &PERMIT) else { return };
    let ours = probes::to_backend(&HeaderMap::new(), &PERMIT).unwrap();
    for name in sent.keys() {
        if name.as_str().starts_with("x-deputy-") {
            assert_eq!(sent.get_all(name).iter().collect::<Vec<_>>(), ours.get_all(name).iter().collect::<Vec<_>>(), "{name}");
            continue;
        }
        let protocol = name.as_str().starts_with("mcp-");
        assert!(protocol || REQUEST.contains(&name.as_str()), "{name} passes");
        assert!(!named_in_connection(headers, name), "{name} is hop-by-hop");
        let once = protocol || matches!(name.as_str(), "content-type" | "last-event-id");
        assert!(!once || sent.get_all(name).iter().count() == 1, "{name} twice");
        assert_eq!(sent.get_all(name).iter().collect::<Vec<_>>(), headers.get_all(name).iter().collect::<Vec<_>>(), "{name}");
    }
    assert!(ours.keys().all(|name| sent.contains_key(name)));
}

fn from_backend(headers: &HeaderMap) {
    let passed = probes::from_backend(headers);
    for (name, value) in &passed {
        assert!(name.as_str().starts_with("mcp-") || ANSWER.contains(&name.as_str()), "{name} passes");
        assert!(!named_in_connection(headers, name), "{name} is hop-by-hop");
        if name == "cache-control" {
            let rule = value.to_str().unwrap().to_ascii_lowercase();
            let words: Vec<&str> = rule.split(',').map(str::trim).collect();
            assert!(words.contains(&"private") && !words.contains(&"public"), "{rule}");
        }
    }
}
