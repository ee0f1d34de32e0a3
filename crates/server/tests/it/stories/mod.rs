//! What the model checker found without each guard, played over HTTP against the real server: with the guards in place a story comes to
//! nothing; without the same guards, it hurts here too. The stories are files that `scripts/model --write` makes.

mod sign_in;
mod tokens;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use deputy_protocol::hooks::{Guard, remove};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const REMOVE: &str = "DEPUTY_TEST_REMOVE_GUARD";
const STORY: &str = "DEPUTY_TEST_STORY";
const HURTS: &str = "THE STORY HURTS";

/// One story, as the model checker wrote it.
#[derive(Debug, Deserialize)]
struct Story {
    without: Vec<String>,
    world: String,
    breaks: String,
    story: Vec<Told>,
}

/// One step, as its world writes it.
#[derive(Debug, Deserialize)]
struct Told {
    step: serde_json::Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Person {
    Victim,
    Attacker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum App {
    Honest,
    Evil,
    Native,
}

impl App {
    const ALL: [Self; 3] = [Self::Honest, Self::Evil, Self::Native];
}

impl Story {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What is taken out so that it hurts.
    fn removed(&self) -> Vec<&str> {
        self.without.iter().map(String::as_str).collect()
    }

    /// The steps, as a world's own.
    fn steps<S: DeserializeOwned>(&self) -> Vec<S> {
        self.story.iter().map(|told| serde_json::from_value(told.step.clone()).unwrap()).collect()
    }

    async fn hurts(&self) -> bool {
        if self.world.ends_with("_client") { tokens::play(self).await } else { sign_in::play(self).await }
    }
}

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/stories");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// One story in this process, if it was started for that.
#[tokio::test]
async fn one() {
    let Ok(path) = std::env::var(STORY) else { return };
    let names = std::env::var(REMOVE).unwrap_or_default();
    let guards: Vec<Guard> = names.split(',').filter(|name| !name.is_empty()).map(|name| Guard::named(name).unwrap()).collect();
    remove(&guards);
    let story = Story::read(Path::new(&path));
    assert!(!story.hurts().await, "{HURTS}: {}", story.breaks);
}

/// Plays a story in a process of its own; the guards are the whole process's.
fn play(path: &Path, removed: &[&str]) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stories::one", "--nocapture"])
        .env(STORY, path)
        .env(REMOVE, removed.join(","))
        // A story has replicas of its own.
        .env("DEPUTY_TEST_REPLICAS", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let hurts = text.contains(HURTS);
    assert_eq!(output.status.success(), !hurts, "{} was not played to its end without {removed:?}:\n{text}", path.display());
    (hurts, text)
}

#[test]
fn i1_i2_i3_i4_every_story_hurts_without_its_guards_and_with_them_never() {
    for path in stories() {
        let story = Story::read(&path);
        let (hurts, text) = play(&path, &[]);
        assert!(!hurts, "{} hurts although every guard stands:\n{text}", path.display());
        let (hurts, text) = play(&path, &story.removed());
        assert!(hurts, "{} does not hurt without its guards:\n{text}", path.display());
    }
}

#[test]
fn every_guard_has_a_story() {
    let told: BTreeSet<String> = stories().iter().flat_map(|path| Story::read(path).without).collect();
    let guards: BTreeSet<String> = Guard::ALL.iter().map(|guard| guard.name().to_owned()).collect();
    assert_eq!(told, guards);
}
