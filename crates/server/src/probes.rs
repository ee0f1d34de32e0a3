//! What the fuzzer needs of the inside: parsers and filters of ours that no other crate may call. Only with `test-hooks`, so in no
//! release build.

use std::sync::Arc;

use deputy_fetch::Endpoint;
use deputy_guard::Permit;
use deputy_protocol::client::{Client, Registration};
use deputy_protocol::secret::{BrowserKey, IdpState};
use deputy_protocol::{ClientId, Issuer, Reason, TransactionId};
use http::HeaderMap;
use jsonwebtoken::jwk::JwkSet;

use crate::clients::Registered;
use crate::clock::SystemClock;
use crate::config::CLIENT_IDS_AFTER_ROTATION;
use crate::cookies::{CookieStyle, Jar};
use crate::seal::{Purpose, Seal};
use crate::{idp, proxy};

#[cfg(not(debug_assertions))]
compile_error!("the feature `test-hooks` opens the inside and cannot be part of a release build");

/// How many purposes there are.
pub const PURPOSES: usize = ALL.len();
const ALL: [Purpose; 9] = [
    Purpose::Registration,
    Purpose::Invitation,
    Purpose::Ticket,
    Purpose::StateCookie,
    Purpose::LastPage,
    Purpose::Browser,
    Purpose::Stopped,
    Purpose::McpSession,
    Purpose::AtRest,
];

/// Boxes and client ids under one master secret.
#[derive(Debug)]
pub struct Boxes(Arc<Seal>);

impl Boxes {
    /// With this master secret.
    ///
    /// # Errors
    /// [`Reason::Internal`] when no key can be made.
    pub fn new(master: &[u8; 32]) -> Result<Self, Reason> {
        Seal::of(master).map(|seal| Self(Arc::new(seal)))
    }

    /// Seals a text for a purpose, by its number. `None` for a purpose that there is not.
    #[must_use]
    pub fn seal(&self, purpose: usize, text: &str) -> Option<String> {
        self.0.seal(*ALL.get(purpose)?, &text).ok()
    }

    /// Opens a box.
    #[must_use]
    pub fn open(&self, purpose: usize, sealed: &str) -> Option<serde_json::Value> {
        self.0.open(*ALL.get(purpose)?, sealed)
    }

    /// Registers a client.
    ///
    /// # Errors
    /// [`Reason::RegistrationTooLarge`].
    pub fn register(&self, registration: Registration) -> Result<Client, Reason> {
        self.clients().register(registration, None).map(|(client, _)| client)
    }

    /// Finds a registered client.
    ///
    /// # Errors
    /// [`Reason::ClientUnknown`].
    pub fn resolve(&self, id: &str) -> Result<Client, Reason> {
        self.clients().find(ClientId::parse(id)?).map(|(known, _)| known.client)
    }

    fn clients(&self) -> Registered {
        Registered::new(Arc::clone(&self.0), Arc::new(SystemClock), CLIENT_IDS_AFTER_ROTATION)
    }
}

/// The cookies of a request to this origin.
#[derive(Debug)]
pub struct Cookies(Jar);

impl Cookies {
    /// Reads them.
    #[must_use]
    pub fn read(origin: &str, headers: &HeaderMap) -> Self {
        Self(CookieStyle::of(origin).read(headers))
    }

    /// The ownership cookie of a transaction.
    #[must_use]
    pub fn ownership(&self, id: &TransactionId) -> Option<BrowserKey> {
        self.0.ownership(id)
    }

    /// The sealed transaction under this state.
    #[must_use]
    pub fn state(&self, state: &IdpState) -> Option<String> {
        self.0.state(state)
    }

    /// The answer's headers when a transaction begins: its ownership cookie, and what makes room.
    #[must_use]
    pub fn begin(&self, id: &TransactionId, key: &BrowserKey) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.0.set_ownership(&mut headers, id, key);
        headers
    }

    /// The answer's headers when a transaction is approved: its state cookie, and what makes room.
    #[must_use]
    pub fn approve(&self, id: &TransactionId, state: &IdpState, sealed: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.0.set_state(&mut headers, id, state, sealed);
        headers
    }

    /// The answer's headers when a transaction has ended.
    #[must_use]
    pub fn end(&self, state: &IdpState) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.0.clear_state(&mut headers, state);
        headers
    }
}

/// The headers that a request takes to the backend.
///
/// # Errors
/// [`Reason::HeaderRepeated`].
pub fn to_backend(inbound: &HeaderMap, permit: &Permit) -> Result<HeaderMap, Reason> {
    proxy::headers::for_backend(inbound, permit, permit.scopes())
}

/// The headers of a backend's answer that pass.
#[must_use]
pub fn from_backend(answer: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    proxy::response::copy(answer, &mut passed);
    passed
}

/// The endpoints that a provider's discovery document names, if it is one of this issuer.
#[must_use]
pub fn discovery(json: &[u8], issuer: &Issuer) -> Option<Vec<Endpoint>> {
    idp::metadata::probe(json, issuer)
}

/// The keys of a provider's key set that can be read.
#[must_use]
pub fn key_set(json: &[u8]) -> Option<JwkSet> {
    idp::metadata::probe_keys(json)
}
