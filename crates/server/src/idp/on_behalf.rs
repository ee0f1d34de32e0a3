//! On-behalf-of: the person's token for us, exchanged for one for the API behind a server (learn.microsoft.com, "Microsoft identity platform
//! and OAuth 2.0 On-Behalf-Of flow").
//!
//! What this module guarantees:
//! - What is exchanged is the token of the person's own sign-in, and nothing of a client's.
//! - What the provider says of the person is told from what it says of us: only the former asks for a new sign-in.

use deputy_protocol::secret::ClientSecret;
use deputy_protocol::{Reason, Timestamp};

use super::lease::Lent;
use super::tokens::{IdpTokens, TokenAnswer, error_code};
use super::{IdpFailure, Provider, turn};
use crate::config::{Credential, Entra, IdpKind};

/// RFC 7523 §2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl Provider {
    /// Whether it can give such tokens to us.
    pub(crate) fn acts_on_behalf(&self) -> bool {
        matches!(&self.config.kind, IdpKind::Entra(Entra { on_behalf: true, .. }))
            && !matches!(self.config.credential, Credential::None)
    }

    /// A token with `scopes` for whoever `tokens` are about.
    ///
    /// # Errors
    /// [`Reason::TokenExpired`] when the person's token has ended and must be renewed first; [`Reason::BackendTokenRefused`] when the person has
    /// to come again or an administrator has to agree; an outage; what is wrong with our registration.
    pub(crate) async fn on_behalf(&self, tokens: &IdpTokens, scopes: &str, now: Timestamp) -> Result<Lent, IdpFailure> {
        let ended = || IdpFailure::refused(Reason::TokenExpired, "the provider's token has ended");
        let assertion = tokens.access_token(now).ok_or_else(ended)?;
        let _turn = turn(&self.renewing).await?;
        self.exchange(assertion, scopes, now).await
    }

    /// The one request that carries the person's token.
    pub(super) async fn exchange(&self, assertion: &ClientSecret, scopes: &str, now: Timestamp) -> Result<Lent, IdpFailure> {
        let metadata = self.directory.metadata().await?;
        let form = [
            ("grant_type", JWT_BEARER),
            ("assertion", assertion.expose()),
            ("requested_token_use", "on_behalf_of"),
            ("scope", scopes),
        ];
        let (credentials, form) = self.token_form(&metadata, &form, now).await?;
        let answer =
            self.token_request(&metadata, credentials, form).await.map_err(|error| IdpFailure::outage(error.to_string()))?;
        let code = error_code(&answer);
        let answer = TokenAnswer::read(&answer).map_err(|failure| refused(failure, code.as_deref()))?;
        let (token, ends) = answer.into_access_token(now);
        Ok(Lent { token, ends })
    }
}

/// Whose matter it is that there is no token.
fn refused(failure: IdpFailure, code: Option<&str>) -> IdpFailure {
    if failure.outage {
        return failure;
    }
    let of_the_person = matches!(code, Some("invalid_grant" | "interaction_required" | "login_required" | "consent_required"));
    let reason = if of_the_person { Reason::BackendTokenRefused } else { Reason::IdpRegistrationRefused };
    tracing::warn!(
        target: "deputy::idp", detail = failure.detail,
        "the identity provider gives no token for the API behind a server: does the registration have its delegated permission, did an \
         administrator agree to it, and is on_behalf_of the API's scope?"
    );
    IdpFailure { reason, ..failure }
}
