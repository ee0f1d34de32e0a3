//! Clients that the operator registered, and the policies about who may come.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deputy_protocol::client::AuthMethod;
use deputy_protocol::client::policy::RegistrationPolicy;
use deputy_protocol::redirect::{PrivateUse, RedirectRule, RedirectUri};
use deputy_protocol::secret::ClientSecret;
use deputy_server::{ClientAuth, ClientConfig};
use http::Method;
use serde_json::json;

use crate::support::http::{Answer, Browser, form, get, post_json, send};
use crate::support::{Client, HONEST, VERIFIER, World};

/// Every character that clients encode in different ways.
const ODD_SECRET: &str = "a:b%41+c d/é=&~";
const ODD_ID: &str = "app+one@corp/x=1&y";

fn secret(text: &str, by: Option<AuthMethod>) -> ClientAuth {
    ClientAuth::Secret { digest: ClientSecret::from_text(text.to_owned()).digest(), by }
}

fn configured(id: &str, auth: ClientAuth) -> ClientConfig {
    ClientConfig::new(id, "Known tool", &[HONEST.to_owned()], auth).unwrap()
}

fn client(id: &str) -> Client {
    Client { id: id.to_owned(), secret: None, redirect: HONEST.to_owned() }
}

/// A token request whose only question is who is asking.
async fn ask(world: &World, basic: Option<(&str, &str)>, extra: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    let value = basic.map(|(id, secret)| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
    headers.extend(value.as_deref().map(|value| ("authorization", value)));
    let pairs = [&[("grant_type", "authorization_code"), ("code", "dpc_x"), ("code_verifier", VERIFIER)], extra].concat();
    send(Method::POST, &world.at("/token"), &headers, form(&pairs)).await
}

fn error(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

const KNOWN: (u16, &str) = (400, "invalid_grant"); // got past authentication
const REFUSED: (u16, &str) = (401, "invalid_client");

fn is(answer: &Answer, expected: (u16, &str)) {
    assert_eq!(error(answer), (expected.0, expected.1.to_owned()), "{}", answer.text());
}

#[tokio::test]
async fn as_40_a_client_of_the_operator_signs_in_and_is_named_as_known() {
    let world = World::with(|config| config.clients = vec![configured("known-tool", ClientAuth::Public)]).await;
    let client = client("known-tool");
    let page = Browser::default().open(&world.authorize_url(&client, &[]), HONEST).await;
    assert!(
        page.text().contains("Known tool") && page.text().contains("The operator of this server registered"),
        "{}",
        page.text()
    );
    let tokens = world.redeem(&client, &world.code(&client).await).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let refreshed = world.refresh(&client, tokens.json()["refresh_token"].as_str().unwrap()).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    // The match against its own redirect URIs is everybody's.
    let elsewhere = get(&world.authorize_url(&client, &[("redirect_uri", "https://evil.test/cb")])).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.location()), (400, None));
    for near in ["known-tool2", "Known-tool", "known-too", "known-tool%20"] {
        let other = Client { id: near.to_owned(), ..client.clone() };
        assert_eq!(get(&world.authorize_url(&other, &[])).await.status, 400, "{near}");
        is(&ask(&world, None, &[("client_id", near)]).await, REFUSED);
    }
}

