//! The master secrets of a deployment: one that seals, and those that still open what they sealed (decision 8).
//!
//! The file `master.key` has a line for each: what it is for, since when (seconds since the epoch), and 32 bytes in base64url. A file of exactly
//! 32 raw bytes is one secret that seals.

mod files;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::{Reason, Timestamp};
use zeroize::Zeroizing;

use crate::seal::fingerprint;
pub(crate) use files::{load, load_or_create, private_file, rotate};

/// How long a secret that was replaced is kept: as long as anything of its may be configured to live.
pub(crate) const KEEP: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Most secrets at once: whatever opens under none of them was tried with each.
const MOST: usize = 8;

type Secret = Zeroizing<[u8; 32]>;

/// All master secrets. One of them seals.
pub(crate) struct Ring {
    seals: Master,
    others: Vec<Master>,
}

/// One master secret.
pub(crate) struct Master {
    usage: MasterUse,
    secret: Secret,
}

/// What a master secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterUse {
    /// It opens what gateways seal that have gone ahead, and will seal.
    Next {
        /// When it was made.
        made: Timestamp,
    },
    /// It seals.
    Seals {
        /// Since when.
        since: Timestamp,
    },
    /// It opens what it sealed.
    Opens {
        /// When another took over.
        replaced: Timestamp,
    },
}

/// A master secret, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKey {
    /// The first bytes of a digest, to tell secrets apart.
    pub fingerprint: String,
    /// What it is for.
    pub usage: MasterUse,
}

/// What a rotation of the master secret does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterRotation {
    /// Adds one that opens, so that it can be brought to every gateway before any of them seals with it.
    Prepare,
    /// Lets the prepared one take over, or a new one. What the old one sealed goes on being opened.
    TakeOver,
    /// Lets a new one take over, and forgets all others: what they sealed is worth nothing any more.
    ForgetOld,
}

/// A rotation that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MasterRotationRefused {
    /// One is prepared.
    #[error("a master secret is prepared already. Bring it to every gateway, then let it take over: deputy keys rotate --master")]
    Prepared,
    /// There are too many.
    #[error("there are {MOST} master secrets already, and each of them may still be needed. `deputy keys list` shows them")]
    TooMany,
}

impl Master {
    /// The secret.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// When another took over, if one did.
    pub(crate) const fn replaced(&self) -> Option<Timestamp> {
        match self.usage {
            MasterUse::Opens { replaced } => Some(replaced),
            MasterUse::Next { .. } | MasterUse::Seals { .. } => None,
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (word, time, secret, None) = (words.next()?, words.next()?, words.next()?, words.next()) else { return None };
        let time = Timestamp::from_seconds(time.parse().ok()?);
        let usage = match word {
            "next" => MasterUse::Next { made: time },
            "seals" => MasterUse::Seals { since: time },
            "opens" => MasterUse::Opens { replaced: time },
            _ => return None,
        };
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).ok()?);
        Some(Self { usage, secret: Zeroizing::new(bytes.as_slice().try_into().ok()?) })
    }

    fn line(&self) -> Zeroizing<String> {
        let (word, time) = match self.usage {
            MasterUse::Next { made } => ("next", made),
            MasterUse::Seals { since } => ("seals", since),
            MasterUse::Opens { replaced } => ("opens", replaced),
        };
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret()));
        Zeroizing::new(format!("{word} {} {}\n", time.seconds(), *secret))
    }
}

impl Ring {
    /// The first secret of a deployment.
    pub(crate) const fn begin(secret: Secret, now: Timestamp) -> Self {
        Self { seals: Master { usage: MasterUse::Seals { since: now }, secret }, others: Vec::new() }
    }

    /// The one that seals.
    pub(crate) const fn first(&self) -> &Master {
        &self.seals
    }

    /// All others.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Master> {
        self.others.iter()
    }

    /// Reads a file.
    pub(crate) fn parse(file: &[u8]) -> Option<Self> {
        if let Ok(raw) = file.try_into() {
            return Some(Self::begin(Zeroizing::new(raw), Timestamp::from_seconds(0)));
        }
        let lines = std::str::from_utf8(file).ok()?.lines().filter(|line| !line.is_empty());
        let masters = lines.map(Master::parse).collect::<Option<Vec<_>>>()?;
        let (seals, others): (Vec<_>, _) =
            masters.into_iter().partition(|master| matches!(master.usage, MasterUse::Seals { .. }));
        let [seals] = <[Master; 1]>::try_from(seals).ok()?;
        (others.len() < MOST).then_some(Self { seals, others })
    }

    /// What [`Ring::parse`] reads.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        let mut text = self.seals.line();
        for master in &self.others {
            text.push_str(&master.line());
        }
        text
    }

    /// Every secret, the one that seals first.
    pub(crate) fn list(&self) -> Result<Vec<MasterKey>, Reason> {
        let shown = |master: &Master| Ok(MasterKey { fingerprint: fingerprint(master.secret())?, usage: master.usage });
        std::iter::once(&self.seals).chain(&self.others).map(shown).collect()
    }

    /// Makes a rotation, with this new secret if one is needed. An old one goes when its time is over and nothing needs it.
    pub(crate) fn rotated(
        self,
        how: MasterRotation,
        new: Secret,
        now: Timestamp,
        needed: impl Fn(&[u8; 32]) -> bool,
    ) -> Result<Self, MasterRotationRefused> {
        let Self { seals, mut others } = self;
        let next = others.iter().position(|master| matches!(master.usage, MasterUse::Next { .. }));
        match how {
            MasterRotation::Prepare if next.is_some() => return Err(MasterRotationRefused::Prepared),
            MasterRotation::Prepare => others.push(Master { usage: MasterUse::Next { made: now }, secret: new }),
            MasterRotation::ForgetOld => return Ok(Self::begin(new, now)),
            MasterRotation::TakeOver => {
                let secret = next.map_or(new, |at| others.remove(at).secret);
                let replaced = Master { usage: MasterUse::Opens { replaced: now }, secret: seals.secret };
                others.retain(|master| master.replaced().is_none_or(|at| now < at.after(KEEP)) || needed(master.secret()));
                others.insert(0, replaced);
                return within(Self { others, ..Self::begin(secret, now) });
            }
        }
        within(Self { seals, others })
    }
}

