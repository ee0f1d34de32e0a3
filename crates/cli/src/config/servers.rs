//! `[[server]]`: the MCP servers to protect.

use std::collections::HashSet;
use std::path::Path;

use deputy_protocol::IdpName;
use deputy_protocol::claims::Authority;
use deputy_protocol::scope::{Scope, Scopes};
use deputy_server::ServerConfig;
use deputy_server::config::BackendCredential;

use super::file::Server;
use super::place::{Located, Place};
use super::{Env, Problem, calls, idp, secret, urls};

/// What the rest of the configuration says that a server is read with.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) idps: &'a [(IdpName, Authority)],
    pub(super) base: &'a Path,
    pub(super) env: Env<'a>,
}

/// Reads every one.
pub(super) fn servers(raw: &[Server], known: Known<'_>) -> Result<Vec<ServerConfig>, Problem> {
    if raw.is_empty() {
        let text =
            "there is no MCP server to protect. Add: [[server]] with path = \"/mcp\" and url = \"http://127.0.0.1:9000/mcp\".";
        return Err(Problem::new(&Place::File, text));
    }
    let mut seen = HashSet::new();
    raw.iter().map(|server| one_server(server, known, &mut seen)).collect()
}

fn one_server<'a>(server: &'a Server, known: Known<'_>, seen: &mut HashSet<&'a str>) -> Result<ServerConfig, Problem> {
    let path = server.path.value.as_str();
    let problem = |text: String| Problem::new(&server.path.place, text);
    let plain = |segment: &str| {
        let unreserved = segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        unreserved && !matches!(segment, "" | "." | "..")
    };
    if !path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain)) {
        let text = format!(
            "path {path:?} must begin with / and consist of letters, digits and - . _ ~ between single slashes, like \"/mcp\" or \"/team/wiki\"."
        );
        return Err(problem(text));
    }
    if is_ours(path) {
        return Err(problem(format!("path \"{path}\" is one of deputy's own addresses. Choose another, like \"/mcp\".")));
    }
    if !seen.insert(path) {
        return Err(problem(format!("path \"{path}\" is used by two servers. Each needs its own.")));
    }
    let name = match &server.name {
        Some(name) if name.value.trim().is_empty() => {
            return Err(Problem::new(&name.place, "name is empty. It is what people read on the consent page."));
        }
        Some(name) if name.value.chars().count() > 100 => {
            return Err(Problem::new(&name.place, "name is longer than 100 characters."));
        }
        Some(name) => name.value.trim().to_owned(),
        None => path.trim_start_matches('/').to_owned(),
    };
    let scopes = server_scopes(server.scopes.as_ref())?;
    Ok(ServerConfig {
        path: path.to_owned(),
        url: urls::backend(&server.url)?,
        name,
        calls: calls::calls(server, &scopes, known.idps)?,
        scopes,
        credential: credential(server, known)?,
        on_behalf_of: idp::on_behalf_of(server.on_behalf_of.as_ref())?,
    })
}

/// How the server is told who is calling.
fn credential(server: &Server, known: Known<'_>) -> Result<BackendCredential, Problem> {
    let word = server.credential.as_ref().map_or("headers", |word| word.value.as_str());
    match (word, &server.bearer, &server.credential) {
        ("static", Some(bearer), _) => {
            let advice = "Write the token there that the MCP server wants.";
            secret::fetch(bearer, known.base, known.env, advice).map(BackendCredential::Static)
        }
        ("static", None, Some(word)) => {
            let text = "credential = \"static\" needs the token: bearer = { file = \"…\" } or { env = \"…\" }.";
            Err(Problem::new(&word.place, text))
        }
        (_, Some(bearer), _) => Err(Problem::new(&bearer.place, "bearer goes with credential = \"static\" alone.")),
        ("headers", ..) => Ok(BackendCredential::Headers),
        ("assertion", ..) => Ok(BackendCredential::Assertion),
        ("none", ..) => Ok(BackendCredential::None),
        (.., word) => {
            let place = word.as_ref().map_or(&Place::File, |word| &word.place);
            let text = "credential is how the MCP server is told who is calling: \"headers\" (the default), \"assertion\" (a JWT of ours as \
                        bearer token), \"static\" (headers, and one bearer token for all) or \"none\".";
            Err(Problem::new(place, text))
        }
    }
}

/// Whether deputy answers at this path itself, or below it.
fn is_ours(path: &str) -> bool {
    let first = |path: &str| path.split('/').nth(1).map(str::to_owned);
    deputy_server::routes::ROUTES.iter().any(|route| first(route.path) == first(path))
}

fn server_scopes(raw: Option<&Located<Vec<String>>>) -> Result<Scopes, Problem> {
    let defaults = ["mcp".to_owned()];
    let (listed, place) = raw.map_or((defaults.as_slice(), &Place::File), |raw| (raw.value.as_slice(), &raw.place));
    let parsed: Result<Scopes, _> = listed.iter().map(|scope| Scope::parse(scope)).collect();
    let scopes = parsed.map_err(|_| {
        Problem::new(
            place,
            "scopes must be words without spaces, quotes and backslashes, each its own entry: [\"read\", \"write\"].",
        )
    })?;
    if scopes.is_empty() {
        return Err(Problem::new(place, "scopes is empty. Leave it out for [\"mcp\"]."));
    }
    Ok(scopes)
}
