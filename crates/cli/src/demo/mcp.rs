//! The MCP server of the demo: a plain backend that knows nothing of OAuth and takes the gateway's word for who is calling.
//!
//! - Nothing outlives the process, and everything held is bounded (I10): people, notes, lengths, bodies; there are no MCP sessions.
//! - Notes belong to the subject the gateway names; one person never sees another's (I6).
//! - A page in a browser cannot call it: foreign `Host` and every `Origin` are refused. Another program on this machine can, and could
//!   even write the identity headers itself: a backend has to be reachable by its gateway only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use http::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use rmcp::handler::server::common::schema_for_output;
use rmcp::handler::server::tool::{Extension, ToolRouter};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ProgressNotificationParam, ServerCapabilities, ServerConfig};
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const MAX_PEOPLE: usize = 100;
const MAX_NOTES: usize = 50;
const MAX_NOTE_CHARS: usize = 500;
const MAX_SUBJECT_BYTES: usize = 1024;
const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_COUNT: u32 = 10;
const COUNT_STEP: Duration = Duration::from_millis(300);

const INSTRUCTIONS: &str = "The demo server behind deputy. Call `whoami` to see who the gateway says you are and which client is acting \
    for you; `notes_add` and `notes_list` keep notes per person; `count` streams its progress.";

/// `/mcp`, for every protocol version that rmcp speaks. No sessions: a plain answer is JSON, an answer with progress is an event stream.
pub(super) fn router() -> Router {
    let notes = Arc::new(Notes::default());
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MAX_BODY_BYTES)
        .enforce_origin_validation();
    let factory = move || Ok(DemoServer { tools: DemoServer::tool_router(), notes: Arc::clone(&notes) });
    let service = StreamableHttpService::new(factory, Arc::new(NeverSessionManager::default()), config);
    Router::new().route_service("/mcp", service)
}

struct DemoServer {
    tools: ToolRouter<Self>,
    notes: Arc<Notes>,
}

#[derive(Deserialize, JsonSchema)]
struct Message {
    /// What to send back.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct NewNote {
    /// At most 500 characters.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct CountTo {
    /// From 1 to 10.
    n: u32,
}

#[tool_router]
impl DemoServer {
    #[tool(
        description = "Who you are, as the gateway told this server: person, e-mail, client and scopes.",
        output_schema = schema_for_output::<Caller>(),
        annotations(read_only_hint = true)
    )]
    async fn whoami(&self, Extension(parts): Extension<Parts>) -> CallToolResult {
        let caller = Caller::from_headers(&parts.headers);
        let mut result = CallToolResult::success(vec![ContentBlock::text(caller.to_string())]);
        result.structured_content = serde_json::to_value(&caller).ok();
        result
    }

    #[tool(description = "The time now, in UTC.", annotations(read_only_hint = true))]
    async fn time(&self) -> Result<String, String> {
        OffsetDateTime::now_utc().format(&Rfc3339).map_err(|error| error.to_string())
    }

    #[tool(description = "Sends the text back.", annotations(read_only_hint = true))]
    async fn echo(&self, Parameters(Message { text }): Parameters<Message>) -> String {
        text
    }

    #[tool(description = "Keeps a note for you until the demo ends.")]
    async fn notes_add(
        &self,
        Extension(parts): Extension<Parts>,
        Parameters(NewNote { text }): Parameters<NewNote>,
    ) -> Result<String, String> {
        let kept = self.notes.add(subject(&parts.headers)?, text)?;
        Ok(format!("Kept. You have {kept} of {MAX_NOTES} notes."))
    }

    #[tool(description = "Your notes, and nobody else's.", annotations(read_only_hint = true))]
    async fn notes_list(&self, Extension(parts): Extension<Parts>) -> Result<String, String> {
        let notes = self.notes.of(&subject(&parts.headers)?);
        if notes.is_empty() {
            return Ok("You have no notes.".to_owned());
        }
        Ok(notes.iter().enumerate().map(|(i, note)| format!("{}. {note}", i + 1)).collect::<Vec<_>>().join("\n"))
    }

    #[tool(
        description = "Counts to n, one step every 300 ms, and reports progress when the call carries a progress token.",
        annotations(read_only_hint = true)
    )]
    async fn count(
        &self,
        context: RequestContext<RoleServer>,
        Parameters(CountTo { n }): Parameters<CountTo>,
    ) -> Result<String, String> {
        if !(1..=MAX_COUNT).contains(&n) {
            return Err("n must be from 1 to 10.".to_owned());
        }
        let token = context.meta.get_progress_token();
        for step in 1..=n {
            tokio::select! {
                () = context.ct.cancelled() => return Err("Cancelled.".to_owned()),
                () = tokio::time::sleep(COUNT_STEP) => {}
            }
            if let Some(token) = token.clone() {
                let progress = ProgressNotificationParam::new(token, f64::from(step));
                let progress = progress.with_total(f64::from(n)).with_message(format!("{step} of {n}"));
                // Nobody listens any more when this fails; there is nothing to save.
                if context.peer.notify_progress(progress).await.is_err() {
                    return Err("The client went away.".to_owned());
                }
            }
        }
        Ok(format!("Counted to {n}."))
    }
}

