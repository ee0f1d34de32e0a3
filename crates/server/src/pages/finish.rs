//! The last page: which account signed in, for whom, and where the answer goes now.

use askama::Template;
use deputy_protocol::client::DisplayName;
use deputy_protocol::redirect::{Destination, RedirectUri};
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::scope::{ScopeRules, Scopes};
use http::StatusCode;

use super::consent::ScopeLine;
use super::{Opener, Page, Referrer, render};

/// Everything that the last page shows.
#[derive(Debug)]
pub(crate) struct FinishView<'a> {
    /// Who signed in, as the person knows the account.
    pub(crate) account: &'a str,
    /// The host of the identity provider.
    pub(crate) idp_host: &'a str,
    /// The client's name, its own words.
    pub(crate) client_name: &'a DisplayName,
    /// Where the answer will be sent.
    pub(crate) redirect: &'a RedirectUri,
    /// What the operator calls the MCP server.
    pub(crate) server_name: &'a str,
    /// The server's address.
    pub(crate) resource: &'a ResourceUri,
    /// What the client may do there.
    pub(crate) scopes: &'a Scopes,
    /// What the operator says about scopes.
    pub(crate) scope_rules: &'a ScopeRules,
    /// The sealed ticket for the hidden field.
    pub(crate) ticket: &'a str,
}

/// The last page.
#[must_use]
pub(crate) fn finish(view: &FinishView<'_>) -> Page {
    let template = FinishTemplate {
        view,
        // The account's words are the provider's, not ours: cleaned as a client's are.
        account: DisplayName::clean(view.account),
        loopback: view.redirect.destination() == Destination::Loopback,
        host: view.redirect.host(),
        scopes: view.scopes.iter().map(|scope| ScopeLine::of_server(scope, view.scope_rules)).collect(),
    };
    Page { status: StatusCode::OK, html: render(&template), referrer: Referrer::OwnPages, opener: Opener::Kept }
}

#[derive(Template)]
#[template(path = "finish.html")]
struct FinishTemplate<'a> {
    view: &'a FinishView<'a>,
    account: DisplayName,
    loopback: bool,
    host: String,
    scopes: Vec<ScopeLine<'a>>,
}