#[tokio::test]
async fn a_088_as_78_a_secret_of_the_operators_comes_encoded_or_not() {
    let world = World::with(|config| {
        config.clients = vec![
            configured(ODD_ID, secret(ODD_SECRET, None)),
            configured("by-header", secret(ODD_SECRET, Some(AuthMethod::SecretBasic))),
            configured("by:form", secret(ODD_SECRET, Some(AuthMethod::SecretPost))),
            configured("other", secret("another-secret", None)),
            configured("public", ClientAuth::Public),
        ];
    })
    .await;
    let (id, pass) = (encoded(ODD_ID), encoded(ODD_SECRET));
    assert!(id != ODD_ID && pass != ODD_SECRET);
    for (id, pass) in [(ODD_ID, ODD_SECRET), (&id, &pass), (ODD_ID, &pass), (&id, ODD_SECRET), ("by-header", ODD_SECRET)] {
        is(&ask(&world, Some((id, pass)), &[]).await, KNOWN);
    }
    is(&ask(&world, Some((&id, &pass)), &[("client_id", ODD_ID)]).await, KNOWN);
    for id in [ODD_ID, "by:form"] {
        is(&ask(&world, None, &[("client_id", id), ("client_secret", ODD_SECRET)]).await, KNOWN);
        // A form is decoded once.
        is(&ask(&world, None, &[("client_id", id), ("client_secret", &pass)]).await, REFUSED);
        is(&ask(&world, None, &[("client_id", id)]).await, REFUSED);
    }
    let twice = encoded(&pass);
    for (id, pass) in [
        (ODD_ID, twice.as_str()),
        (ODD_ID, "wrong"),
        (ODD_ID, "another-secret"),
        ("other", ODD_SECRET),
        ("public", ""),
        (ODD_ID, ""),
    ] {
        is(&ask(&world, Some((id, pass)), &[]).await, REFUSED);
    }
    is(&ask(&world, None, &[("client_id", "by-header"), ("client_secret", ODD_SECRET)]).await, REFUSED);
    is(&ask(&world, None, &[("client_id", "public"), ("client_secret", ODD_SECRET)]).await, REFUSED);
    is(&ask(&world, Some((ODD_ID, ODD_SECRET)), &[("client_id", "other")]).await, (400, "invalid_request"));
    is(&ask(&world, Some((ODD_ID, ODD_SECRET)), &[("client_secret", ODD_SECRET)]).await, (400, "invalid_request"));
}

#[tokio::test]
async fn one_id_is_one_client() {
    let twice = World::try_with(|config| {
        config.clients =
            vec![configured("known-tool", ClientAuth::Public), configured("known-tool", secret("another-secret", None))];
    });
    assert!(twice.await.err().is_some_and(|error| error.to_string().contains("two [[client]]s")));
}

#[tokio::test]
async fn as_21_registration_that_is_off_is_gone_and_so_is_who_came_by_it() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    let code = world.code(&client).await;
    let off = world
        .restarted(|config| {
            config.client_policy.registration = RegistrationPolicy::Off;
            config.clients = vec![configured("known-tool", ClientAuth::Public)];
        })
        .await;
    let register = post_json(&off.at("/register"), &json!({ "redirect_uris": [HONEST] })).await;
    assert_eq!(
        (register.status.as_u16(), register.json()["error"].as_str()),
        (403, Some("access_denied")),
        "{}",
        register.text()
    );
    let metadata = get(&off.at("/.well-known/oauth-authorization-server")).await.json();
    assert!(metadata["token_endpoint"].is_string() && metadata.get("registration_endpoint").is_none(), "{metadata}");

    is(&off.redeem(&client, &code).await, REFUSED);
    is(&off.refresh(&client, &refresh).await, REFUSED);
    let page = get(&off.authorize_url(&client, &[])).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
    assert!(page.text().contains("client_not_admitted"), "{}", page.text());
    let told = send(Method::GET, &off.authorize_url(&client, &[]), &[("accept", "application/json")], "").await;
    assert_eq!(told.json()["error"], "invalid_client");
    assert!(told.json().get("registration_endpoint").is_none(), "{}", told.text());
    let known = self::client("known-tool");
    assert_eq!(get(&off.authorize_url(&known, &[])).await.status, 200);
    // Nothing of it is lost: when registration is open again, so is the client.
    let open = off.restarted(|_| ()).await;
    assert_eq!(open.refresh(&client, &refresh).await.status, 200);
}

