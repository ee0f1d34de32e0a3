//! Client authentication: exactly in the way that the client registered (RFC 6749 §2.3.1; AS-78, A-088).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deputy_protocol::Reason;
use deputy_protocol::claims::SignedClaims;
use deputy_protocol::client::assertion::{self, ASSERTION_TYPE, Assertion, AssertionClaims, ExpectedAssertion};
use deputy_protocol::client::{AuthMethod, Client};
use deputy_protocol::params::Params;
use deputy_protocol::secret::{ClientSecret, Digest};
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;

use crate::clients::{Credential, Known};
use crate::dispatch::Incoming;
use crate::gateway::Shared;

/// Reads the form of a token or revocation request: in the body, never in the URL (AS-75).
pub(crate) fn form(request: &Incoming) -> Result<Params, Reason> {
    if request.query.as_deref().is_some_and(|query| !query.is_empty()) {
        return Err(Reason::CredentialsInUrl);
    }
    if request.media_type() != "application/x-www-form-urlencoded" {
        return Err(Reason::MediaTypeUnsupported);
    }
    Params::parse(&request.body)
}

/// What a request offers as the client's identity.
struct Presented {
    id: Readings,
    offered: Offered,
}

/// What a request offers as proof.
enum Offered {
    /// Nothing: a public client.
    Nothing,
    /// A secret, sent in this way.
    Secret(AuthMethod, Readings),
    /// An assertion.
    Assertion(String),
}

/// A text as it was sent and, where that differs, as it reads after form decoding. RFC 6749 §2.3.1 wants the `Basic` credentials encoded: the
/// Python SDK does so, the TypeScript SDK does not.
struct Readings {
    sent: String,
    decoded: Option<String>,
}

/// A client that proved that it is itself, as far as it can.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The client.
    pub(crate) client: Client,
    /// What it proved that with, where that counts once.
    pub(crate) assertion: Option<Assertion>,
}

/// Finds out which client is asking.
pub(crate) async fn authenticate(gateway: &Shared, request: &Incoming, params: &Params) -> Result<Caller, Reason> {
    let presented = presented(request, params)?;
    let Known { client, credential } = find(gateway, &presented.id).await?;
    match (credential, presented.offered) {
        (Credential::Nothing, Offered::Nothing) => Ok(Caller { client, assertion: None }),
        (Credential::Secret(digest, by), Offered::Secret(method, secret)) if by.is_none_or(|by| by == method) => {
            if secret.is(&digest) { Ok(Caller { client, assertion: None }) } else { Err(Reason::ClientSecretWrong) }
        }
        (Credential::Keys(keys), Offered::Assertion(assertion)) => {
            let assertion = judge(gateway, &client, keys.verify(&assertion)?)?;
            Ok(Caller { client, assertion: Some(assertion) })
        }
        (Credential::Published { keys, .. }, Offered::Assertion(assertion)) => {
            let assertion = judge(gateway, &client, keys.read().await?.verify(&assertion)?)?;
            Ok(Caller { client, assertion: Some(assertion) })
        }
        (Credential::Published { required: false, .. }, Offered::Nothing) => Ok(Caller { client, assertion: None }),
        (Credential::Nothing | Credential::Secret(..) | Credential::Keys(_) | Credential::Published { .. }, _) => {
            Err(Reason::ClientAuthMethod)
        }
    }
}

fn judge(gateway: &Shared, client: &Client, claims: SignedClaims<AssertionClaims>) -> Result<Assertion, Reason> {
    let token_endpoint = gateway.server_metadata.token_endpoint();
    let expected = ExpectedAssertion { client: &client.id, issuer: &gateway.issuer, token_endpoint, now: gateway.clock.now() };
    assertion::check(claims, expected)
}

/// The client that the id means in one of its readings. No id of ours has a `%` in it, so no two clients are meant.
async fn find(gateway: &Shared, id: &Readings) -> Result<Known, Reason> {
    match (gateway.clients.find(&id.sent).await, &id.decoded) {
        (Err(Reason::ClientUnknown), Some(decoded)) => gateway.clients.find(decoded).await,
        (found, _) => found,
    }
}

fn presented(request: &Incoming, params: &Params) -> Result<Presented, Reason> {
    let in_form = params.get("client_id");
    let secret_in_form = params.get("client_secret");
    if let Some(presented) = by_assertion(request, params)? {
        return Ok(presented);
    }
    if !request.headers.contains_key(AUTHORIZATION) {
        let id = Readings::one(in_form.ok_or(Reason::ParameterMissing)?);
        let secret = |secret| Offered::Secret(AuthMethod::SecretPost, Readings::one(secret));
        return Ok(Presented { id, offered: secret_in_form.map_or(Offered::Nothing, secret) });
    }
    let (id, secret) = basic(request).ok_or(Reason::ClientAuthMethod)?;
    // RFC 6749 §2.3: one method per request. The id may be repeated in the form, if it is the same.
    if secret_in_form.is_some() || in_form.is_some_and(|form| !id.contains(form)) {
        return Err(Reason::ClientAuthAmbiguous);
    }
    Ok(Presented { id, offered: Offered::Secret(AuthMethod::SecretBasic, secret) })
}

/// The assertion, if there is one, and whom it says it is from: `client_id` may be left out then (RFC 7521 §4.2).
fn by_assertion(request: &Incoming, params: &Params) -> Result<Option<Presented>, Reason> {
    let (assertion, kind) = (params.get("client_assertion"), params.get("client_assertion_type"));
    if assertion.is_none() && kind.is_none() {
        return Ok(None);
    }
    if request.headers.contains_key(AUTHORIZATION) || params.get("client_secret").is_some() {
        return Err(Reason::ClientAuthAmbiguous);
    }
    let assertion = assertion.filter(|_| kind == Some(ASSERTION_TYPE)).ok_or(Reason::AssertionMalformed)?;
    let id = assertion::claimed_client(assertion)?;
    if params.get("client_id").is_some_and(|given| given != id.as_str()) {
        return Err(Reason::AssertionOtherClient);
    }
    Ok(Some(Presented { id: Readings::one(id.as_str()), offered: Offered::Assertion(assertion.to_owned()) }))
}

/// The `Basic` credentials.
fn basic(request: &Incoming) -> Option<(Readings, Readings)> {
    let value = request.header(&AUTHORIZATION)?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((Readings::both(id), Readings::both(secret)))
}

impl Readings {
    /// What stood in a form and was decoded with it.
    fn one(text: &str) -> Self {
        Self { sent: text.to_owned(), decoded: None }
    }

    /// What may be encoded, or not.
    fn both(text: &str) -> Self {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().ok().map(String::from).filter(|decoded| decoded != text);
        Self { sent: text.to_owned(), decoded }
    }

    fn contains(&self, text: &str) -> bool {
        self.sent == text || self.decoded.as_deref() == Some(text)
    }

    /// Whether one of them is the secret. Both are always compared, by digest.
    fn is(self, digest: &Digest<ClientSecret>) -> bool {
        let decoded = self.decoded.unwrap_or_else(|| self.sent.clone());
        let [sent, decoded] = [self.sent, decoded].map(|text| ClientSecret::from_text(text).digest() == *digest);
        sent | decoded
    }
}
