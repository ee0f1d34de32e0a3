//! Providers without ID tokens: GitHub by its interface, and any other by the names that the configuration gives (OC-07, A-131, A-136).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawForm, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::access::Rules;
use deputy_protocol::secret::{ClientSecret, sha256};
use deputy_protocol::{IdpName, Issuer};
use deputy_server::config::{ClaimNames, Credential, GitHub, IdpKind, OAuth};
use deputy_server::{Config, IdpConfig};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::support::http::{Answer, Browser, claims};
use crate::support::{Client, HONEST, World};

/// What it says and does.
#[derive(Clone)]
struct Says {
    user: Value,
    emails: Value,
    orgs: Vec<Value>,
    teams: Vec<Value>,
    /// The status of its interface.
    status: u16,
    /// What its token endpoint answers beside a good token; its errors come with 200.
    token: Value,
}

impl Default for Says {
    fn default() -> Self {
        let address =
            |email: &str, primary: bool, verified: bool| json!({"email": email, "primary": primary, "verified": verified});
        Self {
            user: json!({"id": 583_231, "login": "octo", "name": "Octo Cat", "email": "public@elsewhere.test"}),
            emails: json!([address("old@corp.test", false, true), address("octo@corp.test", true, true)]),
            orgs: vec![json!({"login": "acme"})],
            teams: vec![json!({"slug": "devs", "organization": {"login": "acme"}})],
            status: 200,
            token: json!({"access_token": "gho_canary", "token_type": "bearer", "scope": "read:user"}),
        }
    }
}

struct Hub {
    origin: String,
    says: Mutex<Says>,
    challenges: Mutex<HashMap<String, String>>,
    forms: Mutex<Vec<HashMap<String, String>>>,
    asked: Mutex<Vec<String>>,
}

