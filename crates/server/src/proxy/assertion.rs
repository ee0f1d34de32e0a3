//! A backend that is told who is calling in a token of its own, signed by us: it checks it as it would any provider's, with the keys that we
//! publish, and needs to trust no header.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_guard::Permit;
use deputy_protocol::scope::Scopes;
use deputy_protocol::secret::sha256;
use deputy_protocol::{Issuer, Reason, Timestamp};
use http::HeaderValue;
use moka::sync::Cache;
use serde::Serialize;

use crate::keyring::Keyring;

/// How long one counts. It is made as a request leaves, and goes nowhere else.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long one is used again: a signature costs more than everything else that happens to a request.
const AGAIN: Duration = Duration::from_secs(30);
/// Most that are kept.
const KEPT_MAX: u64 = 50_000;

/// What it says (RFC 7519 §4.1, RFC 9068 §2.2). Its `typ` is not that of an access token, and its audience is the backend's address: it is
/// worth nothing here.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a Issuer,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    scope: &'a Scopes,
    iat: Timestamp,
    exp: Timestamp,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<&'a str>,
}

/// Makes assertions for one backend.
pub(crate) struct Assertions {
    issuer: Issuer,
    audience: String,
    keyring: Arc<Keyring>,
    kept: Cache<String, (HeaderValue, Timestamp)>,
}

impl fmt::Debug for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertions").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Assertions {
    /// Those for the backend at this address.
    pub(crate) fn new(issuer: Issuer, audience: String, keyring: Arc<Keyring>) -> Self {
        let kept = Cache::builder().max_capacity(KEPT_MAX).time_to_live(LIFETIME).build();
        Self { issuer, audience, keyring, kept }
    }

    /// What the backend is sent as `Authorization`. The scopes are those that the permit `allowed`, with all that they contain.
    ///
    /// # Errors
    /// [`Reason::Internal`] without a key to sign with.
    pub(super) fn authorization(&self, permit: &Permit, allowed: &Scopes, now: Timestamp) -> Result<HeaderValue, Reason> {
        if let Some((value, made)) = self.kept.get(permit.token_id())
            && now < made.after(AGAIN)
        {
            return Ok(value);
        }
        let claims = Claims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: permit.subject(),
            client_id: permit.client().as_str(),
            scope: allowed,
            iat: now,
            exp: now.after(LIFETIME),
            // Of the token's own id and the time, so that it names what it was made for to nobody who does not know both.
            jti: URL_SAFE_NO_PAD.encode(sha256(format!("{}.{}", permit.token_id(), now.seconds()).as_bytes())),
            email: permit.email(),
            name: permit.name(),
            client_name: permit.client_name(),
        };
        let token = self.keyring.sign_assertion(&claims, now)?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Reason::Internal)?;
        value.set_sensitive(true);
        self.kept.insert(permit.token_id().to_owned(), (value.clone(), now));
        Ok(value)
    }
}
