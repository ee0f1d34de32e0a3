//! A grant, and a deployment that allows it, for the tests.

use super::Grant;
use crate::access::Rules;
use crate::client::DisplayName;
use crate::ids::{ClientId, GrantId, Issuer};
use crate::resource::{Catalog, ProtectedResource, ResourceUri};
use crate::scope::Scopes;
use crate::time::Timestamp;

pub(super) fn grant() -> Grant {
    Grant {
        id: GrantId::new([1; 16]),
        subject: "u_1".to_owned(),
        idp: Issuer::parse("https://idp.test").unwrap(),
        idp_subject: "alice".to_owned(),
        email: None,
        name: None,
        groups: Vec::new(),
        client: ClientId::parse("a").unwrap(),
        client_name: DisplayName::clean("Test"),
        resource: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
        scopes: Scopes::parse("a b").unwrap(),
        granted_at: Timestamp::from_seconds(0),
        ends_at: Timestamp::from_seconds(1000),
    }
}

pub(super) fn policy(allowed: &str) -> (Rules, Catalog) {
    let resource = ProtectedResource {
        uri: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
        path: "/mcp".to_owned(),
        name: "Test".to_owned(),
        scopes: Scopes::parse("a b").unwrap(),
    };
    (Rules::parse(&[allowed]).unwrap(), Catalog::new(vec![resource]))
}
