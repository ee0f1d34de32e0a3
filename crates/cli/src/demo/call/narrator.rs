//! Tells the story of a driven sign-in, and counts its checks.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::bail;

/// Numbered steps with their checks, in colour where a person looks.
pub(super) struct Narrator {
    colour: bool,
    steps: usize,
    checks: usize,
}

impl Narrator {
    pub(super) fn new() -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, steps: 0, checks: 0 }
    }

    fn say(&self, style: &str, text: &str) {
        let line = if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() };
        // A reader that went away is no failed check.
        let _ = writeln!(io::stdout().lock(), "{line}");
    }

    /// A new step of the story.
    pub(super) fn step(&mut self, text: &str) {
        self.steps += 1;
        self.say("1", &format!("{:>2}  {text}", self.steps));
    }

    /// What must hold, in words that say why.
    pub(super) fn check(&mut self, holds: bool, what: &str, found: impl FnOnce() -> String) -> anyhow::Result<()> {
        if !holds {
            bail!("step {}: this does not hold: {what}. Found: {}", self.steps, found());
        }
        self.checks += 1;
        self.say("32", &format!("    ✓ {what}"));
        Ok(())
    }

    /// The last line, for people and machines.
    pub(super) fn end(&self) {
        self.say("1", &format!("demo: {} steps, {} checks, all held", self.steps, self.checks));
    }
}
