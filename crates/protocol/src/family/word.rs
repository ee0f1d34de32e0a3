//! The provider's word: how long it counts that the identity provider vouched for a grant's person (OC-10, OC-11, A-113, A-116; I9).
//!
//! At each refresh the word is renewed when it is older than [`Hearing::age`]. A provider's refresh token is sent after a durable note that
//! it is about to be sent. Who finds such a note without an answer does not know whether the token was used: it is not sent again, and
//! the last word counts for as long as that of a provider which gave nothing to ask with.

use std::time::Duration;

use crate::time::Timestamp;

/// What the store knows of the provider's last word about a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word {
    /// When the provider last vouched for the person.
    pub heard_at: Timestamp,
    /// Whether there is something to ask it again with.
    pub renewable: bool,
    /// Since when somebody is asking.
    pub asking_since: Option<Timestamp>,
}

/// How often the provider is asked again, and for how long its silence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hearing {
    /// A word that is younger is good without asking.
    pub age: Duration,
    /// How long somebody may be asking before the answer counts as lost.
    pub patience: Duration,
    /// How long a word counts that cannot be renewed.
    pub silence: Duration,
}

impl Default for Hearing {
    /// A word is good for 60 s, asking takes at most 30 s, and who cannot be asked about signs in again after 12 hours.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { age: seconds(60), patience: seconds(30), silence: seconds(12 * 60 * 60) }
    }
}

/// What a refresh makes of the provider's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordUse {
    /// It counts.
    Holds,
    /// The provider is due to be asked.
    Ask,
    /// Somebody is asking it.
    Wait,
    /// Somebody asked and nobody heard the answer: what was sent must not be sent again (I9).
    Lost,
    /// It is too old and cannot be renewed: the person signs in again.
    TooOld,
}

/// How far clocks of replicas may differ.
const CLOCKS: Duration = Duration::from_secs(60);

impl Word {
    /// Judges the word `now`.
    #[must_use]
    pub fn judge(&self, hearing: Hearing, now: Timestamp) -> WordUse {
        let age = now.since(self.heard_at);
        // What was heard or asked in the future was so by a clock that was wrong; it must not hold until then.
        let soon = now.after(CLOCKS);
        if age <= hearing.age && self.heard_at <= soon {
            return WordUse::Holds;
        }
        match self.asking_since {
            _ if !self.renewable && age <= hearing.silence => WordUse::Holds,
            _ if !self.renewable => WordUse::TooOld,
            None => WordUse::Ask,
            Some(since) if now <= since.after(hearing.patience) && since <= soon => WordUse::Wait,
            Some(_) => WordUse::Lost,
        }
    }

    /// When an access token ends that rests on this word, at the latest: one lifetime after it was heard. So a person whom the provider
    /// disabled is out within one lifetime, however young the last word was when the token was issued.
    #[must_use]
    pub fn vouches_until(&self, access_token: Duration) -> Timestamp {
        if self.renewable { self.heard_at.after(access_token) } else { Timestamp::from_seconds(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARING: Hearing =
        Hearing { age: Duration::from_secs(60), patience: Duration::from_secs(30), silence: Duration::from_secs(1000) };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn oc_10_a_word_is_renewed_when_it_is_old() {
        let word = Word { heard_at: at(100), renewable: true, asking_since: None };
        assert_eq!(word.judge(HEARING, at(39)), WordUse::Ask, "heard by a clock that was wrong");
        assert_eq!(word.judge(HEARING, at(40)), WordUse::Holds);
        assert_eq!(word.judge(HEARING, at(160)), WordUse::Holds);
        assert_eq!(word.judge(HEARING, at(161)), WordUse::Ask);
        assert_eq!(word.judge(HEARING, at(1_000_000)), WordUse::Ask);
    }

    #[test]
    fn a_113_one_asks_the_others_wait_and_a_lost_answer_is_lost() {
        let word = Word { heard_at: at(100), renewable: true, asking_since: Some(at(200)) };
        assert_eq!(word.judge(HEARING, at(150)), WordUse::Holds);
        assert_eq!(word.judge(HEARING, at(200)), WordUse::Wait);
        assert_eq!(word.judge(HEARING, at(230)), WordUse::Wait);
        assert_eq!(word.judge(HEARING, at(231)), WordUse::Lost);
        let ahead = Word { asking_since: Some(at(1_000_000)), ..word };
        assert_eq!(ahead.judge(HEARING, at(231)), WordUse::Lost, "a note of a clock that was wrong");
        let given_up = Word { renewable: false, ..word };
        assert_eq!(given_up.judge(HEARING, at(231)), WordUse::Holds);
    }

    #[test]
    fn who_cannot_be_asked_about_signs_in_again_in_the_end() {
        let word = Word { heard_at: at(100), renewable: false, asking_since: None };
        assert_eq!(word.judge(HEARING, at(1100)), WordUse::Holds);
        assert_eq!(word.judge(HEARING, at(1101)), WordUse::TooOld);
    }

    #[test]
    fn a_116_no_access_token_outlives_the_word_by_more_than_a_lifetime() {
        let word = Word { heard_at: at(100), renewable: true, asking_since: None };
        assert_eq!(word.vouches_until(Duration::from_secs(300)), at(400));
        assert_eq!(Word { renewable: false, ..word }.vouches_until(Duration::from_secs(300)), at(u64::MAX));
    }
}
