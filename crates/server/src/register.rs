//! Dynamic client registration (RFC 7591; AS-43…47). Writes nothing: the id is the registration (decision 1).

use axum::response::Response;
use deputy_protocol::Reason;
use deputy_protocol::client::{RawMetadata, RegistrationResponse};
use http::StatusCode;
use http::header::AUTHORIZATION;

use crate::dispatch::Incoming;
use crate::error::{Failure, json, json_body};
use crate::gateway::Shared;

/// `POST /register`.
pub(crate) fn post(gateway: &Shared, request: &Incoming) -> Response {
    register(gateway, request).unwrap_or_else(|failure| json(&failure, "register", None))
}

/// The bearer token of a request (RFC 6750 §2.1).
fn bearer(request: &Incoming) -> Option<&str> {
    let (scheme, token) = request.header(&AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn register(gateway: &Shared, request: &Incoming) -> Result<Response, Failure> {
    let invited = gateway.clients.invited(bearer(request))?;
    if request.media_type() != "application/json" {
        return Err(Reason::MediaTypeUnsupported.into());
    }
    let registration =
        RawMetadata::parse(&request.body)?.check_among(&gateway.clients.policy().private_use, gateway.clock.now())?;
    let (client, secret) = gateway.clients.register(registration, invited)?;
    tracing::info!(target: "deputy::event", event = "client_registered", client_name = client.registration.name.as_str());
    Ok(json_body(StatusCode::CREATED, &RegistrationResponse::new(&client, secret.as_ref().map(|secret| secret.expose()))))
}
