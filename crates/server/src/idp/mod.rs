//! Login at the identity provider: deputy as an OAuth client with one static registration (OC-01…18).
//!
//! What this module guarantees:
//! - The provider is asked with our own parameters only; nothing of a client's request reaches it (OC-12, A-070, A-072).
//! - An answer becomes an identity only through a signature by a key that the provider publishes, and `check_id_token`.
//! - A refresh token is sent once, and again only when it certainly was not used (I9).
//! - What the provider says in words goes to the log at most (OC-18).

mod breaker;
mod credential;
mod graph;
mod lease;
mod managed;
pub(crate) mod metadata;
mod on_behalf;
mod profile;
mod providers;
mod renew;
mod tokens;
pub(crate) mod trial;
mod userinfo;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deputy_fetch::{Answer, Client as FetchClient, Credentials, Endpoint, FetchError};
use deputy_guard::jws;
use deputy_protocol::claims::{
    Authority, ExpectedIdToken, IdTokenClaims, Profile, SignedClaims, VerifiedIdentity, check_id_token, check_profile,
};
use deputy_protocol::pkce::Verifier;
use deputy_protocol::secret::{ClientSecret, Nonce};
use deputy_protocol::transaction::IdpRequest;
use deputy_protocol::{IdpName, Issuer, Reason, Timestamp};
use jsonwebtoken::Algorithm;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::Clock;
use crate::config::{IdpConfig, IdpKind};
use crate::error::Failure;
use breaker::Breaker;
pub(crate) use lease::{Lease, Lent};
use managed::Managed;
use metadata::{Directory, Metadata, OFFLINE_ACCESS};
use profile::Asker;
pub(crate) use providers::CALLBACK;
pub use providers::{Providers, redirect_uri};
pub use renew::Renewal;
pub use tokens::IdpTokens;
use tokens::{Lasting, TokenAnswer};

/// The signatures that an ID token may have: asymmetric ones, whatever the token or the provider's metadata say.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// A completed login.
#[derive(Debug)]
pub struct SignIn {
    /// Who.
    pub identity: VerifiedIdentity,
    /// The provider's tokens, for us alone (OC-01).
    pub tokens: IdpTokens,
}

/// A login that failed.
#[derive(Clone, Debug)]
pub struct IdpFailure {
    /// Why.
    pub reason: Reason,
    /// What the operator should read.
    pub detail: String,
    /// Whether it may pass by itself.
    pub outage: bool,
    /// What the provider wants to be asked for instead: the `claims` of a new request (OIDC Core §5.5), such as a second factor.
    pub wants: Option<String>,
}

impl IdpFailure {
    pub(crate) fn refused(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), outage: false, wants: None }
    }

    /// The configuration does not name it any more.
    pub(crate) fn gone() -> Self {
        Self::refused(Reason::IdpGone, "no [[idp]] of today vouches for this person")
    }

    pub(crate) fn outage(detail: impl Into<String>) -> Self {
        Self { reason: Reason::IdpUnavailable, detail: detail.into(), outage: true, wants: None }
    }
}

impl From<IdpFailure> for Failure {
    fn from(failure: IdpFailure) -> Self {
        Self::detailed(failure.reason, failure.detail)
    }
}

/// What an error code in the provider's answer means for the client. Unknown codes are our problem, not the person's.
#[must_use]
pub fn refusal_of(error: &str) -> Reason {
    match error {
        "access_denied" | "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            Reason::IdpDenied
        }
        "temporarily_unavailable" => Reason::IdpUnavailable,
        _ => Reason::IdpError,
    }
}

/// An identity provider.
pub struct Provider {
    config: IdpConfig,
    /// What we registered there: where it sends people back.
    redirect_uri: String,
    authority: Authority,
    fetch: FetchClient,
    directory: Directory,
    breaker: Breaker,
    managed: Managed,
    /// Sign-ins and renewals that are under way at the provider; neither starves the other.
    exchanging: Semaphore,
    renewing: Semaphore,
    display_host: String,
    /// The groups that rules name, for those who can be asked about them alone.
    groups: Vec<String>,
}

/// Most of each at once: strangers can bring us to send a code, and must neither use up our sockets nor the provider's patience with us.
const UNDER_WAY: usize = 32;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(2);

