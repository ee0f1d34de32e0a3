//! The proof that a request may reach the backend.

use std::sync::Arc;

use deputy_protocol::access_token::ValidAccessToken;
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::scope::Scopes;
use deputy_protocol::{ClientId, GrantId, Issuer, Timestamp};

/// Proof that a request carried a valid access token for this resource, and whose. Made by [`Verifier::verify`](crate::Verifier::verify)
/// only; in embedded use it is found in the request's extensions.
#[derive(Clone, Debug)]
pub struct Permit {
    pub(crate) token: Arc<ValidAccessToken>,
}

impl Permit {
    /// The subject, as our tokens name it: stable, and different for every person of every identity provider.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.token.claims().sub
    }

    /// The client that acts for the subject.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.token.claims().client_id
    }

    /// What the client calls itself. Nobody vouches for it.
    #[must_use]
    pub fn client_name(&self) -> Option<&str> {
        self.token.claims().client_name.as_deref()
    }

    /// What was granted.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.token.claims().scope
    }

    /// What of the resource's rules about calls the subject meets.
    #[must_use]
    pub fn criteria(&self) -> &[String] {
        &self.token.claims().criteria
    }

    /// The token's own id (`jti`).
    #[must_use]
    pub fn token_id(&self) -> &str {
        &self.token.claims().jti
    }

    /// The grant that the token belongs to.
    #[must_use]
    pub fn grant(&self) -> &GrantId {
        &self.token.claims().grant
    }

    /// The resource that the token is for.
    #[must_use]
    pub fn resource(&self) -> &ResourceUri {
        &self.token.claims().aud
    }

    /// The subject's e-mail address, if the identity provider vouched for one.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.token.claims().email.as_deref()
    }

    /// What the subject is called.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.token.claims().name.as_deref()
    }

    /// The identity provider that the subject signed in at, and its own name for the subject.
    #[must_use]
    pub fn idp(&self) -> Option<(&Issuer, &str)> {
        let claims = self.token.claims();
        claims.idp.as_ref().zip(claims.idp_sub.as_deref())
    }

    /// When the token ends.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.token.claims().exp
    }
}
