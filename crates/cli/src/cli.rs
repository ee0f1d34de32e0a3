//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::parse_duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

const ABOUT: &str = "Sign-in for any MCP server that cannot be turned into a confused deputy";

const BEGIN: &str = "\
Where to begin:
  deputy demo                       everything on one machine, ready to click
  deputy init                       asks what is needed and writes deputy.toml
  deputy check -c deputy.toml       says what your configuration means, and tries it out
  deputy serve -c deputy.toml       runs the gateway

Exit codes: 0 done, 1 it could not run or check found an error, 2 the command line is wrong, 3 the configuration is wrong.";

const CONFIGURATION: &str = r#"The smallest useful deputy.toml:

  public_url = "https://mcp.example.com"      # where clients reach deputy: no path

  [idp]
  issuer = "https://login.example.com"        # any OpenID provider
  client_id = "deputy"                        # register {public_url}/callback there
  client_secret = { file = "/etc/deputy/secret" }  # or { env = "VARIABLE" }

  [access]
  allow = ["domain:example.com"]              # or email:, group:, role:, tenant:, subject:, "*"

  [[server]]
  path = "/mcp"                               # clients: https://mcp.example.com/mcp
  url = "http://127.0.0.1:9000/mcp"           # where your MCP server listens

More keys: listen ("127.0.0.1:8000"), data_dir ("deputy-data"), store ("sqlite", or
"postgres://deputy@db/deputy", or { env = "…" }), allowed_hosts, allowed_origins,
trusted_proxies ("10.0.0.0/8": whose X-Forwarded-For counts for limits);
[idp] scopes, userinfo; [access] deny (wins over allow), contact; [[server]] name, scopes;
[[scope]] name, description, grants_to, implies, idp: what one scope means and for whom; [tokens] code_lifetime, access_token_lifetime,
refresh_idle_lifetime, refresh_absolute_lifetime, refresh_grace, recheck_after,
without_recheck ("60s", "5m", "30d"); [[client]] id, name, redirect_uris, secret,
secret_sha256 or jwks, auth_method: a client that you register yourself; [clients] registration
("open", "invited", "off"), documents (true, false, or hosts), documents_proxy, documents_ca, redirects,
blocked, ids_after_rotation: who else may come; consent ("always", "remember").
Relative paths start at the directory of the file. "*" lets in whoever the provider signs in.
Secrets never stand in the file.

Environment variables replace what the file says:
  DEPUTY_PUBLIC_URL, DEPUTY_LISTEN, DEPUTY_DATA_DIR, DEPUTY_STORE, DEPUTY_IDP_ISSUER,
  DEPUTY_IDP_CLIENT_ID, DEPUTY_IDP_CLIENT_SECRET (the secret itself)"#;

/// The command line of deputy.
#[derive(Debug, Parser)]
#[command(name = "deputy", version, about = ABOUT, after_help = BEGIN, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway in front of your MCP server
    #[command(after_long_help = CONFIGURATION)]
    Serve(ConfigOptions),
    /// Try everything on this machine: a provider, an MCP server and the gateway
    Demo(DemoArgs),
    /// Run an identity provider to develop against, on this machine only: it behaves as Entra ID does, or plainly
    Devidp(crate::devidp::Options),
    /// List or rotate the keys that sign access tokens, and the master secret
    Keys(KeysArgs),
    /// List who signed in with which client, or end it, while gateways run
    Grants(GrantsArgs),
    /// Invite clients to register, where not everybody may
    Clients(ClientsArgs),
    /// Bring the tables of a PostgreSQL database up to date (SQLite's are at each start)
    Migrate(ConfigOptions),
    /// Ask what is needed, explain the provider's console, and write deputy.toml
    Init(Box<crate::init::Options>),
    /// Say what the configuration means, and try out everything that it names
    #[command(after_long_help = CONFIGURATION)]
    Check(CheckArgs),
}

/// How to look.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) options: ConfigOptions,
    /// Ask nobody: say what the configuration means
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to do with the keys.
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

/// What to do with the keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Show the keys: which one signs, which ones verify and until when; and the master secrets, by their fingerprints
    List(ConfigOptions),
    /// Make a new signing key: it is published at once and signs two minutes later; what the old one signed stays valid until it ends
    Rotate(KeysRotateArgs),
}

/// Which key is rotated, and how.
#[derive(Args, Debug)]
pub(crate) struct KeysRotateArgs {
    /// Rotate the master secret instead, in data_dir/master.key: the new one seals, the old one still opens what it sealed
    #[arg(long)]
    pub(crate) master: bool,
    /// Only add the new master secret, so that it can be brought to every gateway before one of them seals with it
    #[arg(long, requires = "master", conflicts_with = "forget_old")]
    pub(crate) prepare: bool,
    /// The old master secrets may be in wrong hands: forget them, replace the signing keys and end every grant. Everybody signs in again
    #[arg(long, requires = "master")]
    pub(crate) forget_old: bool,
    #[command(flatten)]
    pub(crate) options: ConfigOptions,
}