impl Hub {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let hub = Arc::new(Self {
            origin,
            says: Mutex::default(),
            challenges: Mutex::default(),
            forms: Mutex::default(),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route("/login/oauth/authorize", get(authorize))
            .route("/login/oauth/access_token", post(token))
            .fallback(interface)
            .with_state(Arc::clone(&hub));
        tokio::spawn(async move { axum::serve(listener, router).await });
        hub
    }

    fn says(&self, edit: impl FnOnce(&mut Says)) {
        edit(&mut self.says.lock().unwrap());
    }

    fn config(&self, memberships: bool) -> IdpConfig {
        let github = GitHub { web: Issuer::parse(&self.origin).unwrap(), api: Issuer::parse(&self.origin).unwrap(), memberships };
        let secret = Credential::Secret(ClientSecret::from_text("hub-secret".to_owned()));
        IdpConfig::github(IdpName::parse("github").unwrap(), github, "hub-client".to_owned(), secret)
    }
}

fn pairs(encoded: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

fn said(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

async fn authorize(State(hub): State<Arc<Hub>>, RawQuery(query): RawQuery) -> Response {
    let asked = pairs(query.unwrap_or_default().as_bytes());
    assert!(!asked.contains_key("nonce") && asked["code_challenge_method"] == "S256", "{asked:?}");
    hub.asked.lock().unwrap().push(asked["scope"].clone());
    let code = format!("code-{}", hub.challenges.lock().unwrap().len());
    hub.challenges.lock().unwrap().insert(code.clone(), asked["code_challenge"].clone());
    Redirect::to(&format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"])).into_response()
}

async fn token(State(hub): State<Arc<Hub>>, headers: HeaderMap, RawForm(body): RawForm) -> Response {
    let form = pairs(&body);
    hub.forms.lock().unwrap().push(form.clone());
    // GitHub says errors with 200, and JSON only to whoever asks for it.
    assert_eq!(headers["accept"], "application/json");
    let known = form.get("code").and_then(|code| hub.challenges.lock().unwrap().remove(code));
    let verified = known.is_some_and(|known| URL_SAFE_NO_PAD.encode(sha256(form["code_verifier"].as_bytes())) == known);
    let ours = form["client_id"] == "hub-client" && form.get("client_secret").is_some_and(|secret| secret == "hub-secret");
    let renewed = form.get("refresh_token").is_some_and(|token| token == "ghr_canary");
    let answer = if ours && (verified || renewed) {
        hub.says.lock().unwrap().token.clone()
    } else {
        json!({"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."})
    };
    said(&answer)
}

async fn interface(State(hub): State<Arc<Hub>>, uri: http::Uri, headers: HeaderMap) -> Response {
    let says = hub.says.lock().unwrap().clone();
    let token = says.token["access_token"].as_str().unwrap_or_default();
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&format!("Bearer {token}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if says.status != 200 {
        return StatusCode::from_u16(says.status).unwrap().into_response();
    }
    let query: HashMap<String, String> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let page = |list: &[Value]| {
        let number: usize = query.get("page").map_or(1, |page| page.parse().unwrap());
        json!(list.iter().skip((number - 1) * 100).take(100).collect::<Vec<_>>())
    };
    let answer = match uri.path() {
        "/user" => says.user,
        "/user/emails" => says.emails,
        "/user/orgs" => page(&says.orgs),
        "/user/teams" => page(&says.teams),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    said(&answer)
}

async fn deployed(memberships: bool, edit: impl FnOnce(&mut Config)) -> (World, Arc<Hub>, Client) {
    let hub = Hub::start().await;
    let idp = hub.config(memberships);
    let world = World::with(|config| {
        config.idps = vec![idp];
        edit(config);
    })
    .await;
    let client = world.register(HONEST).await;
    (world, hub, client)
}

fn text(answer: &Answer, member: &str) -> String {
    answer.json()[member].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

async fn signed_in(world: &World, client: &Client) -> (Value, String) {
    let tokens = world.redeem(client, &world.code(client).await).await;
    (claims(&text(&tokens, "access_token")), text(&tokens, "refresh_token"))
}

#[tokio::test]
async fn oc_07_a_person_at_github_is_the_number_with_the_verified_primary_address() {
    let (world, hub, client) = deployed(false, |_| ()).await;
    let (said, _) = signed_in(&world, &client).await;
    assert_eq!((&said["idp_sub"], &said["idp"]), (&json!("583231"), &json!(hub.origin)));
    assert_eq!((&said["email"], &said["name"]), (&json!("octo@corp.test"), &json!("Octo Cat")));
    assert_eq!(hub.asked.lock().unwrap().as_slice(), ["read:user user:email"]);
    // A login is no name: it can be given to somebody else. Nor is an address that nobody verified.
    hub.says(|says| {
        says.user = json!({"id": 7, "login": "octo", "name": null});
        says.emails = json!([{"email": "octo@corp.test", "primary": true, "verified": false}]);
    });
    let (other, _) = signed_in(&world, &client).await;
    assert_ne!(other["sub"], said["sub"]);
    assert_eq!((&other["email"], &other["name"]), (&Value::Null, &json!("octo")));
}

#[tokio::test]
async fn a_131_githubs_errors_come_with_200_and_give_no_code() {
    let (world, hub, client) = deployed(false, |_| ()).await;
    for (token, reason) in [
        (json!({"error": "incorrect_client_credentials"}), "idp_error"),
        (json!({"error": "bad_verification_code", "access_token": "gho_canary", "token_type": "bearer"}), "idp_error"),
        (json!({"access_token": "", "token_type": "bearer"}), "idp_answer_malformed"),
    ] {
        hub.says(|says| says.token = token.clone());
        let answer = world.approve(&mut Browser::default(), &client).await;
        assert!(answer.sent("code").is_none() && answer.text().contains(reason), "{token}: {}", answer.text());
    }
    hub.says(|says| *says = Says::default());
    for (user, reason) in
        [(json!({"login": "octo"}), "idp_answer_malformed"), (json!({"id": "583231", "login": "octo"}), "idp_answer_malformed")]
    {
        hub.says(|says| says.user = user.clone());
        let answer = world.approve(&mut Browser::default(), &client).await;
        assert!(answer.sent("code").is_none() && answer.text().contains(reason), "{user}: {}", answer.text());
    }
}

#[tokio::test]
async fn organisations_and_teams_are_read_to_the_last_page_and_asked_again() {
    let rules = Rules::parse(&["team:acme/devs"]).unwrap();
    let (world, hub, client) = deployed(true, |config| config.access = rules).await;
    hub.says(|says| {
        let many = (0..250).map(|n| json!({"slug": format!("t{n}"), "organization": {"login": "acme"}}));
        says.teams = many.chain([json!({"slug": "devs", "organization": {"login": "acme"}})]).collect();
    });
    let (_, refresh) = signed_in(&world, &client).await;
    assert_eq!(hub.asked.lock().unwrap().as_slice(), ["read:user user:email read:org"]);
    world.clock.advance(400);
    let renewed = world.refresh(&client, &refresh).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    // Taken out of the team: out at the next refresh.
    hub.says(|says| says.teams.truncate(250));
    world.clock.advance(400);
    let answer = world.refresh(&client, &text(&renewed, "refresh_token")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some("invalid_grant")), "{}", answer.text());
    // And nobody of another organisation's team of that name comes in.
    hub.says(|says| says.teams = vec![json!({"slug": "devs", "organization": {"login": "evil"}})]);
    assert_eq!(world.approve(&mut Browser::default(), &client).await.sent("code"), None);
}

/// An OAuth app's token has no end and nothing renews it: it is what is asked with, and nobody is signed out for want of a refresh token.
#[tokio::test]
async fn a_token_without_an_end_is_asked_with_as_long_as_it_is_taken() {
    let (world, hub, client) = deployed(false, |_| ()).await;
    let (_, mut refresh) = signed_in(&world, &client).await;
    for _ in 0..30 {
        world.clock.advance(3600);
        let renewed = world.refresh(&client, &refresh).await;
        assert_eq!(renewed.status, 200, "{}", renewed.text());
        refresh = text(&renewed, "refresh_token");
    }
    assert_eq!(hub.forms.lock().unwrap().len(), 1, "the token endpoint had nothing to do");
    for (status, answered) in [(500, 503), (403, 503), (429, 503)] {
        hub.says(|says| says.status = status);
        world.clock.advance(400);
        assert_eq!(world.refresh(&client, &refresh).await.status.as_u16(), answered, "{status}: an outage is no logout");
    }
    hub.says(|says| says.status = 200);
    let renewed = world.refresh(&client, &refresh).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    // The person took the application's access away.
    hub.says(|says| says.status = 401);
    world.clock.advance(400);
    let answer = world.refresh(&client, &text(&renewed, "refresh_token")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some("invalid_grant")));
}

/// A GitHub App's tokens end after eight hours, and each refresh token is good for one use.
#[tokio::test]
async fn a_token_with_an_end_is_renewed_by_its_refresh_token() {
    let (world, hub, client) = deployed(false, |_| ()).await;
    hub.says(|says| {
        says.token = json!({"access_token": "ghu_1", "token_type": "bearer", "expires_in": 28800, "refresh_token": "ghr_canary"});
    });
    let (_, refresh) = signed_in(&world, &client).await;
    world.clock.advance(400);
    let renewed = world.refresh(&client, &refresh).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let forms = hub.forms.lock().unwrap().clone();
    assert_eq!((forms.len(), forms[1]["grant_type"].as_str()), (2, "refresh_token"));
    // Somebody else behind the renewed token: the grant ends.
    hub.says(|says| says.user["id"] = json!(8));
    world.clock.advance(400);
    assert_eq!(world.refresh(&client, &text(&renewed, "refresh_token")).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn another_provider_without_id_tokens_is_read_by_the_names_of_the_configuration() {
    let hub = Hub::start().await;
    let at = |path: &str| Issuer::parse(&format!("{}{path}", hub.origin)).unwrap();
    let named = |name: &str| Some(name.to_owned());
    let oauth = OAuth {
        issuer: Issuer::parse("https://id.corp.test").unwrap(),
        authorization_endpoint: at("/login/oauth/authorize"),
        token_endpoint: at("/login/oauth/access_token"),
        userinfo_endpoint: at("/user"),
        claims: ClaimNames {
            id: "uid".to_owned(),
            email: named("mail"),
            email_verified: named("verified"),
            name: named("nick"),
            groups: named("teams"),
        },
    };
    let idp = IdpConfig { kind: IdpKind::OAuth(Box::new(oauth)), ..hub.config(false) };
    let world = World::with(|config| {
        config.idps = vec![idp];
        config.access = Rules::parse(&["group:staff"]).unwrap();
    })
    .await;
    let client = world.register(HONEST).await;
    let user =
        |verified: Value| json!({"uid": "u-1", "mail": "a@corp.test", "verified": verified, "nick": "A", "teams": ["staff"]});
    hub.says(|says| says.user = user(json!(true)));
    let (said, _) = signed_in(&world, &client).await;
    assert_eq!(
        (&said["idp"], &said["idp_sub"], &said["email"]),
        (&json!("https://id.corp.test"), &json!("u-1"), &json!("a@corp.test"))
    );
    for verified in [json!(false), json!("true"), json!(null)] {
        hub.says(|says| says.user = user(verified.clone()));
        assert_eq!(signed_in(&world, &client).await.0["email"], Value::Null, "{verified}");
    }
    for user in
        [json!({}), json!({"uid": "", "teams": ["staff"]}), json!({"uid": ["u-1"], "teams": ["staff"]}), json!({"uid": "u-1"})]
    {
        hub.says(|says| says.user = user.clone());
        assert_eq!(world.approve(&mut Browser::default(), &client).await.sent("code"), None, "{user}");
    }
}
