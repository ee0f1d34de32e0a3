//! Stories from a link to a code.

use http::Method;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{App, Person, Story};
use crate::support::http::{Answer, Browser, parameter};
use crate::support::idp::Faults;
use crate::support::{Client, World};
use deputy_server::{ClientAuth, ClientConfig, Config, Consent};

#[derive(Clone, Copy, Debug, Deserialize)]
struct Link {
    app: App,
    redirect: App,
    entry: Entry,
    more: bool,
    foreign: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Direct,
    Sent,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Open { browser: Person, link: Link },
    Decide { browser: Person, transaction: usize, own_page: bool },
    SignIn { browser: Person, approval: usize, account: Person },
    Callback { browser: Person, approval: usize, answer: usize },
    CallbackDies { browser: Person, approval: usize, answer: usize, written: bool },
    Finish { browser: Person, page: usize, own_page: bool },
    Plant,
    WaitLong,
}

const fn redirect(app: App) -> &'static str {
    match app {
        App::Honest => "https://app.test/cb",
        App::Evil => "https://evil.test/cb",
        App::Native => "http://127.0.0.1:5000/cb",
    }
}

/// Where the provider sent a browser.
struct Given {
    address: Url,
    approval: usize,
    browser: Person,
    /// A page of ours stood at an address that holds the code.
    shown: bool,
}

/// What came to be, in order, as the model counts. What was refused has no number.
struct Player {
    world: World,
    clients: Vec<Client>,
    victim: Browser,
    attacker: Browser,
    tickets: Vec<String>,
    approvals: Vec<Url>,
    answers: Vec<Given>,
    last_pages: Vec<String>,
}

/// Plays it; whether the last step sent a code away.
pub async fn play(story: &Story) -> bool {
    let world = match story.world.as_str() {
        "loopback" => World::new().await,
        "remembers" => World::secure_with(remembering).await,
        _ => World::secure_with(|_| ()).await,
    };
    if story.world == "weak_provider" {
        world.idp.misbehave(Faults { ignores_pkce: true, ..Faults::default() });
    }
    let mut clients = Vec::new();
    for app in App::ALL {
        clients.push(client(&world, story, app).await);
    }
    let mut player = Player {
        world,
        clients,
        victim: Browser::default(),
        attacker: Browser::default(),
        tickets: Vec::new(),
        approvals: Vec::new(),
        answers: Vec::new(),
        last_pages: Vec::new(),
    };
    let mut asked_foreign = false;
    let mut code_left = false;
    for step in story.steps() {
        let answer = player.take(step).await;
        // A page about somebody else's resource is the harm itself.
        asked_foreign |=
            matches!(step, Step::Open { link, .. } if link.foreign) && answer.as_ref().is_some_and(|page| page.status == 200);
        code_left = answer.as_ref().is_some_and(|answer| answer.sent("code").is_some_and(|_| left(answer)));
    }
    code_left || asked_foreign
}

/// Whether an answer sends a browser to a client.
fn left(answer: &Answer) -> bool {
    let location = answer.location().map(String::from).unwrap_or_default();
    App::ALL.into_iter().any(|app| location.starts_with(redirect(app)))
}

/// Only of clients that somebody vouches for are decisions remembered.
fn remembering(config: &mut Config) {
    let client = |app| ClientConfig::new(id(app), "App", &[redirect(app).to_owned()], ClientAuth::Public).unwrap();
    config.consent = Consent::Remember;
    config.clients = App::ALL.map(client).to_vec();
}

const fn id(app: App) -> &'static str {
    match app {
        App::Honest => "honest",
        App::Evil => "evil",
        App::Native => "native",
    }
}

async fn client(world: &World, story: &Story, app: App) -> Client {
    if story.world == "remembers" {
        return Client { id: id(app).to_owned(), secret: None, redirect: redirect(app).to_owned() };
    }
    let metadata = json!({"client_name": "App", "redirect_uris": [redirect(app)], "token_endpoint_auth_method": "none"});
    world.register_with(metadata).await
}

impl Player {
    fn browser(&mut self, person: Person) -> &mut Browser {
        match person {
            Person::Victim => &mut self.victim,
            Person::Attacker => &mut self.attacker,
        }
    }

