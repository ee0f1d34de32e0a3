//! What the visitors asked and what came back: the only thing that the checker reads.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::visitor::Answer;

/// Stands for a secret: equal ones have equal marks, and it can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(pub u64);

impl Mark {
    pub fn of(secret: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        secret.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A sign-in with the person's consent, up to the code.
    Approve,
    /// A code for tokens.
    Redeem(Mark),
    /// A refresh token for its successor.
    Refresh(Mark),
    /// The end of a family, by its refresh token.
    Revoke(Mark),
    /// A call to the protected server.
    Call(Mark),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request was sent and no complete answer came: it may have been taken.
    Lost,
    /// A code.
    Code(Mark),
    /// An access token, how long it was promised to live, and a refresh token.
    Tokens { access: Mark, lives: Duration, refresh: Mark },
    /// Something else. `refused`: it is the OAuth error `invalid_grant` or `invalid_client`.
    Status { status: u16, retry_after: bool, refused: bool },
}

/// One request, when it was sent and when its answer was complete (or given up), counted from the start of the run.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The process that was asked.
    pub replica: usize,
    pub sent: Duration,
    pub done: Duration,
    pub ask: Ask,
    pub outcome: Outcome,
    /// Whether an earlier try of the same thing may have been taken: its answer was lost, or was an outage.
    pub again: bool,
}

impl Outcome {
    /// Reads an answer to `ask`.
    pub fn of(ask: Ask, answer: Option<&Answer>) -> Self {
        let Some(answer) = answer else { return Self::Lost };
        let body: serde_json::Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let text = |name: &str| body[name].as_str().map(Mark::of);
        if let (200, Ask::Redeem(_) | Ask::Refresh(_), Some(access), Some(refresh)) =
            (answer.status, ask, text("access_token"), text("refresh_token"))
        {
            return Self::Tokens { access, refresh, lives: Duration::from_secs(body["expires_in"].as_u64().unwrap_or(0)) };
        }
        let refused = matches!(body["error"].as_str(), Some("invalid_grant" | "invalid_client"));
        Self::Status { status: answer.status, retry_after: answer.headers.contains_key("retry-after"), refused }
    }

    /// Whether the request may have been taken although nobody was told so.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Lost | Self::Status { status: 503, .. })
    }
}

/// The log of a run.
#[derive(Debug)]
pub struct Log {
    began: Instant,
    events: Mutex<Vec<Event>>,
}

impl Log {
    pub fn new() -> Self {
        Self { began: Instant::now(), events: Mutex::default() }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn add(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    /// Everything, in the order of sending.
    pub fn events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap().clone();
        events.sort_by_key(|event| event.sent);
        events
    }
}

/// What others saw who were there.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    /// How often the provider saw each of its refresh tokens.
    pub provider: HashMap<String, usize>,
    /// How many requests reached the protected server.
    pub backend: usize,
    /// What the processes said on stderr.
    pub said: Vec<String>,
}
