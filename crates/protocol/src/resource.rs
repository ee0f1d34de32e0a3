//! Protected resources and the one door that finds the resource which a request means (RFC 8707, AS-60…62).

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::access::Known;
use crate::error::Reason;
use crate::hooks::{Guard, removed};
use crate::mcp::rules::CallRules;
use crate::scope::{ScopeRules, Scopes};

/// Whether a URL's host is this machine by name or by address, as `url` writes hosts.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// A protected resource's identifier in its canonical form: the audience of its tokens and the `resource` of its metadata.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceUri(String);

impl ResourceUri {
    /// Reads a resource indicator (RFC 8707 §2): an absolute http(s) URI without fragment or user. Scheme and host come out in lower
    /// case, a default port is dropped and an origin alone has no trailing slash, so that the forms which clients send agree (AS-61).
    ///
    /// # Errors
    /// [`Reason::ResourceInvalid`] for anything else.
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        let url = Url::parse(raw).map_err(|_| Reason::ResourceInvalid)?;
        let absolute = matches!(url.scheme(), "https" | "http");
        let plain = !raw.contains('#') && url.username().is_empty() && url.password().is_none() && raw.len() <= 2048;
        if !absolute || !plain {
            return Err(Reason::ResourceInvalid);
        }
        let text = url.as_str();
        let canonical = if url.path() == "/" && url.query().is_none() { text.trim_end_matches('/') } else { text };
        Ok(Self(canonical.to_owned()))
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An MCP endpoint that deputy protects.
#[derive(Clone, Debug)]
pub struct ProtectedResource {
    /// Its identifier: the URL that people give to their MCP client.
    pub uri: ResourceUri,
    /// Its path on our origin, beginning with `/`.
    pub path: String,
    /// What people call it; shown on the consent page.
    pub name: String,
    /// The scopes that exist here.
    pub scopes: Scopes,
    /// Who may call what here.
    pub calls: CallRules,
}

/// All protected resources of this deployment, and what is said about their scopes.
#[derive(Clone, Debug)]
pub struct Catalog {
    resources: Vec<ProtectedResource>,
    scope_rules: ScopeRules,
}

impl Catalog {
    /// The catalogue of these resources.
    #[must_use]
    pub fn new(resources: Vec<ProtectedResource>) -> Self {
        Self { resources, scope_rules: ScopeRules::default() }
    }

    /// With what the operator says about their scopes.
    #[must_use]
    pub fn with_scope_rules(self, scope_rules: ScopeRules) -> Self {
        Self { scope_rules, ..self }
    }

    /// What is said about their scopes.
    #[must_use]
    pub fn scope_rules(&self) -> &ScopeRules {
        &self.scope_rules
    }

    /// What of `approved` a person gets at a resource today: what still exists there, and what the rules let this person have. It is never
    /// more than was approved.
    ///
    /// # Errors
    /// [`Reason::ResourceNotGranted`] when the resource is gone, [`Reason::ScopesNotAllowed`] when nothing is left.
    pub fn scopes_for(&self, resource: &ResourceUri, approved: &Scopes, known: &Known<'_>) -> Result<Scopes, Reason> {
        let resource = self.by_uri(resource).ok_or(Reason::ResourceNotGranted)?;
        let offered = self.scope_rules.for_person(&resource.scopes, known);
        // The ceiling takes a request for nothing as one for everything; here nothing more was approved.
        let granted = offered.ceiling(Some(approved)).map(|granted| granted.intersection(approved));
        granted.ok().filter(|granted| !granted.is_empty()).ok_or(Reason::ScopesNotAllowed)
    }

    /// Finds the resource that a request means. With no indicator, the only one there is (2025-03-26 clients send none, AS-62).
    ///
    /// # Errors
    /// [`Reason::ResourceInvalid`] for a malformed indicator or two different ones (a token has one audience),
    /// [`Reason::ResourceUnknown`] for a foreign one, [`Reason::ResourceAmbiguous`] for none while there are several.
    pub fn resolve(&self, indicators: &[String]) -> Result<&ProtectedResource, Reason> {
        let Some((first, rest)) = indicators.split_first() else {
            return self.only().ok_or(Reason::ResourceAmbiguous);
        };
        let wanted = ResourceUri::parse(first)?;
        for other in rest {
            if ResourceUri::parse(other)? != wanted {
                return Err(Reason::ResourceInvalid);
            }
        }
        let unguarded = || self.resources.first().filter(|_| removed(Guard::AuthorizedResource));
        self.by_uri(&wanted).or_else(unguarded).ok_or(Reason::ResourceUnknown)
    }

    /// The resource with this identifier.
    #[must_use]
    pub fn by_uri(&self, uri: &ResourceUri) -> Option<&ProtectedResource> {
        self.resources.iter().find(|resource| resource.uri == *uri)
    }

    /// All resources, in the order of the configuration.
    pub fn iter(&self) -> std::slice::Iter<'_, ProtectedResource> {
        self.resources.iter()
    }