#[tokio::test]
async fn a_048_the_operators_list_of_redirect_uris_comes_on_top_of_the_clients_own() {
    let world = World::with(|config| {
        let allowed = ["https://claude.test/cb", "http://localhost/callback"].map(|raw| RedirectRule::parse(raw).unwrap());
        config.client_policy.redirects = Some(allowed.to_vec());
        config.clients = vec![ClientConfig::new("own", "Own", &["https://own.test/cb".to_owned()], ClientAuth::Public).unwrap()];
    })
    .await;
    let refused = post_json(&world.at("/register"), &json!({ "redirect_uris": ["https://evil.test/cb"] })).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str()), (400, Some("invalid_redirect_uri")));
    let metadata = json!({ "redirect_uris": ["http://localhost:7777/callback", "https://evil.test/cb"], "token_endpoint_auth_method": "none" });
    let client = world.register_with(metadata).await;
    let status = async |client: &Client, redirect: &str| {
        let answer = get(&world.authorize_url(client, &[("redirect_uri", redirect)])).await;
        assert_eq!(answer.location(), None, "{redirect}");
        (answer.status.as_u16(), answer.text())
    };
    assert_eq!(status(&client, "http://localhost:50123/callback").await.0, 200);
    let (code, page) = status(&client, "https://evil.test/cb").await;
    assert!(code == 400 && page.contains("redirect_not_allowed") && !page.contains("evil.test"), "{page}");
    // Allowed, but not the client's.
    let (code, page) = status(&client, "https://claude.test/cb").await;
    assert!(code == 400 && page.contains("redirect_not_registered"), "{page}");
    // What the operator wrote down for a client needs no second list, and gets no more than that.
    let own = Client { id: "own".to_owned(), secret: None, redirect: "https://own.test/cb".to_owned() };
    assert_eq!(status(&own, "https://own.test/cb").await.0, 200);
    assert_eq!(status(&own, "https://claude.test/cb").await.0, 400);
}

#[tokio::test]
async fn as_42_the_operators_list_of_schemes_decides_for_strangers_and_its_own_clients_need_none() {
    const OWN: &str = "com.corp.app:/oauth/cb";
    const CURSOR: &str = "cursor://anysphere.cursor-mcp/oauth/callback";
    let operators = || vec![ClientConfig::new("own", "Own", &["com.corp.tool:/cb".to_owned()], ClientAuth::Public).unwrap()];
    let world = World::with(|config| config.clients = operators()).await;
    let register = async |world: &World, uri: &str| {
        let answer =
            post_json(&world.at("/register"), &json!({ "redirect_uris": [uri], "token_endpoint_auth_method": "none" })).await;
        (answer.status.as_u16(), answer.json()["error"].as_str().map(str::to_owned))
    };
    let refused = (400, Some("invalid_redirect_uri".to_owned()));
    assert_eq!((register(&world, OWN).await, register(&world, CURSOR).await), (refused.clone(), (201, None)));
    let cursor = world.register(CURSOR).await;
    let own = Client { id: "own".to_owned(), secret: None, redirect: "com.corp.tool:/cb".to_owned() };
    assert!(!world.code(&own).await.is_empty() && !world.code(&cursor).await.is_empty());
    let listed = world
        .restarted(|config| {
            config.clients = operators();
            config.client_policy.private_use = PrivateUse::of(vec![RedirectUri::of_operator(OWN).unwrap()]);
        })
        .await;
    assert_eq!((register(&listed, OWN).await, register(&listed, CURSOR).await), ((201, None), refused));
    let app = listed.register(OWN).await;
    assert!(!listed.code(&app).await.is_empty() && !listed.code(&own).await.is_empty());
    let near = get(&listed.authorize_url(&app, &[("redirect_uri", "com.corp.app:/oauth/cb2")])).await;
    assert!(near.status == 400 && near.text().contains("redirect_not_allowed"), "{}", near.text());
    // Whoever registered it before the list was made gets no answer there any more.
    let before = get(&listed.authorize_url(&cursor, &[])).await;
    assert!(before.status == 400 && before.text().contains("redirect_not_allowed"), "{}", before.text());
}

#[tokio::test]
async fn i4_a_blocked_client_loses_access_at_once_and_nobody_else_does() {
    let world = World::with(|config| config.clients = vec![configured("known-tool", secret("a-long-secret", None))]).await;
    let (client, access, refresh) = world.signed_in().await;
    let (other, other_access, other_refresh) = world.signed_in().await;
    let code = world.code(&client).await;
    let blocked = vec![client.id.clone(), "known-tool".to_owned()];
    let after = world
        .restarted(|config| {
            config.client_policy.blocked = blocked;
            config.clients = vec![configured("known-tool", secret("a-long-secret", None))];
        })
        .await;
    let call = after.call(&access).await;
    assert_eq!(call.status, 401);
    assert!(call.header("www-authenticate").contains("invalid_token"), "{}", call.header("www-authenticate"));
    is(&after.redeem(&client, &code).await, REFUSED);
    is(&after.refresh(&client, &refresh).await, REFUSED);
    let page = get(&after.authorize_url(&client, &[])).await;
    assert_eq!((page.status.as_u16(), page.location()), (400, None));
    assert!(page.text().contains("client_blocked"), "{}", page.text());
    is(&ask(&after, Some(("known-tool", "a-long-secret")), &[]).await, REFUSED);

    assert_eq!(after.call(&other_access).await.status, 200);
    assert_eq!(after.refresh(&other, &other_refresh).await.status, 200);
}

