//! Where a value came from, so that an error can point there.

use std::ops::Range;

use serde::{Deserialize, Deserializer};

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes of the file.
    Span(Range<usize>),
    /// The file as a whole: something is missing.
    File,
    /// An environment variable.
    Env(&'static str),
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        let place = Place::Span(spanned.span());
        Ok(Self { value: spanned.into_inner(), place })
    }
}

/// The text of a configuration file and its name.
#[derive(Debug)]
pub(crate) struct Source {
    name: String,
    text: String,
}

impl Source {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// `file:line:column: what is wrong`.
    pub(super) fn describe(&self, place: &Place, text: &str) -> String {
        let name = &self.name;
        match place {
            Place::Span(span) => {
                let (line, column) = self.line_and_column(span.start);
                format!("{name}:{line}:{column}: {text}")
            }
            Place::File => format!("{name}: {text}"),
            Place::Env(variable) => format!("environment variable {variable}: {text}"),
        }
    }

    /// Both count from one; columns count characters.
    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        (before.matches('\n').count() + 1, column + 1)
    }
}
