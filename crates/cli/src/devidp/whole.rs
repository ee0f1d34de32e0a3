//! Whole sign-ins: a gateway from a `deputy.toml` with the lines that this provider prints, a client, a person's browser, an MCP server.

use axum::body::Body;
use std::sync::atomic::{AtomicU64, Ordering};

use deputy_protocol::Timestamp;
use deputy_protocol::pkce::Verifier;
use deputy_server::clock::{Clock, SystemClock};
use deputy_server::{Gateway, random};
use http::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use url::Url;

use super::command::lines;
use super::entra::credential::{Certificate, of_the_workload};
use super::entra::{AccessTokens, Registration};
use super::*;
use crate::config::{self, Source};
use crate::demo::call::browser::{Answer, Browser, encode, origin, parameter, send};

const REDIRECT: &str = "http://127.0.0.1:47114/callback";

/// The time, some seconds later: a word of the provider's gets old at once.
#[derive(Debug, Default)]
struct Later(AtomicU64);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(Duration::from_secs(self.0.load(Ordering::SeqCst)))
    }
}

/// What differs between deployments.
#[derive(Default)]
struct With<'a> {
    /// In place of the secret.
    credential: Option<String>,
    /// Further lines under `[idp]`, `[[server]]` and `[access]`.
    idp: &'a str,
    server: &'a str,
    access: Option<&'a str>,
    /// The environment; `{origin}` is the provider's.
    env: &'a [(&'a str, &'a str)],
}

struct World {
    gateway: Url,
    provider: String,
    idp: Arc<Idp>,
    clock: Arc<Later>,
    _data: TempDir,
}

/// Answers with the `authorization` that it was sent.
async fn mcp(request: Request<Body>) -> Response {
    let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    json_answer(StatusCode::OK, &json!({ "jsonrpc": "2.0", "id": 1, "result": { "authorization": sent } }))
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, origin)
}

async fn world(manners: Manners, with: With<'_>) -> World {
    let (at_gateway, gateway) = listen().await;
    let (at_provider, provider) = listen().await;
    let (at_server, server) = listen().await;
    let data = tempfile::tempdir().expect("a directory");
    let secret = ClientSecret::from_text("the-secret-of-the-application".to_owned());
    let idp =
        Arc::new(Idp::with(&provider, format!("{gateway}/callback"), CLIENT_ID.to_owned(), secret, manners).expect("a provider"));
    tokio::spawn(axum::serve(at_provider, idp.router()).into_future());
    tokio::spawn(axum::serve(at_server, Router::new().fallback(mcp)).into_future());
    std::fs::write(data.path().join("workload"), of_the_workload(&idp).expect("a token")).expect("written");
    let printed = lines(&idp, &provider, "x");
    let printed = printed.split_once("[idp]").expect("lines").1.replace("client_secret = { file = \"x\" }", "");
    let credential = with.credential.unwrap_or_else(|| "client_secret = { env = \"SECRET\" }".to_owned());
    let file = format!(
        "public_url = \"{gateway}\"\ndata_dir = \"data\"\n[idp]{printed}\n{credential}\n{}\n[access]\nallow = {}\n\
         [[server]]\npath = \"/mcp\"\nurl = \"{server}/mcp\"\n{}\n",
        with.idp,
        with.access.unwrap_or("[\"*\"]"),
        with.server
    );
    let env = |name: &str| {
        let given = with.env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.replace("{origin}", &provider));
        given.or_else(|| (name == "SECRET").then(|| "the-secret-of-the-application".to_owned()))
    };
    let settings = config::parse(Source::new("deputy.toml", file.clone()), data.path(), &env);
    let settings = settings.unwrap_or_else(|error| panic!("{error}\n{file}"));
    let clock = Arc::new(Later::default());
    let running = Gateway::start_at(settings.server, Arc::clone(&clock) as Arc<dyn Clock>)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{file}"));
    tokio::spawn(deputy_server::serve(at_gateway, running.router(), std::future::pending()));
    World { gateway: Url::parse(&gateway).expect("a URL"), provider, idp, clock, _data: data }
}

