//! Holds the house of `ARCHITECTURE.md`: who may import whom, and where heavy dependencies live.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each crate may use of ours. Lists may only shrink.
const ARROWS: &[(&str, &[&str])] = &[
    ("deputy-protocol", &[]),
    ("deputy-fetch", &["deputy-protocol"]),
    ("deputy-guard", &["deputy-protocol"]),
    ("deputy-server", &["deputy-protocol", "deputy-fetch", "deputy-guard"]),
    ("deputy", &["deputy-protocol", "deputy-fetch", "deputy-server"]),
    ("deputy-model", &["deputy-protocol"]),
    ("deputy-bench", &["deputy-protocol"]),
];

/// The only crates that may use a heavy dependency.
const ROOMS: &[(&str, &[&str])] = &[
    ("sqlx", &["deputy-server"]),
    ("askama", &["deputy-server"]),
    ("clap", &["deputy"]),
    ("anyhow", &["deputy"]),
    ("rmcp", &["deputy"]),
    ("toml", &["deputy"]),
    ("hyper-rustls", &["deputy-fetch", "deputy-server"]),
];

/// Every workspace crate with its normal dependencies.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path", manifest];
    let output = Command::new(cargo).args(arguments).output().expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let normal = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                .filter(|dependency| dependency["kind"].is_null());
            let names = normal.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}

#[test]
fn arrows_point_downward_only() {
    for (package, used) in dependencies() {
        let allowed = ARROWS.iter().find(|(name, _)| *name == package).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{package} is not in the house: draw it in ARCHITECTURE.md first"));
        for name in used.iter().filter(|name| *name == "deputy" || name.starts_with("deputy-")) {
            assert!(allowed.contains(&name.as_str()), "{package} must not use {name}");
        }
    }
}

#[test]
fn heavy_dependencies_stay_in_their_rooms() {
    for (package, used) in dependencies() {
        for (heavy, rooms) in ROOMS {
            assert!(!used.contains(*heavy) || rooms.contains(&package.as_str()), "{package} must not use {heavy}");
        }
    }
}
