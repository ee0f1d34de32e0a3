//! The query of `/authorize`: `Params`, then the redirect URI, then the request.

use deputy_protocol::authorization::{AuthorizationRequest, client_state};
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::params::Params;
use deputy_protocol::redirect::{RedirectUri, match_redirect};
use deputy_protocol::resource::{Catalog, ProtectedResource, ResourceUri};
use deputy_protocol::scope::Scopes;
use deputy_protocol::{Issuer, OAuthError, Reason};
use url::Url;

const REGISTERED: [&str; 4] = [
    "https://app.test/cb",
    "http://127.0.0.1/cb",
    "http://localhost:3118/cb?x=1",
    "cursor://anysphere.cursor-mcp/oauth/callback",
];

pub fn run(query: &[u8]) {
    let Ok(params) = Params::parse(query) else { return };
    one_reading(query, &params);
    request(&params);
    redirect(&params);
}

/// What `Params` accepts, the URL standard's form parser reads the same, and no name has two values.
pub fn one_reading(encoded: &[u8], params: &Params) {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(encoded).into_owned().collect();
    for (name, value) in pairs.iter().filter(|(name, _)| name != "resource") {
        assert_eq!(pairs.iter().filter(|(other, _)| other == name).count(), 1, "{name} stands twice");
        assert_eq!(params.get(name), Some(value.as_str()).filter(|value| !value.is_empty()), "{name}");
    }
    let resources: Vec<&String> = pairs.iter().filter(|(n, v)| n == "resource" && !v.is_empty()).map(|(_, v)| v).collect();
    assert_eq!(params.resources().iter().collect::<Vec<_>>(), resources);
    for name in ["state", "scope", "client_id", "redirect_uri"] {
        assert!(params.get(name).is_none() || pairs.iter().any(|(known, _)| known == name), "{name} from nowhere");
    }
}

fn request(params: &Params) {
    let resource = |uri: &str, scopes: &str| ProtectedResource {
        uri: ResourceUri::parse(uri).unwrap(),
        path: "/mcp".to_owned(),
        name: "Test".to_owned(),
        scopes: Scopes::parse(scopes).unwrap(),
        calls: CallRules::default(),
    };
    let catalog = Catalog::new(vec![resource("https://mcp.test/mcp", "read write"), resource("https://mcp.test", "root")]);
    let Ok(request) = AuthorizationRequest::parse(params, &catalog) else { return };
    assert_eq!(params.get("response_type"), Some("code"));
    assert_eq!(params.get("code_challenge_method"), Some("S256"));
    assert_eq!(params.get("code_challenge"), Some(request.challenge.as_str()));
    assert_eq!(request.challenge.as_str().len(), 43);
    assert!(params.get("request").is_none() && params.get("request_uri").is_none());
    assert!(params.get("response_mode").is_none_or(|mode| mode == "query"));
    assert!(params.get("prompt").is_none_or(|prompt| !prompt.split(' ').any(|word| word == "none")));
    let known = catalog.by_uri(&request.resource).unwrap();
    assert!(!params.resources().is_empty(), "with two resources one must be named");
    for raw in params.resources() {
        let read = Url::parse(&raw).unwrap();
        assert_eq!((read.host_str(), read.scheme(), read.port(), read.fragment()), (Some("mcp.test"), "https", None, None));
        assert_eq!(ResourceUri::parse(&raw).as_ref(), Ok(&known.uri));
    }
    assert!(known.scopes.covers(&request.scopes) && !request.scopes.is_empty());
}

fn redirect(params: &Params) {
    let registered: Vec<RedirectUri> = REGISTERED.iter().map(|raw| RedirectUri::parse(raw).unwrap()).collect();
    let issuer = Issuer::parse("https://mcp.test").unwrap();
    let presented = params.get("redirect_uri");
    let Ok(state) = client_state(params) else { return };
    let Ok(trusted) = match_redirect(&registered, presented, state, &issuer) else { return };
    assert_eq!(Some(trusted.uri().as_str()), presented);
    let location = trusted.with_error(OAuthError::AccessDenied, Reason::ConsentDenied);
    assert!(location.is_ascii() && !location.contains(['\r', '\n', ' ', '#']), "{location}");
    let (went, meant) = (Url::parse(&location).unwrap(), Url::parse(presented.unwrap()).unwrap());
    assert_eq!(
        (went.scheme(), went.host(), went.port(), went.path()),
        (meant.scheme(), meant.host(), meant.port(), meant.path())
    );
    let values = |name: &str| went.query_pairs().filter(|(key, _)| key == name).map(|(_, v)| v.into_owned()).collect::<Vec<_>>();
    assert_eq!(values("iss"), ["https://mcp.test"]);
    assert_eq!(values("error"), ["access_denied"]);
    assert_eq!(values("state"), params.get("state").map(str::to_owned).into_iter().collect::<Vec<_>>());
}
