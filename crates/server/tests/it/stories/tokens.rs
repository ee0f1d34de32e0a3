//! Stories from a code to calls.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::access::Rules;
use deputy_protocol::secret::sha256;
use deputy_server::{Config, ServerConfig};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{App, Person, Story};
use crate::support::http::{Answer, Browser, form, send};
use crate::support::{Client, World};

const REDIRECT: &str = "https://app.test/cb";
const VERIFIERS: [&str; 2] =
    ["victims-verifier-victims-verifier-victims-verifier", "attackers-verifier-attackers-verifier-attackers"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Twist {
    Straight,
    Redirect,
    Resource,
    Scope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Dies {
    Lives,
    BeforeTheWrite,
    BeforeTheAnswer,
}

/// The steps that stories have needed so far; a new kind is noticed when it is read.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Redeem { by: Person, app: App, code: usize, twist: Twist, replica: Only, dies: Dies },
    Refresh { app: App, token: usize, twist: Twist, replica: Only, dies: Dies },
    Revoke { app: App, token: usize, replica: Only },
    Call { grant: usize, issued: u64, elsewhere: bool, replica: Only },
    Steal,
    Remove,
    Wait { seconds: u64 },
}

/// The first replica: no story has needed the second.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "usize")]
struct Only;

impl TryFrom<usize> for Only {
    type Error = &'static str;

    fn try_from(replica: usize) -> Result<Self, Self::Error> {
        if replica == 0 { Ok(Self) } else { Err("a story with a second replica") }
    }
}

/// The codes of the model: who signed in, and whose challenge it was.
const CODES: [(&str, Person); 3] = [("victim", Person::Victim), ("attacker", Person::Attacker), ("victim", Person::Attacker)];

const fn verifier(person: Person) -> &'static str {
    let [victims, attackers] = VERIFIERS;
    match person {
        Person::Victim => victims,
        Person::Attacker => attackers,
    }
}

struct Player {
    world: World,
    /// Where requests go: another port after a restart with other rules.
    port: u16,
    restarted: Option<World>,
    honest: Client,
    evil: Client,
    codes: Vec<String>,
    refresh: Vec<String>,
    access: HashMap<(usize, u64), String>,
    newest: Option<String>,
    now: u64,
}

/// Plays it; whether it hurts, as the model says that it does.
pub async fn play(story: &Story) -> bool {
    let mut player = Player::new(story.world == "confidential_client").await;
    let mut last = None;
    let mut known = Vec::new();
    for step in story.steps() {
        known.clone_from(&player.refresh);
        last = player.take(step).await;
    }
    let without: Vec<&str> = story.without.iter().map(String::as_str).collect();
    match without.as_slice() {
        // The second use is refused in any case; what counts is what becomes of the first.
        ["code_replay_revokes" | "refresh_reuse_revokes"] => player.hers_works().await,
        ["revoke_client"] => !player.hers_works().await,
        // Within the grace window there is an answer in any case: the same one.
        ["refresh_rotation"] => last.is_some_and(|answer| answer.status == 200 && !known.contains(&refresh_in(&answer))),
        _ => last.is_some_and(|answer| answer.status == 200),
    }
}

fn refresh_in(answer: &Answer) -> String {
    answer.json()["refresh_token"].as_str().unwrap_or_default().to_owned()
}

fn configure(config: &mut Config) {
    config.tokens.refresh_idle = Duration::from_secs(600);
    config.tokens.refresh_absolute = Duration::from_secs(1200);
    let first = config.servers.first().cloned();
    config.servers.extend(first.map(|server| ServerConfig { path: "/other".to_owned(), ..server }));
}

impl Player {
    async fn new(confidential: bool) -> Self {
        let world = World::with(configure).await;
        let method = if confidential { "client_secret_post" } else { "none" };
        let metadata = |name: &str, redirect: &str, method: &str| json!({"client_name": name, "redirect_uris": [redirect], "token_endpoint_auth_method": method});
        let honest = world.register_with(metadata("Honest", REDIRECT, method)).await;
        let evil = world.register_with(metadata("Evil", "https://evil.test/cb", "none")).await;
        let mut player = Self {
            port: world.origin_port,
            world,
            restarted: None,
            honest,
            evil,
            codes: Vec::new(),
            refresh: Vec::new(),
            access: HashMap::new(),
            newest: None,
            now: 0,
        };
        for (account, challenged) in CODES {
            let code = player.code(account, challenged).await;
            player.codes.push(code);
        }
        player
    }

