//! What the provider publishes: its metadata and its keys, each fetched once for all who wait, renewed, and kept while it is away.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use deputy_fetch::{Client as FetchClient, Endpoint};
#[cfg(feature = "test-hooks")]
use deputy_protocol::Issuer;
use deputy_protocol::claims::TenantId;
use deputy_protocol::{Reason, Timestamp};
use http::StatusCode;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::IdpFailure;
use crate::clock::Clock;
use crate::config::{Entra, IdpKind};

/// How long metadata and keys are used before they are renewed.
const FRESH: Duration = Duration::from_secs(3600);
/// How long to wait after a fetch, good or bad, before the next (A-123: a flood of unknown keys is no flood of requests).
const PAUSE: Duration = Duration::from_secs(30);
/// How long keys are used that cannot be renewed.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// How long a provider that was away has to show that it is back.
const PROBE: Duration = Duration::from_secs(3);

/// The scope that asks for a refresh token (OIDC Core §11).
pub(super) const OFFLINE_ACCESS: &str = "offline_access";

/// The provider's metadata, checked.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Endpoint,
    pub(super) token_endpoint: Endpoint,
    pub(super) userinfo_endpoint: Option<Endpoint>,
    /// Where its keys are, if it signs anything.
    pub(super) jwks_uri: Option<Endpoint>,
    /// Whether the token endpoint takes our secret in a Basic header.
    pub(super) basic: bool,
    /// Whether every answer carries `iss` (RFC 9207 §3).
    pub(super) iss_in_answers: bool,
    /// Whether it knows the scope `offline_access`.
    pub(super) offline_access: bool,
    /// The scopes that it lists.
    pub(super) scopes: Vec<String>,
}

impl Metadata {
    /// This, where one tenant of several is asked by its own name: what a registration says of itself is for one tenant.
    pub(super) fn at_tenant(&self, entra: &Entra) -> Self {
        let token_endpoint = self.token_endpoint.url().as_str();
        let tenant = entra.tenants.allowed().first().map_or_else(|| entra.path(), TenantId::as_str);
        let at_tenant = token_endpoint.replacen(&format!("/{}/", entra.path()), &format!("/{tenant}/"), 1);
        let token_endpoint = Endpoint::parse(&at_tenant).unwrap_or_else(|_| self.token_endpoint.clone());
        Self { token_endpoint, ..self.clone() }
    }
}

/// OpenID Connect Discovery §3.
#[derive(Deserialize)]
struct RawMetadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Keys as published; those that we cannot read are left out instead of spoiling the others.
#[derive(Deserialize)]
struct RawKeys {
    keys: Vec<serde_json::Value>,
}

/// What was fetched, and how the last attempt went.
#[derive(Debug)]
struct Kept<T> {
    value: Option<(Arc<T>, Timestamp)>,
    asked: Option<Timestamp>,
    attempts: u64,
    failure: Option<IdpFailure>,
}

impl<T> Kept<T> {
    fn younger_than(&self, age: Duration, now: Timestamp) -> Option<Arc<T>> {
        self.value.as_ref().filter(|(_, at)| now.since(*at) < age).map(|(value, _)| Arc::clone(value))
    }

    fn may_ask(&self, now: Timestamp) -> bool {
        self.asked.is_none_or(|at| now.since(at) >= PAUSE)
    }
}

/// A fetched document: readers take what is there, one fetch at a time renews it.
#[derive(Debug)]
struct Shelf<T> {
    kept: RwLock<Kept<T>>,
    fetching: Mutex<()>,
}

