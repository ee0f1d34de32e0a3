//! A grant: who allowed which client what. Its tokens are its family.

use crate::access::{Known, Rules};
use crate::access_token::AccessTokenClaims;
use crate::claims::{Memberships, Subject};
use crate::client::DisplayName;
use crate::error::Reason;
use crate::family::{Lifetimes, Word};
use crate::hooks::{Guard, passes};
use crate::ids::{ClientId, GrantId, Issuer};
use crate::resource::{Catalog, ResourceUri};
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
    /// The e-mail address as the provider last said it, verified or not.
    pub said_email: Option<String>,
    /// What the person belongs to, as the provider last said it.
    pub memberships: Memberships,
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
            said_email: identity.said_email().map(str::to_owned),
            memberships: identity.memberships().clone(),
            client: new.client.clone(),
            client_name: new.client_name.clone(),
            resource: new.resource.clone(),
            scopes: new.scopes.clone(),
            granted_at: new.granted_at,
            ends_at: lifetimes.grant_ends(new.granted_at, new.refresh),
        }
    }

    /// Who signed in, as the provider names them.
    #[must_use]
    pub fn account(&self) -> Subject {
        Subject::known(self.idp.clone(), self.idp_subject.clone())
    }

    /// What the rules ask about.
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        Known {
            idp: &self.idp,
            sub: &self.idp_subject,
            email: self.email.as_deref(),
            said_email: self.said_email.as_deref(),
            memberships: &self.memberships,
        }
    }

    /// Whether it is this client's to refresh.
    ///
    /// # Errors
    /// [`Reason::RefreshOtherClient`].
    pub fn refreshed_by(&self, client: &ClientId) -> Result<(), Reason> {
        if passes(Guard::RefreshClient, self.client == *client) { Ok(()) } else { Err(Reason::RefreshOtherClient) }
    }

    /// What an access token of this grant says (AS-90). It outlives neither the grant nor what the provider vouches for.
    #[must_use]
    pub fn access_token(
        self,
        issuer: &Issuer,
        scopes: Scopes,
        word: &Word,
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
            exp: lifetimes.access_token_ends(now).min(self.ends_at).min(word.vouches_until(lifetimes.access_token)),
            nbf: None,
            jti,
            scope: scopes,
            grant: self.id,
            email: self.email,
            name: self.name,
            client_name: Some(self.client_name.as_str().to_owned()),
            idp: Some(self.idp),
            idp_sub: Some(self.idp_subject),
            criteria: Vec::new(),
        }
    }
}

/// What the deployment allows today.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Who may come in.
    pub rules: &'a Rules,
    /// What there is.
    pub catalog: &'a Catalog,
}

impl Policy<'_> {
    /// Whether a grant would be made today: the rules still admit the person, the resource is still there, and of the scopes what still
    /// exists and the person may have remains. A changed configuration reaches everybody within one access-token lifetime (R32).
    ///
    /// # Errors
    /// [`Reason::AccessEnded`], [`Reason::ResourceNotGranted`].
    pub fn still_grants(&self, grant: &Grant) -> Result<Scopes, Reason> {
        self.rules.still_admit(&grant.known()).map_err(|_| Reason::AccessEnded)?;
        match self.catalog.scopes_for(&grant.resource, &grant.scopes, &grant.known()) {
            Err(Reason::ScopesNotAllowed) => Err(Reason::AccessEnded),
            granted => granted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::claims::Groups;
    use crate::samples::{grant, policy};

    #[test]
    fn r32_a_grant_is_judged_by_the_rules_and_resources_of_today() {
        let judge = |allowed: &str, edit: fn(&mut Grant)| {
            let (rules, catalog) = policy(allowed);
            let mut grant = grant();
            edit(&mut grant);
            Policy { rules: &rules, catalog: &catalog }.still_grants(&grant).map(|scopes| scopes.to_string())
        };
        assert_eq!(judge("*", |_| ()).unwrap(), "a b");
        assert_eq!(judge("subject:alice", |_| ()).unwrap(), "a b");
        assert_eq!(judge("subject:bob", |_| ()), Err(Reason::AccessEnded));
        assert_eq!(
            judge("group:staff", |grant| grant.memberships.groups = Groups::Listed(vec!["staff".to_owned()])).unwrap(),
            "a b"
        );
        assert_eq!(judge("*", |grant| grant.scopes = Scopes::parse("a gone").unwrap()).unwrap(), "a");
        assert_eq!(judge("*", |grant| grant.scopes = Scopes::parse("gone").unwrap()), Err(Reason::AccessEnded));
        let elsewhere = |grant: &mut Grant| grant.resource = ResourceUri::parse("https://mcp.test/gone").unwrap();
        assert_eq!(judge("*", elsewhere), Err(Reason::ResourceNotGranted));
    }

    #[test]
    fn a_106_an_access_token_ends_with_its_grant() {
        let (issuer, lifetimes) = (Issuer::parse("https://mcp.test").unwrap(), Lifetimes::default());
        let ends = |now: u64, heard: Duration| {
            let now = Timestamp::from_seconds(now);
            let word = Word { heard_at: now.before(heard), renewable: true, asking_since: None };
            grant().access_token(&issuer, Scopes::parse("a").unwrap(), &word, &lifetimes, now, "j".to_owned()).exp.seconds()
        };
        let fresh = Duration::ZERO;
        assert_eq!((ends(0, fresh), ends(699, fresh), ends(700, fresh), ends(900, fresh)), (300, 999, 1000, 1000));
        assert_eq!(ends(100, Duration::from_secs(60)), 340, "A-116");
    }
}