/// A turn at the provider.
async fn turn(of: &Semaphore) -> Result<SemaphorePermit<'_>, IdpFailure> {
    let turn = tokio::time::timeout(TURN, of.acquire()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| IdpFailure::outage("too many requests to the provider are under way"))
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl Provider {
    /// A provider that nobody has asked yet, which sends people back to `redirect_uri`.
    #[must_use]
    pub fn new(config: IdpConfig, redirect_uri: String, fetch: FetchClient, clock: Arc<dyn Clock>) -> Self {
        let directory = Directory::new(&config.kind, fetch.clone(), clock);
        let origin = match &config.kind {
            IdpKind::OpenId { issuer } => issuer,
            IdpKind::Entra(entra) => &entra.origin,
            IdpKind::GitHub(github) => &github.web,
            IdpKind::OAuth(oauth) => &oauth.authorization_endpoint,
        };
        let host = Endpoint::parse(origin.as_str()).ok().and_then(|origin| origin.url().host_str().map(str::to_owned));
        let display_host = host.unwrap_or_else(|| origin.to_string());
        Self {
            authority: config.kind.authority(),
            config,
            redirect_uri,
            fetch,
            directory,
            breaker: Breaker::default(),
            managed: Managed::default(),
            exchanging: Semaphore::new(UNDER_WAY),
            renewing: Semaphore::new(UNDER_WAY),
            display_host,
            groups: Vec::new(),
        }
    }

    /// This provider, where rules name `groups`.
    #[must_use]
    pub fn with_groups(self, groups: BTreeSet<String>) -> Self {
        Self { groups: groups.into_iter().collect(), ..self }
    }

    /// What the configuration calls it.
    #[must_use]
    pub fn name(&self) -> &IdpName {
        &self.config.name
    }

    /// What people call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.config.label.as_deref().unwrap_or(&self.display_host)
    }

    /// Whether it is the one that vouches for people of this issuer.
    #[must_use]
    pub fn vouches_for(&self, issuer: &Issuer) -> bool {
        self.authority.vouches_for(issuer)
    }

    /// Its host, for people.
    #[must_use]
    pub fn display_host(&self) -> &str {
        &self.display_host
    }

    /// Asks for its metadata, at start. A provider that is away is no error; it is asked again when somebody signs in.
    ///
    /// # Errors
    /// What is wrong, when it answers and is not the provider that the configuration names (OC-06, A-125).
    pub async fn discover(&self) -> Result<(), String> {
        match self.directory.metadata().await {
            Ok(metadata) if self.config.userinfo && metadata.userinfo_endpoint.is_none() => {
                Err("userinfo = true, but its metadata names no userinfo_endpoint".to_owned())
            }
            Ok(_) => Ok(()),
            Err(failure) if failure.outage => {
                tracing::warn!(target: "deputy::idp", detail = failure.detail, "the identity provider is away; sign-ins wait until it is back");
                Ok(())
            }
            Err(failure) => Err(failure.detail),
        }
    }

    /// The scopes that it is asked for, as far as is known.
    #[must_use]
    pub fn scopes(&self) -> Vec<String> {
        self.directory.last_metadata().map_or_else(|| self.config.scopes.clone(), |metadata| self.scopes_at(&metadata))
    }

    fn scopes_at(&self, metadata: &Metadata) -> Vec<String> {
        let mut scopes = self.config.scopes.clone();
        if self.config.offline_access && metadata.offline_access && !scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
            scopes.push(OFFLINE_ACCESS.to_owned());
        }
        scopes
    }

    /// Where the browser goes to sign in. Only the parameters below are ever sent. `scopes` are asked for beside the configured ones: those
    /// that the operator put behind what was approved.
    ///
    /// # Errors
    /// [`Reason::IdpUnavailable`] while the provider's metadata cannot be had.
    pub async fn authorization_url(&self, request: &IdpRequest, scopes: &[&str]) -> Result<String, IdpFailure> {
        self.authorization_url_for(request, scopes, None).await
    }

    /// [`Provider::authorization_url`], with the claims that the provider wants to be asked for.
    ///
    /// # Errors
    /// As [`Provider::authorization_url`].
    pub(crate) async fn authorization_url_for(
        &self,
        request: &IdpRequest,
        scopes: &[&str],
        wants: Option<&str>,
    ) -> Result<String, IdpFailure> {
        let metadata = self.directory.metadata().await?;
        let mut asked = self.scopes_at(&metadata);
        for scope in scopes {
            if !asked.iter().any(|already| already == scope) {
                asked.push((*scope).to_owned());
            }
        }
        let mut url = metadata.authorization_endpoint.url().clone();
        let nonce = self.config.kind.has_id_tokens().then(|| ("nonce", request.nonce.expose()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &asked.join(" "))
            .append_pair("state", request.state.expose())
            .extend_pairs(nonce)
            .append_pair("code_challenge", request.verifier.challenge().as_str())
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(&self.config.parameters)
            .extend_pairs(wants.map(|claims| ("claims", claims)));
        Ok(url.into())
    }

    /// Checks the `iss` of an answer (RFC 9207 §2.4; OC-05): equal to the letter if there, there if the provider says it sends it.
    ///
    /// # Errors
    /// [`Reason::IdpIssuerMismatch`]; [`Reason::IdpUnavailable`] when it is not there and we cannot find out whether it should be.
    pub async fn check_issuer(&self, iss: Option<&str>) -> Result<(), IdpFailure> {
        let fits = match (iss, &self.authority) {
            // GitHub's issuer of answers is not what it calls people's home: it publishes none for them.
            (Some(iss), Authority::Issuer(issuer)) if matches!(self.config.kind, IdpKind::GitHub(_)) => {
                iss == issuer.as_str() || iss.strip_prefix(issuer.as_str()) == Some("/login/oauth")
            }
            (Some(iss), Authority::Issuer(issuer)) => iss == issuer.as_str(),
            (Some(iss), Authority::Tenants(_)) => Issuer::parse(iss).is_ok_and(|issuer| self.vouches_for(&issuer)),
            (None, _) => !self.directory.metadata().await?.iss_in_answers,
        };
        if fits {
            Ok(())
        } else {
            Err(IdpFailure::refused(Reason::IdpIssuerMismatch, "iss is another, or missing although promised"))
        }
    }

    /// Redeems the provider's code and finds out who signed in.
    ///
    /// # Errors
    /// [`IdpFailure`]: the provider is away, or its answer does not hold.
    pub async fn redeem(&self, code: &str, verifier: &Verifier, nonce: &Nonce, now: Timestamp) -> Result<SignIn, IdpFailure> {
        let _turn = turn(&self.exchanging).await?;
        let metadata = self.directory.metadata().await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier.expose()),
        ];
        let (credentials, form) = self.token_form(&metadata, &form, now).await?;
        let answer =
            self.token_request(&metadata, credentials, form).await.map_err(|error| IdpFailure::outage(error.to_string()))?;
        let answer = TokenAnswer::read(&answer)?;
        let identity = match self.profile(&answer.access_token).await? {
            Some(profile) => {
                let named = check_profile(profile, &self.home());
                named.map_err(|reason| IdpFailure::refused(reason, "the provider's answer names nobody"))?
            }
            None => {
                let identity = self.identity(answer.signed_in()?, nonce, now).await?;
                let identity = self.with_userinfo(&metadata, identity, &answer).await?;
                self.with_unlisted_groups(identity, &answer.access_token, now).await?
            }
        };
        Ok(SignIn { identity, tokens: answer.into_tokens(self.lasting(), now) })
    }

    /// Whether an access token that comes without an end and without a refresh token may be asked with again.
    const fn lasting(&self) -> Lasting {
        if self.config.kind.has_id_tokens() { Lasting::No } else { Lasting::UnlessItEnds }
    }

    /// What the provider's own interface says, where no ID token does.
    async fn profile(&self, token: &ClientSecret) -> Result<Option<Profile>, IdpFailure> {
        let asker = Asker { fetch: &self.fetch, token };
        match &self.config.kind {
            IdpKind::OpenId { .. } | IdpKind::Entra(_) => Ok(None),
            IdpKind::GitHub(github) => asker.github(github).await.map(Some),
            IdpKind::OAuth(oauth) => asker.oauth(oauth).await.map(Some),
        }
    }

    /// Whose people they are that have no ID token.
    fn home(&self) -> Issuer {
        match &self.config.kind {
            IdpKind::OpenId { issuer } => issuer.clone(),
            IdpKind::Entra(entra) => entra.origin.clone(),
            IdpKind::GitHub(github) => github.web.clone(),
            IdpKind::OAuth(oauth) => oauth.issuer.clone(),
        }
    }

    async fn token_request(&self, metadata: &Metadata, credentials: Credentials, form: String) -> Result<Answer, FetchError> {
        self.fetch.post_form(&metadata.token_endpoint, credentials, form).await
    }

    /// Who the ID token is about.
    async fn identity(&self, id_token: &ClientSecret, nonce: &Nonce, now: Timestamp) -> Result<VerifiedIdentity, IdpFailure> {
        let signed = self.signed_claims(id_token).await?;
        let expected = ExpectedIdToken { authority: &self.authority, client_id: &self.config.client_id, nonce, now };
        check_id_token(signed, expected).map_err(unfit)
    }

    /// What the ID token says. A key that we do not know yet may be new: the keys are fetched again, within bounds.
    async fn signed_claims(&self, id_token: &ClientSecret) -> Result<SignedClaims<IdTokenClaims>, IdpFailure> {
        let keys = self.directory.keys().await?;
        let mut signed = jws::verify::<IdTokenClaims>(id_token.expose(), &keys, ALGORITHMS);
        if signed.is_err()
            && let Some(newer) = self.directory.newer_keys(&keys).await
        {
            signed = jws::verify(id_token.expose(), &newer, ALGORITHMS);
        }
        signed
            .map_err(|_| IdpFailure::refused(Reason::IdTokenSignature, "no published key of the provider verifies the ID token"))
    }
}

fn unfit(reason: Reason) -> IdpFailure {
    IdpFailure::refused(reason, "the ID token's claims do not fit")
}