/// A client with its tokens.
struct Signed {
    client: String,
    tokens: Value,
}

impl World {
    fn url(&self, path: &str) -> Url {
        self.gateway.join(path).expect("a URL")
    }

    /// Where a sign-in of this person ends: at the client, or at a page.
    async fn arrives(&self, person: &'static str) -> (String, Verifier, Answer) {
        let metadata = json!({ "client_name": "Whole", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
        let headers = [("content-type", "application/json")];
        let registered = send(Method::POST, &self.url("/register"), &headers, metadata.to_string()).await.expect("registered");
        let client = registered.json().expect("JSON")["client_id"].as_str().expect("an id").to_owned();
        let verifier = Verifier::new(&random::bytes().expect("random"));
        let mut url = self.url("/authorize");
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &client),
            ("redirect_uri", REDIRECT),
            ("state", "s"),
            ("code_challenge", verifier.challenge().as_str()),
            ("code_challenge_method", "S256"),
            ("resource", self.url("/mcp").as_str()),
        ]);
        let mut browser = Browser::default();
        browser.person = Some(person);
        let page = browser.open(&url).await.expect("a page");
        let approved = browser.press(&page, "decision", "approve").await.expect("approved");
        let end =
            browser.sign_in(approved, &origin(&Url::parse(&self.provider).expect("a URL")), REDIRECT).await.expect("an end");
        (client, verifier, end)
    }

    async fn token(&self, pairs: &[(&str, &str)]) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        send(Method::POST, &self.url("/token"), &headers, encode(pairs)).await.expect("an answer")
    }

    async fn signs_in(&self, person: &'static str) -> Signed {
        let (client, verifier, end) = self.arrives(person).await;
        let back = end.location().unwrap_or_else(|| panic!("{person}: {} {}", end.summary(), end.text));
        let code = parameter(&back, "code").unwrap_or_else(|| panic!("{person}: {back}"));
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("client_id", &client),
            ("redirect_uri", REDIRECT),
            ("code_verifier", verifier.expose()),
        ];
        let answer = self.token(&pairs).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Signed { tokens: answer.json().expect("JSON"), client }
    }

    async fn refresh(&self, signed: &Signed) -> Answer {
        self.clock.0.fetch_add(61, Ordering::SeqCst);
        let token = signed.tokens["refresh_token"].as_str().expect("a refresh token");
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", &signed.client)]).await
    }

    /// What the MCP server was sent as `authorization`.
    async fn called_with(&self, tokens: &Value) -> String {
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().expect("a token"));
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        let answer =
            send(Method::POST, &self.url("/mcp"), &headers, json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string())
                .await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json().expect("JSON")["result"]["authorization"].as_str().expect("text").to_owned()
    }

    /// Signs in, calls the server, refreshes, calls again.
    async fn works_for(&self, person: &'static str) {
        let signed = self.signs_in(person).await;
        self.called_with(&signed.tokens).await;
        let renewed = self.refresh(&signed).await;
        assert_eq!(renewed.status, 200, "{person}: {}", renewed.text);
        self.called_with(&renewed.json().expect("JSON")).await;
    }

    /// Is turned away with this reason.
    async fn turns_away(&self, person: &'static str, reason: &str) {
        let (.., end) = self.arrives(person).await;
        assert!(end.location().is_none() && end.text.contains(reason), "{person}: {} {}", end.summary(), end.text);
    }
}

fn entra(registration: Registration) -> Manners {
    Manners::Entra(Box::new(registration))
}