async fn register_with(world: &World, authorization: Option<&str>) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let metadata = json!({ "redirect_uris": [HONEST], "token_endpoint_auth_method": "none" });
    send(Method::POST, &world.at("/register"), &headers, metadata.to_string()).await
}

#[tokio::test]
async fn rfc_7591_an_invitation_lets_clients_register_until_it_ends() {
    let world = World::with(|config| config.client_policy.registration = RegistrationPolicy::Invited).await;
    assert_eq!(
        get(&world.at("/.well-known/oauth-authorization-server")).await.json()["registration_endpoint"],
        world.at("/register")
    );
    let invitation = world.invite(3600);
    assert!(invitation.starts_with("dpi_") && invitation != world.invite(3600));
    let mut made = Vec::new();
    for scheme in ["Bearer", "bearer"] {
        let answer = register_with(&world, Some(&format!("{scheme} {invitation}"))).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        made.push(client(answer.json()["client_id"].as_str().unwrap()));
    }
    assert_ne!(made[0].id, made[1].id);
    assert!(made[0].id.len() < 512);
    for client in &made {
        assert_eq!(world.redeem(client, &world.code(client).await).await.status, 200);
    }

    let stranger = World::new().await;
    let id = made[0].id.trim_start_matches("dc_");
    let altered = format!("{}{}{}", &invitation[..20], if &invitation[20..21] == "A" { "B" } else { "A" }, &invitation[21..]);
    for (authorization, challenge) in [
        (None, "Bearer realm=\"deputy\""),
        (Some("Basic YTpi".to_owned()), "Bearer realm=\"deputy\""),
        (Some(invitation.clone()), "Bearer realm=\"deputy\""),
        (Some("Bearer x".to_owned()), "Bearer realm=\"deputy\", error=\"invalid_token\""),
        (Some(format!("Bearer {altered}")), "Bearer realm=\"deputy\", error=\"invalid_token\""),
        (Some(format!("Bearer {}", stranger.invite(3600))), "Bearer realm=\"deputy\", error=\"invalid_token\""),
        // Sealed by us, for something else.
        (Some(format!("Bearer dpi_{id}")), "Bearer realm=\"deputy\", error=\"invalid_token\""),
    ] {
        let refused = register_with(&world, authorization.as_deref()).await;
        is(&refused, (401, "invalid_token"));
        assert_eq!(refused.header("www-authenticate"), challenge, "{authorization:?}");
    }
    world.clock.advance(3600);
    is(&register_with(&world, Some(&format!("Bearer {invitation}"))).await, (401, "invalid_token"));
    // The clients stay.
    assert_eq!(get(&world.authorize_url(&made[0], &[])).await.status, 200);
}

#[tokio::test]
async fn rfc_7591_who_came_without_an_invitation_is_not_known_where_one_is_needed() {
    let world = World::new().await;
    let (uninvited, _, refresh) = world.signed_in().await;
    let world = world.restarted(|config| config.client_policy.registration = RegistrationPolicy::Invited).await;
    is(&world.refresh(&uninvited, &refresh).await, REFUSED);
    let page = get(&world.authorize_url(&uninvited, &[])).await;
    assert!(page.status == 400 && page.text().contains("client_not_admitted"), "{}", page.text());
    let answer = register_with(&world, Some(&format!("Bearer {}", world.invite(60)))).await;
    let invited = client(answer.json()["client_id"].as_str().unwrap());
    assert_eq!(get(&world.authorize_url(&invited, &[])).await.status, 200);
    let world = world.restarted(|config| config.client_policy.registration = RegistrationPolicy::Off).await;
    assert_eq!(get(&world.authorize_url(&invited, &[])).await.status, 400);
    let world = world.restarted(|_| ()).await;
    for client in [&invited, &uninvited] {
        assert_eq!(get(&world.authorize_url(client, &[])).await.status, 200);
    }
}
