//! Clients that registered themselves. Such a client's id *is* its registration, sealed: nothing is stored, nobody can fill the store, and
//! registrations outlive it (decision 1; RFC 7591 appendix A.5.2).

use std::sync::Arc;
use std::time::Duration;

use deputy_protocol::Reason;
use deputy_protocol::client::{AuthMethod, Client, Proof, Registration};
use deputy_protocol::ids::{CLIENT_ID_MAX, ClientId};
use deputy_protocol::secret::ClientSecret;

use super::{ClientKeys, Credential, Known};
use crate::clock::Clock;
use crate::seal::{Purpose, Seal};

/// Every id that we issue starts with this, so none looks like a URL (AS-39).
const SEALED_PREFIX: &str = "dc_";

/// Whether this is an id as we issue them.
pub(super) fn is_sealed(id: &ClientId) -> bool {
    id.as_str().starts_with(SEALED_PREFIX)
}

/// Clients that registered under our master secrets.
pub(crate) struct Registered {
    seal: Arc<Seal>,
    clock: Arc<dyn Clock>,
    after_rotation: Duration,
}

impl Registered {
    /// An id counts for `after_rotation` when its master secret was replaced.
    pub(crate) fn new(seal: Arc<Seal>, clock: Arc<dyn Clock>, after_rotation: Duration) -> Self {
        Self { seal, clock, after_rotation }
    }

    /// Makes the id of a new registration, and the secret of a client that wants one.
    pub(crate) fn register(&self, registration: Registration) -> Result<(Client, Option<ClientSecret>), Reason> {
        let id = format!("{SEALED_PREFIX}{}", self.seal.seal(Purpose::Registration, &registration)?);
        if id.len() > CLIENT_ID_MAX {
            return Err(Reason::RegistrationTooLarge);
        }
        let id = ClientId::parse(&id)?;
        let secret = (registration.auth_method != AuthMethod::None).then(|| self.seal.newest().client_secret(&id));
        Ok((Client { id, registration, proof: Proof::None }, secret))
    }

    /// Opens the registration that this id is.
    pub(crate) fn find(&self, id: ClientId) -> Result<Known, Reason> {
        let sealed = id.as_str().strip_prefix(SEALED_PREFIX).ok_or(Reason::ClientUnknown)?;
        let opened = self.seal.open_by::<Registration>(Purpose::Registration, sealed);
        let (registration, keys) = opened.ok_or(Reason::ClientUnknown)?;
        if keys.replaced().is_some_and(|replaced| replaced.after(self.after_rotation) <= self.clock.now()) {
            return Err(Reason::ClientUnknown);
        }
        let credential = match registration.auth_method {
            AuthMethod::None => Credential::Nothing,
            // Nobody can register like this.
            AuthMethod::PrivateKeyJwt => Credential::Keys(ClientKeys::none()),
            by @ (AuthMethod::SecretBasic | AuthMethod::SecretPost) => {
                Credential::Secret(keys.client_secret(&id).digest(), Some(by))
            }
        };
        Ok(Known { client: Client { id, registration, proof: Proof::None }, credential })
    }
}