fn within(ring: Ring) -> Result<Ring, MasterRotationRefused> {
    if ring.others.len() < MOST { Ok(ring) } else { Err(MasterRotationRefused::TooMany) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn ring() -> Ring {
        Ring::begin(Zeroizing::new([1; 32]), at(100))
    }

    fn rotated(ring: Ring, how: MasterRotation, new: u8, now: u64) -> Ring {
        ring.rotated(how, Zeroizing::new([new; 32]), at(now), |_| false).unwrap_or_else(|error| panic!("{error}"))
    }

    /// First bytes and uses, in order.
    fn shape(ring: &Ring) -> Vec<(u8, MasterUse)> {
        std::iter::once(ring.first()).chain(ring.others()).map(|master| (master.secret()[0], master.usage)).collect()
    }

    #[test]
    fn a_new_one_takes_over_and_the_old_one_opens_as_long_as_anything_lives() {
        let ring = rotated(ring(), MasterRotation::TakeOver, 2, 200);
        assert_eq!(shape(&ring), [(2, MasterUse::Seals { since: at(200) }), (1, MasterUse::Opens { replaced: at(200) })]);
        let kept = rotated(ring, MasterRotation::TakeOver, 3, 199 + KEEP.as_secs());
        assert_eq!(shape(&kept).iter().map(|(first, _)| *first).collect::<Vec<_>>(), [3, 2, 1]);
        let gone = rotated(kept, MasterRotation::TakeOver, 4, 200 + KEEP.as_secs());
        assert_eq!(shape(&gone).iter().map(|(first, _)| *first).collect::<Vec<_>>(), [4, 3, 2]);
    }

    #[test]
    fn one_that_is_needed_stays() {
        let ring = rotated(ring(), MasterRotation::TakeOver, 2, 200);
        let later = at(200 + KEEP.as_secs());
        let kept = ring.rotated(MasterRotation::TakeOver, Zeroizing::new([3; 32]), later, |secret| *secret == [1; 32]).unwrap();
        assert_eq!(shape(&kept).iter().map(|(first, _)| *first).collect::<Vec<_>>(), [3, 2, 1]);
    }

    #[test]
    fn a_prepared_one_opens_and_takes_over() {
        let ring = rotated(ring(), MasterRotation::Prepare, 2, 200);
        assert_eq!(shape(&ring), [(1, MasterUse::Seals { since: at(100) }), (2, MasterUse::Next { made: at(200) })]);
        let again = ring.rotated(MasterRotation::Prepare, Zeroizing::new([3; 32]), at(250), |_| false);
        assert_eq!(again.err(), Some(MasterRotationRefused::Prepared));
        let ring = rotated(rotated(self::ring(), MasterRotation::Prepare, 2, 200), MasterRotation::TakeOver, 3, 300);
        assert_eq!(shape(&ring), [(2, MasterUse::Seals { since: at(300) }), (1, MasterUse::Opens { replaced: at(300) })]);
        assert_eq!(shape(&rotated(ring, MasterRotation::ForgetOld, 4, 400)), [(4, MasterUse::Seals { since: at(400) })]);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut ring = ring();
        for new in 2..=8 {
            ring = rotated(ring, MasterRotation::TakeOver, new, 200);
        }
        assert!(Ring::parse(ring.text().as_bytes()).is_some());
        let more = ring.rotated(MasterRotation::TakeOver, Zeroizing::new([9; 32]), at(200), |_| false);
        assert_eq!(more.err(), Some(MasterRotationRefused::TooMany));
    }

    #[test]
    fn a_file_reads_as_it_was_written() {
        let ring = rotated(rotated(ring(), MasterRotation::TakeOver, 2, 200), MasterRotation::Prepare, 3, 300);
        let read = Ring::parse(ring.text().as_bytes()).unwrap();
        assert_eq!(shape(&read), shape(&ring));
        assert_eq!(shape(&Ring::parse(&[7; 32]).unwrap()), [(7, MasterUse::Seals { since: at(0) })]);
        let (text, line) = (ring.text(), ring.seals.line());
        for wrong in [
            "",
            "short",
            "seals 1 AAAA\n",
            &text.replace("opens", "opened"),
            &text.replace("seals", "opens"),
            &text.replace(" 200 ", " soon "),
            &text.replace(' ', "  "),
            &format!("{}{}", *line, *line),
            text.get(..text.len() - 3).unwrap(),
        ] {
            assert!(Ring::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
