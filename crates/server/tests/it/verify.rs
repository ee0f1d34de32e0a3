//! Beside a proxy that forwards by itself: nginx `auth_request`, Traefik `forwardAuth`, Caddy `forward_auth`, Envoy `ext_authz`.

use deputy_protocol::mcp::rules::Otherwise;
use deputy_server::config::BackendCredential;
use http::Method;

use crate::support::http::{Answer, send};
use crate::support::{PING, World};

async fn ask(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(Method::GET, &world.at(path), headers, "").await
}

#[tokio::test]
async fn a_token_is_judged_and_the_answer_says_whose_it_is() {
    let world = World::new().await;
    let (client, access, _) = world.signed_in().await;
    let bearer = format!("Bearer {access}");
    let good = ask(&world, "/verify/mcp", &[("authorization", &bearer), ("x-deputy-subject", "admin"), ("cookie", "a=b")]).await;
    assert_eq!((good.status.as_u16(), good.header("x-deputy-client")), (200, client.id.as_str()));
    assert!(good.header("x-deputy-subject").starts_with("u_") && good.text().is_empty());
    assert_eq!(good.header("cache-control"), "no-store");
    for headers in
        [vec![], vec![("authorization", "Bearer x")], vec![("authorization", bearer.as_str()), ("origin", "https://evil.test")]]
    {
        let refused = ask(&world, "/verify/mcp", &headers).await;
        let foreign = headers.len() == 2;
        assert_eq!(refused.status, if foreign { 403 } else { 401 });
        assert_eq!(refused.header("www-authenticate").contains("resource_metadata="), !foreign, "{headers:?}");
        assert!(refused.header("x-deputy-subject").is_empty());
    }
    // The path says for which resource, and no header or query does.
    let elsewhere = [("authorization", bearer.as_str()), ("x-original-uri", "/mcp"), ("x-forwarded-uri", "/mcp")];
    for path in ["/verify", "/verify/", "/verify/other", "/verify//mcp", "/verify/mcp/", "/verify?path=/mcp", "/verifymcp"] {
        assert_eq!(ask(&world, path, &elsewhere).await.status, 404, "{path}");
    }
    assert_eq!(world.backend.requests(), 0);
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_so_is_what_only_a_body_tells() {
    let world = World::with(|config| config.servers[0].credential = BackendCredential::Assertion).await;
    let (client, access, refresh) = world.signed_in().await;
    let bearer = format!("Bearer {access}");
    let good = ask(&world, "/verify/mcp", &[("authorization", &bearer)]).await;
    assert!(good.status == 200 && good.header("authorization").starts_with("Bearer ey"), "{}", good.status);
    crate::support::http::post_form(&world.at("/revoke"), &[("client_id", &client.id), ("token", &refresh)]).await;
    world.catch_up().await;
    assert_eq!(ask(&world, "/verify/mcp", &[("authorization", &bearer)]).await.status, 401);
    let world = World::with(|config| config.servers[0].calls.otherwise = Otherwise::Deny).await;
    let (_, access, _) = world.signed_in().await;
    let refused = ask(&world, "/verify/mcp", &[("authorization", &format!("Bearer {access}"))]).await;
    assert!(refused.status == 403 && refused.text().contains("body_needed"), "{}", refused.text());
}

/// nginx as `docs/forward-auth.md` sets it up; `DEPUTY_TEST_NGINX=1` where it is installed.
#[tokio::test]
async fn nginx_asks_before_it_forwards() {
    if std::env::var("DEPUTY_TEST_NGINX").is_err() {
        return;
    }
    let mut backend = None;
    let world = World::with(|config| backend = Some(config.servers[0].url.clone())).await;
    let (client, access, _) = world.signed_in().await;
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(folder.path(), &world, backend.unwrap().as_str()).await;
    let bearer = format!("Bearer {access}");
    let forged = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("x-deputy-subject", "admin"),
        ("x-deputy-name", "root"),
    ];
    let called = send(Method::POST, &format!("{}/mcp", nginx.origin), &forged, PING).await;
    assert_eq!((called.status.as_u16(), called.text().as_str()), (200, PING));
    assert!(world.backend.header("x-deputy-subject").unwrap().starts_with("u_"));
    assert_eq!(world.backend.header("x-deputy-client"), Some(client.id));
    assert_eq!((world.backend.header("authorization"), world.backend.header("x-deputy-name")), (None, None));
    let before = world.backend.requests();
    for headers in [vec![], vec![("authorization", "Bearer x")]] {
        let refused = send(Method::POST, &format!("{}/mcp", nginx.origin), &headers, PING).await;
        assert_eq!(refused.status, 401);
        assert!(refused.header("www-authenticate").contains("resource_metadata="), "{}", refused.header("www-authenticate"));
    }
    let foreign = [forged[0], ("origin", "https://evil.test")];
    assert_eq!(send(Method::POST, &format!("{}/mcp", nginx.origin), &foreign, PING).await.status, 403);
    assert_eq!(world.backend.requests(), before);
    let metadata = send(Method::GET, &format!("{}/.well-known/oauth-authorization-server", nginx.origin), &[], "").await;
    assert_eq!(metadata.json()["issuer"], world.origin);
    assert_eq!(send(Method::GET, &format!("{}/_verify", nginx.origin), &[], "").await.status, 404);
}

struct Nginx {
    origin: String,
    process: std::process::Child,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nginx {
    async fn start(folder: &std::path::Path, world: &World, backend: &str) -> Self {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/forward-auth.md")).unwrap();
        let block = page.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = block
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1:8000", &format!("127.0.0.1:{}", world.origin_port))
            .replace("http://127.0.0.1:9000/mcp", backend)
            .replace("mcp.example.com", world.origin.trim_start_matches("http://"));
        let at = folder.display();
        let temporary: String =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path {at}/{what};\n")).concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{server}}}\n"
        );
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let process =
            std::process::Command::new("nginx").arg("-c").arg(folder.join("nginx.conf")).spawn().expect("nginx is installed");
        let nginx = Self { origin: format!("http://127.0.0.1:{port}"), process };
        let ready = async {
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), ready).await.expect("nginx listens");
        nginx
    }
}
