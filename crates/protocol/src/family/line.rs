//! The refresh tokens of one grant, as a store keeps them: one line of descent, however long it gets (decision 5, I3).
//!
//! A genuine token says itself which of its family it is, so only the living one and those replaced within the grace window need to be
//! kept: every other genuine token of an earlier generation was replaced long ago. A family is one small row for all its life.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Generation, Place, RefreshState, RefreshUse};
use crate::secret::{Digest, RefreshToken};
use crate::time::Timestamp;

/// Most tokens that are kept because they were replaced a moment ago. Who refreshes more often than this within the grace window and then
/// uses one from before counts as a thief.
const RECENT_MAX: usize = 16;

/// A new refresh token, to become the living one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewRefresh {
    /// Its digest.
    pub digest: Digest<RefreshToken>,
    /// When it ends if nobody uses it.
    pub ends_at: Timestamp,
}

/// A token that was replaced a moment ago.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Replaced {
    /// Which of the family it was.
    pub generation: Generation,
    /// Its digest.
    pub digest: Digest<RefreshToken>,
    /// When it was replaced.
    pub at: Timestamp,
    /// Its successor, sealed under a key that only the token itself gives.
    pub successor: String,
}

/// The refresh tokens of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Which of the family the living token is. Every change of a line raises it, so it also tells whether a line is still the one that
    /// was judged.
    pub generation: Generation,
    /// The living token.
    pub living: NewRefresh,
    /// Those that it replaced within the grace window, newest first.
    pub recent: Vec<Replaced>,
}

/// What a use of a genuine refresh token means, as [`RefreshUse`]; a replay comes with the sealed successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineUse<'a> {
    /// It is alive: [`Line::replaced_by`] says what comes then.
    Rotate,
    /// It was replaced a moment ago: the same successor is due again.
    Replay(&'a str),
    /// It was replaced too long ago, or the store never knew it: the grant ends.
    Reuse,
    /// It or its grant has ended.
    Expired,
    /// Its grant was revoked.
    Revoked,
}

