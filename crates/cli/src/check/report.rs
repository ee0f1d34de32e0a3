//! The findings, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Code, Finding, Level};
use crate::config::ConfigError;

/// How many of each.
#[derive(Debug, Default, Serialize)]
struct Summary {
    ok: usize,
    notes: usize,
    warnings: usize,
    errors: usize,
}

impl Summary {
    fn of(findings: &[Finding]) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        Self { ok: count(Level::Ok), notes: count(Level::Note), warnings: count(Level::Warning), errors: count(Level::Error) }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    summary: Summary,
    findings: &'a [Finding],
}

/// For programs: an object with `summary` and `findings`.
pub(crate) fn json(findings: &[Finding]) -> Result<String, String> {
    let report = Report { summary: Summary::of(findings), findings };
    serde_json::to_string_pretty(&report).map_err(|error| error.to_string())
}

/// A configuration that cannot be read, for programs.
pub(crate) fn refused(error: &ConfigError) -> Vec<Finding> {
    vec![Finding::new(Code::Config, Level::Error, "the configuration", error.to_string())]
}

/// For people. What is as it should be comes first, what is not stands last, where one looks.
pub(crate) fn human(findings: &[Finding], colour: bool) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.level);
    let mut text = String::new();
    for Finding { level, about, text: found, advice, .. } in sorted {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {}  {about}: {found}", badge(*level, colour));
        if let Some(advice) = advice {
            let _ = writeln!(text, "           {advice}");
        }
    }
    let Summary { warnings, errors, .. } = Summary::of(findings);
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let _ = match (errors, warnings) {
        (0, 0) => write!(text, "\nAll is well."),
        (0, _) => write!(text, "\nIt works; {} to look at.", counted(warnings, "warning")),
        _ => write!(text, "\n{}, {}.", counted(errors, "error"), counted(warnings, "warning")),
    };
    text
}

fn badge(level: Level, colour: bool) -> String {
    let (word, code) = match level {
        Level::Ok => ("ok     ", "32"),
        Level::Note => ("note   ", "36"),
        Level::Warning => ("warning", "33"),
        Level::Error => ("error  ", "31"),
    };
    if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
}
