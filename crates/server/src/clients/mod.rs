//! The one door that turns a `client_id` into a client (decision 9). The id's shape says which kind it is; each kind has a file.

mod configured;
mod document;
mod freshness;
mod invitation;
mod keys;
mod sealed;
mod shelf;

use std::sync::Arc;

use deputy_protocol::Reason;
use deputy_protocol::client::document::DocumentUrl;
use deputy_protocol::client::policy::{ClientPolicy, RegistrationPolicy};
use deputy_protocol::client::{AuthMethod, Client, Registration};
use deputy_protocol::ids::ClientId;
use deputy_protocol::secret::{ClientSecret, Digest};

use crate::config::ClientConfig;
use configured::Configured;
pub(crate) use document::{Documents, PublishedKeys};
pub(crate) use invitation::Invited;
pub use invitation::invite;
pub use keys::{ClientKeys, WrongKeys};
pub(crate) use sealed::Registered;
use shelf::Need;

/// Whoever may come as a client.
pub(crate) struct Clients {
    registered: Registered,
    documents: Documents,
    configured: Configured,
    policy: Arc<ClientPolicy>,
}

/// A client that was found, and how it proves that it is itself.
#[derive(Debug)]
pub(crate) struct Known {
    /// The client.
    pub(crate) client: Client,
    /// Its proof at the token endpoint.
    pub(crate) credential: Credential,
}

/// How a client proves that it is itself.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// Not at all.
    Nothing,
    /// With a secret of this digest, sent in this way; `None` takes both ways that there are.
    Secret(Digest<ClientSecret>, Option<AuthMethod>),
    /// With an assertion, signed with one of these.
    Keys(ClientKeys),
    /// With an assertion, signed with a key that its document names, or without where that is not required.
    Published {
        /// The keys.
        keys: PublishedKeys,
        /// Whether it has to.
        required: bool,
    },
}

impl Clients {
    /// Clients that registered themselves, those with documents, and those of the configuration, as far as they may come.
    ///
    /// # Errors
    /// Says which clients of the configuration contradict each other.
    pub(crate) fn new(
        registered: Registered,
        documents: Documents,
        configured: Vec<ClientConfig>,
        policy: ClientPolicy,
    ) -> Result<Self, String> {
        Ok(Self { registered, documents, configured: Configured::new(configured)?, policy: Arc::new(policy) })
    }

    /// What the operator says about clients.
    pub(crate) fn policy(&self) -> &Arc<ClientPolicy> {
        &self.policy
    }

    /// Finds the client with this id, to ask a person about it.
    pub(crate) async fn resolve(&self, id: &str) -> Result<Client, Reason> {
        self.known(id, Need::Consent).await.map(|known| known.client)
    }

    /// Finds the client with this id, to be authenticated.
    pub(crate) async fn find(&self, id: &str) -> Result<Known, Reason> {
        self.known(id, Need::Tokens).await
    }

    /// Whom the operator registered comes first.
    async fn known(&self, id: &str, need: Need) -> Result<Known, Reason> {
        let id = ClientId::parse(id)?;
        // Before anything is done for its sake.
        self.policy.not_blocked(&id)?;
        if let Some(known) = self.configured.find(&id) {
            return Ok(known);
        }
        if sealed::is_sealed(&id) {
            let (known, invited) = self.registered.find(id)?;
            return self.policy.admits(invited).map(|()| known);
        }
        if DocumentUrl::is_meant(id.as_str()) {
            return self.documents.find(&id, &self.policy, need).await;
        }
        Err(Reason::ClientUnknown)
    }

    /// Whether somebody may register who shows this initial access token, or none.
    pub(crate) fn invited(&self, token: Option<&str>) -> Result<Option<Invited>, Reason> {
        match self.policy.registration {
            RegistrationPolicy::Open => Ok(None),
            RegistrationPolicy::Invited => self.registered.invited(token).map(Some),
            RegistrationPolicy::Off => Err(Reason::RegistrationOff),
        }
    }

    /// Makes the id of a new registration, and the secret of a client that wants one.
    pub(crate) fn register(
        &self,
        registration: Registration,
        invited: Option<Invited>,
    ) -> Result<(Client, Option<ClientSecret>), Reason> {
        self.policy.may_register(&registration)?;
        self.registered.register(registration, invited)
    }
}
