//! How the application proves who it is: a secret, a certificate, or a federated credential.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>,
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>

use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_protocol::secret::sha256;
use deputy_server::clock::{Clock as _, SystemClock};
use http::{HeaderMap, Uri};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};

use super::super::{Fields, Idp, TENANT, is_the_application, signing};
use super::{Refusal, origin, refusal};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// For whom a federated credential is.
const EXCHANGE: &str = "api://AzureADTokenExchange";
/// The user-assigned managed identity that the application trusts: its client id, and its object id, which is the subject.
pub(super) const IDENTITY: &str = "1de71712-0000-4000-8000-000000000001";
const IDENTITY_OBJECT: &str = "1de71712-0000-4000-8000-0000000000b1";
/// The workload that the application trusts.
const WORKLOAD: &str = "system:serviceaccount:default:deputy";

/// A certificate of the application, as uploaded in the portal.
pub(crate) struct Certificate {
    key: DecodingKey,
    /// `x5t#S256`.
    thumbprint: String,
}

impl Certificate {
    /// Reads an RSA certificate in PEM.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let body: String = pem
            .lines()
            .skip_while(|line| !line.contains("BEGIN CERTIFICATE"))
            .skip(1)
            .take_while(|line| !line.starts_with("-----"))
            .collect();
        let der = STANDARD.decode(body.trim()).with_context(|| format!("{} is no certificate in PEM", path.display()))?;
        ensure!(!der.is_empty(), "{} is no certificate in PEM", path.display());
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).with_context(|| format!("{} has no RSA key", path.display()))?;
        Ok(Self { key, thumbprint: URL_SAFE_NO_PAD.encode(sha256(&der)) })
    }
}

/// Whether it is the application.
pub(super) fn check(idp: &Idp, uri: &Uri, headers: &HeaderMap, form: &Fields) -> Result<(), Refusal> {
    let Some(assertion) = form.get("client_assertion") else {
        if is_the_application(idp, headers, form) {
            return Ok(());
        }
        let sent = form.contains_key("client_secret") || headers.contains_key(http::header::AUTHORIZATION);
        return Err(match sent {
            true => refusal("invalid_client", 7_000_215, "Invalid client secret provided."),
            false => refusal("invalid_client", 7_000_218, "The request body must contain 'client_assertion' or 'client_secret'."),
        });
    };
    if form.get("client_assertion_type").is_none_or(|kind| kind != ASSERTION_TYPE) {
        return Err(refusal("invalid_request", 50_027, "client_assertion_type is not jwt-bearer."));
    }
    if form.get("client_id").is_none_or(|id| *id != idp.client_id) {
        return Err(refusal("unauthorized_client", 700_016, "The application was not found in the directory."));
    }
    let header = signing::header(assertion).ok_or(refusal("invalid_request", 50_027, "The assertion is not a JWT."))?;
    if header.get("x5t#S256").is_some() || header.get("x5t").is_some() {
        certificate(idp, uri, assertion, &header)
    } else {
        federated(idp, assertion)
    }
}

fn certificate(idp: &Idp, uri: &Uri, assertion: &str, header: &Value) -> Result<(), Refusal> {
    const UNKNOWN: Refusal = refusal(
        "invalid_client",
        700_027,
        "The certificate with identifier used to sign the client assertion is not registered on application.",
    );
    let known = idp.entra().and_then(|registration| registration.certificate.as_ref()).ok_or(UNKNOWN)?;
    let algorithm = match header.get("alg").and_then(Value::as_str) {
        Some("PS256") => Algorithm::PS256,
        Some("RS256") => Algorithm::RS256,
        _ => return Err(UNKNOWN),
    };
    if header.get("x5t#S256") != Some(&json!(known.thumbprint)) {
        return Err(UNKNOWN);
    }
    let claims = signing::read(assertion, &known.key, algorithm).ok_or(UNKNOWN)?;
    let endpoint = format!("{}{}", origin(idp), uri.path());
    let is = |name: &str, expected: &str| claims.get(name).and_then(Value::as_str) == Some(expected);
    if !is("aud", &endpoint) {
        return Err(refusal("invalid_client", 700_023, "Client assertion audience claim does not match."));
    }
    if !is("iss", &idp.client_id) || !is("sub", &idp.client_id) {
        return Err(refusal(
            "invalid_client",
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        ));
    }
    in_time(&claims)
}

/// What Azure or the cluster says about the workload, by an issuer that the application trusts.
fn federated(idp: &Idp, assertion: &str) -> Result<(), Refusal> {
    let claims = idp.key.read(assertion).ok_or(refusal(
        "invalid_client",
        700_211,
        "No matching federated identity record found for presented assertion issuer.",
    ))?;
    let said = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let trusted = [(azure(idp), IDENTITY_OBJECT), (cluster(idp), WORKLOAD)];
    if !trusted.iter().any(|(issuer, _)| said("iss") == issuer) {
        return Err(refusal(
            "invalid_client",
            700_211,
            "No matching federated identity record found for presented assertion issuer.",
        ));
    }
    if !trusted.iter().any(|(issuer, subject)| said("iss") == issuer && said("sub") == *subject) {
        return Err(refusal(
            "invalid_client",
            700_213,
            "No matching federated identity record found for presented assertion subject.",
        ));
    }
    if said("aud") != EXCHANGE {
        return Err(refusal(
            "invalid_client",
            700_212,
            "No matching federated identity record found for presented assertion audience.",
        ));
    }
    in_time(&claims)
}

fn in_time(claims: &Value) -> Result<(), Refusal> {
    let now = SystemClock.now().seconds();
    let counts = claims.get("exp").and_then(Value::as_u64).is_some_and(|ends| now < ends);
    if counts { Ok(()) } else { Err(refusal("invalid_client", 700_024, "Client assertion is not within its valid time range.")) }
}

fn azure(idp: &Idp) -> String {
    format!("{}/{TENANT}/v2.0", origin(idp))
}

fn cluster(idp: &Idp) -> String {
    format!("{}/cluster", origin(idp))
}

/// What Azure says about the managed identity, for `audience`.
pub(super) fn of_the_identity(idp: &Idp, audience: &str) -> anyhow::Result<(String, u64)> {
    assertion(idp, &azure(idp), IDENTITY_OBJECT, audience)
}

/// What the cluster says about the workload, as its webhook keeps it in a file.
pub(crate) fn of_the_workload(idp: &Idp) -> anyhow::Result<String> {
    assertion(idp, &cluster(idp), WORKLOAD, EXCHANGE).map(|(assertion, _)| assertion)
}

fn assertion(idp: &Idp, issuer: &str, subject: &str, audience: &str) -> anyhow::Result<(String, u64)> {
    let now = SystemClock.now().seconds();
    let ends = now + 86_400;
    let claims = json!({ "iss": issuer, "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": ends });
    Ok((idp.key.sign(&claims)?, ends))
}
