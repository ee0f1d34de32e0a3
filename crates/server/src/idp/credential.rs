//! How we prove at the provider's token endpoint that the registration is ours (RFC 6749 §2.3, RFC 7521 §4.2, RFC 7523 §2.2).
//!
//! What this module guarantees:
//! - A secret or an assertion stands in one request to the token endpoint, and nowhere else.
//! - An assertion of ours is for one audience, lives a minute, and never says the same twice.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_fetch::Credentials;
use deputy_protocol::secret::ClientSecret;
use deputy_protocol::{Reason, Timestamp};
use jsonwebtoken::Header;
use serde::Serialize;

use super::metadata::Metadata;
use super::{IdpFailure, Provider};
use crate::config::{AssertionKey, Credential, IdpKind};
use crate::random;

/// What a client assertion is (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion counts.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);
/// The longest assertion that is read from a file, in bytes.
const ASSERTION_MAX: usize = 16 * 1024;

/// RFC 7523 §3, from us.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: Timestamp,
    nbf: Timestamp,
    exp: Timestamp,
}

impl Provider {
    /// A token request, with our credential where the provider wants it.
    pub(super) async fn token_form(
        &self,
        metadata: &Metadata,
        parameters: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<(Credentials, String), IdpFailure> {
        let id = &self.config.client_id;
        let assertion = match &self.config.credential {
            Credential::None | Credential::Secret(_) => None,
            Credential::Key(key) => Some(signed(key, id, self.audience(metadata), now)?),
            Credential::File(path) => Some(read(path).await?),
            Credential::Managed(identity) => Some(self.managed.assertion(identity, &self.fetch, now).await?),
        };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(parameters);
        if let Credential::Secret(secret) = &self.config.credential {
            if metadata.basic {
                return Ok((Credentials::Header(basic(id, secret)), form.finish()));
            }
            form.append_pair("client_secret", secret.expose());
        }
        form.append_pair("client_id", id);
        if let Some(assertion) = assertion {
            form.append_pair("client_assertion_type", ASSERTION_TYPE).append_pair("client_assertion", assertion.expose());
        }
        Ok((Credentials::None, form.finish()))
    }

    /// For whom an assertion of ours is: the provider itself. Entra wants the endpoint's address there.
    fn audience<'a>(&'a self, metadata: &'a Metadata) -> &'a str {
        match &self.config.kind {
            IdpKind::OpenId { issuer } => issuer.as_str(),
            IdpKind::Entra(_) | IdpKind::GitHub(_) | IdpKind::OAuth(_) => metadata.token_endpoint.url().as_str(),
        }
    }
}

/// Who we are, signed.
fn signed(key: &AssertionKey, client_id: &str, audience: &str, now: Timestamp) -> Result<ClientSecret, IdpFailure> {
    let failed = |what: &str| IdpFailure::refused(Reason::Internal, format!("cannot make a client assertion: {what}"));
    let random: [u8; 16] = random::bytes().map_err(|_| failed("no randomness"))?;
    let claims = Claims {
        iss: client_id,
        sub: client_id,
        aud: audience,
        jti: URL_SAFE_NO_PAD.encode(random),
        iat: now,
        nbf: now,
        exp: now.after(ASSERTION_LIFETIME),
    };
    let header = Header { kid: key.kid.clone(), x5t_s256: key.thumbprint.clone(), ..Header::new(key.algorithm) };
    let signed = jsonwebtoken::encode(&header, &claims, &key.key).map_err(|_| failed("the private key does not sign"))?;
    Ok(ClientSecret::from_text(signed))
}

/// What stands in the file now: whoever renews it may have done so since the last time.
async fn read(path: &std::path::Path) -> Result<ClientSecret, IdpFailure> {
    let failed = |why: String| {
        let detail = format!("the assertion in {} cannot be used: {why}", path.display());
        tracing::warn!(target: "deputy::idp", detail, "nobody can sign in before this is mended; nobody is signed out for it");
        IdpFailure::outage(detail)
    };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| failed(error.to_string()))?;
    let token = text.trim();
    let fits = !token.is_empty() && token.len() <= ASSERTION_MAX && token.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(ClientSecret::from_text(token.to_owned())) } else { Err(failed("it is not one token".to_owned())) }
}

/// HTTP Basic as OAuth wants it: both halves form-encoded first (RFC 6749 §2.3.1).
fn basic(id: &str, secret: &ClientSecret) -> ClientSecret {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    ClientSecret::from_text(format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret.expose())))))
}
