//! MCP sessions belong to a principal (PX-15, A-211): what the backend calls a session leaves us sealed together with whose it is, so that
//! it opens for the same person, client and resource only, on every replica and after every restart, and no store is needed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_guard::Permit;
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::secret::sha256;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::host::only;
use crate::seal::{Purpose, Seal};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// The sessions of one resource.
pub(super) struct Sessions {
    seal: Arc<Seal>,
    resource: ResourceUri,
}

/// Whose a session is: a digest over person, client and resource.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Owner(String);

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Bound {
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "o")]
    owner: Owner,
}

impl Sessions {
    pub(super) fn new(seal: Arc<Seal>, resource: ResourceUri) -> Self {
        Self { seal, resource }
    }

    /// Whose the sessions under this permit are.
    pub(super) fn owner(&self, permit: &Permit) -> Owner {
        // None of the three contains a NUL.
        let text = format!("{}\0{}\0{}", permit.subject(), permit.client(), self.resource);
        Owner(URL_SAFE_NO_PAD.encode(sha256(text.as_bytes())))
    }

    /// On the way in: gives the backend its own name of the session back. `None` for a session that is not this owner's, or none at all.
    pub(super) fn unwrap(&self, owner: &Owner, headers: &mut HeaderMap) -> Option<()> {
        if !headers.contains_key(&SESSION) {
            return Some(());
        }
        let bound: Bound = self.seal.open(Purpose::McpSession, only(headers, &SESSION).ok().flatten()?)?;
        if bound.owner != *owner {
            return None;
        }
        headers.insert(SESSION, HeaderValue::try_from(bound.id).ok()?);
        Some(())
    }

    /// On the way out: seals the backend's name of the session. One that MCP does not allow does not leave.
    pub(super) fn wrap(&self, owner: Owner, headers: &mut HeaderMap) {
        let id = only(headers, &SESSION).ok().flatten().map(str::to_owned);
        headers.remove(&SESSION);
        let sealed = id.and_then(|id| self.seal.seal(Purpose::McpSession, &Bound { id, owner }).ok());
        if let Some(value) = sealed.and_then(|sealed| HeaderValue::try_from(sealed).ok()) {
            headers.insert(SESSION, value);
        }
    }
}