    async fn take(&mut self, step: Step) -> Option<Answer> {
        match step {
            Step::Open { browser, link } => self.open(browser, link).await,
            Step::Decide { browser, transaction, own_page } => {
                let ticket = self.tickets.get(transaction)?.clone();
                let answer = self.post(browser, "/consent", &ticket, own_page).await;
                self.approvals.extend(answer.location());
                Some(answer)
            }
            Step::SignIn { browser, approval, account } => {
                let address = self.approvals.get(approval)?.to_string();
                let name = if account == Person::Victim { "victim" } else { "attacker" };
                *self.world.idp.person.lock().unwrap() = name.to_owned();
                let answer = self.browser(browser).step(Method::GET, &address, &[], String::new()).await;
                self.answers.extend(answer.location().map(|address| Given { address, approval, browser, shown: false }));
                None
            }
            Step::Callback { browser, approval, answer } => {
                let address = self.address(approval, answer)?;
                if !self.has(browser, approval, answer) {
                    return None;
                }
                let answer = self.call_back(browser, &address, answer).await;
                if answer.is_last_page() {
                    self.last_pages.push(answer.ticket());
                }
                Some(answer)
            }
            Step::CallbackDies { browser, approval, answer, written } => {
                // The answer never comes: the browser keeps the cookies that it had.
                let address = self.address(approval, answer)?;
                let mut unheard = self.browser(browser).clone();
                if written {
                    unheard.step(Method::GET, &address, &[], String::new()).await;
                }
                None
            }
            Step::Finish { browser, page, own_page } => {
                let ticket = self.last_pages.get(page)?.clone();
                Some(self.post(browser, "/finish", &ticket, own_page).await)
            }
            Step::Plant => {
                let theirs = self.attacker.clone();
                self.victim.plant(&self.world.origin, &theirs);
                None
            }
            Step::WaitLong => {
                self.world.clock.advance(700);
                None
            }
        }
    }

    /// Whether somebody has a code for use at this approval: one's own, one that went astray, or what stands in a refusing page's address.
    fn has(&self, browser: Person, approval: usize, answer: usize) -> bool {
        self.answers.get(answer).is_some_and(|given| given.browser == browser || given.approval != approval || given.shown)
    }

    /// Follows the provider to `/callback`, and a refusal to where it is shown. What is in the address there can be passed on.
    async fn call_back(&mut self, person: Person, address: &str, answer: usize) -> Answer {
        let browser = self.browser(person);
        let mut page = browser.step(Method::GET, address, &[], String::new()).await;
        if let Some(next) = page.location().filter(|next| next.origin() == page.url.origin()) {
            page = browser.step(Method::GET, next.as_str(), &[], String::new()).await;
        }
        if let Some(given) = self.answers.get_mut(answer).filter(|given| given.browser == person) {
            let code = parameter(&given.address, "code");
            given.shown |= code.is_some_and(|code| page.url.as_str().contains(&code));
        }
        page
    }

    async fn open(&mut self, browser: Person, link: Link) -> Option<Answer> {
        let client = &self.clients[link.app as usize];
        let resource = if link.foreign { "https://elsewhere.test/mcp".to_owned() } else { self.world.at("/mcp") };
        let scope = if link.more { "read write" } else { "read" };
        let changes = [("redirect_uri", redirect(link.redirect)), ("resource", resource.as_str()), ("scope", scope)];
        let site = match link.entry {
            Entry::Direct => "none",
            Entry::Sent => "cross-site",
        };
        let url = self.world.authorize_url(client, &changes);
        let answer = self.browser(browser).step(Method::GET, &url, &[("sec-fetch-site", site)], String::new()).await;
        match answer.location() {
            Some(provider) => {
                self.tickets.push(String::new());
                self.approvals.push(provider);
            }
            None if answer.status == 200 => self.tickets.push(answer.ticket()),
            None => {}
        }
        Some(answer)
    }

    async fn post(&mut self, browser: Person, path: &str, ticket: &str, own_page: bool) -> Answer {
        let origin = self.world.origin.clone();
        let browser = self.browser(browser);
        match (own_page, path) {
            (false, _) => browser.post_from_elsewhere(&origin, path, ticket).await,
            (true, _) => {
                browser.post_form(&origin, path, &[("ticket", ticket), ("decision", "approve"), ("remember", "yes")]).await
            }
        }
    }

    /// The provider's address with one approval's state and another's code, as somebody can mix them.
    fn address(&self, approval: usize, answer: usize) -> Option<String> {
        let mut address = self.answers.get(answer)?.address.clone();
        let state = parameter(self.approvals.get(approval)?, "state")?;
        let others: Vec<(String, String)> = address.query_pairs().into_owned().filter(|(name, _)| name != "state").collect();
        address.query_pairs_mut().clear().extend_pairs(others).append_pair("state", &state);
        Some(address.to_string())
    }
}
