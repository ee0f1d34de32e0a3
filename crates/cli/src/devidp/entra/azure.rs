//! Where Azure speaks to its machines and services about their managed identity.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>,
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::super::{Fields, Idp, fields, json_answer};
use super::credential::{IDENTITY, of_the_identity};

/// What `IDENTITY_HEADER` holds in a service.
const SERVICE_HEADER: &str = "development-only";

pub(super) fn routes(router: Router<Arc<Idp>>) -> Router<Arc<Idp>> {
    router.route("/metadata/identity/oauth2/token", get(machine)).route("/msi/token", get(service))
}

async fn machine(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    // Without it, a server that was talked into a request would be told.
    if headers.get("metadata").is_none_or(|value| value != "true") || headers.contains_key("x-forwarded-for") {
        return json_answer(
            StatusCode::BAD_REQUEST,
            &json!({ "error": "invalid_request", "error_description": "Required metadata header not specified" }),
        );
    }
    told(&idp, &fields(query.unwrap_or_default().as_bytes()), "2018-02-01")
}

async fn service(State(idp): State<Arc<Idp>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    if headers.get("x-identity-header").is_none_or(|value| value != SERVICE_HEADER) {
        return json_answer(
            StatusCode::UNAUTHORIZED,
            &json!({ "statusCode": 401, "message": "X-IDENTITY-HEADER is missing or wrong" }),
        );
    }
    told(&idp, &fields(query.unwrap_or_default().as_bytes()), "2019-08-01")
}

fn told(idp: &Idp, asked: &Fields, version: &str) -> Response {
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|said| said == value);
    let Some(resource) = asked.get("resource").filter(|_| is("api-version", version)) else {
        return json_answer(
            StatusCode::BAD_REQUEST,
            &json!({ "error": "invalid_request", "error_description": "api-version or resource is missing" }),
        );
    };
    if !is("client_id", IDENTITY) {
        return json_answer(
            StatusCode::BAD_REQUEST,
            &json!({ "error": "invalid_request", "error_description": "Identity not found" }),
        );
    }
    match of_the_identity(idp, resource) {
        // Its numbers are texts.
        Ok((token, ends)) => json_answer(
            StatusCode::OK,
            &json!({ "access_token": token, "expires_on": ends.to_string(), "resource": resource, "token_type": "Bearer", "client_id": IDENTITY }),
        ),
        Err(_) => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "server_error" })),
    }
}
