//! AS-01…17, RS-01…06, and the layout of requirements §2.3.

use http::Method;
use serde_json::json;

use crate::support::http::{get, send};
use crate::support::{World, http as net};

#[tokio::test]
async fn as_01_the_authorization_server_metadata_is_complete_and_exact() {
    let world = World::new().await;
    let answer = get(&world.at("/.well-known/oauth-authorization-server")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let at = |path: &str| world.at(path);
    assert_eq!(
        answer.json(),
        json!({
            "issuer": world.origin, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"), "registration_endpoint": at("/register"),
            "revocation_endpoint": at("/revoke"), "jwks_uri": at("/jwks"), "scopes_supported": ["read", "write"], "response_types_supported": ["code"],
            "response_modes_supported": ["query"], "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA"],
            "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
            "revocation_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA"],
            "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true,
            "client_id_metadata_document_supported": true,
            "protected_resources": [at("/mcp")],
        })
    );
}

#[tokio::test]
async fn rs_01_the_resource_metadata_is_at_its_path_and_at_the_root() {
    let world = World::new().await;
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/",
    ] {
        let answer = get(&world.at(path)).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(
            answer.json(),
            json!({
                "resource": world.at("/mcp"), "authorization_servers": [world.origin], "scopes_supported": ["read", "write"],
                "bearer_methods_supported": ["header"], "resource_name": "Test tools",
            })
        );
    }
}

#[tokio::test]
async fn as_15_as_17_everything_else_well_known_is_404() {
    let world = World::new().await;
    for path in [
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/mcp",
        "/mcp/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/x",
        "/",
        "/metrics",
        "/admin",
    ] {
        assert_eq!(get(&world.at(path)).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_198_forwarded_headers_change_nothing() {
    let world = World::new().await;
    let url = world.at("/.well-known/oauth-authorization-server");
    let headers = [
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.test"),
        ("x-forwarded-prefix", "/x"),
    ];
    assert_eq!(send(Method::GET, &url, &headers, "").await.json(), get(&url).await.json());
}

#[tokio::test]
async fn a_218_a_foreign_host_is_refused_everywhere() {
    let world = World::new().await;
    for path in ["/authorize", "/token", "/mcp", "/.well-known/oauth-authorization-server", "/nothing"] {
        for host in ["evil.test", "localhost", "localhost:1", "localhost.evil.test"] {
            let answer = send(Method::GET, &world.at(path), &[("host", host)], "").await;
            assert_eq!(answer.status, 421, "{host} {path}");
        }
    }
    assert_eq!(send(Method::GET, &world.at("/healthz"), &[("host", "10.1.2.3")], "").await.status, 200);
}

#[tokio::test]
async fn as_16_a_220_cors_is_open_where_nothing_goes_by_cookies_and_closed_elsewhere() {
    let world = World::new().await;
    let origin = [("origin", "https://inspector.test"), ("access-control-request-method", "POST")];
    for path in [
        "/token",
        "/register",
        "/revoke",
        "/jwks",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let preflight = send(Method::OPTIONS, &world.at(path), &origin, "").await;
        assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (204, "*"), "{path}");
        assert_eq!(preflight.header("access-control-allow-credentials"), "");
        assert!(preflight.header("access-control-allow-headers").contains("mcp-protocol-version"));
    }
    for path in ["/authorize", "/consent", "/callback"] {
        for method in [Method::OPTIONS, Method::GET, Method::POST] {
            let answer = send(method, &world.at(path), &origin, "").await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        }
    }
}

#[tokio::test]
async fn every_route_refuses_other_methods_and_large_bodies_in_json() {
    let world = World::new().await;
    for route in deputy_server::routes::ROUTES {
        let other = if route.method == Method::GET { Method::POST } else { Method::GET };
        let answer = send(other, &world.at(route.path), &[], "").await;
        assert_eq!(answer.status, 405, "{}", route.path);
        assert!(answer.header("allow").contains(route.method.as_str()), "{}", route.path);
        assert_eq!(answer.json()["error"], "invalid_request");
        let large = send(route.method.clone(), &world.at(route.path), &[], vec![b'x'; route.body_limit + 1]).await;
        assert_eq!(large.status, 413, "{}", route.path);
        assert_eq!(large.json()["error"], "invalid_request");
    }
}

#[tokio::test]
async fn as_14_one_trailing_slash_is_forgiven_without_a_redirect() {
    let world = World::new().await;
    let answer = net::post_json(&world.at("/register/"), &json!({"redirect_uris": ["http://localhost/cb"]})).await;
    assert_eq!(answer.status, 201);
    assert_eq!(net::post_form(&world.at("/token/"), &[]).await.status, 400);
}