impl<T> Shelf<T> {
    fn new() -> Self {
        Self { kept: RwLock::new(Kept { value: None, asked: None, attempts: 0, failure: None }), fetching: Mutex::new(()) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept<T>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document: fresh if it can be had, else the last good if it is younger than `usable`. Nobody waits for more than one fetch
    /// that fails, however many came before.
    async fn fresh(
        &self,
        usable: Duration,
        now: Timestamp,
        fetch: impl Future<Output = Result<T, IdpFailure>>,
    ) -> Result<Arc<T>, IdpFailure> {
        let (fresh, last_good, attempts) = {
            let kept = self.read();
            (kept.younger_than(FRESH, now), kept.younger_than(usable, now), kept.attempts)
        };
        if let Some(fresh) = fresh {
            return Ok(fresh);
        }
        let _one_at_a_time = match (self.fetching.try_lock(), &last_good) {
            (Ok(turn), _) => turn,
            (Err(_), Some(last_good)) => return Ok(Arc::clone(last_good)),
            (Err(_), None) => self.fetching.lock().await,
        };
        {
            let kept = self.read();
            if let Some(fresh) = kept.younger_than(FRESH, now) {
                return Ok(fresh);
            }
            if let (true, Some(failure)) = (kept.attempts != attempts, &kept.failure) {
                return last_good.ok_or_else(|| failure.clone());
            }
            // Without a last good one there is nothing to lose by asking each time.
            if let (Some(last_good), false) = (&last_good, kept.may_ask(now)) {
                return Ok(Arc::clone(last_good));
            }
        }
        let fetched = self.attempt(now, fetch).await;
        match (fetched, last_good) {
            (Err(failure), Some(last_good)) => {
                tracing::warn!(target: "deputy::idp", detail = failure.detail, "cannot renew what the identity provider publishes; using the last");
                Ok(last_good)
            }
            (fetched, _) => fetched,
        }
    }

    /// Another document than `known`, if asking again is due and gives any.
    async fn newer(&self, known: &Arc<T>, now: Timestamp, fetch: impl Future<Output = Result<T, IdpFailure>>) -> Option<Arc<T>> {
        let _one_at_a_time = self.fetching.lock().await;
        {
            let kept = self.read();
            if let Some((current, _)) = &kept.value
                && !Arc::ptr_eq(current, known)
            {
                return Some(Arc::clone(current));
            }
            if !kept.may_ask(now) {
                return None;
            }
        }
        self.attempt(now, fetch).await.ok()
    }

    /// One fetch. The caller holds the lock.
    async fn attempt(&self, now: Timestamp, fetch: impl Future<Output = Result<T, IdpFailure>>) -> Result<Arc<T>, IdpFailure> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner).asked = Some(now);
        let fetched = fetch.await.map(Arc::new);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.attempts = kept.attempts.wrapping_add(1);
        kept.failure = fetched.as_ref().err().cloned();
        if let Ok(value) = &fetched {
            kept.value = Some((Arc::clone(value), now));
        }
        fetched
    }
}

/// The provider's published documents.
#[derive(Debug)]
pub(super) struct Directory {
    /// Where the metadata lies, without the well-known path.
    base: String,
    /// The issuer that it must name.
    issuer: String,
    /// The metadata of a provider that publishes none.
    fixed: Option<Arc<Metadata>>,
    fetch: FetchClient,
    clock: Arc<dyn Clock>,
    metadata: Shelf<Metadata>,
    keys: Shelf<JwkSet>,
}

impl Directory {
    pub(super) fn new(kind: &IdpKind, fetch: FetchClient, clock: Arc<dyn Clock>) -> Self {
        let (base, issuer, fixed) = match kind {
            IdpKind::OpenId { issuer } => (issuer.to_string(), issuer.to_string(), None),
            IdpKind::Entra(entra) => (format!("{}/{}/v2.0", entra.origin, entra.path()), entra.metadata_issuer(), None),
            IdpKind::GitHub(github) => {
                let at = |path: &str| format!("{}/login/oauth/{path}", github.web);
                (github.api.to_string(), github.web.to_string(), fixed(&at("authorize"), &at("access_token")))
            }
            IdpKind::OAuth(oauth) => {
                let fixed = fixed(oauth.authorization_endpoint.as_str(), oauth.token_endpoint.as_str());
                (oauth.userinfo_endpoint.to_string(), oauth.issuer.to_string(), fixed)
            }
        };
        Self { base, issuer, fixed, fetch, clock, metadata: Shelf::new(), keys: Shelf::new() }
    }

