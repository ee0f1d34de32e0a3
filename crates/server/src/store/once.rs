//! Single use: what a use means is judged on the state as read, and written on the condition that it is still so. When it is not, somebody
//! else was first, and the new state is judged.

use std::time::Duration;

use deputy_protocol::client::assertion::Assertion;
use deputy_protocol::family::{CheckedCode, CheckedRefresh, CodeUse, Generation, Grant, Line, LineUse, NewRefresh, Word};
use deputy_protocol::ids::GrantId;
use deputy_protocol::{Reason, Timestamp};

use super::{HeldCode, HeldGrant, ReplaceLine, Revoke, Step, Store, StoreError, StoreResult, UseCode};

/// How often a state may change under our hands. A code is used once and a grant revoked once; a refresh token is replaced once.
const TURNS: usize = 4;

/// Proof that the store gave this grant's tokens out, once. Without it none are minted.
#[derive(Debug)]
pub(crate) struct Redeemed {
    grant: Grant,
    word: Word,
}

impl Redeemed {
    /// The grant and the provider's word about its person, for the one minting that this proof allows.
    #[must_use]
    pub(crate) fn into_parts(self) -> (Grant, Word) {
        (self.grant, self.word)
    }
}

/// What became of a code.
#[derive(Debug)]
pub(crate) enum Redemption {
    /// This was its one use.
    First(Box<Redeemed>),
    /// It was used before; its grant is now revoked (AS-64).
    Replay(GrantId),
    /// Too late.
    Expired,
    /// Its grant was revoked.
    Revoked,
    /// The client's assertion was used before; the code is as it was.
    AssertionUsed,
    /// There is no such code.
    Unknown,
}

/// What became of a refresh token.
#[derive(Debug)]
pub(crate) enum Rotation<S> {
    /// It was alive; its successor is now.
    Rotated(Box<Redeemed>, S),
    /// It was used a moment ago: the same successor is due, sealed under the token.
    Replayed(Box<Redeemed>, String),
    /// It was used before, too long ago; its grant is now revoked (AS-84).
    Reused(GrantId),
    /// It or its grant has ended.
    Expired,
    /// Its grant was revoked.
    Revoked,
    /// The client's assertion was used before; the token is as it was.
    AssertionUsed,
    /// There is no such token.
    Unknown,
}

/// A refresh token's successor, ready to be written and to be given out.
#[derive(Debug)]
pub(crate) struct Successor<S> {
    /// What the store learns of it.
    pub(crate) new: NewRefresh,
    /// Sealed under the token that it replaces.
    pub(crate) sealed: String,
    /// What is given out.
    pub(crate) token: S,
}

fn contended() -> StoreError {
    StoreError::new("a row changes faster than it can be judged")
}

/// Uses a code, and begins its refresh tokens in the same step, which also uses the client's assertion up. A second use revokes the grant.
pub(crate) async fn redeem(
    store: &dyn Store,
    held: HeldCode,
    code: CheckedCode,
    first: Option<NewRefresh>,
    assertion: Option<&Assertion>,
    now: Timestamp,
) -> StoreResult<Redemption> {
    let record = code.into_record();
    let (mut held, mut assertion_used) = (Some(held), false);
    for _ in 0..TURNS {
        let Some(judged) = held else { return Ok(Redemption::Unknown) };
        let grant = record.grant.id.clone();
        match judged.state().judge(now) {
            CodeUse::First if assertion_used => return Ok(Redemption::AssertionUsed),
            CodeUse::First => {
                let step = UseCode {
                    code: record.digest.clone(),
                    grant,
                    judged_used_at: judged.used_at,
                    judged_revoked_at: judged.revoked_at,
                    now,
                    line: first.clone().map(Line::first),
                    assertion: assertion.cloned(),
                };
                if store.take(Step::UseCode(Box::new(step))).await? {
                    return Ok(Redemption::First(Box::new(Redeemed { grant: record.grant, word: judged.word })));
                }
            }
            CodeUse::Replay => {
                store.take(Step::Revoke(Revoke { grant: grant.clone(), why: Reason::CodeReplayed, now })).await?;
                return Ok(Redemption::Replay(grant));
            }
            CodeUse::Expired => return Ok(Redemption::Expired),
            CodeUse::Revoked => return Ok(Redemption::Revoked),
        }
        assertion_used = is_used(store, assertion).await?;
        held = store.code(&record.digest).await?;
    }
    Err(contended())
}

/// Whether this is why a step was not taken. Asked before the state is read again: a state that is as it was although the assertion was used
/// says that it was used for something else, and not for the same request at another replica.
async fn is_used(store: &dyn Store, assertion: Option<&Assertion>) -> StoreResult<bool> {
    match assertion {
        Some(assertion) => store.is_assertion_used(assertion).await,
        None => Ok(false),
    }
}

/// Uses a refresh token: replaces it by the successor that `make` gives for a generation, or gives the same successor again within
/// `grace`, or revokes the grant. Only what replaces it uses the client's assertion up: whose answer was lost may send the same again.
pub(crate) async fn rotate<S>(
    store: &dyn Store,
    held: HeldGrant,
    token: CheckedRefresh,
    make: impl Fn(Generation) -> Result<Successor<S>, Reason> + Send,
    grace: Duration,
    assertion: Option<&Assertion>,
    now: Timestamp,
) -> StoreResult<Rotation<S>> {
    let record = token.into_record();
    let (mut held, mut assertion_used) = (Some(held), false);
    for _ in 0..TURNS {
        let Some(judged) = held else { return Ok(Rotation::Unknown) };
        let Some(line) = &judged.line else { return Ok(Rotation::Unknown) };
        let redeemed = || Box::new(Redeemed { grant: record.grant.clone(), word: judged.word });
        match line.judge(&record.place, judged.standing(), grace, now) {
            LineUse::Rotate if assertion_used => return Ok(Rotation::AssertionUsed),
            LineUse::Rotate => {
                let made = make(line.generation.next()).map_err(StoreError::new)?;
                let step = ReplaceLine {
                    grant: record.grant.id.clone(),
                    judged: line.generation,
                    judged_revoked_at: judged.revoked_at,
                    line: line.replaced_by(&record.place, made.new, made.sealed, grace, now),
                    assertion: assertion.cloned(),
                };
                if store.take(Step::ReplaceLine(Box::new(step))).await? {
                    return Ok(Rotation::Rotated(redeemed(), made.token));
                }
            }
            LineUse::Replay(sealed) => return Ok(Rotation::Replayed(redeemed(), sealed.to_owned())),
            LineUse::Reuse => {
                let grant = record.grant.id.clone();
                store.take(Step::Revoke(Revoke { grant: grant.clone(), why: Reason::RefreshReused, now })).await?;
                return Ok(Rotation::Reused(grant));
            }
            LineUse::Expired => return Ok(Rotation::Expired),
            LineUse::Revoked => return Ok(Rotation::Revoked),
        }
        assertion_used = is_used(store, assertion).await?;
        held = store.grant(&record.grant.id).await?;
    }
    Err(contended())
}
