//! The consent page: who asks, for which server, to do what, and where the answer goes.

use askama::Template;
use deputy_protocol::client::{DisplayName, Proof};
use deputy_protocol::redirect::{Destination, RedirectUri};
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::scope::{ScopeRules, Scopes};
use http::StatusCode;

use super::{Opener, Page, Referrer, render};
use crate::idp::Provider;

/// From this length on, a redirect URI is shown in a box that scrolls, so that it cannot push the buttons away.
const LONG_URI: usize = 160;

/// What we know of a client beyond its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientProof<'a> {
    /// Nothing: it registered itself, and anyone can choose any name.
    Unverified,
    /// Its metadata document lies at this host (AS-34).
    PublishedAt(&'a str),
    /// The operator of this server registered it.
    ByOperator,
}

impl<'a> From<&'a Proof> for ClientProof<'a> {
    fn from(proof: &'a Proof) -> Self {
        match proof {
            Proof::None => Self::Unverified,
            Proof::Document { host } => Self::PublishedAt(host),
            Proof::Operator => Self::ByOperator,
        }
    }
}

/// An identity provider, as people may choose it.
#[derive(Clone, Debug)]
pub(crate) struct IdpChoice {
    /// What the form says for it.
    pub(crate) name: String,
    /// What people call it.
    pub(crate) label: String,
    /// Its host, where the person goes.
    pub(crate) host: String,
    /// The scopes that we ask for there (CON-05).
    pub(crate) scopes: Vec<String>,
}

impl IdpChoice {
    /// What is known of it now.
    pub(crate) fn of(idp: &Provider) -> Self {
        Self {
            name: idp.name().to_string(),
            label: idp.label().to_owned(),
            host: idp.display_host().to_owned(),
            scopes: idp.scopes(),
        }
    }

    fn lines(&self) -> Vec<ScopeLine<'_>> {
        self.scopes.iter().map(|scope| ScopeLine::of_idp(scope)).collect()
    }
}

/// Everything that the consent page shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsentView<'a> {
    /// The client's name, its own words.
    pub(crate) client_name: &'a DisplayName,
    /// What stands behind the name.
    pub(crate) client_proof: ClientProof<'a>,
    /// Where the answer will be sent, with its real port (CON-06).
    pub(crate) redirect: &'a RedirectUri,
    /// What the operator calls the MCP server (CON-33).
    pub(crate) server_name: &'a str,
    /// The MCP server's address.
    pub(crate) resource: &'a ResourceUri,
    /// What the client may do there.
    pub(crate) scopes: &'a Scopes,
    /// What the operator says about scopes.
    pub(crate) scope_rules: &'a ScopeRules,
    /// The identity providers, one of which the person goes to next.
    pub(crate) idps: &'a [IdpChoice],
    /// Whether the person may wish not to be asked again.
    pub(crate) remember: bool,
    /// The sealed ticket for the hidden field (CON-07).
    pub(crate) ticket: &'a str,
    /// Where the form is posted.
    pub(crate) action: &'a str,
}

/// The consent page.
#[must_use]
pub(crate) fn consent(view: &ConsentView<'_>) -> Page {
    let destination = view.redirect.destination();
    let template = ConsentTemplate {
        view,
        host_of_client: match view.client_proof {
            ClientProof::PublishedAt(host) => Some(host),
            ClientProof::Unverified | ClientProof::ByOperator => None,
        },
        unverified: view.client_proof == ClientProof::Unverified,
        uri: UriParts::of(view.redirect),
        loopback: destination == Destination::Loopback,
        private_use: destination == Destination::PrivateUse,
        scopes: view.scopes.iter().map(|scope| ScopeLine::of_server(scope, view.scope_rules)).collect(),
        idps: view.idps,
    };
    Page { status: StatusCode::OK, html: render(&template), referrer: Referrer::OwnPages, opener: Opener::Kept }
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentTemplate<'a> {
    view: &'a ConsentView<'a>,
    host_of_client: Option<&'a str>,
    unverified: bool,
    uri: UriParts<'a>,
    loopback: bool,
    private_use: bool,
    scopes: Vec<ScopeLine<'a>>,
    idps: &'a [IdpChoice],
}

/// A redirect URI, cut around the part that a person must look at: the host or, for a private-use URI, the scheme (AS-35).
#[derive(Debug, PartialEq, Eq)]
struct UriParts<'a> {
    before: &'a str,
    host: &'a str,
    after: &'a str,
    long: bool,
}

impl<'a> UriParts<'a> {
    fn of(uri: &'a RedirectUri) -> Self {
        let text = uri.as_str();
        let host = uri.host();
        // A redirect URI has no user part, so its first occurrence after the scheme is the host.
        let from = match uri.destination() {
            Destination::PrivateUse => 0,
            Destination::Web | Destination::Loopback => text.find("://").map_or(0, |colon| colon + 3),
        };
        let (before, rest) = text.split_at_checked(from).unwrap_or(("", text));
        let (host, after) = rest.split_at_checked(host.len()).unwrap_or((rest, ""));
        Self { before, host, after, long: text.len() > LONG_URI }
    }
}

/// One scope: in words where there are some, and always as its code.
#[derive(Debug)]
pub(super) struct ScopeLine<'a> {
    pub(super) code: &'a str,
    pub(super) words: Option<&'a str>,
}

impl<'a> ScopeLine<'a> {
    /// The operator's words come first.
    pub(super) fn of_server(code: &'a str, rules: &'a ScopeRules) -> Self {
        let ours = (code == "mcp").then_some("Use its tools and read its data in your name");
        Self { code, words: rules.words(code).or(ours) }
    }

    fn of_idp(code: &'a str) -> Self {
        let words = match code {
            "openid" => Some("who you are"),
            "profile" => Some("your name"),
            "email" => Some("your e-mail address"),
            "groups" => Some("your groups"),
            "offline_access" => Some("staying signed in"),
            _ => None,
        };
        Self { code, words }
    }
}
