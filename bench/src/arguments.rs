//! What to measure, from the command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;

/// How to ask.
pub(crate) const USAGE: &str = "usage: scripts/bench [--store sqlite|postgres] [--full] [--no-peer] [--no-bars] [refresh|redeem|flows|register|revocation|flood|peer …]";

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Durable refreshes.
    Refresh,
    /// Codes for tokens.
    Redeem,
    /// From registration to tokens.
    Flows,
    /// Registrations.
    Register,
    /// How long a revocation takes to reach another process.
    Revocation,
    /// Floods from one source and from many.
    Flood,
    /// The peer.
    Peer,
}

/// All parts, in their order: the peer last, since it is set beside ours.
const ALL: [(&str, Part); 7] = [
    ("refresh", Part::Refresh),
    ("redeem", Part::Redeem),
    ("flows", Part::Flows),
    ("register", Part::Register),
    ("revocation", Part::Revocation),
    ("flood", Part::Flood),
    ("peer", Part::Peer),
];

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// Longer rounds.
    full: bool,
    /// A missed bar is no failure.
    pub(crate) no_bars: bool,
    /// What to measure, in order.
    pub(crate) parts: Vec<Part>,
    /// The gateway's binary.
    pub(crate) deputy: PathBuf,
    /// The Python that has the peer.
    pub(crate) python: PathBuf,
    /// A folder on a real disk.
    pub(crate) scratch: PathBuf,
    /// The PostgreSQL database that the gateway uses, if it is not SQLite.
    pub(crate) database: Option<String>,
}

impl Arguments {
    /// How long a round is.
    pub(crate) const fn lasts(&self) -> Duration {
        Duration::from_secs(if self.full { 20 } else { 5 })
    }

    /// Reads them.
    pub(crate) fn parse(given: impl Iterator<Item = String>) -> Outcome<Self> {
        let (mut full, mut no_bars, mut no_peer, mut asked) = (false, false, false, Vec::new());
        let (mut deputy, mut python, mut scratch, mut database) = (None, None, None, None);
        let mut given = given;
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--full" => full = true,
                "--no-bars" => no_bars = true,
                "--no-peer" => no_peer = true,
                "--deputy" => deputy = given.next(),
                "--python" => python = given.next(),
                "--scratch" => scratch = given.next(),
                "--database" => database = given.next(),
                name => asked.push(ALL.iter().find(|(known, _)| *known == name).ok_or_else(|| format!("unknown: {name}"))?.1),
            }
        }
        let wanted = |part: &Part| (asked.is_empty() || asked.contains(part)) && !(no_peer && *part == Part::Peer);
        Ok(Self {
            full,
            no_bars,
            parts: ALL.into_iter().map(|(_, part)| part).filter(wanted).collect(),
            deputy: deputy.ok_or("--deputy PATH is missing")?.into(),
            python: python.unwrap_or_else(|| "python3".to_owned()).into(),
            scratch: scratch.ok_or("--scratch PATH is missing")?.into(),
            database,
        })
    }
}
