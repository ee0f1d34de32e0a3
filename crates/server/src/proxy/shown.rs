//! Leaving out of `tools/list` what somebody may not call (A-216). That is a courtesy to people and their models: what may be called is
//! judged at the call (A-215).
//!
//! Every answer of a server with `hide_denied` goes through here, whatever was asked: a list may come in an event stream, late, or be sent
//! again when a stream is taken up. What cannot be read does not pass, so that nobody reads there what we did not.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::Body;
use bytes::{Buf as _, Bytes};
use deputy_protocol::Reason;
use deputy_protocol::mcp::rules::CallRules;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{refusal, response};

/// The longest document or event that is read, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// What one person is shown.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) rules: Arc<CallRules>,
    pub(super) criteria: Vec<String>,
}

/// An answer, without what is not shown.
struct Filtered {
    answer: Body,
    shown: Shown,
    /// What came and is not yet a whole document or event.
    kept: Vec<u8>,
    events: bool,
    ends: Ends,
    ended: bool,
}

impl Filtered {
    fn new(answer: Body, shown: Shown, events: bool) -> Self {
        Self { answer, shown, kept: Vec::new(), events, ends: Ends::default(), ended: false }
    }

    /// What of the bytes that came can be passed on.
    fn ready(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.events {
            while let Some(length) = self.ends.next(&self.kept) {
                let rest = self.kept.split_off(length);
                let event = std::mem::replace(&mut self.kept, rest);
                out.extend(self.shown.event(&event).unwrap_or_default());
            }
        } else if self.ended {
            out = self.shown.document(&std::mem::take(&mut self.kept)).unwrap_or_default();
        }
        out
    }
}

impl HttpBody for Filtered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        while !this.ended {
            match ready!(Pin::new(&mut this.answer).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(mut data) = frame.into_data() else { continue };
                    if this.kept.len() + data.remaining() > LONGEST {
                        this.ended = true;
                        return Poll::Ready(Some(Err(Reason::BackendResponseType.into())));
                    }
                    this.kept.extend_from_slice(&data);
                    data.advance(data.len());
                }
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => this.ended = true,
            }
            let out = this.ready();
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
        // The beginning of an event that did not end is none (HTML, "Interpreting an event stream").
        Poll::Ready(None)
    }
}

impl Shown {
    /// A JSON document, or nothing.
    fn document(&self, text: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(text).ok()?;
        if text.trim_start().starts_with('[') {
            let all: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let all: Option<Vec<_>> = all.into_iter().map(|one| self.message(one.get())).collect();
            return serde_json::to_vec(&all?).ok();
        }
        self.message(text).map(|message| message.get().as_bytes().to_vec())
    }

    /// One message, written anew: two members of one name would be read differently by different readers.
    fn message(&self, text: &str) -> Option<Box<RawValue>> {
        let mut message: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
        if let Some(result) = message.get("result").filter(|result| result.get().starts_with('{')) {
            let mut result: BTreeMap<String, Box<RawValue>> = serde_json::from_str(result.get()).ok()?;
            if let Some(tools) = result.get("tools") {
                let mut tools: Vec<Box<RawValue>> = serde_json::from_str(tools.get()).ok()?;
                tools.retain(|tool| self.tool(tool.get()));
                result.insert("tools".to_owned(), to_raw_value(&tools).ok()?);
            }
            message.insert("result".to_owned(), to_raw_value(&result).ok()?);
        }
        to_raw_value(&message).ok()
    }

    fn tool(&self, text: &str) -> bool {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        // A name that stands twice is an error to serde, and so is none.
        serde_json::from_str::<Named>(text).is_ok_and(|tool| self.rules.shows(&tool.name, &self.criteria))
    }

    /// An event with the line that ends it, or nothing.
    fn event(&self, event: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(event).ok()?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (mut out, mut data) = (String::new(), None::<String>);
        for line in text.replace("\r\n", "\n").split(['\n', '\r']).filter(|line| !line.is_empty()) {
            match line.strip_prefix("data").and_then(|rest| if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':') }) {
                Some(value) => {
                    let data = data.get_or_insert_default();
                    data.push_str(value.strip_prefix(' ').unwrap_or(value));
                    data.push('\n');
                }
                None => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        if out.is_empty() && data.is_none() {
            return None;
        }
        if let Some(data) = data {
            // The first event of a stream that can be taken up has an id and no message.
            let document = if data.trim().is_empty() { Vec::new() } else { self.document(data.as_bytes())? };
            // Written anew, a document has no line breaks but those within the white space of a value as it came.
            for line in String::from_utf8(document).ok()?.split(['\n', '\r']) {
                out.push_str("data: ");
                out.push_str(line);
                out.push('\n');
            }
        }
        out.push('\n');
        Some(out.into_bytes())
    }
}

