//! One line for each figure, for people and machines.

use std::fmt;

use crate::load::Round;

/// Something measured.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What.
    pub(crate) name: String,
    /// The values of the rounds.
    values: Vec<f64>,
    /// What stands behind the number.
    unit: &'static str,
    /// More to know.
    note: String,
    /// What it must reach.
    bar: Option<Bar>,
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// The median at least.
    AtLeast(f64),
    /// Every value at most.
    AtMost(f64),
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Figure {
    /// A rate over several rounds.
    pub(crate) fn rate(name: &str, rounds: &[Round], bar: Option<f64>) -> Self {
        let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
        let note = format!(
            ", p50 {:.1} ms, p99 {:.1} ms; {} answers in {} rounds; processors: server {:.2} + kernel for it {:.2}, bench {:.2}",
            middle(|round| round.p50),
            middle(|round| round.p99),
            rounds.iter().map(|round| round.answers).sum::<usize>(),
            rounds.len(),
            middle(|round| round.user),
            middle(|round| round.system),
            middle(|round| round.ours)
        );
        let values = rounds.iter().map(|round| round.rate).collect();
        Self { name: name.to_owned(), values, unit: "/s", note, bar: bar.map(Bar::AtLeast) }
    }

    /// Times, in seconds.
    pub(crate) fn times(name: &str, values: Vec<f64>, bar: Option<f64>) -> Self {
        Self { name: name.to_owned(), values, unit: " s", note: String::new(), bar: bar.map(Bar::AtMost) }
    }

    /// One value.
    pub(crate) fn of(name: &str, value: f64, unit: &'static str, note: String, bar: Bar) -> Self {
        Self { name: name.to_owned(), values: vec![value], unit, note, bar: Some(bar) }
    }

    /// The median.
    pub(crate) fn median(&self) -> f64 {
        median(self.values.clone())
    }

    /// Sets this figure beside the peer's.
    pub(crate) fn against(mut self, peer: &Self) -> Self {
        self.note = format!(
            "{}; {:.1} times {} ({:.0}{})",
            self.note,
            self.median() / peer.median(),
            peer.name,
            peer.median(),
            peer.unit
        );
        self
    }

    /// Whether the bar is met; a figure without one meets it.
    pub(crate) fn met(&self) -> bool {
        match self.bar {
            None => true,
            Some(Bar::AtLeast(bar)) => self.median() >= bar,
            Some(Bar::AtMost(bar)) => !self.values.is_empty() && self.values.iter().all(|value| *value <= bar),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.unit == "/s" { 0 } else { 3 };
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(0.0, f64::max);
        write!(
            f,
            "bench: {}: {:.digits$}{} ({least:.digits$}..{most:.digits$}){}",
            self.name,
            self.median(),
            self.unit,
            self.note
        )?;
        let verdict = if self.met() { "met" } else { "MISSED" };
        match self.bar {
            None => Ok(()),
            Some(Bar::AtLeast(bar)) => write!(f, "; bar {bar}: {verdict}"),
            Some(Bar::AtMost(bar)) => write!(f, "; bar: at most {bar}: {verdict}"),
        }
    }
}