    /// The metadata: fresh if it can be had, else the last good.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, IdpFailure> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        self.metadata.fresh(Duration::MAX, self.clock.now(), self.fetch_metadata()).await
    }

    /// The last metadata that was read, however old.
    pub(super) fn last_metadata(&self) -> Option<Arc<Metadata>> {
        if self.fixed.is_some() {
            return self.fixed.clone();
        }
        self.metadata.read().value.as_ref().map(|(metadata, _)| Arc::clone(metadata))
    }

    /// The keys: fresh if they can be had, else the last good for a day.
    pub(super) async fn keys(&self) -> Result<Arc<JwkSet>, IdpFailure> {
        self.keys.fresh(STALE, self.clock.now(), self.fetch_keys()).await
    }

    /// Other keys than `known`, if asking again is due and gives any.
    pub(super) async fn newer_keys(&self, known: &Arc<JwkSet>) -> Option<Arc<JwkSet>> {
        self.keys.newer(known, self.clock.now(), self.fetch_keys()).await
    }

    /// Whether the provider is there: something harmless that it answers soon, or not. Nothing is kept of it.
    pub(super) async fn probe(&self) -> Result<(), IdpFailure> {
        let asked = self.fetch.within(PROBE).get(&self.document()?, deputy_fetch::Credentials::None).await;
        let answer = asked.map_err(|error| IdpFailure::outage(error.to_string()))?;
        // What has no document answers somehow: a token is missing.
        let well = answer.status == StatusCode::OK || (self.fixed.is_some() && answer.status.is_client_error());
        if well { Ok(()) } else { Err(IdpFailure::outage(format!("the discovery document answered {}", answer.status))) }
    }

    fn document(&self) -> Result<Endpoint, IdpFailure> {
        if self.fixed.is_some() {
            return endpoint("url", &self.base);
        }
        endpoint("issuer", &format!("{}/.well-known/openid-configuration", self.base.trim_end_matches('/')))
    }

    async fn fetch_metadata(&self) -> Result<Metadata, IdpFailure> {
        let raw: RawMetadata = self.fetch_json(&self.document()?, "the discovery document").await?;
        checked(raw, &self.issuer)
    }

    async fn fetch_keys(&self) -> Result<JwkSet, IdpFailure> {
        let metadata = self.metadata().await?;
        let none = || IdpFailure::refused(Reason::IdpAnswerMalformed, "the provider publishes no keys");
        let raw: RawKeys = self.fetch_json(metadata.jwks_uri.as_ref().ok_or_else(none)?, "the key set").await?;
        Ok(readable(raw, &self.issuer))
    }

    async fn fetch_json<T: serde::de::DeserializeOwned>(&self, from: &Endpoint, what: &str) -> Result<T, IdpFailure> {
        let answer =
            self.fetch.get(from, deputy_fetch::Credentials::None).await.map_err(|error| IdpFailure::outage(error.to_string()))?;
        if answer.status != StatusCode::OK {
            return Err(status_failure(what, answer.status));
        }
        answer.json().map_err(|error| IdpFailure::refused(Reason::IdpAnswerMalformed, format!("{what} cannot be read: {error}")))
    }
}

/// The metadata of a provider that publishes none. Where these lead, the configuration says.
fn fixed(authorization_endpoint: &str, token_endpoint: &str) -> Option<Arc<Metadata>> {
    Some(Arc::new(Metadata {
        authorization_endpoint: Endpoint::parse(authorization_endpoint).ok()?,
        token_endpoint: Endpoint::parse(token_endpoint).ok()?,
        userinfo_endpoint: None,
        jwks_uri: None,
        basic: false,
        iss_in_answers: false,
        offline_access: false,
        scopes: Vec::new(),
    }))
}

