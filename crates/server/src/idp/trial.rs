//! What a provider says to somebody who tries it out. Only codes are kept of its answers, never its words (OC-18).

use std::time::SystemTime;

use deputy_protocol::Timestamp;

use super::metadata::Metadata;
use super::tokens::{error_code, error_numbers};
use super::{IdpFailure, Provider};
use crate::clock::Clock;
use crate::config::{Credential, IdpKind};

/// What came of it.
#[derive(Debug)]
pub struct IdpTrial {
    /// What it publishes about itself, or why that cannot be used. `None` for a provider that publishes nothing.
    pub discovery: Option<Result<(), String>>,
    /// How many keys it publishes that we can use, or why there are none. `None` for a provider without ID tokens.
    pub keys: Option<Result<usize, String>>,
    /// The scopes that we ask for and that it does not list, if it lists any.
    pub unknown_scopes: Vec<String>,
    /// Whether people stay signed in by a refresh token of the provider's: `offline_access` is asked for, or is not how it is done there.
    pub offline_access: bool,
    /// Whether its token endpoint takes our credential. `None` when it was not asked.
    pub credential: Option<CredentialTrial>,
    /// What its clock said at the end of the trial, and ours.
    pub clock: Option<(Timestamp, Timestamp)>,
}

/// What a token endpoint says to our credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialTrial {
    /// It took the credential, and refused only what nobody could have used.
    Accepted,
    /// It refused the credential.
    Refused {
        /// The OAuth error.
        code: String,
        /// Entra's own numbers of it (AADSTS…).
        numbers: Vec<u64>,
    },
    /// It said something that says nothing about the credential.
    Unclear(String),
    /// There was no answer.
    Away(String),
}

/// A code that no provider gives. A credential is looked at before it.
const NO_CODE: &str = "deputy-check-a-code-that-was-never-issued";

impl Provider {
    /// Tries it out.
    pub(crate) async fn trial(&self, clock: &dyn Clock) -> IdpTrial {
        let publishes = self.config.kind.has_id_tokens();
        let metadata = self.directory.metadata().await;
        let discovery = publishes.then(|| metadata.as_ref().map(|_| ()).map_err(|failure| failure.detail.clone()));
        let mut trial =
            IdpTrial { discovery, keys: None, unknown_scopes: Vec::new(), offline_access: true, credential: None, clock: None };
        let Ok(metadata) = metadata else { return trial };
        if publishes {
            trial.keys = Some(match self.directory.keys().await {
                Ok(keys) if keys.keys.is_empty() => Err("it publishes no key that can be used".to_owned()),
                Ok(keys) => Ok(keys.keys.len()),
                Err(failure) => Err(failure.detail),
            });
        }
        let asked = self.scopes_at(&metadata);
        let listed = |scope: &String| metadata.scopes.is_empty() || metadata.scopes.contains(scope);
        // Entra lists the scopes of OpenID alone, of the many that it knows.
        let is_entra = matches!(self.config.kind, IdpKind::Entra(_));
        trial.unknown_scopes = asked.iter().filter(|scope| !is_entra && !listed(scope)).cloned().collect();
        trial.offline_access = !publishes || !metadata.offline_access || asked.iter().any(|scope| scope == "offline_access");
        let (credential, date) = self.try_credential(&metadata, clock.now()).await;
        trial.credential = Some(credential);
        trial.clock = date.map(|date| (date, clock.now()));
        trial
    }

    async fn try_credential(&self, metadata: &Metadata, now: Timestamp) -> (CredentialTrial, Option<Timestamp>) {
        match self.ask_for_nothing(metadata, now).await {
            Ok((said, date)) => (said, date.map(timestamp)),
            Err(failure) => (CredentialTrial::Away(failure.detail), None),
        }
    }

    /// Asks the token endpoint for what cannot be had. Entra looks at a code before it looks at who sends it, so it is asked for a token about
    /// ourselves, which is thrown away.
    async fn ask_for_nothing(
        &self,
        metadata: &Metadata,
        now: Timestamp,
    ) -> Result<(CredentialTrial, Option<SystemTime>), IdpFailure> {
        let own = format!("{}/.default", self.config.client_id);
        let verifier = "a".repeat(43);
        let (form, metadata) = match &self.config.kind {
            IdpKind::Entra(entra) if !matches!(self.config.credential, Credential::None) => {
                let form = vec![("grant_type", "client_credentials"), ("scope", own.as_str())];
                (form, metadata.at_tenant(entra))
            }
            IdpKind::Entra(_) | IdpKind::OpenId { .. } | IdpKind::GitHub(_) | IdpKind::OAuth(_) => {
                let form = vec![
                    ("grant_type", "authorization_code"),
                    ("code", NO_CODE),
                    ("redirect_uri", self.redirect_uri.as_str()),
                    ("code_verifier", verifier.as_str()),
                ];
                (form, metadata.clone())
            }
        };
        let (credentials, form) = self.token_form(&metadata, &form, now).await?;
        let answer =
            self.token_request(&metadata, credentials, form).await.map_err(|error| IdpFailure::outage(error.to_string()))?;
        let code = error_code(&answer);
        let said = match code.as_deref() {
            None if answer.status.is_success() => CredentialTrial::Accepted,
            // GitHub's own words, docs.github.com "Troubleshooting OAuth app access token request errors".
            Some("invalid_grant" | "bad_verification_code") => CredentialTrial::Accepted,
            Some(code @ ("invalid_client" | "unauthorized_client" | "incorrect_client_credentials")) => {
                CredentialTrial::Refused { code: code.to_owned(), numbers: error_numbers(&answer) }
            }
            _ if answer.status == http::StatusCode::UNAUTHORIZED => {
                CredentialTrial::Refused { code: "401".to_owned(), numbers: error_numbers(&answer) }
            }
            Some(code) => CredentialTrial::Unclear(super::tokens::error_detail(&answer, code)),
            None => CredentialTrial::Unclear(format!("the token endpoint answered {}", answer.status)),
        };
        Ok((said, answer.date))
    }
}

fn timestamp(date: SystemTime) -> Timestamp {
    Timestamp::from_seconds(date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
}
