//! Words for people: results on stdout, everything else on stderr.

use std::io::{self, IsTerminal as _, Write};

/// Prints a result. A reader that went away (a closed pipe) is no error.
pub(crate) fn result(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints one line of a long result. Whether somebody still reads.
#[must_use]
pub(crate) fn line(text: &str) -> bool {
    writeln!(io::stdout().lock(), "{text}").is_ok()
}

/// Tells the operator something.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What ended the program: one line, in words that help.
pub(crate) fn failure(text: &str) {
    tell(&format!("deputy: {}", text.replace('\n', " ")));
}

/// Whether results may have colours.
pub(crate) fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Says on a terminal what takes a while; elsewhere nothing.
pub(crate) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr().lock(), "{text}");
        let _ = io::stderr().flush();
    }
}

/// Takes the last word about progress back.
pub(crate) fn progress_done() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr().lock(), "\r\u{1b}[2K");
    }
}
