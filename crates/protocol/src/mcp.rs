//! What an MCP request body asks for: a strict first look at JSON-RPC, the era, and whether the headers say the same (PX-08, PX-10,
//! SEP-2243; ). For rules about methods and tools, which must judge what the backend will read.
//!
//! What this module guarantees:
//! - An accepted body has one reading. A judged member that stands twice is refused, and so is one that another reader would take for it
//!   (Go's `encoding/json` does not tell `Method` from `method`).
//! - What is not judged is skipped, not kept: memory does not grow with arguments. The size of the body is the caller's to limit.
//! - The headers alone decide nothing: they agree with the body, or the request is refused.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Number;

use crate::error::Reason;

mod read;
pub mod rules;

/// The most messages of a batch that are looked at.
const BATCH_MAX: usize = 64;
/// The first version whose headers repeat the body.
const MODERN: &str = "2026-07-28";

/// A body: one message, or several of a 2025-03-26 client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// One message.
    One(Message<'a>),
    /// A batch, never empty.
    Batch(Vec<Message<'a>>),
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has an id and wants an answer.
    Request,
    /// It has no id.
    Notification,
    /// It answers a request of the server.
    Response,
}

/// By what an answer names its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Id<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Number(Number),
}

impl Id<'_> {
    /// The same, which outlives the body.
    #[must_use]
    pub fn into_owned(self) -> Id<'static> {
        match self {
            Self::Text(text) => Id::Text(Cow::Owned(text.into_owned())),
            Self::Number(number) => Id::Number(number),
        }
    }
}

/// What is judged of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    kind: Kind,
    id: Option<Id<'a>>,
    method: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
}

/// Which rules a request follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Before 2026-07-28: sessions, and headers that say nothing about the body.
    Legacy,
    /// From 2026-07-28 on: every request stands alone, and its headers repeat the body.
    Modern,
}

/// The headers that repeat the body, each as it stands in the request, which has it at most once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// `Mcp-Method`.
    pub method: Option<&'a str>,
    /// `Mcp-Name`.
    pub name: Option<&'a str>,
}

/// Looks into a body.
///
/// # Errors
/// [`Reason::MessageMalformed`] unless it is JSON-RPC 2.0 in UTF-8 that nests at most 127 deep; [`Reason::MessageAmbiguous`] when two
/// readers could take it for different messages.
pub fn peek(body: &[u8]) -> Result<Body<'_>, Reason> {
    let text = std::str::from_utf8(body).map_err(|_| Reason::MessageMalformed)?;
    read::body(text)
}

impl<'a> Message<'a> {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its id, to be repeated in an answer of our own. A notification has none.
    #[must_use]
    pub fn id(&self) -> Option<&Id<'a>> {
        self.id.as_ref()
    }

    /// The method; a response has none.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// What a method with a name of its own acts on: the tool, the prompt, the resource's URI, the task. `None` for other methods.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The protocol version in `_meta`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// Decides the era. A body that names its version is modern; so is one that comes with a modern header, as notifications do.
///
/// # Errors
/// [`Reason::HeadersDisagree`] when header and body name different versions.
pub fn era(header: Option<&str>, message: &Message<'_>) -> Result<Era, Reason> {
    match (header, message.version()) {
        // Also of a version that nobody knows: the backend says which ones it does.
        (Some(header), Some(body)) if header == body => Ok(Era::Modern),
        (_, Some(_)) => Err(Reason::HeadersDisagree),
        (Some(header), None) if is_modern(header) => Ok(Era::Modern),
        _ => Ok(Era::Legacy),
    }
}

/// Versions are dates, and dates in this form sort as text.
fn is_modern(version: &str) -> bool {
    let digits = |range| version.get(range).is_some_and(|part: &str| part.bytes().all(|b| b.is_ascii_digit()));
    let date = version.len() == 10 && digits(0..4) && digits(5..7) && digits(8..10);
    date && version >= MODERN
}

/// Holds the headers against the message (SEP-2243). Those of legacy requests mean nothing and are not looked at.
///
/// # Errors
/// [`Reason::HeadersDisagree`] when one is missing, unreadable or says something else than the body.
pub fn agrees(headers: Headers<'_>, message: &Message<'_>) -> Result<Era, Reason> {
    let era = era(headers.version, message)?;
    if era == Era::Legacy || message.kind == Kind::Response {
        return Ok(era);
    }
    let named = headers.name.map(decoded).transpose()?;
    let carries_a_name = message.method().is_some_and(|method| named_by(method).is_some() && !SUBSCRIPTIONS.contains(&method));
    let same_name = !carries_a_name || named.as_deref() == message.name();
    if headers.method.map(trimmed) == message.method() && same_name { Ok(era) } else { Err(Reason::HeadersDisagree) }
}

/// A header's value without the white space around it (RFC 9110 §5.5).
fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// A header value as text: plain, or `=?base64?…?=` around UTF-8 (SEP-2243).
fn decoded(value: &str) -> Result<Cow<'_, str>, Reason> {
    let value = trimmed(value);
    let Some(inner) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(inner).map_err(|_| Reason::HeadersDisagree)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Reason::HeadersDisagree)
}

/// A member of `params` that says what the method acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamedBy {
    Name,
    Uri,
    Task,
}

/// They act on a resource, and are older than the headers.
const SUBSCRIPTIONS: [&str; 2] = ["resources/subscribe", "resources/unsubscribe"];

/// Where a method has its name (SEP-2243; SEP-2663 for tasks).
fn named_by(method: &str) -> Option<NamedBy> {
    match method {
        "tools/call" | "prompts/get" => Some(NamedBy::Name),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some(NamedBy::Uri),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some(NamedBy::Task),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