/// What to do about clients.
#[derive(Args, Debug)]
pub(crate) struct ClientsArgs {
    #[command(subcommand)]
    pub(crate) command: ClientsCommand,
}

/// What to do about clients.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientsCommand {
    /// Print an initial access token, with which clients register where `[clients] registration = "invited"`
    Invite(InviteArgs),
}

/// Until when clients are invited.
#[derive(Args, Debug)]
pub(crate) struct InviteArgs {
    /// How long the invitation counts, any number of times: between 1m and 366d
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = invited_for)]
    pub(crate) expires: Duration,
    #[command(flatten)]
    pub(crate) options: ConfigOptions,
}

fn invited_for(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 60 * 60);
    let lifetime = parse_duration(text).filter(|lifetime| bounds.contains(lifetime));
    lifetime.ok_or_else(|| "write a whole number with m, h or d, between 1m and 366d: 30d".to_owned())
}

/// What to do with grants.
#[derive(Args, Debug)]
pub(crate) struct GrantsArgs {
    #[command(subcommand)]
    pub(crate) command: GrantsCommand,
}

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantsCommand {
    /// Show the grants that are alive, oldest first: who, with which client, at which server, since when and until when
    List(GrantsListArgs),
    /// End grants with all their tokens; every gateway follows within 2 seconds
    Revoke(GrantsRevokeArgs),
}

/// Which grants are shown, and how.
#[derive(Args, Debug)]
pub(crate) struct GrantsListArgs {
    /// One JSON object a line, with everything that names person and client
    #[arg(long)]
    pub(crate) json: bool,
    /// Only of people whose address, name or subject contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) person: Option<String>,
    /// Only of clients whose name contains this, or whose id it is
    #[arg(long, value_name = "TEXT")]
    pub(crate) client: Option<String>,
    #[command(flatten)]
    pub(crate) options: ConfigOptions,
}

/// Which grants end.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true))]
pub(crate) struct GrantsRevokeArgs {
    /// Ids of grants, as `deputy grants list` shows them
    #[arg(value_name = "ID", group = "which")]
    pub(crate) ids: Vec<String>,
    /// All grants of one person: a whole e-mail address or subject
    #[arg(long, value_name = "WHO", group = "which")]
    pub(crate) person: Option<String>,
    /// Every grant: what to do after an old copy of the database was restored
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) options: ConfigOptions,
}

/// Where the configuration lies.
#[derive(Args, Debug)]
pub(crate) struct ConfigOptions {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "deputy.toml", env = "DEPUTY_CONFIG")]
    pub(crate) config: PathBuf,
}

/// What the demo shows.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// The port of the gateway on this machine
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// Also run a client through the whole sign-in and print each step
    #[arg(long)]
    pub(crate) call: bool,
}

/// What is logged, and how.
#[derive(Args, Debug)]
pub(crate) struct LogOptions {
    /// What to log: a level (error, warn, info, debug, trace), or levels by part such as "info,deputy_server=debug"
    #[arg(long = "log", global = true, value_name = "LEVEL", default_value = "info", env = "DEPUTY_LOG")]
    pub(crate) filter: String,
    /// How to log [default: text on a terminal, otherwise json]
    #[arg(long, global = true, value_name = "FORMAT", env = "DEPUTY_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_its_help_teaches() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        assert!(command.render_long_help().to_string().contains("deputy demo"));
        let serve = command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        assert!(Cli::try_parse_from(["deputy", "grants", "revoke"]).is_err());
        assert!(Cli::try_parse_from(["deputy", "grants", "revoke", "g_1", "--person", "a@corp.test"]).is_err());
        assert!(Cli::try_parse_from(["deputy", "grants", "revoke", "--all", "--person", "a@corp.test"]).is_err());
        assert!(Cli::try_parse_from(["deputy", "grants", "revoke", "--all"]).is_ok());
        assert!(Cli::try_parse_from(["deputy", "grants", "revoke", "g_1", "g_2"]).is_ok());
        let invites = |expires: &str| Cli::try_parse_from(["deputy", "clients", "invite", "--expires", expires]).is_ok();
        assert_eq!(["1m", "30d", "366d"].map(invites), [true; 3]);
        assert_eq!(["59s", "367d", "0d", "30", "soon", "-1d"].map(invites), [false; 6]);
        assert!(serve.contains("[[server]]") && serve.contains("DEPUTY_PUBLIC_URL"), "{serve}");
    }
}
