//! The protected resource through the whole gateway: RS-07…20, A-175…A-196. The proxy's own tests stand beside it.

use http::Method;

use crate::support::http::send;
use crate::support::{PING, World};

#[tokio::test]
async fn a_175_px_21_without_a_good_token_nothing_reaches_the_backend() {
    let world = World::new().await;
    let (_, access, _) = world.signed_in().await;
    let place = access.len() - 10;
    let mut altered = access.clone();
    altered.replace_range(place..=place, if access[place..].starts_with('A') { "B" } else { "A" });
    for method in [Method::POST, Method::GET, Method::DELETE, Method::PUT] {
        for authorization in [
            None,
            Some("Bearer x".to_owned()),
            Some(format!("Bearer {altered}")),
            Some(format!("Basic {access}")),
            Some("Bearer".to_owned()),
        ] {
            let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
            let answer = send(method.clone(), &world.at("/mcp"), &headers, "{}").await;
            assert!(matches!(answer.status.as_u16(), 400 | 401), "{method} {authorization:?} {}", answer.status);
            let challenge = answer.header("www-authenticate");
            assert!(
                challenge.starts_with("Bearer ") && challenge.contains(&world.at("/.well-known/oauth-protected-resource/mcp")),
                "{challenge}"
            );
            let offered = authorization.as_ref().is_some_and(|value| value.starts_with("Bearer"));
            assert_eq!(challenge.contains("error="), offered, "RS-11: {challenge}");
        }
    }
    for path in ["/mcp?access_token=", "/mcp?x=/.well-known/&access_token="] {
        assert_eq!(send(Method::POST, &world.at(&format!("{path}{access}")), &[], "{}").await.status, 401, "RS-16");
    }
    assert_eq!(world.backend.requests(), 0);
    assert_eq!(world.call(&access).await.status, 200);
    assert_eq!(world.backend.requests(), 1);
}

#[tokio::test]
async fn a_192_other_spellings_of_the_path_are_nothing() {
    let world = World::new().await;
    let (_, access, _) = world.signed_in().await;
    let bearer = format!("Bearer {access}");
    for path in ["/.well-known/../mcp/x", "//mcp", "/mcp/", "/mcp;x", "/MCP", "/%6dcp", "/mcp%2f", "/x/%2e%2e/mcp", "/mcp."] {
        // The URL library would normalise dot segments, so the request line is written by hand.
        let answer =
            crate::support::http::raw(&world.origin, &format!("POST {path} HTTP/1.1"), &[("authorization", &bearer)]).await;
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
    assert_eq!(world.backend.requests(), 0);
}

#[tokio::test]
async fn rs_10_an_expired_token_is_refused_and_says_so() {
    let world = World::new().await;
    let (_, access, _) = world.signed_in().await;
    world.clock.advance(301);
    let answer = world.call(&access).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
}

#[tokio::test]
async fn a_186_a_196_the_backend_learns_who_is_calling_from_us_alone() {
    let world = World::new().await;
    let (client, access, _) = world.signed_in().await;
    let bearer = format!("Bearer {access}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("x-deputy-subject", "admin"),
        ("cookie", "a=b"),
        ("x-forwarded-user", "admin"),
    ];
    assert_eq!(send(Method::POST, &world.at("/mcp"), &headers, PING).await.status, 200);
    assert!(world.backend.header("x-deputy-subject").unwrap().starts_with("u_"));
    assert_eq!(world.backend.header("x-deputy-email").as_deref(), Some("alice@corp.test"));
    assert_eq!(world.backend.header("x-deputy-client"), Some(client.id));
    assert_eq!(world.backend.header("x-deputy-scope").as_deref(), Some("read write"));
    for name in ["authorization", "cookie", "x-forwarded-user"] {
        assert_eq!(world.backend.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_177_a_token_for_one_server_is_worth_nothing_at_another() {
    let world = World::with(|config| {
        let other =
            deputy_server::ServerConfig { path: "/other".to_owned(), name: "Other".to_owned(), ..config.servers[0].clone() };
        config.servers.push(other);
    })
    .await;
    let (_, access, _) = world.signed_in().await;
    assert_eq!(world.call(&access).await.status, 200);
    let bearer = format!("Bearer {access}");
    assert_eq!(send(Method::POST, &world.at("/other"), &[("authorization", &bearer)], "{}").await.status, 401);
    assert_eq!(
        crate::support::http::get(&world.at("/.well-known/oauth-protected-resource")).await.status,
        404,
        "two resources: no root document"
    );
    assert_eq!(
        crate::support::http::get(&world.at("/.well-known/oauth-protected-resource/other")).await.json()["resource"],
        world.at("/other")
    );
}
