//! Clients that registered themselves. Such a client's id *is* its registration, sealed: nothing is stored, nobody can fill the store, and
//! registrations outlive it (decision 1; RFC 7591 appendix A.5.2).

use std::sync::Arc;
use std::time::Duration;

use deputy_protocol::Reason;
use deputy_protocol::client::{AuthMethod, Client, Proof, Registration};
use deputy_protocol::ids::{CLIENT_ID_MAX, ClientId};
use deputy_protocol::secret::ClientSecret;
use serde::{Deserialize, Serialize};

use super::invitation::{self, Invited};
use super::{ClientKeys, Credential, Known};
use crate::clock::Clock;
use crate::seal::{Purpose, Seal};

/// Every id that we issue starts with this, so none looks like a URL (AS-39).
const SEALED_PREFIX: &str = "dc_";

/// What such an id holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    registration: Registration,
    /// Whether it came with an invitation.
    #[serde(rename = "v", default, skip_serializing_if = "std::ops::Not::not")]
    invited: bool,
}

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

    /// Whether that is an invitation, and counts.
    pub(super) fn invited(&self, token: Option<&str>) -> Result<Invited, Reason> {
        invitation::judge(&self.seal, token, self.clock.now())
    }

    /// Makes the id of a new registration, and the secret of a client that wants one.
    pub(crate) fn register(
        &self,
        registration: Registration,
        invited: Option<Invited>,
    ) -> Result<(Client, Option<ClientSecret>), Reason> {
        let sealed = Sealed { registration, invited: invited.is_some() };
        let id = format!("{SEALED_PREFIX}{}", self.seal.seal(Purpose::Registration, &sealed)?);
        let registration = sealed.registration;
        if id.len() > CLIENT_ID_MAX {
            return Err(Reason::RegistrationTooLarge);
        }
        let id = ClientId::parse(&id)?;
        let secret = (registration.auth_method != AuthMethod::None).then(|| self.seal.newest().client_secret(&id));
        Ok((Client { id, registration, proof: Proof::None }, secret))
    }

    /// Opens the registration that this id is, and says whether it came with an invitation.
    pub(crate) fn find(&self, id: ClientId) -> Result<(Known, bool), Reason> {
        let sealed = id.as_str().strip_prefix(SEALED_PREFIX).ok_or(Reason::ClientUnknown)?;
        let opened = self.seal.open_by::<Sealed>(Purpose::Registration, sealed);
        let (Sealed { registration, invited }, keys) = opened.ok_or(Reason::ClientUnknown)?;
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
        Ok((Known { client: Client { id, registration, proof: Proof::None }, credential }, invited))
    }
}
