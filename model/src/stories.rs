//! Counterexamples as files. A test of the server plays each against the real endpoints: with the guard it fails to hurt, without it hurts.

use std::path::PathBuf;
use std::{fs, io};

use serde_json::{Value, json};

use crate::worlds::{Mutant, Story};

fn path(mutant: &Mutant) -> PathBuf {
    let name = format!("{}@{}.json", mutant.names().join("+"), mutant.world.key());
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stories").join(name)
}

fn value(mutant: &Mutant, story: &Story) -> Value {
    let steps: Vec<Value> =
        story.told.iter().zip(&story.steps).map(|(told, step)| json!({ "told": told, "step": step })).collect();
    json!({ "without": mutant.names(), "world": mutant.world.key(), "breaks": story.breaks, "story": steps })
}

/// Writes a story down.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write(mutant: &Mutant, story: &Story) -> io::Result<()> {
    let path = path(mutant);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(path, format!("{:#}\n", value(mutant, story)))
}

/// Whether the story that was written down is the one that was found.
#[must_use]
pub(crate) fn is_written(mutant: &Mutant, story: &Story) -> bool {
    let written = fs::read(path(mutant)).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    written == Some(value(mutant, story))
}
