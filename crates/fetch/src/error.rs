//! What went wrong, and whether the request may have arrived.

/// Why a request gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection; nothing was sent.
    #[error("cannot reach {host}: {why}")]
    Unreachable {
        /// Who was asked.
        host: String,
        /// What the connection says.
        why: String,
    },
    /// The connection broke before the answer was complete.
    #[error("{host} gave no full answer: {why}")]
    Broken {
        /// Who was asked.
        host: String,
        /// What the connection says.
        why: String,
    },
    /// The deadline passed.
    #[error("{host} did not answer within {seconds} s")]
    TimedOut {
        /// Who was asked.
        host: String,
        /// The deadline.
        seconds: u64,
        /// Whether there was a connection that may have carried the request.
        sent: bool,
    },
    /// The answer is larger than the limit.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// Who was asked.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// The host is not public: whoever named it has no business there. Nothing was sent.
    #[error("{host} is not a public address")]
    NotPublic {
        /// Who was to be asked.
        host: String,
    },
    /// Too many requests are under way. Nothing was sent.
    #[error("too many requests are under way, or too many to {host}")]
    Busy {
        /// Who was to be asked.
        host: String,
    },
    /// The answer is compressed.
    #[error("the answer of {host} is encoded, which was not asked for")]
    Encoded {
        /// Who was asked.
        host: String,
    },
    /// The machine's certificates cannot be read.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
}

impl FetchError {
    /// Whether the request may have arrived: `false` only when it certainly did not, so that it can be sent again (I9).
    #[must_use]
    pub fn was_sent(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotPublic { .. } | Self::Busy { .. } | Self::Setup(_) => false,
            Self::Broken { .. } | Self::TooLarge { .. } | Self::Encoded { .. } => true,
            Self::TimedOut { sent, .. } => *sent,
        }
    }
}
