//! Questions and answers: from flags, or a line each from the terminal.

use std::io::{BufRead, Write};

/// Where questions go and answers come from.
pub(super) struct Asker<R, W> {
    lines: R,
    out: W,
}

impl<R: BufRead, W: Write> Asker<R, W> {
    pub(super) const fn new(lines: R, out: W) -> Self {
        Self { lines, out }
    }

    /// Says something. Whoever does not read it can still answer.
    pub(super) fn tell(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }

    fn put(&mut self, question: &str) {
        let _ = write!(self.out, "{question}").and_then(|()| self.out.flush());
    }

    /// The first answer that `takes` takes: the flag's, or a line's. An empty line is the default. What is wrong with an answer is said, and a
    /// line is asked for again; a flag is not.
    ///
    /// # Errors
    /// What is wrong with the flag, or which flag would have been the answer where there are no more lines.
    pub(super) fn answer<T>(
        &mut self,
        (flag, given): (&str, Option<&str>),
        question: &str,
        default: Option<&str>,
        mut takes: impl FnMut(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        if let Some(given) = given {
            return takes(given).map_err(|why| format!("{flag}: {why}"));
        }
        loop {
            match default {
                Some(default) if !default.is_empty() => self.put(&format!("{question} [{default}]: ")),
                Some(_) | None => self.put(&format!("{question}: ")),
            }
            let Some(line) = self.line()? else {
                return Err(format!("there is no answer to \"{question}\"; give {flag}"));
            };
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default.to_owned(),
                ("", None) => {
                    self.tell("  This needs an answer.");
                    continue;
                }
                (line, _) => line.to_owned(),
            };
            match takes(&answer) {
                Ok(taken) => return Ok(taken),
                Err(why) => self.tell(&format!("  {why}")),
            }
        }
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).map_err(|error| format!("cannot read an answer: {error}"))?;
        Ok((read > 0).then_some(line))
    }
}
