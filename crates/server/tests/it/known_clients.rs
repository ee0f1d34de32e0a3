//! Clients in use, by the shapes of their requests: how they register, where their answers go, what they send and what they leave out. Each
//! signs in, calls and refreshes. The shapes are written down from what their documentation and their users say; nothing is recorded.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_protocol::client::assertion::ASSERTION_TYPE;
use deputy_protocol::secret::sha256;
use http::Method;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::assertions::Key;
use crate::support::http::{Answer, Browser, form, get, post_json, send};
use crate::support::publisher::{Page, Publisher};
use crate::support::{Client, VERIFIER, World};

/// How a client comes to an id.
enum Identity {
    /// It registers this.
    Registers(Value),
    /// It publishes this document, with its own URL in place of `client_id`, at this path.
    Publishes(&'static str, Value),
}

/// How it proves itself at the token endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Auth {
    /// Its id in the form.
    None,
    /// Its secret in the form.
    Post,
    /// Its secret in a header, as it is.
    BasicRaw,
    /// Its secret in a header, form-encoded first.
    BasicEncoded,
    /// An assertion signed with RS256.
    Assertion,
}

/// One client.
struct Shape {
    name: &'static str,
    identity: Identity,
    /// Where its answer goes this time.
    redirect: &'static str,
    /// What its authorization request adds, changes or (empty) leaves out.
    asks: &'static [(&'static str, &'static str)],
    auth: Auth,
    /// Whether it names the resource at the token endpoint too.
    says_resource: bool,
    /// Its verifier: some use the shortest, some the longest there may be.
    verifier: String,
    /// What it accepts when it looks before it opens a browser.
    looks_first: Option<&'static str>,
}

impl Shape {
    fn new(name: &'static str, redirect: &'static str, identity: Identity) -> Self {
        let verifier = VERIFIER.to_owned();
        Self { name, identity, redirect, asks: &[], auth: Auth::None, says_resource: true, verifier, looks_first: None }
    }
}

