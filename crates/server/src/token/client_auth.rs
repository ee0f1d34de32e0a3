//! Client authentication: exactly in the way that the client registered (RFC 6749 §2.3.1; AS-78, A-088).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deputy_protocol::Reason;
use deputy_protocol::client::{AuthMethod, Client};
use deputy_protocol::params::Params;
use deputy_protocol::secret::ClientSecret;
use http::header::AUTHORIZATION;

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
    id: String,
    method: AuthMethod,
    secret: Option<ClientSecret>,
}

/// Finds out which client is asking.
pub(crate) async fn authenticate(gateway: &Shared, request: &Incoming, params: &Params) -> Result<Client, Reason> {
    let presented = presented(request, params)?;
    let client = gateway.clients.resolve(&presented.id).await?;
    if presented.method != client.registration.auth_method {
        return Err(Reason::ClientAuthMethod);
    }
    match presented.secret {
        None => Ok(client),
        Some(secret) if secret.matches(&gateway.seal.client_secret(&client.id)) => Ok(client),
        Some(_) => Err(Reason::ClientSecretWrong),
    }
}

fn presented(request: &Incoming, params: &Params) -> Result<Presented, Reason> {
    let in_form = params.get("client_id");
    let secret_in_form = params.get("client_secret");
    if !request.headers.contains_key(AUTHORIZATION) {
        let id = in_form.ok_or(Reason::ParameterMissing)?.to_owned();
        let method = if secret_in_form.is_some() { AuthMethod::SecretPost } else { AuthMethod::None };
        return Ok(Presented { id, method, secret: secret_in_form.map(|secret| ClientSecret::from_text(secret.to_owned())) });
    }
    let (id, secret) = basic(request).ok_or(Reason::ClientAuthMethod)?;
    // RFC 6749 §2.3: one method per request. The id may be repeated in the form, if it is the same.
    if secret_in_form.is_some() || in_form.is_some_and(|form| form != id) {
        return Err(Reason::ClientAuthAmbiguous);
    }
    Ok(Presented { id, method: AuthMethod::SecretBasic, secret: Some(secret) })
}

/// The `Basic` credentials. Our ids and secrets have only characters that percent-encoding leaves alone, so clients that encode and
/// clients that do not send the same (the Python SDK encodes, the TypeScript SDK does not).
fn basic(request: &Incoming) -> Option<(String, ClientSecret)> {
    let value = request.header(&AUTHORIZATION)?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), ClientSecret::from_text(secret.to_owned())))
}