#[tokio::test]
async fn every_credential_is_taken_by_entra() {
    let (key, _, certificate) = super::entra::tests::certified();
    let key_file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(key_file.path(), key.serialize_pem()).expect("written");
    let registration =
        || Registration { certificate: Some(Certificate::read(certificate.path()).expect("read")), ..Registration::default() };
    let by_key = format!("private_key = {{ file = {:?} }}\ncertificate = {{ file = {:?} }}", key_file.path(), certificate.path());
    let managed = "managed_identity = \"1de71712-0000-4000-8000-000000000001\"".to_owned();
    let machine = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "{origin}")];
    let service = [("IDENTITY_ENDPOINT", "{origin}/msi/token"), ("IDENTITY_HEADER", "development-only")];
    for (credential, env) in [
        (None, &[][..]),
        (Some(by_key), &[]),
        (Some("assertion = { file = \"workload\" }".to_owned()), &[]),
        (Some(managed.clone()), &machine),
        (Some(managed), &service),
    ] {
        world(entra(registration()), With { credential, env, ..With::default() }).await.works_for("alice").await;
    }
}

#[tokio::test]
async fn an_api_behind_is_called_for_the_person_with_tokens_of_either_version() {
    for access_tokens in [AccessTokens::V1, AccessTokens::V2] {
        let with = With { server: "on_behalf_of = [\"api://backend/Tools.Call\"]", ..With::default() };
        let world = world(entra(Registration { access_tokens, ..Registration::default() }), with).await;
        // Stella comes back with a second factor, asked for while she is there.
        for person in ["alice", "step"] {
            let signed = world.signs_in(person).await;
            let sent = world.called_with(&signed.tokens).await;
            let claims = world.idp.key.read(sent.strip_prefix("Bearer ").expect("a bearer token")).expect("claims");
            assert_eq!((&claims["aud"], &claims["scp"]), (&json!("backend"), &json!("Tools.Call")));
            assert_eq!(claims["oid"], people::find(person).expect("a person").object);
        }
        world.turns_away("nobody", "backend_token_refused").await;
        world.works_for("bob").await;
    }
}

#[tokio::test]
async fn people_of_entra_come_in_by_what_entra_says_of_them() {
    let one_of_many =
        format!("[\"group:{}\", \"role:mcp.admin\"]", super::entra::tokens::groups(people::find("many").expect("many"))[7]);
    let plain = With { access: Some(&one_of_many), ..With::default() };
    let without = world(entra(Registration::default()), plain).await;
    without.works_for("admin").await;
    without.turns_away("many", "groups_elsewhere").await;
    without.turns_away("alice", "subject_not_allowed").await;
    let asking = With { access: Some(&one_of_many), idp: "groups = \"graph\"", ..With::default() };
    world(entra(Registration::default()), asking).await.works_for("many").await;
    // Also where tokens are for us, to be exchanged.
    let server = "on_behalf_of = [\"api://backend/Tools.Call\"]";
    let both = With { access: Some(&one_of_many), idp: "groups = \"graph\"", server, ..With::default() };
    world(entra(Registration::default()), both).await.works_for("many").await;
}

#[tokio::test]
async fn a_second_factor_is_a_new_sign_in_and_a_locked_account_is_out_at_the_next_refresh() {
    let world = world(entra(Registration::default()), With::default()).await;
    world.signs_in("mfa").await;
    let gone = world.signs_in("disabled").await;
    let answer = world.refresh(&gone).await;
    assert_eq!((answer.status.as_u16(), answer.error().as_str()), (400, "invalid_grant"), "{}", answer.text);
    world.turns_away("other", "").await;
}

#[tokio::test]
async fn google_and_github_sign_people_in() {
    let google = world(Manners::Google, With { access: Some("[\"domain:demo.example\"]"), ..With::default() }).await;
    google.works_for("alice").await;
    google.turns_away("carol", "subject_not_allowed").await;
    for app in [false, true] {
        let with = With { access: Some("[\"org:demo\", \"team:demo/finance\"]"), ..With::default() };
        let github = world(Manners::GitHub { app }, with).await;
        github.works_for("alice").await;
        github.works_for("bob").await;
        github.turns_away("carol", "subject_not_allowed").await;
    }
}