fn registers(redirects: &[&str], more: &Value) -> Identity {
    let mut metadata = json!({
        "redirect_uris": redirects, "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    for (name, value) in more.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    Identity::Registers(metadata)
}

fn publishes(path: &'static str, redirects: &[&str], more: &Value) -> Identity {
    let Identity::Registers(document) = registers(redirects, more) else { unreachable!() };
    Identity::Publishes(path, document)
}

const CLAUDE: &str = "https://claude.ai/api/mcp/auth_callback";
const CURSOR: [&str; 3] = [
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "https://www.cursor.com/agents/mcp/oauth/callback",
    "http://localhost:8787/callback",
];
const VSCODE: [&str; 4] =
    ["https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"];

/// Hosted clients and those of editors.
fn hosted() -> Vec<Shape> {
    let native = json!({"application_type": "native"});
    let chatgpt = |listed: Value| {
        let more = json!({
            "client_name": "ChatGPT", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "KEYS",
            "token_endpoint_auth_methods_supported": listed, "token_endpoint_auth_signing_alg": "RS256",
        });
        publishes("/oauth/plugin-1/client.json", &["https://chatgpt.com/connector/oauth/plugin-1"], &more)
    };
    let chatgpt_at = "https://chatgpt.com/connector/oauth/plugin-1";
    vec![
        Shape {
            asks: &[("prompt", "consent"), ("scope", "read write offline_access")],
            ..Shape::new(
                "Claude with its document",
                CLAUDE,
                publishes("/oauth/mcp-oauth-client-metadata", &[CLAUDE], &json!({"client_name": "Claude"})),
            )
        },
        Shape::new("Claude, registering for each connection", CLAUDE, registers(&[CLAUDE], &json!({"client_name": "Claude"}))),
        Shape {
            auth: Auth::Post,
            ..Shape::new(
                "a hosted client with a secret in the form",
                "https://oauth.n8n.cloud/oauth2/callback",
                registers(
                    &["https://oauth.n8n.cloud/oauth2/callback"],
                    &json!({"client_name": "n8n", "token_endpoint_auth_method": "client_secret_post"}),
                ),
            )
        },
        Shape { auth: Auth::Assertion, ..Shape::new("ChatGPT, by its keys", chatgpt_at, chatgpt(json!(["private_key_jwt"]))) },
        Shape::new("ChatGPT, without them", chatgpt_at, chatgpt(json!(["none", "private_key_jwt"]))),
        Shape::new("Cursor, in its own window", CURSOR[0], registers(&CURSOR, &json!({"client_name": "Cursor"}))),
        Shape::new("Cursor's agents on the web", CURSOR[1], registers(&CURSOR, &json!({"client_name": "Cursor"}))),
        Shape::new("Cursor on loopback", CURSOR[2], registers(&CURSOR, &json!({"client_name": "Cursor"}))),
        Shape {
            asks: &[("scope", "")],
            ..Shape::new(
                "VS Code, through its web page",
                VSCODE[1],
                registers(
                    &VSCODE,
                    &json!({
                        "client_name": "Visual Studio Code", "application_type": "native",
                        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
                    }),
                ),
            )
        },
        Shape::new("VS Code, when its port is taken", "http://127.0.0.1:51812/", registers(&VSCODE, &native)),
    ]
}

/// Clients of the command line and of programs.
fn local() -> Vec<Shape> {
    let native = json!({"client_name": "Native", "application_type": "native"});
    vec![
        Shape::new(
            "Claude Code with its document, which names no port",
            "http://localhost:3118/callback",
            publishes(
                "/oauth/claude-code-client-metadata",
                &["http://localhost/callback", "http://127.0.0.1/callback"],
                &json!({"client_name": "Claude Code"}),
            ),
        ),
        Shape::new(
            "Claude Code, registering",
            "http://localhost:61234/callback",
            registers(&["http://localhost:3118/callback"], &native),
        ),
        Shape::new(
            "Codex, with a path for each run",
            "http://127.0.0.1:40123/callback/Jr2k9",
            registers(&["http://127.0.0.1:40123/callback/Jr2k9"], &native),
        ),
        Shape::new(
            "Copilot, whose port drifts",
            "http://127.0.0.1:41002/",
            registers(&["http://127.0.0.1:39001/"], &json!({"client_name": "GitHub Copilot CLI"})),
        ),
        Shape::new(
            "opencode",
            "http://127.0.0.1:19876/mcp/oauth/callback",
            publishes(
                "/oauth/opencode/client.json",
                &["http://127.0.0.1:19876/mcp/oauth/callback"],
                &json!({"client_name": "opencode"}),
            ),
        ),
        Shape::new(
            "the Inspector's page",
            "http://localhost:6274/oauth/callback/debug",
            registers(
                &["http://localhost:6274/oauth/callback", "http://localhost:6274/oauth/callback/debug"],
                &json!({"client_name": "MCP Inspector", "client_uri": "https://github.com/modelcontextprotocol/inspector"}),
            ),
        ),
        Shape {
            asks: &[("scope", "read write openid email profile"), ("resource", "")],
            says_resource: false,
            looks_first: Some("application/json"),
            ..Shape::new(
                "mcp-remote, told to leave the resource out",
                "http://localhost:3334/oauth/callback",
                registers(
                    &["http://localhost:3334/oauth/callback"],
                    &json!({"client_name": "MCP CLI Proxy", "software_id": "2e6dc280-f3c3-4e01-99a7-8181dbd1d23d", "software_version": "1"}),
                ),
            )
        },
        Shape {
            asks: &[("resource", "")],
            ..Shape::new(
                "mcp-remote, which names the resource at the token endpoint alone",
                "http://localhost:3334/oauth/callback",
                registers(&["http://localhost:3334/oauth/callback"], &native),
            )
        },
        Shape {
            verifier: "v".repeat(128),
            looks_first: Some("*/*"),
            auth: Auth::BasicEncoded,
            ..Shape::new(
                "the Python SDK, as FastMCP's client uses it",
                "http://localhost:51733/callback",
                registers(
                    &["http://localhost:51733/callback"],
                    &json!({"client_name": "FastMCP Client", "token_endpoint_auth_method": "client_secret_basic", "scope": "read"}),
                ),
            )
        },
        Shape {
            auth: Auth::BasicRaw,
            asks: &[("prompt", "consent"), ("scope", "read offline_access")],
            ..Shape::new(
                "the TypeScript SDK with a secret",
                "http://localhost:8090/callback",
                registers(
                    &["http://localhost:8090/callback"],
                    &json!({"client_name": "An app", "token_endpoint_auth_method": "client_secret_basic"}),
                ),
            )
        },
    ]
}

/// A gateway, a host of documents with the keys of one client, and the client itself.
async fn deployed(shape: &Shape, secure: bool) -> (World, Client, Key) {
    let (publisher, key) = (Publisher::start().await, Key::rsa(Algorithm::RS256, "k1"));
    publisher.publish("/keys.json", Page::json(&json!({"keys": [key.public()]})));
    // Documents on loopback are for a deployment that is there itself.
    let world = if secure { World::secure_with(|_| ()).await } else { World::with(|config| publisher.trusted(config)).await };
    let redirect = shape.redirect.to_owned();
    let client = match &shape.identity {
        Identity::Registers(metadata) => Client { redirect, ..world.register_with(metadata.clone()).await },
        Identity::Publishes(path, document) => {
            let mut document = document.clone();
            document["client_id"] = json!(publisher.url(path));
            if document["jwks_uri"] == "KEYS" {
                document["jwks_uri"] = json!(publisher.url("/keys.json"));
            }
            publisher.publish(path, Page::json(&document));
            Client { id: publisher.url(path), secret: None, redirect }
        }
    };
    (world, client, key)
}

/// A token request as this client sends it.
async fn ask(world: &World, shape: &Shape, client: &Client, key: &Key, pairs: &[(&str, &str)]) -> Answer {
    let (resource, id, now) = (world.at("/mcp"), client.id.as_str(), world.clock.seconds());
    let secret = client.secret.clone().unwrap_or_default();
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let said = pairs.iter().map(|(name, _)| *name).collect::<String>();
    let assertion = key.sign(&json!({"iss": id, "sub": id, "aud": world.origin, "exp": now + 60, "iat": now, "jti": said}));
    let (mut pairs, mut basic) = (pairs.to_vec(), None);
    match shape.auth {
        Auth::None => pairs.push(("client_id", id)),
        Auth::Post => pairs.extend([("client_id", id), ("client_secret", &secret)]),
        Auth::BasicRaw => basic = Some(format!("{id}:{secret}")),
        Auth::BasicEncoded => basic = Some(format!("{}:{}", encode(id), encode(&secret))),
        Auth::Assertion => {
            pairs.extend([("client_id", id), ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)]);
        }
    }
    if shape.says_resource {
        pairs.push(("resource", &resource));
    }
    let basic = basic.map(|both| format!("Basic {}", STANDARD.encode(both)));
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
    headers.extend(basic.as_deref().map(|basic| ("authorization", basic)));
    send(Method::POST, &world.at("/token"), &headers, form(&pairs)).await
}

/// From an id to a refreshed token.
async fn whole(shape: Shape, secure: bool) {
    let (world, client, key) = deployed(&shape, secure).await;
    let name = shape.name;
    let challenge = URL_SAFE_NO_PAD.encode(sha256(shape.verifier.as_bytes()));
    let asks = [shape.asks, &[("code_challenge", challenge.as_str())]].concat();
    let url = world.authorize_url(&client, &asks);
    if let Some(accept) = shape.looks_first {
        let looked = send(Method::GET, &url, &[("accept", accept)], "").await;
        assert_eq!(looked.status, 200, "{name}: {}", looked.text());
    }
    let mut browser = Browser::default();
    let page = browser.open(&url, &client.redirect).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let back = browser.open(sent.location().expect("the provider").as_str(), &client.redirect).await;
    let (code, iss) = (back.sent("code"), back.sent("iss"));
    let code = code.unwrap_or_else(|| panic!("{name}: {} {}", back.status, back.text()));
    assert_eq!((iss, back.sent("state").as_deref()), (Some(world.origin.clone()), Some("client-state")), "{name}");
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &client.redirect),
        ("code_verifier", &shape.verifier),
    ];
    let tokens = ask(&world, &shape, &client, &key, &redeem).await;
    assert_eq!(tokens.status, 200, "{name}: {}", tokens.text());
    let text = |answer: &Answer, member: &str| answer.json()[member].as_str().unwrap_or_default().to_owned();
    assert_eq!(world.call(&text(&tokens, "access_token")).await.status, 200, "{name}");
    let refresh = text(&tokens, "refresh_token");
    let refreshed = ask(&world, &shape, &client, &key, &[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    assert_eq!(refreshed.status, 200, "{name}: {}", refreshed.text());
    assert_eq!(world.call(&text(&refreshed, "access_token")).await.status, 200, "{name}");
}

#[tokio::test]
async fn as_27_as_42_hosted_clients_and_editors_sign_in_as_they_are() {
    for shape in hosted() {
        whole(shape, false).await;
    }
}

#[tokio::test]
async fn as_41_as_62_clients_on_the_persons_machine_sign_in_as_they_are() {
    for shape in local() {
        whole(shape, false).await;
    }
}

#[tokio::test]
async fn as_42_those_that_register_do_so_at_an_https_deployment_too() {
    let registering = |shape: &Shape| matches!(shape.identity, Identity::Registers(_));
    for shape in hosted().into_iter().chain(local()).filter(registering) {
        whole(shape, true).await;
    }
}

/// mcp-remote compares the answer with what it sent; others read the redirect URIs back.
#[tokio::test]
async fn as_42_what_is_registered_comes_back_unchanged() {
    let world = World::new().await;
    for shape in hosted().into_iter().chain(local()) {
        let Identity::Registers(metadata) = &shape.identity else { continue };
        let answer = post_json(&world.at("/register"), metadata).await.json();
        assert_eq!(answer["redirect_uris"], metadata["redirect_uris"], "{}", shape.name);
        assert_eq!(answer["token_endpoint_auth_method"], metadata["token_endpoint_auth_method"], "{}", shape.name);
    }
}

/// Each client recovers in its own way from an id that is known no more: its store was kept, ours was not.
#[tokio::test]
async fn as_49_a_client_whose_id_was_lost_learns_how_to_come_back() {
    let world = World::new().await;
    let lost = Client { id: "dc_lost".to_owned(), secret: None, redirect: "http://localhost:3334/oauth/callback".to_owned() };
    // mcp-remote and FastMCP look before they open a browser, and read 400 or 401.
    let looked = send(Method::GET, &world.authorize_url(&lost, &[]), &[("accept", "application/json")], "").await;
    assert!(matches!(looked.status.as_u16(), 400 | 401), "{}", looked.status);
    let body = looked.json();
    assert!(body["error_description"].as_str().unwrap().contains("is not registered"), "{body}");
    assert_eq!(body["registration_endpoint"], world.at("/register"));
    // A browser that was sent there all the same shows a page, and is sent nowhere.
    let page = get(&world.authorize_url(&lost, &[])).await;
    page.assert_local();
    // Claude and the TypeScript SDK register again on 401 invalid_client.
    for pairs in [
        [("grant_type", "authorization_code"), ("code", "dpc_x"), ("code_verifier", VERIFIER)],
        [("grant_type", "refresh_token"), ("refresh_token", "dpr_x"), ("scope", "read")],
    ] {
        let pairs = [&pairs[..], &[("client_id", "dc_lost")]].concat();
        let answer = world.token(&pairs).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (401, Some("invalid_client")));
    }
    // And then it works.
    let back = world.register(&lost.redirect).await;
    assert!(!world.code(&back).await.is_empty());
}

/// The only server is meant when none is named; of several, one must be.
#[tokio::test]
async fn as_62_a_client_that_names_no_resource_means_the_only_one() {
    let world = World::new().await;
    let client = world.register(crate::support::HONEST).await;
    let without = [("resource", ""), ("scope", "")];
    let page = get(&world.authorize_url(&client, &without)).await;
    assert!(page.text().contains("Test tools") && page.text().contains("<code>read</code>"), "{}", page.text());
    let both = World::with(|config| {
        let second = deputy_server::ServerConfig { path: "/other".to_owned(), ..config.servers[0].clone() };
        config.servers.push(second);
    })
    .await;
    let client = both.register(crate::support::HONEST).await;
    let answer = get(&both.authorize_url(&client, &without)).await;
    assert_eq!(answer.sent("error").as_deref(), Some("invalid_target"), "{}", answer.text());
    assert!(answer.sent("error_description").unwrap().contains("name exactly one"));
}
