//! Views for the tests and the screenshots: a friendly one and a nasty one.

use deputy_protocol::client::DisplayName;
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::scope::{Scope, ScopeRule, ScopeRules, Scopes};

use super::consent::ClientProof;
use super::{ConsentView, IdpChoice, Page, consent};

fn idp(name: &str, label: &str, host: &str, scopes: &[&str]) -> IdpChoice {
    let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    IdpChoice { name: name.to_owned(), label: label.to_owned(), host: host.to_owned(), scopes }
}

/// Owns what a [`ConsentView`] borrows.
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) proof: ClientProof<'static>,
    pub(super) redirect: String,
    pub(super) server: String,
    pub(super) scopes: Vec<String>,
    pub(super) words: Vec<(&'static str, &'static str)>,
    pub(super) idps: Vec<IdpChoice>,
    pub(super) remember: bool,
    pub(super) ticket: String,
}

impl Sample {
    pub(super) fn friendly() -> Self {
        let text = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect();
        Self {
            name: "Claude Code".to_owned(),
            proof: ClientProof::Unverified,
            redirect: "http://localhost:33418/callback".to_owned(),
            server: "Company Wiki".to_owned(),
            scopes: text(&["mcp"]),
            words: Vec::new(),
            idps: vec![idp("entra", "Microsoft", "login.example.com", &["openid", "profile", "email"])],
            remember: false,
            ticket: "dpt_sealed".to_owned(),
        }
    }

    pub(super) fn nasty() -> Self {
        Self {
            name: "\u{202e}Сlaude</title><script>alert(1)</script>\" onload=\"alert(2)' (verified by Microsoft) supercalifragilisticexpialidocious"
                .to_owned(),
            redirect: format!("https://claude.ai.{}.evil.example/cb?x={}", "very-long-label.".repeat(5).trim_end_matches('.'), "a".repeat(900)),
            server: "An internal server with a really rather long name that somebody in the department chose".to_owned(),
            scopes: ["mcp", "files:read", "files:write", "admin.directory.group.member.readonly:everything-in-the-organisation"]
                .into_iter()
                .map(str::to_owned)
                .chain((0..8).map(|n| format!("scope-{n}")))
                .collect(),
            words: vec![("files:read", "See your files"), ("files:write", "<b>Change</b> your files")],
            idps: vec![
                idp(
                    "entra",
                    "Microsoft",
                    "login.example.com",
                    &["openid", "profile", "email", "offline_access", "https://graph.example.com/.default"],
                ),
                idp("b", "<b>Bad & Sons</b>", "id.example.com", &["openid"]),
            ],
            ..Self::friendly()
        }
    }

    pub(super) fn page(&self) -> Page {
        let scopes: Scopes = self.scopes.iter().map(|s| Scope::parse(s).unwrap()).collect();
        let rules = self.words.iter().map(|(name, words)| ScopeRule {
            description: Some((*words).to_owned()),
            ..ScopeRule::new(Scope::parse(name).unwrap())
        });
        consent(&ConsentView {
            client_name: &DisplayName::clean(&self.name),
            client_proof: self.proof,
            redirect: &RedirectUri::parse(&self.redirect).unwrap(),
            server_name: &self.server,
            resource: &ResourceUri::parse("https://mcp.example.com/mcp").unwrap(),
            scopes: &scopes,
            scope_rules: &ScopeRules::new(rules.collect()).unwrap(),
            idps: &self.idps,
            remember: self.remember,
            ticket: &self.ticket,
            action: "/consent",
        })
    }
}
