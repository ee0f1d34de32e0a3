//! The changes that there are. Each is atomic, and conditional on what was judged before it.

use std::fmt;
use std::time::Duration;

use deputy_protocol::claims::Memberships;
use deputy_protocol::client::assertion::Assertion;
use deputy_protocol::family::{Generation, Grant, Line};
use deputy_protocol::ids::{GrantId, TransactionId};
use deputy_protocol::pkce::Challenge;
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::remember::Memory;
use deputy_protocol::secret::{AuthorizationCode, Digest};
use deputy_protocol::{Reason, Timestamp};

use super::SealedKey;

/// A change of the state.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Ends a transaction in a grant, unless it ended before.
    Complete(Box<Completed>),
    /// Uses a code, unless it is not as it was judged, or its client's assertion was used.
    UseCode(Box<UseCode>),
    /// Replaces a grant's refresh tokens, unless they are not as they were judged, or their client's assertion was used.
    ReplaceLine(Box<ReplaceLine>),
    /// Revokes a grant with all its tokens, unless it was revoked before.
    Revoke(Revoke),
    /// Notes that the provider is about to be asked, unless somebody is asking.
    Ask(Ask),
    /// Writes what the provider said, unless the question was another.
    Hear(Box<Heard>),
    /// Forgets every remembered decision: people are asked again.
    ForgetDecisions,
    /// Adds a signing key, unless there is one.
    AddFirstSigningKey(SealedKey),
    /// Adds another signing key.
    AddSigningKey(SealedKey),
    /// Forgets a signing key.
    ForgetSigningKey(String),
    /// Forgets some of what has ended. Whether there was anything.
    Sweep(Sweep),
    /// Forgets a grant whose refresh tokens have all ended.
    ForgetIdle(GrantId, Timestamp),
}

/// All that one completed sign-in writes, at once.
#[derive(Clone, Debug)]
pub(crate) struct Completed {
    /// The transaction, used up by this.
    pub(crate) transaction: TransactionId,
    /// When its id may be forgotten.
    pub(crate) transaction_ends: Timestamp,
    /// The grant.
    pub(crate) grant: Grant,
    /// The provider's tokens, sealed.
    pub(crate) idp_tokens: String,
    /// Whether the provider can be asked again with them.
    pub(crate) renewable: bool,
    /// The code's digest.
    pub(crate) code: Digest<AuthorizationCode>,
    /// Where the code was sent.
    pub(crate) redirect_uri: RedirectUri,
    /// What the client must prove.
    pub(crate) challenge: Challenge,
    /// Whether a refresh token comes with it.
    pub(crate) refresh: bool,
    /// When the code ends.
    pub(crate) code_ends: Timestamp,
    /// The decision, if it is to be remembered.
    pub(crate) memory: Option<Memory>,
}

/// The use of a code.
#[derive(Clone, Debug)]
pub(crate) struct UseCode {
    /// The code.
    pub(crate) code: Digest<AuthorizationCode>,
    /// Its grant.
    pub(crate) grant: GrantId,
    /// When it had been used, as judged.
    pub(crate) judged_used_at: Option<Timestamp>,
    /// When its grant had been revoked, as judged.
    pub(crate) judged_revoked_at: Option<Timestamp>,
    /// When it is used.
    pub(crate) now: Timestamp,
    /// The refresh tokens that begin with it.
    pub(crate) line: Option<Line>,
    /// What its client proved itself with, used up by this.
    pub(crate) assertion: Option<Assertion>,
}

/// The replacement of a refresh token.
#[derive(Clone, Debug)]
pub(crate) struct ReplaceLine {
    /// The grant.
    pub(crate) grant: GrantId,
    /// The living token's generation, as judged.
    pub(crate) judged: Generation,
    /// When the grant had been revoked, as judged.
    pub(crate) judged_revoked_at: Option<Timestamp>,
    /// What comes in its place.
    pub(crate) line: Line,
    /// What its client proved itself with, used up by this.
    pub(crate) assertion: Option<Assertion>,
}

/// The revocation of a grant.
#[derive(Clone, Debug)]
pub(crate) struct Revoke {
    /// The grant.
    pub(crate) grant: GrantId,
    /// Why.
    pub(crate) why: Reason,
    /// When.
    pub(crate) now: Timestamp,
}

/// Names one attempt to ask the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttemptId(String);

impl AttemptId {
    /// Makes a name from 128 random bits.
    pub(crate) fn new(random: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(random)))
    }

    /// Takes a name from a row.
    pub(crate) fn from_stored(raw: String) -> Self {
        Self(raw)
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The note that the provider is about to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// About whose grant.
    pub(crate) grant: GrantId,
    /// When its person had been heard of, as judged.
    pub(crate) judged_heard_at: Timestamp,
    /// The provider's tokens that will be sent, sealed, as they were read: others that came meanwhile were not.
    pub(crate) tokens: String,
    /// This attempt.
    pub(crate) attempt: AttemptId,
    /// When.
    pub(crate) now: Timestamp,
}

/// What came of asking the provider.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// About whose grant.
    pub(crate) grant: GrantId,
    /// The attempt that was noted.
    pub(crate) attempt: AttemptId,
    /// What there is to ask with from now on, sealed; `None` leaves what there was.
    pub(crate) tokens: Option<String>,
    /// Whether the provider can be asked again with it.
    pub(crate) renewable: bool,
    /// When it vouched for the person, if it did.
    pub(crate) heard_at: Option<Timestamp>,
    /// What it says about the person today, if it said anything.
    pub(crate) person: Option<Person>,
    /// Whether the note stays, so that its attempt may still bring an answer.
    pub(crate) still_asking: bool,
}

/// What a provider says about a person.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// A verified e-mail address.
    pub(crate) email: Option<String>,
    /// The address that it says, verified or not. Without, the old one stays; one that is not verified any more does not count any more.
    pub(crate) said_email: Option<String>,
    /// The name; without, the old one stays.
    pub(crate) name: Option<String>,
    /// What the person belongs to.
    pub(crate) memberships: Memberships,
}

/// What has ended by when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// Grants that ended by then are forgotten.
    pub(crate) grants: Timestamp,
    /// Codes that ended by then are.
    pub(crate) codes: Timestamp,
    /// The names of transactions that ended by then are, and those of assertions.
    pub(crate) transactions: Timestamp,
    /// Revocations by then are.
    pub(crate) revocations: Timestamp,
    /// Signing keys that were over by then are.
    pub(crate) keys: Timestamp,
}

/// A clock that is so far ahead of the last sign-in is wrong, or nobody was here. What keeps a used or revoked thing from counting again
/// outlives it by as much.
const CLOCK_JUMP: Duration = Duration::from_secs(24 * 60 * 60);
/// A code is remembered for ten minutes after its end, so that a late replay still ends its grant.
const CODE_MEMORY: Duration = Duration::from_secs(600);

impl Sweep {
    /// What may be forgotten `now`, when somebody last signed in at `newest`. `None` when the time cannot be trusted: a machine that wakes
    /// up in another year must not forget everybody. Only sign-ins tell, because the provider's clock agreed to their time; where
    /// nobody signs in, few rows come and nothing presses.
    pub(crate) fn at(now: Timestamp, newest: Option<Timestamp>, keep_revocations: Duration) -> Option<Self> {
        let wrong = now.before(CLOCK_JUMP);
        newest.is_none_or(|newest| wrong <= newest).then(|| Self {
            grants: now,
            codes: now.before(CODE_MEMORY),
            transactions: wrong,
            revocations: wrong.before(keep_revocations),
            keys: wrong,
        })
    }
}
