//! `deputy keys`, the built binary, on a data directory: no gateway runs and nothing is asked over the network.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const CONFIG: &str = r#"
public_url = "http://127.0.0.1:8000"
data_dir = "data"
[idp]
provider = "oidc"
issuer = "http://127.0.0.1:1"
client_id = "deputy"
client_secret = { env = "IDP_SECRET" }
[access]
allow = ["*"]
[[server]]
path = "/mcp"
url = "http://127.0.0.1:1/mcp"
"#;

/// A deployment that has not been started yet.
struct Deployment(TempDir);

impl Deployment {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("deputy.toml"), CONFIG).unwrap();
        Self(dir)
    }

    /// One whose master secret is 32 raw bytes, as the first releases made it.
    fn with_raw_secret() -> Self {
        let deployment = Self::new();
        fs::create_dir(deployment.data()).unwrap();
        deployment.write_master(&[7; 32]);
        deployment
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn master(&self) -> PathBuf {
        self.data().join("master.key")
    }

    fn write_master(&self, bytes: &[u8]) {
        fs::write(self.master(), bytes).unwrap();
        fs::set_permissions(self.master(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn keys(&self, args: &[&str]) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_deputy"));
        let mut command = Command::new(binary);
        command.arg("keys").args(args).arg("--config").arg(self.0.path().join("deputy.toml"));
        command.env("IDP_SECRET", "rk3TqX0vZ8mWb5LyHc2N").output().unwrap()
    }

    /// What it prints when all is well, which is never a secret.
    fn says(&self, args: &[&str]) -> String {
        let output = self.keys(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let file = fs::read(self.master()).unwrap_or_default();
        let lines = if file.len() == 32 { "" } else { std::str::from_utf8(&file).unwrap() };
        for line in lines.lines() {
            let secret = line.rsplit(' ').next().unwrap();
            assert!(secret.len() == 43 && !said.contains(secret), "{args:?}");
        }
        said
    }

    fn refuses(&self, args: &[&str]) -> String {
        let output = self.keys(args);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The fingerprints of a table, each with the first word of what it is for.
fn masters(said: &str) -> Vec<(String, String)> {
    let is_fingerprint = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let rows = said.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next().filter(|word| is_fingerprint(word))?.to_owned(), words.next()?.to_owned()))
    });
    rows.collect()
}

#[test]
fn before_the_first_start_there_are_no_keys_and_none_are_made() {
    let deployment = Deployment::new();
    assert!(deployment.says(&["list"]).contains("There are no keys yet"));
    let refused = deployment.refuses(&["rotate", "--master"]);
    assert!(refused.contains("the first gateway that starts makes it"), "{refused}");
    assert!(!deployment.data().exists(), "nothing was made");
}

#[test]
fn a_master_secret_is_prepared_then_takes_over() {
    let deployment = Deployment::with_raw_secret();
    let old = masters(&deployment.says(&["list"])).remove(0);
    assert_eq!(old.1, "seals");
    assert_eq!(fs::read(deployment.master()).unwrap(), [7; 32], "only a rotation writes it");

    let prepared = deployment.says(&["rotate", "--master", "--prepare"]);
    assert!(prepared.contains("Copy the file to every gateway and restart each"), "{prepared}");
    let table = masters(&prepared);
    assert_eq!(table.iter().map(|(_, usage)| usage.as_str()).collect::<Vec<_>>(), ["seals", "prepared"]);
    assert_eq!(table.first(), Some(&old));
    assert!(deployment.refuses(&["rotate", "--master", "--prepare"]).contains("prepared already"));

    let rotated = masters(&deployment.says(&["rotate", "--master"]));
    let expected = [(table.last().unwrap().0.clone(), "seals".to_owned()), (old.0, "opens".to_owned())];
    assert_eq!(rotated, expected);
    assert_eq!(masters(&deployment.says(&["list"])), expected);
    assert_eq!(fs::metadata(deployment.master()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_leaked_master_secret_is_forgotten_and_what_ends_is_said() {
    let deployment = Deployment::with_raw_secret();
    let old = masters(&deployment.says(&["rotate", "--master"]));
    let said = deployment.says(&["rotate", "--master", "--forget-old"]);
    for part in ["RESTART EVERY GATEWAY NOW", "People sign in again", "register anew"] {
        assert!(said.contains(part), "{said}");
    }
    let [(now, usage)] = <[_; 1]>::try_from(masters(&said)).unwrap();
    assert!(usage == "seals" && old.iter().all(|(fingerprint, _)| *fingerprint != now));
    assert!(deployment.says(&["list"]).contains("signs"), "with a signing key of its own");
}

#[test]
fn a_damaged_file_is_refused_and_stays_as_it_is() {
    let deployment = Deployment::with_raw_secret();
    deployment.write_master(b"seals soon nothing\n");
    for args in [&["list"][..], &["rotate", "--master"], &["rotate", "--master", "--forget-old"]] {
        assert!(deployment.refuses(args).contains("restore it from a backup"), "{args:?}");
    }
    assert_eq!(fs::read(deployment.master()).unwrap(), b"seals soon nothing\n");
}

#[test]
fn ways_to_rotate_that_contradict_each_other_are_refused() {
    let deployment = Deployment::with_raw_secret();
    for (args, why) in [
        (&["rotate", "--prepare"][..], "--master"),
        (&["rotate", "--forget-old"], "--master"),
        (&["rotate", "--master", "--prepare", "--forget-old"], "cannot be used with"),
    ] {
        let refused = deployment.refuses(args);
        assert!(refused.contains(why), "{refused}");
    }
    assert!(deployment.says(&["list"]).contains("seals"), "the configuration is a good one");
    assert_eq!(fs::read(deployment.master()).unwrap(), [7; 32]);
}
