//! The tokens, and what stands in them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use deputy_server::clock::{Clock as _, SystemClock};
use http::Uri;
use serde_json::{Map, Value, json};

use super::super::people::Person;
use super::super::{Idp, Issued, TENANT, lock};
use super::{AccessTokens, OTHER_TENANT, Refusal, origin, refusal};

/// Groups that a JWT has room for.
/// <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>
const MOST_GROUPS: usize = 200;
const GRAPH: &str = "https://graph.microsoft.com";

/// The one resource that the scopes are for: what stands before the last slash; Graph where nothing does.
/// <https://learn.microsoft.com/entra/identity-platform/scopes-oidc>
pub(crate) fn resource<'a>(idp: &Idp, scope: &'a str) -> Result<&'a str, ()> {
    const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];
    let mut resources =
        scope.split(' ').filter(|name| !name.is_empty() && !OPENID.contains(name)).map(|name| match name.rsplit_once('/') {
            // This provider is its own Graph.
            Some((resource, _)) if resource == origin(idp) => GRAPH,
            Some((resource, _)) => resource,
            None => GRAPH,
        });
    let first = resources.next().unwrap_or(GRAPH);
    if resources.all(|other| other == first) { Ok(first) } else { Err(()) }
}

/// The answer to whoever gets what was issued.
pub(super) fn of(idp: &Idp, issued: Issued) -> Result<Value, Refusal> {
    const FAILED: Refusal = refusal("server_error", 90_033, "A transient error has occurred.");
    let has = |name: &str| issued.scope.split(' ').any(|scope| scope == name);
    let (openid, offline) = (has("openid"), has("offline_access"));
    // Graph's tokens are nobody's to read but Graph's.
    // https://learn.microsoft.com/entra/identity-platform/access-tokens
    let access = match resource(idp, &issued.scope) {
        Ok(GRAPH) | Err(()) => lock(&idp.access).keep(issued.person).ok_or(FAILED)?,
        Ok(api) => idp.key.sign(&access_claims(idp, &issued, api)).map_err(|_| FAILED)?,
    };
    let mut body = json!({ "token_type": "Bearer", "scope": issued.scope, "expires_in": 3600, "access_token": access });
    let Some(answer) = body.as_object_mut() else { return Err(FAILED) };
    if openid {
        let id_token = idp.key.sign(&id_claims(idp, &issued)).map_err(|_| FAILED)?;
        answer.insert("id_token".to_owned(), json!(id_token));
    }
    if offline {
        answer.insert("refresh_token".to_owned(), json!(lock(&idp.long).keep(issued).ok_or(FAILED)?));
    }
    Ok(body)
}

/// What every token of version 2 says.
fn common_claims(idp: &Idp, person: &Person) -> Map<String, Value> {
    let (now, tenant) = (SystemClock.now().seconds(), if person.elsewhere { OTHER_TENANT } else { TENANT });
    let claims = [
        ("iss", json!(format!("{}/{tenant}/v2.0", origin(idp)))),
        ("tid", json!(tenant)),
        ("oid", json!(person.object)),
        // https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference: sub is made for each application.
        ("sub", json!(URL_SAFE_NO_PAD.encode(sha256(format!("{} {}", idp.client_id, person.object).as_bytes())))),
        ("ver", json!("2.0")),
        ("iat", json!(now)),
        ("nbf", json!(now)),
        ("exp", json!(now + 3600)),
        ("name", json!(person.name)),
        ("preferred_username", json!(person.email)),
    ];
    claims.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>
pub(super) fn id_claims(idp: &Idp, issued: &Issued) -> Value {
    let person = issued.person;
    let mut claims = common_claims(idp, person);
    let mut say = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    say("aud", json!(idp.client_id));
    if let Some(nonce) = &issued.nonce {
        say("nonce", json!(nonce));
    }
    if issued.scope.split(' ').any(|scope| scope == "email") {
        say("email", json!(person.email));
        say("xms_edov", json!(true));
    }
    if !person.roles.is_empty() {
        say("roles", json!(person.roles));
    }
    let groups = groups(person);
    if groups.len() > MOST_GROUPS {
        // Overage: Entra names a Graph that is gone; applications ask /me/getMemberObjects instead.
        let endpoint = format!("https://graph.windows.net/{TENANT}/users/{}/getMemberObjects", person.object);
        say("_claim_names", json!({ "groups": "src1" }));
        say("_claim_sources", json!({ "src1": { "endpoint": endpoint } }));
    } else if !groups.is_empty() {
        say("groups", json!(groups));
    }
    Value::Object(claims)
}

/// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>
pub(super) fn access_claims(idp: &Idp, issued: &Issued, api: &str) -> Value {
    let mut claims = common_claims(idp, issued.person);
    let own = api.strip_prefix("api://").unwrap_or(api) == idp.client_id;
    let scopes = issued.scope.split(' ').filter_map(|scope| scope.strip_prefix(api)?.strip_prefix('/'));
    let scopes: Vec<&str> = scopes.map(|scope| if scope == ".default" { "access_as_user" } else { scope }).collect();
    let mut say = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    say("scp", json!(scopes.join(" ")));
    if issued.stepped_up {
        say("acrs", json!(["c1"]));
    }
    // Which version it is, is for the API to say: the application's own is this provider's option, others have the second.
    if own && idp.entra().is_some_and(|registration| registration.access_tokens == AccessTokens::V1) {
        say("ver", json!("1.0"));
        say("iss", json!(format!("{}/{TENANT}/", origin(idp))));
        say("aud", json!(format!("api://{}", idp.client_id)));
        say("appid", json!(idp.client_id));
        say("unique_name", json!(issued.person.email));
    } else {
        say("aud", json!(api.strip_prefix("api://").unwrap_or(api)));
        say("azp", json!(idp.client_id));
    }
    Value::Object(claims)
}

/// Groups are told by their ids.
pub(crate) fn groups(person: &Person) -> Vec<String> {
    let named = person.groups.iter().map(|name| (*name).to_owned());
    let more = (0..person.more_groups).map(|number| format!("Group {number}"));
    named.chain(more).map(|name| guid(&name)).collect()
}

fn guid(name: &str) -> String {
    let hex: String = sha256(name.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32))
}

/// A token about the application itself, for one API by its `.default`.
/// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
pub(super) fn about_itself(idp: &Idp, uri: &Uri, scope: &str) -> Result<Value, Refusal> {
    if !uri.path().starts_with(&format!("/{TENANT}/")) {
        return Err(refusal("invalid_request", 50_194, "Use a tenant-specific endpoint for this grant."));
    }
    let Some(api) = scope.strip_suffix("/.default") else {
        return Err(refusal("invalid_scope", 70_011, "The scope of this grant is one API's .default."));
    };
    let now = SystemClock.now().seconds();
    let claims = json!({
        "iss": format!("{}/{TENANT}/v2.0", origin(idp)), "tid": TENANT, "aud": api.strip_prefix("api://").unwrap_or(api), "azp": idp.client_id, "ver": "2.0",
        "iat": now, "nbf": now, "exp": now + 3600,
    });
    let access = idp.key.sign(&claims).map_err(|_| refusal("server_error", 90_033, "A transient error has occurred."))?;
    Ok(json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": access }))
}