/// Checks the metadata of the provider that was asked.
fn checked(raw: RawMetadata, issuer: &str) -> Result<Metadata, IdpFailure> {
    if raw.issuer != issuer {
        let detail = format!(
            "its metadata names the issuer {:?}, the configuration {:?}; they must be equal to the letter",
            excerpt(&raw.issuer),
            issuer
        );
        return Err(IdpFailure::refused(Reason::IdpIssuerMismatch, detail));
    }
    // RFC 8414 §2: without the list, Basic is the default. A provider that lists both gets Basic.
    let methods = raw.token_endpoint_auth_methods_supported;
    Ok(Metadata {
        authorization_endpoint: endpoint("authorization_endpoint", &raw.authorization_endpoint)?,
        token_endpoint: endpoint("token_endpoint", &raw.token_endpoint)?,
        userinfo_endpoint: raw.userinfo_endpoint.map(|url| endpoint("userinfo_endpoint", &url)).transpose()?,
        jwks_uri: Some(endpoint("jwks_uri", &raw.jwks_uri)?),
        basic: methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic")),
        iss_in_answers: raw.authorization_response_iss_parameter_supported,
        offline_access: raw.scopes_supported.iter().any(|scope| scope == OFFLINE_ACCESS),
        scopes: raw.scopes_supported,
    })
}

/// The keys that we can read. One that names an issuer signs for that one alone: among the keys for all of Entra's tenants are such for
/// personal accounts (learn.microsoft.com, "Claims validation": the issuer of the signing key).
fn readable(raw: RawKeys, issuer: &str) -> JwkSet {
    let ours = |key: &serde_json::Value| {
        key.get("issuer").is_none_or(|named| named.as_str().is_some_and(|named| signs_for(named, issuer)))
    };
    JwkSet { keys: raw.keys.into_iter().filter(ours).filter_map(|key| serde_json::from_value::<Jwk>(key).ok()).collect() }
}

/// Whether a key of the issuer `named`, perhaps a pattern for all tenants, signs for `issuer`.
fn signs_for(named: &str, issuer: &str) -> bool {
    let fills = |(before, after): (&str, &str)| {
        let tenant = issuer.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        tenant.is_some_and(|tenant| TenantId::parse(tenant).is_some())
    };
    named == issuer || named.split_once("{tenantid}").is_some_and(fills)
}

/// The endpoints of a discovery document, for the fuzzer: authorization, token, keys, and userinfo if there is one.
#[cfg(feature = "test-hooks")]
pub(crate) fn probe(json: &[u8], issuer: &Issuer) -> Option<Vec<Endpoint>> {
    let metadata = checked(deputy_fetch::object(json).ok()?, issuer.as_str()).ok()?;
    let Metadata { authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint, .. } = metadata;
    Some([authorization_endpoint, token_endpoint].into_iter().chain(jwks_uri).chain(userinfo_endpoint).collect())
}

/// A key set, for the fuzzer.
#[cfg(feature = "test-hooks")]
pub(crate) fn probe_keys(json: &[u8]) -> Option<JwkSet> {
    deputy_fetch::object(json).ok().map(|raw| readable(raw, "https://idp.test"))
}

fn endpoint(name: &str, url: &str) -> Result<Endpoint, IdpFailure> {
    Endpoint::parse(url)
        .map_err(|error| IdpFailure::refused(Reason::IdpAnswerMalformed, format!("{name} {:?}: {error}", excerpt(url))))
}

/// The head of what the provider says, for the log.
fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}

/// 5xx and 429 pass; anything else does not by itself.
pub(super) fn status_failure(what: &str, status: StatusCode) -> IdpFailure {
    let detail = format!("{what} answered {status}");
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        IdpFailure::outage(detail)
    } else {
        IdpFailure::refused(Reason::IdpAnswerMalformed, detail)
    }
}
