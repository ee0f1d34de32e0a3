//! The authorization request: everything after client and redirect URI are trusted (AS-57…62, A-063…079).

use crate::client::Client;
use crate::error::Reason;
use crate::ids::Issuer;
use crate::params::Params;
use crate::pkce::Challenge;
use crate::redirect::{ClientState, TrustedRedirect, match_redirect};
use crate::resource::{Catalog, ResourceUri};
use crate::scope::Scopes;
use crate::time::Timestamp;
use crate::transaction::Pending;

/// Why a request is not put to a person.
#[derive(Debug)]
pub enum Refused {
    /// Nothing is trusted: this can only become a page (AS-55).
    Untrusted(Reason),
    /// The client may be told; nobody has acted yet (AS-56, AS-63).
    Undecided(TrustedRedirect, Reason),
}

/// The checks of the authorization endpoint; their order is the security argument.
///
/// # Errors
/// [`Refused`], by how far the checks came.
pub fn begin(
    params: &Params,
    client: &Client,
    issuer: &Issuer,
    catalog: &Catalog,
    now: Timestamp,
    random: [u8; 16],
) -> Result<Pending, Refused> {
    // Until the redirect URI is trusted, an error can only become a page.
    let state = client_state(params).map_err(Refused::Untrusted)?;
    let redirect = match_redirect(&client.registration.redirect_uris, params.get("redirect_uri"), state, issuer);
    let redirect = redirect.map_err(Refused::Untrusted)?;
    // From here on it may travel, with `state` and `iss`.
    match AuthorizationRequest::parse(params, catalog) {
        Ok(request) => Ok(Pending::start(client, redirect, request, now, random)),
        Err(reason) => Err(Refused::Undecided(redirect, reason)),
    }
}

/// A request that may be put to a person.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// The PKCE challenge that the code will be bound to.
    pub challenge: Challenge,
    /// The one resource.
    pub resource: ResourceUri,
    /// What of the requested scopes exists there.
    pub scopes: Scopes,
}

impl AuthorizationRequest {
    /// Reads the request. Parameters that are not named here are ignored and go nowhere (AS-59, A-070).
    ///
    /// # Errors
    /// The first rule that is broken, in the order below.
    pub fn parse(params: &Params, catalog: &Catalog) -> Result<Self, Reason> {
        refuse_request_objects(params)?;
        if params.get("response_type") != Some("code") {
            return Err(Reason::ResponseTypeUnsupported);
        }
        if params.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(Reason::ResponseModeUnsupported);
        }
        // OIDC Core §3.1.2.1: a list; `none` forbids what we always do.
        if params.get("prompt").is_some_and(|prompt| prompt.split(' ').any(|p| p == "none")) {
            return Err(Reason::PromptForbidden);
        }
        let challenge = Challenge::parse(params.get("code_challenge"), params.get("code_challenge_method"))?;
        let resource = catalog.resolve(&params.resources())?;
        let requested = params.get("scope").map(Scopes::parse).transpose()?;
        let scopes = resource.scopes.ceiling(requested.as_ref())?;
        Ok(Self { challenge, resource: resource.uri.clone(), scopes })
    }
}

/// RFC 9101: a request object could name another redirect URI, and `request_uri` makes a server fetch.
fn refuse_request_objects(params: &Params) -> Result<(), Reason> {
    if params.get("request").is_some() {
        return Err(Reason::RequestObject);
    }
    if params.get("request_uri").is_some() {
        return Err(Reason::RequestUri);
    }
    Ok(())
}

/// The client's `state`, which must be readable before any other error can be sent back with it.
///
/// # Errors
/// [`Reason::StateTooLong`] beyond [`STATE_MAX`](crate::redirect::STATE_MAX) bytes.
pub fn client_state(params: &Params) -> Result<Option<ClientState>, Reason> {
    params.get("state").map(ClientState::parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::rules::CallRules;
    use crate::resource::ProtectedResource;

    fn parse(query: &str) -> Result<AuthorizationRequest, Reason> {
        let catalog = Catalog::new(vec![ProtectedResource {
            uri: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
            path: "/mcp".to_owned(),
            name: "Test".to_owned(),
            scopes: Scopes::parse("read write").unwrap(),
            calls: CallRules::default(),
        }]);
        AuthorizationRequest::parse(&Params::parse(query.as_bytes()).unwrap(), &catalog)
    }

    const PKCE: &str = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    #[test]
    fn the_rules_hold_one_by_one() {
        for (query, reason) in [
            ("response_type=token", Reason::ResponseTypeUnsupported),
            ("response_type=code%20token", Reason::ResponseTypeUnsupported),
            ("", Reason::ResponseTypeUnsupported),
            ("response_type=code&response_mode=fragment", Reason::ResponseModeUnsupported),
            ("response_type=code&response_mode=form_post", Reason::ResponseModeUnsupported),
            ("response_type=code&request=eyJ", Reason::RequestObject),
            ("response_type=code&request_uri=https://evil.test", Reason::RequestUri),
            ("response_type=code&prompt=none", Reason::PromptForbidden),
            ("response_type=code&prompt=none%20consent", Reason::PromptForbidden),
            ("response_type=code", Reason::PkceMissing),
        ] {
            assert_eq!(parse(query).err(), Some(reason), "{query}");
        }
        for (extra, reason) in [
            ("resource=https://evil.test/mcp", Reason::ResourceUnknown),
            ("resource=mcp", Reason::ResourceInvalid),
            ("scope=a%09b", Reason::ScopeMalformed),
            ("scope=admin", Reason::ScopeUnknown),
        ] {
            assert_eq!(parse(&format!("response_type=code&{PKCE}&{extra}")).err(), Some(reason), "{extra}");
        }
    }

    #[test]
    fn a_request_of_2025_03_26_needs_neither_scope_nor_resource() {
        let request = parse(&format!("response_type=code&{PKCE}&prompt=consent&foo=bar&login_hint=x")).unwrap();
        assert_eq!(request.resource.as_str(), "https://mcp.test/mcp");
        assert_eq!(request.scopes.to_string(), "read write");
    }

    #[test]
    fn a_063_the_clients_state_is_read_first() {
        let state = |query: &str| client_state(&Params::parse(query.as_bytes()).unwrap());
        assert_eq!(state("x=1").unwrap(), None);
        assert_eq!(state("state=abc").unwrap(), Some(ClientState::parse("abc").unwrap()));
        assert_eq!(state(&format!("state={}", "x".repeat(crate::redirect::STATE_MAX + 1))).unwrap_err(), Reason::StateTooLong);
    }
}
