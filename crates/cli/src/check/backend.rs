//! An MCP server behind the gateway.

use deputy_server::ServerConfig;
use deputy_server::config::BackendCredential;
use deputy_server::trial::{self, BackendTrial};

use super::{Code, Finding, Level};

pub(super) async fn tried(server: &ServerConfig) -> Option<Finding> {
    Some(read(server, trial::backend(&server.url).await))
}

const fn brings_a_token(credential: &BackendCredential) -> bool {
    matches!(credential, BackendCredential::Assertion | BackendCredential::Static(_))
}

/// What a trial means.
pub(super) fn read(server: &ServerConfig, said: Result<BackendTrial, String>) -> Finding {
    let found = |level, text: String| Finding::new(Code::Backend, level, format!("server {}", server.path), text);
    // The address may hold a credential in its query.
    let host = server.url.host_str().unwrap_or_default();
    let port = server.url.port_or_known_default().unwrap_or_default();
    match said {
        Ok(BackendTrial::Mcp(version)) => found(Level::Ok, format!("{host}:{port} speaks MCP {version}.")),
        Ok(BackendTrial::WantsCredentials(status)) if !server.on_behalf_of.is_empty() => {
            found(Level::Ok, format!("{host}:{port} wants a token ({status}), which on_behalf_of gets for it."))
        }
        Ok(BackendTrial::WantsCredentials(status)) if brings_a_token(&server.credential) => {
            found(Level::Ok, format!("{host}:{port} wants a token ({status}), and credential says which."))
        }
        Ok(BackendTrial::WantsCredentials(status)) => {
            found(Level::Error, format!("{host}:{port} wants credentials of its own (status {status}), which the gateway does not have.")).so(
                "Take the MCP server's own authentication out: it must be reachable through deputy only, and reads who is calling in x-deputy-subject. Or let it \
                 check our tokens: credential = \"assertion\" in [[server]].",
            )
        }
        Ok(BackendTrial::Other(status)) => {
            found(Level::Error, format!("{host}:{port} answered an MCP greeting with status {status}, and not as an MCP server."))
                .so("Is url the whole address of its streamable HTTP endpoint, path included, such as http://127.0.0.1:9000/mcp?")
        }
        Err(why) => found(Level::Error, format!("{host}:{port} cannot be reached: {why}."))
            .so("Start the MCP server, or correct url. deputy itself starts without it, and answers 502."),
    }
}
