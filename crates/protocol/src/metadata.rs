//! What we publish about ourselves (RFC 8414, RFC 9728; AS-01…17, RS-01…06).
//!
//! Built from configuration alone, never from a request: a forged Host header changes nothing.

use serde::Serialize;

use crate::client::AuthMethod;
use crate::client::assertion::ASSERTION_ALGORITHMS;
use crate::client::policy::ClientPolicy;
use crate::ids::Issuer;
use crate::resource::{Catalog, ProtectedResource, ResourceUri};
use crate::scope::Scopes;

/// Authorization server metadata (RFC 8414 §2).
#[derive(Debug, Serialize)]
pub struct AuthorizationServer {
    issuer: Issuer,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    revocation_endpoint: String,
    jwks_uri: String,
    scopes_supported: Vec<String>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: [&'static str; 4],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    code_challenge_methods_supported: [&'static str; 1],
    authorization_response_iss_parameter_supported: bool,
    client_id_metadata_document_supported: bool,
    protected_resources: Vec<ResourceUri>,
}

impl AuthorizationServer {
    /// The metadata of the authorization server `issuer`, whose endpoints lie at its origin's root (2025-03-26 clients look there).
    /// Where nobody may register there is no registration endpoint (AS-21).
    #[must_use]
    pub fn new(issuer: &Issuer, catalog: &Catalog, clients: &ClientPolicy) -> Self {
        let at = |path: &str| format!("{issuer}{path}");
        let methods = AuthMethod::ALL.map(AuthMethod::as_str);
        Self {
            issuer: issuer.clone(),
            authorization_endpoint: at("/authorize"),
            token_endpoint: at("/token"),
            registration_endpoint: clients.takes_registrations().then(|| at("/register")),
            revocation_endpoint: at("/revoke"),
            jwks_uri: at("/jwks"),
            scopes_supported: names(&catalog.scopes()),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: ["authorization_code", "refresh_token"],
            token_endpoint_auth_methods_supported: methods,
            token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
            revocation_endpoint_auth_methods_supported: methods,
            revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
            code_challenge_methods_supported: ["S256"],
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: clients.takes_documents(),
            protected_resources: catalog.iter().map(|resource| resource.uri.clone()).collect(),
        }
    }

    /// Where clients get tokens.
    #[must_use]
    pub fn token_endpoint(&self) -> &str {
        &self.token_endpoint
    }

    /// Where clients register, if they may.
    #[must_use]
    pub fn registration_endpoint(&self) -> Option<&str> {
        self.registration_endpoint.as_deref()
    }
}

/// Protected resource metadata (RFC 9728 §2).
#[derive(Debug, Serialize)]
pub struct ProtectedResourceMetadata {
    resource: ResourceUri,
    authorization_servers: [Issuer; 1],
    scopes_supported: Vec<String>,
    bearer_methods_supported: [&'static str; 1],
    resource_name: String,
}

impl ProtectedResourceMetadata {
    /// The metadata of one resource.
    #[must_use]
    pub fn new(resource: &ProtectedResource, issuer: &Issuer) -> Self {
        Self {
            resource: resource.uri.clone(),
            authorization_servers: [issuer.clone()],
            scopes_supported: names(&resource.scopes),
            bearer_methods_supported: ["header"],
            resource_name: resource.name.clone(),
        }
    }
}

/// Where the metadata of a resource at `path` lies: the well-known name goes between host and path (RFC 9728 §3.1).
#[must_use]
pub fn resource_metadata_path(path: &str) -> String {
    format!("/.well-known/oauth-protected-resource{path}")
}

fn names(scopes: &Scopes) -> Vec<String> {
    scopes.iter().map(str::to_owned).collect()
}