    /// The only resource, if there is exactly one.
    #[must_use]
    pub fn only(&self) -> Option<&ProtectedResource> {
        match self.resources.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Every scope of every resource.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.resources.iter().fold(Scopes::default(), |all, resource| all.union(&resource.scopes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Rules;
    use crate::claims::{Groups, Memberships};
    use crate::ids::Issuer;
    use crate::scope::{Scope, ScopeRule};
    use proptest::prelude::*;

    fn catalog(uris: &[&str]) -> Catalog {
        let resource = |uri: &&str| ProtectedResource {
            uri: ResourceUri::parse(uri).unwrap(),
            path: "/mcp".to_owned(),
            name: "test".to_owned(),
            scopes: Scopes::parse("mcp").unwrap(),
            calls: CallRules::default(),
        };
        Catalog::new(uris.iter().map(resource).collect())
    }

    fn resolve(catalog: &Catalog, indicators: &[&str]) -> Result<String, Reason> {
        let owned: Vec<String> = indicators.iter().map(|&s| s.to_owned()).collect();
        catalog.resolve(&owned).map(|r| r.uri.to_string())
    }

    #[test]
    fn the_forms_that_clients_send_agree() {
        let origin = catalog(&["https://mcp.example.com"]);
        for raw in
            ["https://mcp.example.com", "https://mcp.example.com/", "HTTPS://MCP.Example.com", "https://mcp.example.com:443/"]
        {
            assert_eq!(resolve(&origin, &[raw]).unwrap(), "https://mcp.example.com", "{raw}");
        }
        let path = catalog(&["https://mcp.example.com/mcp"]);
        assert_eq!(resolve(&path, &["https://MCP.example.com/mcp"]).unwrap(), "https://mcp.example.com/mcp");
        assert_eq!(resolve(&path, &["https://mcp.example.com/mcp/"]), Err(Reason::ResourceUnknown));
    }

    #[test]
    fn a_missing_indicator_means_the_only_resource() {
        assert_eq!(resolve(&catalog(&["https://h/a"]), &[]).unwrap(), "https://h/a");
        assert_eq!(resolve(&catalog(&["https://h/a", "https://h/b"]), &[]), Err(Reason::ResourceAmbiguous));
    }

    #[test]
    fn anything_else_is_refused() {
        let one = catalog(&["https://h/a"]);
        for raw in ["https://h/a#f", "/a", "h/a", "urn:a", "https://u@h/a", "https://h/a#"] {
            assert_eq!(resolve(&one, &[raw]), Err(Reason::ResourceInvalid), "{raw}");
        }
        for raw in ["https://evil/a", "http://h/a", "https://h/b", "https://h:8443/a"] {
            assert_eq!(resolve(&one, &[raw]), Err(Reason::ResourceUnknown), "{raw}");
        }
        assert_eq!(resolve(&one, &["https://h/a", "https://h/a"]).unwrap(), "https://h/a");
        assert_eq!(resolve(&one, &["https://h/a", "https://h/b"]), Err(Reason::ResourceInvalid));
    }

    /// URLs that a client might send or an attacker write, over parts that collide.
    fn urls() -> impl Strategy<Value = String> {
        let scheme = prop_oneof![Just("https"), Just("http"), Just("HTTPS")];
        let host =
            prop_oneof![Just("h"), Just("H"), Just("g"), Just("h."), Just("h:443"), Just("h:80"), Just("h:8443"), Just("[::1]")];
        let path = prop_oneof![
            Just(""),
            Just("/"),
            Just("/a"),
            Just("/a/"),
            Just("/A"),
            Just("/%61"),
            Just("/./a"),
            Just("/b/../a"),
            Just("//a"),
            Just("/a/b")
        ];
        let query = prop_oneof![Just(""), Just("?"), Just("?x"), Just("?x=1")];
        (scheme, host, path, query).prop_map(|(scheme, host, path, query)| format!("{scheme}://{host}{path}{query}"))
    }

    proptest! {
        /// Reading what was read changes nothing, whatever it was.
        #[test]
        fn normalising_twice_is_normalising_once(raw in prop_oneof![urls(), "https?://[ -~]{1,24}", ".{0,24}"]) {
            if let Ok(uri) = ResourceUri::parse(&raw) {
                prop_assert_eq!(ResourceUri::parse(uri.as_str()), Ok(uri.clone()));
                let (before, after) = (Url::parse(&raw).unwrap(), Url::parse(uri.as_str()).unwrap());
                prop_assert_eq!(before.origin(), after.origin());
                prop_assert_eq!((before.path(), before.query()), (after.path(), after.query()));
            }
        }

        /// No two resources of a catalogue are taken for one another: an indicator finds the one that a browser would go to, or none.
        #[test]
        fn no_two_resources_are_confused(mut known in proptest::collection::vec(urls(), 1..5), asked in urls()) {
            known.retain(|raw| ResourceUri::parse(raw).is_ok());
            let raw: Vec<&str> = known.iter().map(String::as_str).collect();
            if let Ok(found) = resolve(&catalog(&raw), &[&asked]) {
                prop_assert_eq!(Url::parse(&found).unwrap(), Url::parse(&asked).unwrap());
                prop_assert!(known.iter().any(|raw| Url::parse(raw).unwrap() == Url::parse(&asked).unwrap()));
                // Beside another resource it is refused: a token has one audience.
                for other in raw.iter().filter(|other| Url::parse(other).unwrap() != Url::parse(&asked).unwrap()) {
                    prop_assert_eq!(resolve(&catalog(&raw), &[&asked, other]), Err(Reason::ResourceInvalid));
                }
            }
        }
    }

    #[test]
    fn only_https_and_http_are_addresses_of_servers() {
        for raw in ["ftp://h/a", "wss://h/a", "file:///a", "data:,a", "urn:a:b"] {
            assert_eq!(ResourceUri::parse(raw), Err(Reason::ResourceInvalid), "{raw}");
        }
    }

    fn known<R>(groups: &[&str], ask: impl FnOnce(&Known<'_>) -> R) -> R {
        let (idp, groups) =
            (Issuer::parse("https://idp.test").unwrap(), Groups::Listed(groups.iter().map(|&name| name.to_owned()).collect()));
        let memberships = Memberships { groups, ..Memberships::default() };
        ask(&Known { idp: &idp, sub: "alice", email: None, said_email: None, memberships: &memberships })
    }

    /// A resource that offers `offered`, where the scopes of `some` are for writers only.
    fn with_rules(offered: &Scopes, some: &Scopes) -> Catalog {
        let rule = |name: &str| ScopeRule {
            grants_to: Some(Rules::parse(&["group:Writers"]).unwrap()),
            ..ScopeRule::new(Scope::parse(name).unwrap())
        };
        let mut all = catalog(&["https://h/a"]);
        all.resources[0].scopes = offered.clone();
        all.with_scope_rules(ScopeRules::new(some.iter().map(rule).collect()).unwrap())
    }

    #[test]
    fn a_person_gets_what_of_the_approved_scopes_is_theirs() {
        let scopes = |raw: &str| Scopes::parse(raw).unwrap();
        let (here, gone) = (ResourceUri::parse("https://h/a").unwrap(), ResourceUri::parse("https://h/gone").unwrap());
        let catalog = with_rules(&scopes("read write"), &scopes("write"));
        let gets = |groups: &[&str], approved: &str| {
            known(groups, |known| catalog.scopes_for(&here, &scopes(approved), known).map(|scopes| scopes.to_string()))
        };
        assert_eq!(gets(&["Writers"], "read write").unwrap(), "read write");
        assert_eq!(gets(&["Writers"], "read").unwrap(), "read", "no more than was approved");
        assert_eq!(gets(&["Readers"], "read write").unwrap(), "read");
        assert_eq!(gets(&[], "write"), Err(Reason::ScopesNotAllowed));
        assert_eq!(gets(&["Writers"], "gone"), Err(Reason::ScopesNotAllowed));
        assert_eq!(gets(&["Writers"], "offline_access"), Err(Reason::ScopesNotAllowed));
        known(&[], |known| assert_eq!(catalog.scopes_for(&gone, &scopes("read"), known), Err(Reason::ResourceNotGranted)));
    }

    fn few() -> impl Strategy<Value = Scopes> {
        let one = prop_oneof![Just("offline_access".to_owned()), "[a-c]"];
        proptest::collection::vec(one, 0..4).prop_map(|all| all.iter().map(|raw| Scope::parse(raw).unwrap()).collect())
    }

    proptest! {
        /// whatever the rules, the person and the offer are, nobody gets more than was approved, more than is offered, or nothing;
        /// and asking again gives no more than the first time.
        #[test]
        fn a_104_no_rule_widens_what_was_approved(offered in few(), some in few(), approved in few(), writer in any::<bool>()) {
            let (here, catalog) = (ResourceUri::parse("https://h/a").unwrap(), with_rules(&offered, &some));
            let gets = |groups: &[&str], approved: &Scopes| known(groups, |known| catalog.scopes_for(&here, approved, known));
            let groups: &[&str] = if writer { &["Writers"] } else { &[] };
            if let Ok(granted) = gets(groups, &approved) {
                prop_assert!(approved.covers(&granted) && offered.covers(&granted) && !granted.is_empty());
                prop_assert!(writer || granted.intersection(&some).is_empty());
                if let Ok(again) = gets(&["Writers"], &granted) {
                    prop_assert!(granted.covers(&again));
                }
            }
        }
    }

    #[test]
    fn a_catalogue_knows_what_it_has() {
        let (one, two) = (catalog(&["https://h/a"]), catalog(&["https://h/a", "https://h/b"]));
        assert_eq!(one.only().map(|only| only.uri.as_str()), Some("https://h/a"));
        assert!(two.only().is_none() && catalog(&[]).only().is_none());
        assert_eq!(two.scopes().to_string(), "mcp");
        assert_eq!(two.iter().count(), 2);
    }
}
