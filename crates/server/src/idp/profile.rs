//! Who signed in at a provider without ID tokens: its own interface is asked, with the token that it just gave us (OC-07, A-136).

use deputy_fetch::{Answer, Client as FetchClient, Credentials, Endpoint};
use deputy_protocol::Reason;
use deputy_protocol::claims::{Groups, Memberships, Profile};
use deputy_protocol::secret::ClientSecret;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::IdpFailure;
use super::metadata::status_failure;
use crate::config::{GitHub, OAuth};

/// Most entries of a page, and most pages that are read of a list: who is in more teams than that is told so in the log.
const PAGE: usize = 100;
const PAGES: usize = 10;

/// Asks with one person's token.
pub(super) struct Asker<'a> {
    pub(super) fetch: &'a FetchClient,
    pub(super) token: &'a ClientSecret,
}

/// <https://docs.github.com/rest/users/users#get-the-authenticated-user>
#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
}

/// <https://docs.github.com/rest/users/emails#list-email-addresses-for-the-authenticated-user>
#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

/// <https://docs.github.com/rest/orgs/orgs#list-organizations-for-the-authenticated-user>
#[derive(Deserialize)]
struct Organisation {
    login: String,
}

/// <https://docs.github.com/rest/teams/teams#list-teams-for-the-authenticated-user>
#[derive(Deserialize)]
struct Team {
    slug: String,
    organization: Organisation,
}

impl Asker<'_> {
    /// A person at GitHub. The id is a number that is never given to anybody else; a login can be.
    pub(super) async fn github(&self, github: &GitHub) -> Result<Profile, IdpFailure> {
        let at = |path: &str| endpoint(&format!("{}{path}", github.api));
        let user: User = read(&self.get(&at("/user")?).await?)?;
        let emails: Vec<Email> = self.list(github, "/user/emails").await?;
        let email = emails.into_iter().find(|email| email.primary && email.verified).map(|email| email.email);
        let mut memberships = Memberships::default();
        if github.memberships {
            let orgs: Vec<Organisation> = self.list(github, "/user/orgs").await?;
            let teams: Vec<Team> = self.list(github, "/user/teams").await?;
            memberships.orgs = orgs.into_iter().map(|org| org.login).collect();
            memberships.teams = teams.into_iter().map(|team| format!("{}/{}", team.organization.login, team.slug)).collect();
        }
        Ok(Profile { id: user.id.to_string(), email, name: user.name.or(Some(user.login)), memberships })
    }

    /// A list, page by page.
    async fn list<T: DeserializeOwned>(&self, github: &GitHub, path: &str) -> Result<Vec<T>, IdpFailure> {
        let mut all = Vec::new();
        for page in 1..=PAGES {
            let more: Vec<T> = {
                let answer = self.get(&endpoint(&format!("{}{path}?per_page={PAGE}&page={page}", github.api))?).await?;
                answer.list().map_err(|error| unreadable(&error))?
            };
            let last = more.len() < PAGE;
            all.extend(more);
            if last {
                return Ok(all);
            }
        }
        tracing::warn!(target: "deputy::idp", path, "the list is longer than a thousand entries; the rest is not read, and counts for no rule");
        Ok(all)
    }

    /// A person at any other provider, by the names that its configuration gives.
    pub(super) async fn oauth(&self, oauth: &OAuth) -> Result<Profile, IdpFailure> {
        let said: Map<String, Value> = read(&self.get(&endpoint(oauth.userinfo_endpoint.as_str())?).await?)?;
        let text = |name: &str| match said.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let names = &oauth.claims;
        let verified = names.email_verified.as_deref().is_some_and(|name| said.get(name) == Some(&Value::Bool(true)));
        let groups = names.groups.as_deref().and_then(|name| said.get(name)?.as_array().cloned()).unwrap_or_default();
        let groups = Groups::Listed(groups.iter().filter_map(|group| group.as_str().map(str::to_owned)).collect());
        Ok(Profile {
            id: text(&names.id).unwrap_or_default(),
            email: names.email.as_deref().filter(|_| verified).and_then(text),
            name: names.name.as_deref().and_then(text),
            memberships: Memberships { groups, ..Memberships::default() },
        })
    }

    async fn get(&self, endpoint: &Endpoint) -> Result<Answer, IdpFailure> {
        let bearer = ClientSecret::from_text(format!("Bearer {}", self.token.expose()));
        let answer = self.fetch.get(endpoint, Credentials::Header(bearer)).await;
        let answer = answer.map_err(|error| IdpFailure::outage(error.to_string()))?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::UNAUTHORIZED => {
                Err(IdpFailure::refused(Reason::IdpGrantEnded, format!("{endpoint:?} does not take the person's token any more")))
            }
            // Too many requests are a 403 at GitHub, and so is a missing permission: neither is the person's fault, and both can be mended.
            StatusCode::FORBIDDEN => Err(IdpFailure::outage(format!(
                "{endpoint:?} answered 403: too many requests, or the registration there lacks a permission"
            ))),
            status => Err(status_failure(&format!("{endpoint:?}"), status)),
        }
    }
}

fn endpoint(url: &str) -> Result<Endpoint, IdpFailure> {
    Endpoint::parse(url).map_err(|error| IdpFailure::refused(Reason::Internal, format!("{url}: {error}")))
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, IdpFailure> {
    answer.json().map_err(|error| unreadable(&error))
}

fn unreadable(error: &str) -> IdpFailure {
    IdpFailure::refused(Reason::IdpAnswerMalformed, format!("who signed in cannot be read: {error}"))
}