#[tool_handler(router = self.tools)]
impl ServerHandler for DemoServer {
    fn get_info(&self) -> ServerConfig {
        let server = Implementation::new("deputy-demo", env!("CARGO_PKG_VERSION")).with_title("deputy demo");
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities).with_server_info(server).with_instructions(INSTRUCTIONS)
    }
}

/// Who is calling, as the gateway's headers say (PX-17).
#[derive(Debug, Serialize, JsonSchema)]
struct Caller {
    /// Whether the call came through the gateway.
    signed_in: bool,
    subject: Option<String>,
    name: Option<String>,
    email: Option<String>,
    client_id: Option<String>,
    client_name: Option<String>,
    scopes: Vec<String>,
}

impl Caller {
    fn from_headers(headers: &HeaderMap) -> Self {
        let subject = said(headers, "x-deputy-subject");
        let scopes = said(headers, "x-deputy-scope").unwrap_or_default();
        Self {
            signed_in: subject.is_some(),
            subject,
            name: said(headers, "x-deputy-name"),
            email: said(headers, "x-deputy-email"),
            client_id: said(headers, "x-deputy-client"),
            client_name: said(headers, "x-deputy-client-name"),
            scopes: scopes.split_whitespace().map(ToOwned::to_owned).collect(),
        }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(subject) = &self.subject else {
            return f.write_str(NOBODY);
        };
        let absent = "(not given)";
        let or_absent = |value: &Option<String>| value.clone().unwrap_or_else(|| absent.to_owned());
        let client = self.client_name.as_ref().or(self.client_id.as_ref()).map_or(absent, String::as_str);
        let scopes = if self.scopes.is_empty() { absent.to_owned() } else { self.scopes.join(" ") };
        writeln!(f, "You are {}.", or_absent(&self.name))?;
        writeln!(f, "E-mail: {}", or_absent(&self.email))?;
        writeln!(f, "Subject: {subject}")?;
        writeln!(f, "Client acting for you: {client}")?;
        write!(f, "Scopes: {scopes}")
    }
}

const NOBODY: &str = "Nobody is signed in: this call carries no identity headers, so it reached the server around the gateway.";

fn subject(headers: &HeaderMap) -> Result<String, &'static str> {
    said(headers, "x-deputy-subject").ok_or(NOBODY)
}

/// What one identity header says. The gateway writes each once; one that stands twice or does not decode is not the gateway's.
fn said(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let text = percent_decode_str(value.to_str().ok()?).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

/// Notes by subject.
#[derive(Default)]
struct Notes(Mutex<HashMap<String, Vec<String>>>);

impl Notes {
    /// Keeps a note and says how many there are now.
    fn add(&self, subject: String, text: String) -> Result<usize, &'static str> {
        if text.is_empty() || text.chars().count() > MAX_NOTE_CHARS {
            return Err("A note has 1 to 500 characters.");
        }
        let mut people = self.lock();
        let known = people.contains_key(&subject);
        if !known && (people.len() >= MAX_PEOPLE || subject.len() > MAX_SUBJECT_BYTES) {
            return Err("No room for another person's notes.");
        }
        let notes = people.entry(subject).or_default();
        if notes.len() >= MAX_NOTES {
            return Err("You have 50 notes; there is no room for more.");
        }
        notes.push(text);
        Ok(notes.len())
    }

    fn of(&self, subject: &str) -> Vec<String> {
        self.lock().get(subject).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire;
