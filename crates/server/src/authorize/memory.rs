//! Remembered decisions (decision 3; CON-32, CON-34, CON-39): what `consent = "remember"` turns on. Whenever in doubt, a person is asked.

use deputy_protocol::params::Params;
use deputy_protocol::remember::{Asked, DirectEntry, Memory, Visit, recall};
use deputy_protocol::secret::BrowserKey;
use deputy_protocol::transaction::{Pending, SignedIn};
use deputy_protocol::web::OwnBrowser;
use http::header::HeaderName;

use super::consent::SEC_FETCH_SITE;
use crate::dispatch::Incoming;
use crate::error::Failure;
use crate::gateway::Shared;
use crate::seal::Purpose;

const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// Looks whether this very request was decided before, in this browser. The store is asked for a key of our own making only.
pub(super) async fn look(gateway: &Shared, request: &Incoming, params: &Params, pending: Pending) -> Asked {
    let own = gateway.origins.cookies_are_ours();
    let (Some(entry), Some(key)) = (entry(gateway, request, params), key(gateway, request)) else {
        return Asked::Person(pending);
    };
    let memories = gateway.store.memories(&key.digest()).await.unwrap_or_else(|error| {
        // The page needs no store: an outage costs a question, not a sign-in.
        Failure::from(error).log("authorize");
        Vec::new()
    });
    let visit = Visit { entry: Some(entry), own: own.as_ref(), key: Some(&key) };
    // Of an account whose provider is none of ours any more, nothing is remembered.
    let ours = |memory: &Memory| gateway.idps.of(memory.subject().idp()).is_some();
    let memories: Vec<Memory> = memories.into_iter().filter(ours).collect();
    recall(pending, visit, &memories, gateway.clock.now())
}

/// Whether the person came here by themselves, and neither a browser that looks ahead nor the client wants a page to be shown.
fn entry(gateway: &Shared, request: &Incoming, params: &Params) -> Option<DirectEntry> {
    let ahead = request.headers.contains_key(SEC_PURPOSE);
    let wanted = params.get("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| matches!(word, "consent" | "login")));
    // A request that does not say for which server it is may be one that somebody's server gave a client who thinks of another.
    let named = params.get("resource").is_some();
    (gateway.remembers && !ahead && !wanted && named).then(|| DirectEntry::read(request.header(&SEC_FETCH_SITE)))?
}

/// What this browser's decisions are remembered under.
fn key(gateway: &Shared, request: &Incoming) -> Option<BrowserKey> {
    let sealed = gateway.cookies.read(&request.headers).known()?;
    let key: String = gateway.seal.open(Purpose::Browser, &sealed)?;
    BrowserKey::presented(&key)
}

/// A decision to keep, and the cookie under which its browser finds it again.
pub(super) struct Kept {
    pub(super) memory: Memory,
    pub(super) cookie: String,
}

/// What to keep of a sign-in whose code may leave. Nothing, unless its person asked for it.
pub(super) fn keep(
    gateway: &Shared,
    request: &Incoming,
    signed_in: &SignedIn,
    browser: &OwnBrowser,
) -> Result<Option<Kept>, Failure> {
    if !gateway.remembers {
        return Ok(None);
    }
    let key = match key(gateway, request) {
        Some(key) => key,
        None => BrowserKey::new(&gateway.random()?),
    };
    let Some(memory) = Memory::of(signed_in, browser, &key, gateway.clock.now()) else { return Ok(None) };
    let cookie = gateway.seal.seal(Purpose::Browser, &key.expose())?;
    Ok(Some(Kept { memory, cookie }))
}
