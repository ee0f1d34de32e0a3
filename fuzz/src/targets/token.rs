//! The form of `/token`, held against the records of a code and of a refresh token.

use std::time::Duration;

use deputy_protocol::access::Rules;
use deputy_protocol::claims::Memberships;
use deputy_protocol::client::DisplayName;
use deputy_protocol::family::{CodeRecord, Generation, Grant, Place, Policy, RefreshRecord};
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::params::Params;
use deputy_protocol::pkce::Challenge;
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::resource::{Catalog, ProtectedResource, ResourceUri};
use deputy_protocol::scope::Scopes;
use deputy_protocol::secret::{AuthorizationCode, RefreshToken};
use deputy_protocol::{ClientId, GrantId, Issuer};

use super::{NOW, authorize};

// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const RESOURCE: &str = "https://mcp.test/mcp";

pub fn run(form: &[u8]) {
    let Ok(params) = Params::parse(form) else { return };
    authorize::one_reading(form, &params);
    let Some(Ok(client)) = params.get("client_id").map(ClientId::parse) else { return };
    assert_eq!(params.get("client_id"), Some(client.as_str()));
    code(&client, &params);
    refresh(&client, &params);
}

fn same_resource(params: &Params) {
    for raw in params.resources() {
        assert_eq!(url::Url::parse(&raw).unwrap().as_str(), RESOURCE);
    }
}

fn grant() -> Grant {
    Grant {
        id: GrantId::new([1; 16]),
        subject: "u_1".to_owned(),
        idp: Issuer::parse("https://idp.test").unwrap(),
        idp_subject: "alice".to_owned(),
        email: None,
        name: None,
        said_email: None,
        memberships: Memberships::default(),
        client: ClientId::parse("c").unwrap(),
        client_name: DisplayName::clean("Test"),
        resource: ResourceUri::parse(RESOURCE).unwrap(),
        scopes: Scopes::parse("read write").unwrap(),
        granted_at: NOW,
        ends_at: NOW.after(Duration::from_secs(1000)),
    }
}

fn deployment() -> (Rules, Catalog) {
    let resource = ProtectedResource {
        uri: ResourceUri::parse(RESOURCE).unwrap(),
        path: "/mcp".to_owned(),
        name: "Test".to_owned(),
        scopes: Scopes::parse("read write").unwrap(),
        calls: CallRules::default(),
    };
    (Rules::parse(&["*"]).unwrap(), Catalog::new(vec![resource]))
}

fn code(client: &ClientId, params: &Params) {
    let record = CodeRecord {
        digest: AuthorizationCode::new(&[1; 32]).digest(),
        grant: grant(),
        redirect_uri: RedirectUri::parse("https://app.test/cb").unwrap(),
        challenge: Challenge::parse(Some(CHALLENGE), Some("S256")).unwrap(),
        refresh: true,
    };
    let (rules, catalog) = deployment();
    if record.check(client, params, Policy { rules: &rules, catalog: &catalog }).is_ok() {
        assert_eq!(client.as_str(), "c");
        assert_eq!(params.get("code_verifier"), Some(VERIFIER), "another verifier fits the challenge");
        assert!(params.get("redirect_uri").is_none_or(|uri| uri == "https://app.test/cb"));
        same_resource(params);
    }
}

fn refresh(client: &ClientId, params: &Params) {
    let place = Place { grant: grant().id, generation: Generation::default(), digest: RefreshToken::of_bytes(&[1; 32]).digest() };
    let record = RefreshRecord { place, grant: grant() };
    let (rules, catalog) = deployment();
    let Ok(checked) = record.check(client, params, Policy { rules: &rules, catalog: &catalog }) else { return };
    let scopes = checked.scopes();
    assert_eq!(client.as_str(), "c");
    same_resource(params);
    assert!(!scopes.is_empty() && checked.record().grant.scopes.covers(scopes));
    let asked: Vec<&str> =
        params.get("scope").unwrap_or_default().split(' ').filter(|s| !matches!(*s, "" | "offline_access")).collect();
    for scope in &asked {
        assert!(matches!(*scope, "read" | "write"), "{scope} was not granted");
    }
    let given: Vec<&str> = scopes.iter().collect();
    assert!(if asked.is_empty() { given == ["read", "write"] } else { given.iter().all(|s| asked.contains(s)) });
}
