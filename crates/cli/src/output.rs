//! Words for people: results on stdout, everything else on stderr.

use std::io::{self, Write};

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