/// Finds where events end; bytes that were looked at are not looked at again.
#[derive(Debug, Default)]
struct Ends {
    at: usize,
    /// Whether the line there has begun.
    in_line: bool,
}

impl Ends {
    /// How long the first whole event is, with the empty line that ends it.
    fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(byte) = bytes.get(self.at) {
            let end = match (byte, bytes.get(self.at + 1)) {
                (b'\r', Some(b'\n')) => 2,
                // It may be half of a line's end.
                (b'\r', None) if self.in_line => return None,
                (b'\r' | b'\n', _) => 1,
                _ => 0,
            };
            self.at += end.max(1);
            if end > 0 && !self.in_line {
                return Some(std::mem::take(self).at);
            }
            self.in_line = end == 0;
        }
        None
    }
}

/// The answer, without what is not shown.
pub(super) fn filtered(answer: Response<Body>, shown: Shown) -> Response<Body> {
    if answer.headers().contains_key(CONTENT_ENCODING) {
        return refusal::response(StatusCode::BAD_GATEWAY, Reason::BackendResponseType);
    }
    let events = answer.headers().get(CONTENT_TYPE).is_some_and(|of| *of == response::EVENT_STREAM);
    answer.map(|body| if body.is_end_stream() { body } else { Body::new(Filtered::new(body, shown, events)) })
}

#[cfg(test)]
mod tests {
    use deputy_protocol::mcp::rules::{CallRule, Otherwise, Pattern, Then};
    use http_body_util::BodyExt as _;

    use super::*;

    fn shown() -> Shown {
        let rule = CallRule {
            methods: vec![Pattern::new("tools/call")],
            names: vec![Pattern::new("secret*")],
            people: Vec::new(),
            then: Then::Deny,
        };
        let rules = CallRules { rules: vec![rule], otherwise: Otherwise::Allow, hides: true };
        Shown { rules: Arc::new(rules), criteria: Vec::new() }
    }

    /// What comes out when the bytes arrive in pieces of this size.
    fn passed(bytes: &[u8], events: bool, piece: usize) -> String {
        let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok::<_, BoxError>(piece.to_vec())).collect();
        let body = Filtered::new(Body::from_stream(futures_util::stream::iter(pieces)), shown(), events);
        let whole = futures_util::FutureExt::now_or_never(body.collect()).unwrap().unwrap().to_bytes();
        String::from_utf8(whole.to_vec()).unwrap()
    }

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"c","tools":[{"name":"open","x":1.50},{"name":"secret_a"},{"x":1},{"name":"secret","name":"open"},7]}}"#;
    const LEFT: &str = r#"{"id":1,"jsonrpc":"2.0","result":{"nextCursor":"c","tools":[{"name":"open","x":1.50}]}}"#;

    #[test]
    fn a_216_a_list_holds_what_may_be_called() {
        assert_eq!(passed(LIST.as_bytes(), false, 7), LEFT);
        assert_eq!(passed(format!("[{LIST},{LIST}]").as_bytes(), false, 1000), format!("[{LEFT},{LEFT}]"));
        let twice = r#"{"id":1,"result":{"tools":[{"name":"secret"}]},"result":{"tools":[]}}"#;
        assert_eq!(passed(twice.as_bytes(), false, 1000), r#"{"id":1,"result":{"tools":[]}}"#);
        for bad in ["<html>secret", r#"{"result":{"tools":{"name":"secret"}}}"#, "{", ""] {
            assert_eq!(passed(bad.as_bytes(), false, 1000), "", "{bad}");
        }
        let other = r#"{"id":1,"result":{"content":[{"text":"secret"}]}}"#;
        assert_eq!(passed(other.as_bytes(), false, 1000), other);
    }

    #[test]
    fn a_216_so_does_one_in_events_however_they_are_written() {
        let event = |data: &str| format!("id: 7\ndata: {data}\n\n");
        let split = LIST.replacen(',', ",\ndata: ", 1);
        for end in ["\n", "\r\n", "\r"] {
            let stream =
                format!(": hello\n\nid: 0\ndata:\n\n\u{feff}id: 7\ndata: {LIST}\n\nid: 7\ndata:{split}\n\n").replace('\n', end);
            for piece in [1, 5, 10_000] {
                let expected = format!(": hello\n\nid: 0\ndata: \n\n{0}{0}", event(LEFT));
                assert_eq!(passed(stream.as_bytes(), true, piece), expected, "{end:?} {piece}");
            }
        }
        let undecodable = format!("data: {LIST} {LIST}\n\ndata: \"\\u00\n\ndata: {LIST}");
        assert_eq!(passed(undecodable.as_bytes(), true, 10_000), "");
        assert_eq!(passed(b"data: \xff\n\n: still here\n\n", true, 10_000), ": still here\n\n");
    }
}
