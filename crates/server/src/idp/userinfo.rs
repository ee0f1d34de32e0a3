//! The userinfo endpoint (OIDC Core §5.3), asked for claims that the ID token lacks.

use deputy_fetch::Credentials;
use deputy_protocol::Reason;
use deputy_protocol::claims::{Userinfo, VerifiedIdentity};
use deputy_protocol::secret::ClientSecret;

use super::metadata::{Metadata, status_failure};
use super::tokens::TokenAnswer;
use super::{IdpFailure, Provider};

impl Provider {
    /// The identity with what the userinfo endpoint says of the same person, if it is to be asked.
    pub(super) async fn with_userinfo(
        &self,
        metadata: &Metadata,
        identity: VerifiedIdentity,
        answer: &TokenAnswer,
    ) -> Result<VerifiedIdentity, IdpFailure> {
        let Some(userinfo) = self.userinfo(metadata, answer).await? else { return Ok(identity) };
        identity.with_userinfo(userinfo).map_err(|reason| IdpFailure::refused(reason, "userinfo names another subject"))
    }

    /// What the userinfo endpoint says, if it is to be asked.
    pub(super) async fn userinfo(&self, metadata: &Metadata, answer: &TokenAnswer) -> Result<Option<Userinfo>, IdpFailure> {
        let (true, Some(endpoint)) = (self.config.userinfo, &metadata.userinfo_endpoint) else { return Ok(None) };
        let bearer = ClientSecret::from_text(format!("Bearer {}", answer.access_token.expose()));
        let said =
            self.fetch.get(endpoint, Credentials::Header(bearer)).await.map_err(|error| IdpFailure::outage(error.to_string()))?;
        if !said.status.is_success() {
            return Err(status_failure("the userinfo endpoint", said.status));
        }
        let malformed = |error| IdpFailure::refused(Reason::IdpAnswerMalformed, format!("userinfo: {error}"));
        said.json().map(Some).map_err(malformed)
    }
}
