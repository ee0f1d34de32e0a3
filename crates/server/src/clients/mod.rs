//! The one door that turns a `client_id` into a client (decision 9). The id's shape says which kind it is; each kind has a file.

pub(crate) mod sealed;

use std::sync::Arc;

use deputy_protocol::Reason;
use deputy_protocol::client::{Client, Registration};
use deputy_protocol::ids::ClientId;

use crate::seal::Seal;

/// Whoever may come as a client.
pub(crate) struct Clients {
    seal: Arc<Seal>,
}

impl Clients {
    /// Clients that registered under these keys.
    pub(crate) fn new(seal: Arc<Seal>) -> Self {
        Self { seal }
    }

    /// Finds the client with this id.
    #[expect(clippy::unused_async, reason = "some kinds of client have to be asked for elsewhere")]
    pub(crate) async fn resolve(&self, id: &str) -> Result<Client, Reason> {
        let id = ClientId::parse(id)?;
        if sealed::is_sealed(&id) { sealed::resolve(&self.seal, id) } else { Err(Reason::ClientUnknown) }
    }

    /// Makes the id of a new registration.
    pub(crate) fn register(&self, registration: Registration) -> Result<Client, Reason> {
        sealed::register(&self.seal, registration)
    }
}
