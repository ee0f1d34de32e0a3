//! A transaction in its states, a grant, and a deployment that allows both: for the tests.

use serde_json::json;

use crate::access::Rules;
use crate::authorization::begin;
use crate::claims::{Authority, ExpectedIdToken, Memberships, SignedClaims, check_id_token};
use crate::client::DisplayName;
use crate::client::{Client, Proof, RawMetadata};
use crate::consent::{Decision, Ticket, decide};
use crate::family::Grant;
use crate::ids::{ClientId, GrantId, IdpName, Issuer};
use crate::mcp::rules::CallRules;
use crate::params::Params;
use crate::pkce::Verifier;
use crate::resource::{Catalog, ProtectedResource, ResourceUri};
use crate::scope::Scopes;
use crate::secret::{BrowserKey, IdpState, Nonce};
use crate::time::Timestamp;
use crate::transaction::{AwaitingIdp, IdpRequest, Pending, SignedIn};
use crate::web::Origins;

pub(crate) fn grant() -> Grant {
    Grant {
        id: GrantId::new([1; 16]),
        subject: "u_1".to_owned(),
        idp: Issuer::parse("https://idp.test").unwrap(),
        idp_subject: "alice".to_owned(),
        email: None,
        name: None,
        said_email: None,
        memberships: Memberships::default(),
        client: ClientId::parse("a").unwrap(),
        client_name: DisplayName::clean("Test"),
        resource: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
        scopes: Scopes::parse("a b").unwrap(),
        granted_at: Timestamp::from_seconds(0),
        ends_at: Timestamp::from_seconds(1000),
    }
}

pub(crate) fn policy(allowed: &str) -> (Rules, Catalog) {
    let resource = ProtectedResource {
        uri: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
        path: "/mcp".to_owned(),
        name: "Test".to_owned(),
        scopes: Scopes::parse("a b").unwrap(),
        calls: CallRules::default(),
    };
    (Rules::parse(&[allowed]).unwrap(), Catalog::new(vec![resource]))
}

/// When transactions start.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1000);

pub(crate) fn pending() -> Pending {
    let metadata =
        json!({ "client_name": "App", "redirect_uris": ["https://app.test/cb"], "token_endpoint_auth_method": "none" });
    let registration = RawMetadata::parse(metadata.to_string().as_bytes()).unwrap().check(NOW).unwrap();
    let client = Client { id: ClientId::parse("a").unwrap(), registration, proof: Proof::None };
    let query = format!(
        "response_type=code&redirect_uri=https://app.test/cb&code_challenge={}&code_challenge_method=S256&scope=a",
        Verifier::new(&[1; 32]).challenge().as_str()
    );
    let (_, catalog) = policy("*");
    let (params, issuer) = (Params::parse(query.as_bytes()).unwrap(), Issuer::parse("https://mcp.test").unwrap());
    begin(&params, &client, &issuer, &catalog, NOW, [1; 16]).unwrap()
}

pub(crate) fn idp_name() -> IdpName {
    IdpName::parse("idp").unwrap()
}

pub(crate) fn idp_request() -> IdpRequest {
    IdpRequest { state: IdpState::new(&[1; 32]), nonce: Nonce::new(&[1; 32]), verifier: Verifier::new(&[1; 32]), idp: idp_name() }
}

pub(crate) fn awaiting() -> AwaitingIdp {
    let (key, origins) = (BrowserKey::new(&[1; 32]), Origins::new("https://mcp.test", &[]).unwrap());
    let page = origins.own_page(Some("https://mcp.test"), None).unwrap();
    let form = Params::parse(b"decision=approve").unwrap();
    match decide(Ticket::new(pending(), &key), page, Some(&key), &form, NOW).unwrap() {
        Decision::Approved(approval) => approval.ask_idp(idp_request()),
        Decision::Denied(..) => panic!("denied"),
    }
}

pub(crate) fn signed_in(account: &str) -> SignedIn {
    let asked = idp_request();
    let claims = json!({
        "iss": "https://idp.test", "sub": account, "aud": "us", "nonce": asked.nonce.expose(), "iat": 1000, "exp": 1060
    });
    let authority = Authority::from(Issuer::parse("https://idp.test").unwrap());
    let expected = ExpectedIdToken { authority: &authority, client_id: "us", nonce: &asked.nonce, now: NOW };
    let who = check_id_token(SignedClaims::assume_verified(serde_json::from_value(claims).unwrap()), expected).unwrap();
    let admitted = Rules::parse(&["*"]).unwrap().admit(who).unwrap();
    awaiting().answered(&IdpState::new(&[1; 32]), &idp_name(), NOW).unwrap().signed_in(admitted, &policy("*").1).unwrap()
}
