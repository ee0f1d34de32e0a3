//! What a backend is told about who is calling, and with which credential of ours.

use std::sync::Arc;

use deputy_guard::Permit;
use deputy_protocol::scope::Scopes;
use deputy_protocol::{Issuer, Reason, Timestamp};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::assertion::Assertions;
use super::headers;
use crate::config::{BackendCredential, ServerConfig};
use crate::keyring::Keyring;

/// How one backend is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// In headers.
    Headers,
    /// In headers, with a token that is always the same.
    Static(HeaderValue),
    /// In a signed token.
    Assertion(Assertions),
    /// Not at all.
    Nothing,
}

impl Told {
    /// As the configuration says.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn of(server: &ServerConfig, issuer: &Issuer, keyring: &Arc<Keyring>) -> Result<Self, String> {
        let alone = server.on_behalf_of.is_empty();
        match &server.credential {
            BackendCredential::Assertion | BackendCredential::Static(_) if !alone => {
                Err(format!("credential of {}: on_behalf_of is the credential there. Leave one of them out", server.path))
            }
            BackendCredential::Headers => Ok(Self::Headers),
            BackendCredential::None => Ok(Self::Nothing),
            BackendCredential::Static(token) => {
                let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
                let mut value = value.map_err(|_| format!("bearer of {} holds what no header can", server.path))?;
                value.set_sensitive(true);
                Ok(Self::Static(value))
            }
            BackendCredential::Assertion => {
                let mut audience = server.url.clone();
                audience.set_query(None);
                Ok(Self::Assertion(Assertions::new(issuer.clone(), audience.to_string(), Arc::clone(keyring))))
            }
        }
    }

    /// The headers for the backend: what passes of the client's, and what is said of ours.
    ///
    /// # Errors
    /// [`Reason::HeaderRepeated`], or [`Reason::Internal`] without a key to sign with.
    pub(super) fn headers(
        &self,
        inbound: &HeaderMap,
        permit: &Permit,
        allowed: &Scopes,
        now: Timestamp,
    ) -> Result<HeaderMap, Reason> {
        let (mut outbound, credential) = match self {
            Self::Headers => (headers::for_backend(inbound, permit, allowed)?, None),
            Self::Static(token) => (headers::for_backend(inbound, permit, allowed)?, Some(token.clone())),
            Self::Assertion(assertions) => (headers::passing(inbound)?, Some(assertions.authorization(permit, allowed, now)?)),
            Self::Nothing => (headers::passing(inbound)?, None),
        };
        if let Some(credential) = credential {
            outbound.insert(AUTHORIZATION, credential);
        }
        Ok(outbound)
    }
}
