//! Clients that registered themselves. Such a client's id *is* its registration, sealed: nothing is stored, nobody can fill the store, and
//! registrations outlive it (decision 1; RFC 7591 appendix A.5.2).

use deputy_protocol::Reason;
use deputy_protocol::client::{Client, Proof, Registration};
use deputy_protocol::ids::{CLIENT_ID_MAX, ClientId};

use crate::seal::{Purpose, Seal};

/// Every id that we issue starts with this, so none looks like a URL (AS-39).
const SEALED_PREFIX: &str = "dc_";

/// Whether this is an id as we issue them.
pub(crate) fn is_sealed(id: &ClientId) -> bool {
    id.as_str().starts_with(SEALED_PREFIX)
}

/// Makes the id of a new registration.
pub(crate) fn register(seal: &Seal, registration: Registration) -> Result<Client, Reason> {
    let id = format!("{SEALED_PREFIX}{}", seal.seal(Purpose::Registration, &registration)?);
    if id.len() > CLIENT_ID_MAX {
        return Err(Reason::RegistrationTooLarge);
    }
    Ok(Client { id: ClientId::parse(&id)?, registration, proof: Proof::None })
}

/// Opens the registration that this id is.
pub(crate) fn resolve(seal: &Seal, id: ClientId) -> Result<Client, Reason> {
    let sealed = id.as_str().strip_prefix(SEALED_PREFIX).ok_or(Reason::ClientUnknown)?;
    let registration: Registration = seal.open(Purpose::Registration, sealed).ok_or(Reason::ClientUnknown)?;
    Ok(Client { id, registration, proof: Proof::None })
}
