//! Which signing key does what, and when: from the times at which the keys were made, and nothing else.
//!
//! A new key is published first and signs [`LEAD`] later, so that everybody who verifies has it by then: replicas read the store each
//! second, and resource servers elsewhere fetch keys again for a `kid` that they do not know. The one before verifies for [`KEEP`] more,
//! which outlives every token that it signed. Both allow for replicas whose clocks differ by 90 seconds.

use std::time::Duration;

use deputy_protocol::Timestamp;

/// From a key's making to its first signature: the clocks' difference, and half a minute to be read by everybody.
pub(crate) const LEAD: Duration = Duration::from_secs(120);
/// From a key's last signature to its end: the longest access token that a configuration may ask for, the clocks' difference twice, and a
/// minute.
const KEEP: Duration = Duration::from_secs(3600 + 2 * 90 + 60);

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// It is published, and signs from then on.
    Next {
        /// From when.
        from: Timestamp,
    },
    /// It signs.
    Signs,
    /// It signs no more, and verifies until then.
    Verifies {
        /// Until when.
        until: Timestamp,
    },
    /// Nothing that it signed is valid any more.
    Over,
}

/// What each key is for `now`, given when they were made, oldest first. The oldest signs from its making: there is none before it.
#[must_use]
pub(crate) fn schedule(made: &[Timestamp], now: Timestamp) -> Vec<KeyUse> {
    let begins = |at: usize| match at.checked_sub(1).and(made.get(at)) {
        Some(made) => made.after(LEAD),
        None => Timestamp::from_seconds(0),
    };
    let judge = |at: usize| {
        let ends = made.get(at.saturating_add(1)).map(|_| begins(at.saturating_add(1)));
        match ends {
            _ if now < begins(at) => KeyUse::Next { from: begins(at) },
            Some(ends) if now >= ends.after(KEEP) => KeyUse::Over,
            Some(ends) if now >= ends => KeyUse::Verifies { until: ends.after(KEEP) },
            _ => KeyUse::Signs,
        }
    };
    (0..made.len()).map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_key_is_published_then_signs_then_verifies_then_is_over() {
        let made = [at(1000), at(5000)];
        let (begin, end) = (5000 + LEAD.as_secs(), 5000 + LEAD.as_secs() + KEEP.as_secs());
        assert_eq!(schedule(&made, at(0)), [KeyUse::Signs, KeyUse::Next { from: at(begin) }]);
        assert_eq!(schedule(&made, at(begin - 1)), [KeyUse::Signs, KeyUse::Next { from: at(begin) }]);
        assert_eq!(schedule(&made, at(begin)), [KeyUse::Verifies { until: at(end) }, KeyUse::Signs]);
        assert_eq!(schedule(&made, at(end - 1)), [KeyUse::Verifies { until: at(end) }, KeyUse::Signs]);
        assert_eq!(schedule(&made, at(end)), [KeyUse::Over, KeyUse::Signs]);
        assert_eq!(schedule(&made[..1], at(u64::MAX)), [KeyUse::Signs]);
        assert_eq!(schedule(&[], at(0)), []);
    }

    proptest! {
        /// At every time one key signs; what it signs is verified for as long as it lives, even by a replica whose clock is 90 s off.
        #[test]
        fn one_key_signs_and_its_tokens_verify(mut made in proptest::collection::vec(0_u64..20_000, 1..6), now in 0_u64..40_000, lives in 0_u64..3600, skew in -90_i64..=90) {
            made.sort_unstable();
            let made: Vec<_> = made.into_iter().map(at).collect();
            let uses = schedule(&made, at(now));
            let signing: Vec<_> = (0..uses.len()).filter(|at| uses[*at] == KeyUse::Signs).collect();
            prop_assert_eq!(signing.len(), 1);
            let elsewhere = at((now + lives).saturating_add_signed(skew));
            prop_assert_ne!(schedule(&made, elsewhere)[signing[0]], KeyUse::Over);
        }
    }
}
