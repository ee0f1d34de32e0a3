//! A grant: who allowed which client what. Its tokens are its family.

use crate::access_token::AccessTokenClaims;
use crate::client::DisplayName;
use crate::family::Lifetimes;
use crate::ids::{ClientId, GrantId, Issuer};
use crate::resource::ResourceUri;
use crate::scope::Scopes;
use crate::time::Timestamp;
use crate::transaction::NewGrant;

/// Who granted what to whom.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The subject, as it stands in our tokens.
    pub subject: String,
    /// The provider that vouches for the subject.
    pub idp: Issuer,
    /// The subject's name there.
    pub idp_subject: String,
    /// A verified e-mail address: an attribute, never a key (OC-08).
    pub email: Option<String>,
    /// The person's name.
    pub name: Option<String>,
    /// The person's groups at the time.
    pub groups: Vec<String>,
    /// The client.
    pub client: ClientId,
    /// What it called itself.
    pub client_name: DisplayName,
    /// The resource.
    pub resource: ResourceUri,
    /// The scopes.
    pub scopes: Scopes,
    /// When.
    pub granted_at: Timestamp,
    /// When it ends however often it is refreshed.
    pub ends_at: Timestamp,
}

impl Grant {
    /// What a completed sign-in granted.
    #[must_use]
    pub fn of(new: &NewGrant, lifetimes: &Lifetimes) -> Self {
        let identity = new.admitted.identity();
        Self {
            id: new.id.clone(),
            subject: identity.subject().id().to_string(),
            idp: identity.subject().idp().clone(),
            idp_subject: identity.subject().sub().to_owned(),
            email: identity.verified_email().map(str::to_owned),
            name: identity.name().map(str::to_owned),
            groups: identity.groups().to_vec(),
            client: new.client.clone(),
            client_name: new.client_name.clone(),
            resource: new.resource.clone(),
            scopes: new.scopes.clone(),
            granted_at: new.granted_at,
            ends_at: lifetimes.grant_ends(new.granted_at, new.refresh),
        }
    }

    /// What an access token of this grant says (AS-90). It does not outlive the grant.
    #[must_use]
    pub fn access_token(
        self,
        issuer: &Issuer,
        scopes: Scopes,
        lifetimes: &Lifetimes,
        now: Timestamp,
        jti: String,
    ) -> AccessTokenClaims {
        AccessTokenClaims {
            iss: issuer.clone(),
            sub: self.subject,
            aud: self.resource,
            client_id: self.client,
            iat: now,
            exp: lifetimes.access_token_ends(now).min(self.ends_at),
            nbf: None,
            jti,
            scope: scopes,
            grant: self.id,
            email: self.email,
            name: self.name,
            client_name: Some(self.client_name.as_str().to_owned()),
            idp: Some(self.idp),
            idp_sub: Some(self.idp_subject),
        }
    }
}
