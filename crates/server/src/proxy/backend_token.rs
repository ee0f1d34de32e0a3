//! The token with which the API behind a server is called in the name of the person, in place of the client's, which stays here (PX-17).
//!
//! What this module guarantees:
//! - A token belongs to one grant and one server, and ends with the grant: it is asked for with what that very sign-in brought.
//! - A person who has to come again is signed out, so that the next sign-in asks for what is missing; an outage signs nobody out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deputy_guard::Permit;
use deputy_protocol::{GrantId, Reason, Timestamp};
use http::HeaderValue;
use moka::sync::Cache;

use crate::config::ServerConfig;
use crate::error::Failure;
use crate::idp::{IdpFailure, IdpTokens, Lease, Lent, Provider, Providers};
use crate::revocations::Revoked;
use crate::seal::{Purpose, Seal};
use crate::store::{Revoke, Step, Store};

/// How long before its end a token is renewed: what a call takes to get there.
const AHEAD: Duration = Duration::from_secs(60);
/// Most tokens that are kept.
const KEPT_MAX: u64 = 50_000;
/// How long a token is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(3600);

/// Where such tokens come from.
pub(crate) struct BackendTokens {
    /// The API's scopes, as they are sent.
    scopes: String,
    kept: Cache<GrantId, Arc<Lease>>,
    from: Sources,
}

/// What is needed to ask for one.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) idps: Arc<Providers>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) seal: Arc<Seal>,
    pub(crate) revoked: Arc<Revoked>,
}

impl fmt::Debug for BackendTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendTokens").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl BackendTokens {
    /// The tokens that this server's API is called with, if it is to be.
    ///
    /// # Errors
    /// Which provider gives none.
    pub(crate) fn of(server: &ServerConfig, from: &Sources) -> Result<Option<Arc<Self>>, String> {
        if server.on_behalf_of.is_empty() {
            return Ok(None);
        }
        if let Some(other) = from.idps.iter().find(|idp| !idp.acts_on_behalf()) {
            return Err(format!(
                "on_behalf_of of {} is for people of Entra, with a credential of ours there; \"{}\" is no such provider",
                server.path,
                other.name()
            ));
        }
        let kept = Cache::builder().max_capacity(KEPT_MAX).time_to_idle(IDLE).build();
        Ok(Some(Arc::new(Self { scopes: server.on_behalf_of.join(" "), kept, from: from.clone() })))
    }

    /// Whether whoever signed in just now would get one: what is missing is asked for while the person is there.
    ///
    /// # Errors
    /// As [`Provider::on_behalf`].
    pub(crate) async fn try_out(&self, idp: &Provider, tokens: &IdpTokens, now: Timestamp) -> Result<(), IdpFailure> {
        idp.on_behalf(tokens, &self.scopes, now).await.map(drop)
    }

    /// What the backend is sent as `Authorization`.
    ///
    /// # Errors
    /// [`Reason::TokenExpired`] and [`Reason::TokenRevoked`]: the client must renew its token, or sign in again. Everything else is the provider's
    /// or ours, and no reason to.
    pub(crate) async fn authorization(&self, permit: &Permit, now: Timestamp) -> Result<HeaderValue, Failure> {
        let lease = self.kept.get_with_by_ref(permit.grant(), Arc::default);
        let token = match lease.token(now, AHEAD, Box::pin(self.ask(permit, now))).await {
            Ok(token) => token,
            Err(failure) if failure.reason == Reason::BackendTokenRefused => return Err(self.end(permit, now).await),
            Err(failure) => return Err(failure.into()),
        };
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| Failure::detailed(Reason::IdpAnswerMalformed, "the token for the backend is no token"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The backend refuses this token: the next call asks for another.
    pub(crate) async fn forget(&self, grant: &GrantId) {
        if let Some(lease) = self.kept.get(grant) {
            lease.forget().await;
        }
    }

    async fn ask(&self, permit: &Permit, now: Timestamp) -> Result<Lent, IdpFailure> {
        let idp = permit.idp().and_then(|(issuer, _)| self.from.idps.of(issuer)).ok_or_else(IdpFailure::gone)?;
        let sealed = self.from.store.idp_tokens(permit.grant()).await.map_err(|error| {
            let detail = error.to_string();
            IdpFailure { reason: Failure::from(error).reason(), ..IdpFailure::outage(detail) }
        })?;
        let sealed = sealed.ok_or_else(|| IdpFailure::refused(Reason::TokenRevoked, "the grant is no more"))?;
        let tokens: Option<IdpTokens> = self.from.seal.open(Purpose::AtRest, &sealed);
        let tokens = tokens.ok_or_else(|| {
            let detail = "the provider's tokens do not open with this master key; was master.key replaced?";
            IdpFailure::refused(Reason::Internal, detail)
        })?;
        idp.on_behalf(&tokens, &self.scopes, now).await
    }

    /// Ends a grant whose person has to come again.
    async fn end(&self, permit: &Permit, now: Timestamp) -> Failure {
        let grant = permit.grant().clone();
        tracing::info!(target: "deputy::event", event = "backend_token_refused", %grant);
        self.from.revoked.add(grant.clone());
        let revoke = Revoke { grant, why: Reason::BackendTokenRefused, now };
        match self.from.store.take(Step::Revoke(revoke)).await {
            Ok(_) => Reason::TokenRevoked.into(),
            Err(error) => error.into(),
        }
    }
}
