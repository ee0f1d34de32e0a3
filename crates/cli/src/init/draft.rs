//! A configuration in the making: what was answered, how it is written, and whether the loader takes it.

use std::fmt::Write as _;
use std::path::Path;

use super::guide::{Blank, Guide};
use crate::config::{self, Source};

/// How deputy proves at the provider who it is.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// A file with the client secret.
    SecretFile(String),
    /// A variable with the client secret.
    SecretVariable(String),
    /// A private key and its certificate.
    Certificate { key: String, certificate: String },
    /// A file that somebody renews.
    Assertion(String),
    /// A managed identity's client id.
    ManagedIdentity(String),
}

/// What was answered so far; what was not holds something that the loader takes.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) provider: String,
    pub(crate) public_url: String,
    pub(crate) blanks: Vec<(Blank, String)>,
    pub(crate) client_id: String,
    pub(crate) proof: Option<Proof>,
    pub(crate) server_url: String,
    pub(crate) server_path: String,
    pub(crate) server_name: String,
    pub(crate) allow: Vec<String>,
}

/// A stand-in for a secret that is not there yet.
const STAND_IN: &str = "DEPUTY_INIT_STAND_IN";

impl Draft {
    pub(crate) fn new(provider: &str, guide: &Guide, allow: &[&str]) -> Self {
        Self {
            provider: provider.to_owned(),
            public_url: "http://localhost:8000".to_owned(),
            blanks: guide.asks.iter().map(|blank| (blank.clone(), blank.example.clone())).collect(),
            client_id: "client-id".to_owned(),
            proof: None,
            server_url: "http://127.0.0.1:9000/mcp".to_owned(),
            server_path: "/mcp".to_owned(),
            server_name: "MCP tools".to_owned(),
            allow: allow.iter().map(|&rule| rule.to_owned()).collect(),
        }
    }

    /// What the loader has against it, if anything. Secrets need not be there yet.
    pub(crate) fn refusal(&self) -> Option<String> {
        let env = |name: &str| (name == STAND_IN).then(|| "a-secret-that-is-long-enough".to_owned());
        let stand_in = format!("client_secret = {{ env = \"{STAND_IN}\" }}");
        let named = matches!(self.proof, Some(Proof::ManagedIdentity(_)));
        let text = self.text(&if named { self.credential() } else { stand_in });
        let refused = config::parse(Source::new("answer", text), Path::new("/"), &env).err()?.to_string();
        // The place is one in a file that nobody has seen.
        let text = refused.strip_prefix("answer:").unwrap_or(&refused);
        let words = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':').trim_start();
        Some(words.to_owned())
    }

    /// The file.
    pub(crate) fn file(&self) -> String {
        self.text(&self.credential())
    }

    fn credential(&self) -> String {
        match &self.proof {
            None => String::new(),
            Some(Proof::SecretFile(path)) => {
                format!(
                    "client_secret = {{ file = {} }}   # this file holds the secret, for deputy's user alone (chmod 600)",
                    quoted(path)
                )
            }
            Some(Proof::SecretVariable(name)) => {
                format!("client_secret = {{ env = {} }}   # the secret is in this environment variable", quoted(name))
            }
            Some(Proof::Certificate { key, certificate }) => format!(
                "private_key = {{ file = {} }}   # for deputy's user alone (chmod 600)\ncertificate = {{ file = {} }}   # as uploaded in the console",
                quoted(key),
                quoted(certificate)
            ),
            Some(Proof::Assertion(path)) => {
                format!(
                    "assertion = {{ file = {} }}   # a token that somebody renews, trusted as a federated credential",
                    quoted(path)
                )
            }
            Some(Proof::ManagedIdentity(id)) => {
                format!(
                    "managed_identity = {}   # client id of the user-assigned identity, trusted as a federated credential",
                    quoted(id)
                )
            }
        }
    }

    fn text(&self, credential: &str) -> String {
        let mut text = String::new();
        let mut line = |line: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{line}");
        };
        line(
            "# deputy: sign-in for MCP servers. `deputy check` says what this means and tries it out; `deputy serve --help` explains every key.",
        );
        line("");
        line("# Where people and clients reach deputy, without a path. TLS ends in front of deputy.");
        line(&format!("public_url = {}", quoted(&self.public_url)));
        line("# listen = \"127.0.0.1:8000\"      # where deputy listens");
        line("# data_dir = \"deputy-data\"       # the database and the master key: back it up, and keep it from others");
        line("");
        line("[idp]");
        line(&format!("provider = {}", quoted(&self.provider)));
        for (blank, value) in &self.blanks {
            let written = blank.line.as_ref().map(|line| line.replace("{}", &quoted(value)));
            line(&written.unwrap_or_else(|| format!("{} = {}", blank.key, quoted(value))));
        }
        line(&format!("# Registered there with the redirect URI {}/callback", self.public_url));
        line(&format!("client_id = {}", quoted(&self.client_id)));
        line(credential);
        line("");
        line(
            "# Who may come in: \"domain:example.com\", \"email:…\", \"group:…\", \"role:…\", \"subject:…\"; \"*\" is whoever the provider signs in.",
        );
        if self.allow.is_empty() {
            line("# Without a rule these are the people of the tenant.");
            line("# [access]");
            line("# allow = [\"group:11111111-2222-3333-4444-555555555555\"]");
        } else {
            line("[access]");
            line(&format!("allow = [{}]", self.allow.iter().map(|rule| quoted(rule)).collect::<Vec<_>>().join(", ")));
        }
        line("");
        line("# An MCP server to protect; add more with further [[server]]. It must be reachable through deputy only.");
        line("[[server]]");
        line(&format!(
            "path = {}   # people give {}{} to their client",
            quoted(&self.server_path),
            self.public_url,
            self.server_path
        ));
        line(&format!("url = {}", quoted(&self.server_url)));
        line(&format!("name = {}   # on the consent page", quoted(&self.server_name)));
        text
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
