//! The single table of what exists: method, path, endpoint, body limit, who may read the answer across origins.
//!
//! Dispatch and the coverage tests are built from it. Paths are compared to the letter, as they were sent: there is no second reading of
//! one, and what is not here is 404. The paths of the protected resources come from the configuration and are looked up first.

use deputy_protocol::params::PARAMS_MAX;
use http::Method;

use crate::authorize::stopped;
use crate::idp::CALLBACK;

/// Who may read an answer from a page of another origin (AS-16, A-220). Credentials never cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Any page: nothing here goes by cookies.
    Anyone,
    /// No page.
    Nobody,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// RFC 6749 §3.1: shows the consent page.
    Authorize,
    /// Takes the person's decision.
    Consent,
    /// Takes the identity provider's answer.
    Callback,
    /// Says why the identity provider's answer was refused.
    Stopped,
    /// Takes the decision on the last page.
    Finish,
    /// RFC 6749 §3.2.
    Token,
    /// RFC 7591 §3.
    Register,
    /// RFC 7009 §2.
    Revoke,
    /// RFC 8414 §3.
    ServerMetadata,
    /// RFC 9728 §3.
    ResourceMetadata,
    /// RFC 7517 §5.
    Jwks,
    /// Judges a token for a proxy that forwards by itself, below the path with the resource's own: nginx `auth_request`, Traefik `forwardAuth`.
    Verify,
    /// A bare sign of life.
    Health,
    /// The pages' one stylesheet.
    Stylesheet,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method; `GET` answers `HEAD` too.
    pub method: Method,
    /// The path. `ResourceMetadata` and `Callback` also answer below it, and `Verify` does so only.
    pub path: &'static str,
    /// What answers.
    pub endpoint: Endpoint,
    /// The largest body that is read, in bytes.
    pub body_limit: usize,
    /// Who may read the answer across origins.
    pub cors: Cors,
}

const REGISTRATION_MAX: usize = 64 * 1024;
/// The last page's form: it carries the provider's tokens, sealed, and some providers' are long.
pub const FINISH_MAX: usize = 256 * 1024;

const fn get(path: &'static str, endpoint: Endpoint, cors: Cors) -> Route {
    Route { method: Method::GET, path, endpoint, body_limit: 0, cors }
}

const fn post(path: &'static str, endpoint: Endpoint, body_limit: usize, cors: Cors) -> Route {
    Route { method: Method::POST, path, endpoint, body_limit, cors }
}

/// Where protected resource metadata lies; a resource's own path follows (RFC 9728 §3.1).
pub const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";

/// Where another proxy asks about a request; the resource's own path follows. That the proxy names it, and not the client, is in its
/// configuration.
pub const VERIFY: &str = "/verify";

/// Everything that exists beside the protected resources.
pub const ROUTES: &[Route] = &[
    get("/.well-known/oauth-authorization-server", Endpoint::ServerMetadata, Cors::Anyone),
    get(RESOURCE_METADATA, Endpoint::ResourceMetadata, Cors::Anyone),
    get("/jwks", Endpoint::Jwks, Cors::Anyone),
    post("/register", Endpoint::Register, REGISTRATION_MAX, Cors::Anyone),
    get("/authorize", Endpoint::Authorize, Cors::Nobody),
    post("/consent", Endpoint::Consent, PARAMS_MAX, Cors::Nobody),
    get(CALLBACK, Endpoint::Callback, Cors::Nobody),
    get(stopped::PATH, Endpoint::Stopped, Cors::Nobody),
    post("/finish", Endpoint::Finish, FINISH_MAX, Cors::Nobody),
    post("/token", Endpoint::Token, PARAMS_MAX, Cors::Anyone),
    post("/revoke", Endpoint::Revoke, PARAMS_MAX, Cors::Anyone),
    get(VERIFY, Endpoint::Verify, Cors::Nobody),
    get("/healthz", Endpoint::Health, Cors::Nobody),
    get("/assets/deputy.css", Endpoint::Stylesheet, Cors::Nobody),
];

/// What a path and method lead to.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    /// This row.
    Route(&'static Route),
    /// The path exists, for another method.
    OtherMethod(&'static Route),
    /// Nothing.
    Nothing,
}

/// Looks a request up. One trailing slash is forgiven (AS-14): a redirect would lose the body of a POST.
#[must_use]
pub fn find(method: &Method, path: &str) -> Found {
    let trimmed = path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path);
    let below = |route: &&Route| {
        let has_more = matches!(route.endpoint, Endpoint::ResourceMetadata | Endpoint::Callback | Endpoint::Verify);
        has_more && path.strip_prefix(route.path).is_some_and(|rest| rest.starts_with('/'))
    };
    let Some(route) = ROUTES.iter().find(|route| route.path == trimmed || below(route)) else { return Found::Nothing };
    let fits = route.method == *method || (route.method == Method::GET && *method == Method::HEAD);
    if fits { Found::Route(route) } else { Found::OtherMethod(route) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(method: Method, path: &str) -> Option<Endpoint> {
        match find(&method, path) {
            Found::Route(route) => Some(route.endpoint),
            Found::OtherMethod(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn paths_are_compared_to_the_letter() {
        assert_eq!(endpoint(Method::POST, "/token"), Some(Endpoint::Token));
        assert_eq!(endpoint(Method::POST, "/token/"), Some(Endpoint::Token));
        assert_eq!(endpoint(Method::HEAD, "/authorize"), Some(Endpoint::Authorize));
        assert_eq!(endpoint(Method::GET, "/.well-known/oauth-protected-resource/mcp"), Some(Endpoint::ResourceMetadata));
        for path in
            ["//token", "/token//", "/Token", "/%74oken", "/x/../token", "/token;x", "/", "", "/.well-known/openid-configuration"]
        {
            assert_eq!(endpoint(Method::POST, path), None, "{path}");
            assert_eq!(endpoint(Method::GET, path), None, "{path}");
        }
    }
}
