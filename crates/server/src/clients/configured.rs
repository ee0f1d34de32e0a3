//! Clients that the operator registered in the configuration: they win over every other kind.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use deputy_protocol::client::{AuthMethod, Client, Proof, Registration};
use deputy_protocol::ids::ClientId;
use deputy_protocol::time::Timestamp;

use super::{Credential, Known};
use crate::config::{ClientAuth, ClientConfig};

/// The clients of the configuration, by their ids.
#[derive(Debug)]
pub(super) struct Configured(HashMap<ClientId, ClientConfig>);

impl Configured {
    /// Takes them.
    ///
    /// # Errors
    /// Two clients have the same id.
    pub(super) fn new(clients: Vec<ClientConfig>) -> Result<Self, String> {
        let mut known = HashMap::new();
        for client in clients {
            match known.entry(client.id().clone()) {
                Entry::Vacant(free) => free.insert(client),
                Entry::Occupied(taken) => return Err(format!("the client id {} is given to two [[client]]s", taken.key())),
            };
        }
        Ok(Self(known))
    }

    /// Finds the client with exactly this id.
    pub(super) fn find(&self, id: &ClientId) -> Option<Known> {
        self.0.get(id).map(known)
    }
}

fn known(config: &ClientConfig) -> Known {
    let (auth_method, credential) = match config.auth() {
        ClientAuth::Public => (AuthMethod::None, Credential::Nothing),
        ClientAuth::Keys(keys) => (AuthMethod::PrivateKeyJwt, Credential::Keys(keys.clone())),
        // RFC 7591 §2: the header is what a client uses that was told nothing.
        ClientAuth::Secret { digest, by } => (by.unwrap_or(AuthMethod::SecretBasic), Credential::Secret(digest.clone(), *by)),
    };
    let registration = Registration {
        name: config.name().clone(),
        redirect_uris: config.redirect_uris().to_vec(),
        auth_method,
        refresh: true,
        application_type: None,
        // The configuration does not say.
        issued_at: Timestamp::from_seconds(0),
    };
    Known { client: Client { id: config.id().clone(), registration, proof: Proof::Operator }, credential }
}