    async fn code(&self, account: &str, challenged: Person) -> String {
        *self.world.idp.person.lock().unwrap() = account.to_owned();
        let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier(challenged).as_bytes()));
        let url = self.world.authorize_url(&self.honest, &[("code_challenge", &challenge), ("scope", "read")]);
        let mut browser = Browser::default();
        let page = browser.open(&url, REDIRECT).await;
        let sent = browser.decide(&self.world.origin, &page.ticket(), "approve").await;
        let end = browser.open(sent.location().unwrap().as_str(), REDIRECT).await;
        end.sent("code").unwrap_or_else(|| panic!("no code: {} {}", end.status, end.text()))
    }

    fn client(&self, app: App) -> &Client {
        if app == App::Honest { &self.honest } else { &self.evil }
    }

    async fn post(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let host = self.world.origin.trim_start_matches("http://");
        let headers = [("host", host), ("content-type", "application/x-www-form-urlencoded")];
        send(Method::POST, &format!("http://127.0.0.1:{}{path}", self.port), &headers, form(pairs)).await
    }

    /// A request to the token endpoint, twisted or not; what came out of it, unless it died before.
    async fn ask(&mut self, app: App, twist: Twist, dies: Dies, mut pairs: Vec<(&str, &str)>) -> Option<Answer> {
        if dies == Dies::BeforeTheWrite {
            return None;
        }
        let client = self.client(app).clone();
        let other = self.world.at("/other");
        pairs.push(("client_id", &client.id));
        pairs.extend(client.secret.as_deref().map(|secret| ("client_secret", secret)));
        match twist {
            Twist::Straight => {}
            Twist::Redirect => pairs.push(("redirect_uri", "https://app.test/other")),
            Twist::Resource => pairs.push(("resource", &other)),
            Twist::Scope => pairs.push(("scope", "read write")),
        }
        let answer = self.post("/token", &pairs).await;
        if answer.status == 200 {
            let refresh = refresh_in(&answer);
            if !self.refresh.contains(&refresh) {
                self.refresh.push(refresh);
            }
        }
        // An answer that nobody heard is no access token of anybody's.
        (dies == Dies::Lives).then_some(answer)
    }

    fn receive(&mut self, grant: usize, answer: Option<&Answer>) {
        let Some(answer) = answer.filter(|answer| answer.status == 200) else { return };
        let access = answer.json()["access_token"].as_str().unwrap().to_owned();
        self.access.insert((grant, self.now), access.clone());
        if grant != 1 {
            self.newest = Some(access);
        }
    }

    async fn call(&self, token: &str, path: &str) -> Answer {
        let (host, bearer) = (self.world.origin.trim_start_matches("http://"), format!("Bearer {token}"));
        let headers = [
            ("host", host),
            ("authorization", &bearer),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        send(Method::POST, &format!("http://127.0.0.1:{}{path}", self.port), &headers, body).await
    }

    /// Whether the victim's newest access token is taken.
    async fn hers_works(&self) -> bool {
        self.call(self.newest.as_deref().expect("a token of hers"), "/mcp").await.status == 200
    }

    async fn take(&mut self, step: Step) -> Option<Answer> {
        match step {
            Step::Redeem { by, app, code, twist, replica: Only, dies } => {
                let value = self.codes.get(code)?.clone();
                let pairs = vec![("grant_type", "authorization_code"), ("code", &value), ("code_verifier", verifier(by))];
                let answer = self.ask(app, twist, dies, pairs).await;
                self.receive(code, answer.as_ref());
                answer
            }
            Step::Refresh { app, token, twist, replica: Only, dies } => {
                let value = self.refresh.get(token)?.clone();
                let pairs = vec![("grant_type", "refresh_token"), ("refresh_token", value.as_str())];
                let answer = self.ask(app, twist, dies, pairs).await;
                self.receive(0, answer.as_ref());
                answer
            }
            Step::Revoke { app, token, replica: Only } => {
                let (value, client) = (self.refresh.get(token)?, self.client(app));
                Some(self.post("/revoke", &[("token", value), ("client_id", &client.id)]).await)
            }
            Step::Call { grant, issued, elsewhere, replica: Only } => {
                let token = self.access.get(&(grant, issued))?;
                Some(self.call(token, if elsewhere { "/other" } else { "/mcp" }).await)
            }
            Step::Steal => None,
            Step::Remove => {
                self.remove_the_victim().await;
                None
            }
            Step::Wait { seconds } => {
                self.world.clock.advance(seconds);
                self.now += seconds;
                None
            }
        }
    }

    /// The operator changes the rules and restarts.
    async fn remove_the_victim(&mut self) {
        let again = self.world.again_with(|config| {
            configure(config);
            config.access = Rules::parse(&["subject:attacker"]).unwrap();
        });
        let again = again.await;
        self.port = again.origin_port;
        self.restarted = Some(again);
    }
}
