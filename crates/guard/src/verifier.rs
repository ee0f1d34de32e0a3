//! From a request's headers to a [`Permit`].

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use deputy_protocol::access_token::{ACCESS_TOKEN_TYPE, AccessTokenClaims, Expected, ValidAccessToken, check};
use deputy_protocol::challenge::Challenge;
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::scope::{Hierarchy, Scopes};
use deputy_protocol::secret::sha256;
use deputy_protocol::{GrantId, Issuer, Reason, Timestamp};
use http::HeaderMap;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::JwkSet;
use moka::sync::Cache;

use crate::permit::Permit;
use crate::refused::Refused;
use crate::{bearer, jws};

/// The verification keys, exchanged as a whole when they rotate.
pub type Keys = Arc<ArcSwap<JwkSet>>;

/// What our access tokens are signed with.
const ALGORITHMS: &[Algorithm] = &[Algorithm::ES256];

/// How many verified tokens are remembered at most. Beyond that a signature is checked again, nothing more.
const REMEMBERED: u64 = 10_000;

/// Which grants were revoked. Asked at every request, so it must answer from memory.
pub trait Revocations: Send + Sync {
    /// Whether everything that belongs to this grant is refused.
    fn is_revoked(&self, grant: &GrantId) -> bool;
}

/// For resources that rely on short-lived tokens alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingRevoked;

impl Revocations for NothingRevoked {
    fn is_revoked(&self, _: &GrantId) -> bool {
        false
    }
}

/// A token whose signature was verified, and with which keys: when these change it is verified again, so that taking a key out works
/// at once.
#[derive(Clone)]
struct Remembered {
    token: Arc<ValidAccessToken>,
    keys: Arc<JwkSet>,
}

/// Verifies the access tokens of one resource.
pub struct Verifier {
    issuer: Issuer,
    resource: ResourceUri,
    scopes: Scopes,
    hierarchy: Hierarchy,
    keys: Keys,
    revocations: Arc<dyn Revocations>,
    verified: Cache<[u8; 32], Remembered>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("issuer", &self.issuer).field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier for tokens that `issuer` makes for `resource`. `scopes` is what a challenge asks for: the least that is of use (RS-04).
    #[must_use]
    pub fn new(issuer: Issuer, resource: ResourceUri, scopes: Scopes, keys: Keys, revocations: Arc<dyn Revocations>) -> Self {
        let hierarchy = Hierarchy::default();
        Self { issuer, resource, scopes, hierarchy, keys, revocations, verified: Cache::new(REMEMBERED) }
    }

    /// With scopes that contain others: a token with one of them suffices where a contained one is needed (RS-13).
    #[must_use]
    pub fn with_hierarchy(self, hierarchy: Hierarchy) -> Self {
        Self { hierarchy, ..self }
    }

    /// What a permit allows: what was granted, with all that it contains.
    #[must_use]
    pub fn allowed(&self, permit: &Permit) -> Scopes {
        self.hierarchy.with_contained(permit.scopes())
    }

    /// Judges a request by its headers. The signature is checked when a token is first seen; its time and whether its grant was revoked,
    /// always (RS-07).
    ///
    /// # Errors
    /// [`Refused`], with the answer for the client.
    pub fn verify(&self, headers: &HeaderMap, now: Timestamp) -> Result<Permit, Refused> {
        let permit = bearer::token(headers).and_then(|token| self.permit(token, now));
        permit.map_err(|reason| self.refuse(reason))
    }

    /// Judges a permit again, for a stream that outlives the request's beginning.
    ///
    /// # Errors
    /// [`Reason::TokenExpired`] or [`Reason::TokenRevoked`].
    pub fn still_good(&self, permit: &Permit, now: Timestamp) -> Result<(), Reason> {
        permit.token.in_time(now)?;
        self.not_revoked(permit)
    }

    /// Only the second half of [`still_good`](Self::still_good): whether the grant was revoked.
    ///
    /// # Errors
    /// [`Reason::TokenRevoked`].
    pub fn not_revoked(&self, permit: &Permit) -> Result<(), Reason> {
        permit.token.not_revoked(self.revocations.is_revoked(permit.grant()))
    }

    /// Demands scopes for one operation; one that contains a needed one suffices.
    ///
    /// # Errors
    /// [`Refused`] with 403 and all that is needed, together with what is already granted: clients replace their scopes rather than
    /// add to them (RS-12, RS-14).
    pub fn require(&self, permit: &Permit, needed: &Scopes) -> Result<(), Refused> {
        if self.allowed(permit).covers(needed) {
            return Ok(());
        }
        let wanted = permit.scopes().union(needed);
        Err(Refused::new(Challenge::new(Reason::ScopeInsufficient, &self.resource, &wanted)))
    }

    /// The refusal with this reason.
    #[must_use]
    pub fn refuse(&self, reason: Reason) -> Refused {
        Refused::new(Challenge::new(reason, &self.resource, &self.scopes))
    }

    fn permit(&self, token: &str, now: Timestamp) -> Result<Permit, Reason> {
        let keys = self.keys.load_full();
        let digest = sha256(token.as_bytes());
        let remembered = self.verified.get(&digest).filter(|known| Arc::ptr_eq(&known.keys, &keys));
        let token = match remembered {
            Some(known) => known.token,
            None => self.first_seen(token, digest, keys, now)?,
        };
        let permit = Permit { token };
        self.still_good(&permit, now)?;
        Ok(permit)
    }

    fn first_seen(
        &self,
        token: &str,
        digest: [u8; 32],
        keys: Arc<JwkSet>,
        now: Timestamp,
    ) -> Result<Arc<ValidAccessToken>, Reason> {
        let claims = jws::verify_typed::<AccessTokenClaims>(token, &keys, ALGORITHMS, ACCESS_TOKEN_TYPE)?;
        let expected = Expected { issuer: &self.issuer, resource: &self.resource, now };
        let token = Arc::new(check(claims, expected)?);
        self.verified.insert(digest, Remembered { token: Arc::clone(&token), keys });
        Ok(token)
    }
}
