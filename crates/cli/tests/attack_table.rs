//! Holds the table in `SECURITY.md`: every attack case of `docs/attacks.toml` is tested under its id, or is of a part that is not built.
//! `UPDATE_TABLE=1 cargo test -p deputy --test attack_table` writes the table anew.

#![expect(clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

const START: &str = "<!-- attack table: made by crates/cli/tests/attack_table.rs -->";
const END: &str = "<!-- end of the attack table -->";
/// Cases in the catalogue, so that none gets lost.
const CASES: usize = 176;
const REQUIREMENTS: usize = 35;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    requirement: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    statement: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    severity: Severity,
    title: String,
    /// The part that it concerns, when that is not built.
    part: Option<String>,
    /// The part that brings the rest of it, when some of it is tested.
    rest: Option<String>,
    /// A file that shows it outside of Rust tests.
    r#where: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Critical,
    High,
    Medium,
    Low,
}

/// Case id → where it is shown, as the table prints it.
type Shown = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn catalogue() -> Catalogue {
    toml::from_str(&std::fs::read_to_string(root().join("docs/attacks.toml")).expect("docs/attacks.toml")).expect("a catalogue")
}

/// Every file below `directory` that ends so; none of what was installed or built there.
fn files(directory: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "node_modules" || name == "target" {
            continue;
        }
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            files(&entry.path(), endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(entry.path());
        }
    }
}

/// The ids in a test's name: `as_55_a_048_a_049_…` names.
fn ids(name: &str) -> Vec<String> {
    let words: Vec<_> = name.split('_').collect();
    let pairs = words.iter().zip(words.iter().skip(1));
    let is_number = |word: &str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    pairs.filter(|(a, number)| **a == "a" && is_number(number)).map(|(_, number)| format!("A-{number}")).collect()
}

/// The names of the test functions in a Rust file.
fn tests(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        let function = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        match function {
            Some(rest) if marked => found.extend(rest.split('(').next()),
            _ => {}
        }
        let attribute = line.starts_with("#[") || line.starts_with("//");
        marked = (attribute && marked) || line == "#[test]" || line.starts_with("#[tokio::test");
    }
    found
}

/// The ids that a script mentions: `A-048`.
fn mentioned(text: &str) -> Vec<String> {
    let starts = text.match_indices("A-").filter_map(|(at, _)| text.get(at..at + 5));
    starts.filter(|id| id.bytes().skip(2).all(|byte| byte.is_ascii_digit())).map(str::to_owned).collect()
}

/// How the table names a test: tests over HTTP by their name alone, others with their crate.
fn label(path: &Path, name: &str) -> String {
    let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    if path.starts_with("crates/server/tests/it/") {
        return format!("`{name}`");
    }
    let crate_name = path.trim_start_matches("crates/").split('/').next().unwrap_or_default();
    format!("`{crate_name}: {name}`")
}

fn shown() -> Shown {
    let mut shown = Shown::new();
    let mut sources = Vec::new();
    for house in ["crates", "model"] {
        files(&root().join(house), &[".rs"], &mut sources);
    }
    for path in sources {
        let source = std::fs::read_to_string(&path).expect("a source");
        for name in tests(&source) {
            for id in ids(name) {
                shown.entry(id).or_default().insert(label(&path, name));
            }
        }
    }
    let mut scripts = Vec::new();
    files(&root().join("conformance"), &[".mjs", ".py"], &mut scripts);
    for path in scripts {
        let text = std::fs::read_to_string(&path).expect("a script");
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        for id in mentioned(&text) {
            shown.entry(id).or_default().insert(format!("`{name}`"));
        }
    }
    shown
}

/// The table, or everything that keeps it from being made.
fn render(catalogue: &Catalogue, shown: &Shown) -> Result<String, Vec<String>> {
    let mut wrong = Vec::new();
    let known: BTreeSet<_> =
        catalogue.requirement.iter().flat_map(|requirement| &requirement.cases).map(|case| &case.id).collect();
    for (id, tests) in shown.iter().filter(|(id, _)| !known.contains(id)) {
        wrong.push(format!("{id} is no case of docs/attacks.toml, but named by {tests:?}"));
    }
    let mut table = String::from("| requirement | cases and what shows them | not built yet |\n| --- | --- | --- |\n");
    for requirement in &catalogue.requirement {
        let (mut built, mut later) = (Vec::new(), Vec::new());
        for case in &requirement.cases {
            let mut places: Vec<_> = shown.get(&case.id).into_iter().flatten().cloned().collect();
            if let Some(file) = &case.r#where {
                assert!(root().join(file).exists(), "{}: there is no {file}", case.id);
                places.push(format!("`{file}`"));
            }
            let severity = match case.severity {
                Severity::Critical => ", critical",
                Severity::High => ", high",
                Severity::Medium | Severity::Low => "",
            };
            match (places.is_empty(), case.part.as_ref().or(case.rest.as_ref())) {
                (true, None) => wrong.push(format!("{} ({}) has no test and is not of an unbuilt part", case.id, case.title)),
                (false, _) => built.push(format!("**{}** {}{severity}: {}", case.id, case.title, places.join(", "))),
                (true, Some(_)) => {}
            }
            if let Some(part) = case.part.as_ref().or(case.rest.as_ref()) {
                let rest = if places.is_empty() { "" } else { "the rest of " };
                later.push(format!("{rest}**{}** {}{severity} ({part})", case.id, case.title));
            }
        }
        let (id, statement) = (&requirement.id, &requirement.statement);
        writeln!(table, "| **{id}** {statement} | {} | {} |", built.join("<br>"), later.join("<br>")).expect("written");
    }
    if wrong.is_empty() { Ok(table) } else { Err(wrong) }
}

#[test]
fn every_attack_case_is_tested_or_of_a_part_that_is_not_built() {
    let catalogue = catalogue();
    assert_eq!(catalogue.requirement.len(), REQUIREMENTS);
    assert_eq!(catalogue.requirement.iter().map(|requirement| requirement.cases.len()).sum::<usize>(), CASES);
    if let Err(wrong) = render(&catalogue, &shown()) {
        panic!("\n{}\n", wrong.join("\n"));
    }
}

#[test]
fn the_table_in_security_md_is_up_to_date() {
    let Ok(table) = render(&catalogue(), &shown()) else { return }; // the other test says what is wrong
    let path = root().join("SECURITY.md");
    let text = std::fs::read_to_string(&path).expect("SECURITY.md");
    let (head, tail) = text.split_once(START).expect("the table's start in SECURITY.md");
    let (_, tail) = tail.split_once(END).expect("the table's end in SECURITY.md");
    let wanted = format!("{head}{START}\n\n{table}\n{END}{tail}");
    if std::env::var_os("UPDATE_TABLE").is_some() {
        std::fs::write(path, wanted).expect("written");
    } else if wanted != text {
        panic!("the attack table is out of date. Write it anew: UPDATE_TABLE=1 cargo test -p deputy --test attack_table");
    }
}

#[test]
fn ids_are_read_from_names() {
    assert_eq!(ids("as_55_a_048_a_049_x_a_05_a"), ["A-048", "A-049"]);
    assert_eq!(tests("#[test]\n#[ignore]\nfn a_001_x() {}\nfn a_002_y() {}\n#[tokio::test]\nasync fn z() {}"), ["a_001_x", "z"]);
    assert_eq!(mentioned("A-001, A-xyz A-0"), ["A-001"]);
}