/// What a grant says to the use of one of its refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When it ends.
    pub ends_at: Timestamp,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl Line {
    /// The line that begins with this token.
    #[must_use]
    pub const fn first(living: NewRefresh) -> Self {
        Self { generation: Generation::from_number(0), living, recent: Vec::new() }
    }

    /// Judges the use of a token of this grant `now`.
    ///
    /// A genuine token that is neither alive nor remembered was replaced before the grace window, or is younger than what the store
    /// knows: then the store lost what it had acknowledged (a restored backup, A-246), and an older token may be alive in it that was
    /// not to be. Either way the family ends.
    #[must_use]
    pub fn judge(&self, place: &Place, grant: Standing, grace: Duration, now: Timestamp) -> LineUse<'_> {
        let living = place.generation == self.generation && place.digest == self.living.digest;
        let replaced = self.recent.iter().find(|token| token.generation == place.generation && token.digest == place.digest);
        let rotated_at = match (living, replaced) {
            (true, _) => None,
            (false, Some(replaced)) => Some(replaced.at),
            (false, None) => Some(Timestamp::from_seconds(0)),
        };
        let state =
            RefreshState { rotated_at, ends_at: self.living.ends_at, grant_ends_at: grant.ends_at, revoked: grant.revoked };
        match (state.judge(grace, now), replaced) {
            (RefreshUse::Rotate, _) => LineUse::Rotate,
            (RefreshUse::Replay, Some(replaced)) => LineUse::Replay(&replaced.successor),
            (RefreshUse::Replay, None) | (RefreshUse::Reuse, _) => LineUse::Reuse,
            (RefreshUse::Expired, _) => LineUse::Expired,
            (RefreshUse::Revoked, _) => LineUse::Revoked,
        }
    }

    /// The line after `living` took the place of the token at `place`, which alone opens `successor`. What the grace window has passed
    /// is forgotten.
    #[must_use]
    pub fn replaced_by(&self, place: &Place, living: NewRefresh, successor: String, grace: Duration, now: Timestamp) -> Self {
        let (generation, digest) = (place.generation, place.digest.clone());
        let newest = Replaced { generation, digest, at: now, successor };
        let still_in_grace =
            self.recent.iter().filter(|token| now <= token.at.after(grace) && token.generation != place.generation);
        let recent = std::iter::once(newest).chain(still_in_grace.cloned()).take(RECENT_MAX).collect();
        Self { generation: self.generation.next(), living, recent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GrantId;

    const GRACE: Duration = Duration::from_secs(60);
    const GRANT: Standing = Standing { ends_at: Timestamp::from_seconds(10_000), revoked: false };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn digest(number: u32) -> Digest<RefreshToken> {
        RefreshToken::of_bytes(&number.to_be_bytes()).digest()
    }

    fn place(number: u32) -> Place {
        Place { grant: GrantId::new([1; 16]), generation: Generation::from_number(number), digest: digest(number) }
    }

    fn new(number: u32) -> NewRefresh {
        NewRefresh { digest: digest(number), ends_at: at(5000) }
    }

    /// A line whose tokens were replaced at these times.
    fn line(rotations: &[u64]) -> Line {
        rotations.iter().zip(0..).fold(Line::first(new(0)), |line, (when, number)| {
            assert_eq!(line.judge(&place(number), GRANT, GRACE, at(*when)), LineUse::Rotate);
            line.replaced_by(&place(number), new(number + 1), format!("sealed {}", number + 1), GRACE, at(*when))
        })
    }

    #[test]
    fn i3_each_token_of_the_last_minute_gives_its_own_successor_again() {
        let line = line(&[0, 10, 20]);
        let judge = |number, now| line.judge(&place(number), GRANT, GRACE, at(now));
        assert_eq!(judge(3, 30), LineUse::Rotate);
        for number in 0..3 {
            let successor = format!("sealed {}", number + 1);
            assert_eq!(judge(number, 60), LineUse::Replay(&successor));
        }
        assert_eq!((judge(0, 61), judge(1, 71), judge(2, 81)), (LineUse::Reuse, LineUse::Reuse, LineUse::Reuse));
        assert_eq!(judge(3, 81), LineUse::Rotate);
    }

    #[test]
    fn as_84_what_was_replaced_long_ago_is_forgotten_and_still_reuse() {
        let line = line(&[0, 100, 200]);
        assert_eq!(line.recent.len(), 1);
        for number in 0..2 {
            assert_eq!(line.judge(&place(number), GRANT, GRACE, at(200)), LineUse::Reuse);
        }
    }

    #[test]
    fn a_line_stays_small() {
        let line = line(&[0; 100]);
        assert_eq!(line.recent.len(), RECENT_MAX);
        assert_eq!(line.generation, Generation::from_number(100));
    }

    #[test]
    fn a_246_a_token_that_the_store_never_knew_ends_the_family() {
        let line = line(&[0]);
        assert_eq!(line.judge(&place(2), GRANT, GRACE, at(0)), LineUse::Reuse);
        for number in 0..2 {
            let other = Place { digest: digest(7), ..place(number) };
            assert_eq!(line.judge(&other, GRANT, GRACE, at(0)), LineUse::Reuse);
        }
        // At the beginning of time too.
        assert_eq!(line.judge(&place(9), GRANT, Duration::MAX, at(0)), LineUse::Reuse);
    }

    #[test]
    fn a_grant_that_ended_says_so() {
        let line = line(&[0]);
        let judge = |number, grant, now| line.judge(&place(number), grant, GRACE, at(now));
        assert_eq!(judge(1, Standing { revoked: true, ..GRANT }, 0), LineUse::Revoked);
        assert_eq!(judge(0, Standing { revoked: true, ..GRANT }, 0), LineUse::Revoked);
        assert_eq!(judge(1, GRANT, 5000), LineUse::Expired);
        assert_eq!(judge(0, GRANT, 10_000), LineUse::Expired);
    }
}
