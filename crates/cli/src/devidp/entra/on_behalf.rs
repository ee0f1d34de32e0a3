//! On-behalf-of: a person's token for the application against one for an API behind it.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>

use deputy_server::clock::{Clock as _, SystemClock};
use serde_json::Value;

use super::super::{Fields, Idp, Issued, people};
use super::{CHALLENGE, Refusal, origin, refusal, tokens};

pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(super) fn exchanged(idp: &Idp, form: &Fields) -> Result<Value, Refusal> {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("requested_token_use") != "on_behalf_of" {
        return Err(refusal("invalid_request", 900_144, "The request body must contain 'requested_token_use'."));
    }
    let claims =
        idp.key.read(field("assertion")).ok_or(refusal("invalid_grant", 50_013, "Assertion failed signature validation."))?;
    let said = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    // It has to be a token for the application itself, of whichever version.
    if said("aud") != idp.client_id && said("aud") != format!("api://{}", idp.client_id) {
        return Err(refusal(
            "invalid_grant",
            500_131,
            "Assertion audience does not match the Client app presenting the assertion.",
        ));
    }
    if said("scp").is_empty() {
        return Err(refusal("invalid_grant", 500_134, "Assertion is not a delegated user token."));
    }
    if claims.get("exp").and_then(Value::as_u64).is_none_or(|ends| ends <= SystemClock.now().seconds()) {
        return Err(refusal("invalid_grant", 500_133, "Assertion is not within its valid time range."));
    }
    let person = people::of_object(said("oid")).ok_or(refusal("invalid_grant", 50_034, "The user account does not exist."))?;
    if person.disabled {
        return Err(refusal("invalid_grant", 50_057, "The user account is disabled."));
    }
    if person.without_consent {
        return Err(refusal("invalid_grant", 65_001, "The user or administrator has not consented to use the application."));
    }
    if person.factor_for_apis && claims.get("acrs").is_none() {
        let text = "You must use multi-factor authentication to access this resource.";
        return Err(Refusal { claims: Some(CHALLENGE), ..refusal("interaction_required", 50_076, text) });
    }
    let scope = field("scope");
    if tokens::resource(idp, scope).is_err() || scope.is_empty() {
        return Err(refusal("invalid_scope", 70_011, "The scopes are for more than one resource."));
    }
    let graph = format!("{}/", origin(idp));
    let scope = scope.split(' ').map(|scope| scope.strip_prefix(graph.as_str()).unwrap_or(scope)).collect::<Vec<_>>().join(" ");
    tokens::of(idp, Issued { scope, ..Issued::about(person) })
}
