//! `deputy check`, the built binary, on providers, servers and addresses that are there, are not, or are something else.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

const DEPUTY: &str = env!("CARGO_BIN_EXE_deputy");

/// A development provider, ended with the test.
struct Provider {
    child: Child,
    /// Its lines for `deputy.toml`.
    lines: String,
}

impl Provider {
    fn start(manners: &str, dir: &Path) -> Self {
        let secret = dir.join("at-the-provider");
        fs::write(&secret, "the-right-secret-of-the-application").unwrap();
        let mut command = Command::new(DEPUTY);
        command.args(["devidp", "--listen", "127.0.0.1:0", "--as", manners, "--client-secret-file"]).arg(&secret);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut read = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let lines: Vec<String> = read.by_ref().skip_while(|line| line != "[idp]").take_while(|line| !line.is_empty()).collect();
        Self { child, lines: lines.join("\n").replace("at-the-provider", "secret") }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every request alike, and counts them.
struct Anybody {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Anybody {
    fn answers(head: &'static str, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                answer(stream, head, body);
            }
        });
        Self { port, asked }
    }

    fn mcp() -> Self {
        Self::answers(
            "200 OK\r\ncontent-type: application/json",
            r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}"#,
        )
    }
}

fn answer(mut stream: TcpStream, head: &str, body: &str) {
    let mut read = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    while read.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let _ = read.read_exact(&mut vec![0; length]);
    let _ = write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
}

/// A port where nobody listens.
fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Deployment(TempDir);

impl Deployment {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let deployment = Self(dir);
        deployment.write_secret("the-right-secret-of-the-application");
        deployment
    }

    fn write_secret(&self, secret: &str) {
        let file = self.0.path().join("secret");
        fs::write(&file, secret).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn check(&self, public: u16, idp: &str, server: u16, args: &[&str]) -> (Output, Value) {
        let config = format!(
            "public_url = \"http://127.0.0.1:{public}\"\ndata_dir = \"data\"\n{idp}\n[access]\nallow = [\"*\"]\n[[server]]\npath = \"/mcp\"\n\
             url = \"http://127.0.0.1:{server}/mcp\"\n"
        );
        fs::write(self.0.path().join("deputy.toml"), config).unwrap();
        let mut command = Command::new(DEPUTY);
        command.args(["check", "--json"]).args(args).current_dir(self.0.path());
        let output = command.output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (output, report)
    }
}

/// Each finding as `code level`.
fn found(report: &Value) -> Vec<String> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| format!("{} {}", text(finding, "code"), text(finding, "level")))
        .collect()
}

fn advice(report: &Value, code: &str) -> String {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().rfind(|finding| finding["code"] == code).unwrap();
    format!("{} {}", finding["text"], finding["what_to_do"])
}

#[test]
fn all_is_well_before_the_first_start() {
    for manners in ["entra", "oidc"] {
        let deployment = Deployment::new();
        let (provider, server) = (Provider::start(manners, deployment.0.path()), Anybody::mcp());
        let (output, report) = deployment.check(nobody(), &provider.lines, server.port, &[]);
        assert!(output.status.success(), "{report:#}");
        let found = found(&report);
        for expected in [
            "discovery ok",
            "keys ok",
            "credential ok",
            "clock ok",
            "backend ok",
            "public_url warning",
            "master_key note",
            "store note",
        ] {
            assert!(found.iter().any(|found| found == expected), "{manners}: {expected} not in {report:#}");
        }
        assert!(!deployment.0.path().join("data").exists(), "nothing is made");
    }
}

#[test]
fn a_wrong_secret_is_found_before_anybody_signs_in() {
    for (manners, said) in [("entra", "AADSTS7000215"), ("oidc", "may have expired")] {
        let deployment = Deployment::new();
        let provider = Provider::start(manners, deployment.0.path());
        deployment.write_secret("another-secret-of-some-application");
        let (output, report) = deployment.check(nobody(), &provider.lines, Anybody::mcp().port, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            found(&report).contains(&"credential error".to_owned()) && advice(&report, "credential").contains(said),
            "{report:#}"
        );
        assert!(!String::from_utf8_lossy(&output.stdout).contains("another-secret"));
    }
}

#[test]
fn what_is_not_there_or_is_something_else_is_said() {
    let deployment = Deployment::new();
    let provider = Provider::start("oidc", deployment.0.path());
    let gone =
        format!("[idp]\nissuer = \"http://127.0.0.1:{}\"\nclient_id = \"a\"\nclient_secret = {{ file = \"secret\" }}", nobody());
    let (output, report) = deployment.check(nobody(), &gone, nobody(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(found(&report)[..2], ["discovery error", "backend error"], "{report:#}");
    let elsewhere = provider.lines.replace("/v2.0", "");
    let (_, report) = deployment.check(nobody(), &elsewhere, nobody(), &[]);
    assert!(found(&report).contains(&"discovery error".to_owned()), "{report:#}");
    let page = Anybody::answers("200 OK\r\ncontent-type: text/html", "<html>");
    let locked = Anybody::answers("401 Unauthorized\r\nwww-authenticate: Bearer", "");
    let (_, report) = deployment.check(page.port, &provider.lines, locked.port, &[]);
    assert!(advice(&report, "public_url").contains("something else answers"), "{report:#}");
    assert!(advice(&report, "backend").contains("credentials of its own"), "{report:#}");
    let other = Anybody::answers("200 OK\r\ncontent-type: application/json", r#"{"issuer":"https://other.example"}"#);
    let (_, report) = deployment.check(other.port, &provider.lines, page.port, &[]);
    assert!(advice(&report, "public_url").contains("another issuer"), "{report:#}");
    assert!(advice(&report, "backend").contains("not as an MCP server"), "{report:#}");
}

#[test]
fn a_clock_that_is_wrong_is_said() {
    let deployment = Deployment::new();
    let late = Anybody::answers(
        "400 Bad Request\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-type: application/json",
        r#"{"error":"invalid_grant"}"#,
    );
    let idp = format!(
        "[idp]\nprovider = \"oauth2\"\nname = \"late\"\nissuer = \"http://127.0.0.1:{0}\"\nauthorization_endpoint = \"http://127.0.0.1:{0}/a\"\n\
         token_endpoint = \"http://127.0.0.1:{0}/t\"\nuserinfo_endpoint = \"http://127.0.0.1:{0}/u\"\nclaims = {{ id = \"id\" }}\nscopes = [\"a\"]\n\
         client_id = \"a\"\nclient_secret = {{ file = \"secret\" }}",
        late.port
    );
    let (_, report) = deployment.check(nobody(), &idp, Anybody::mcp().port, &[]);
    assert!(found(&report).contains(&"clock error".to_owned()) && advice(&report, "clock").contains("ahead of"), "{report:#}");
}

#[test]
fn offline_asks_nobody() {
    let deployment = Deployment::new();
    let silent = Anybody::answers("200 OK", "");
    let idp = format!(
        "[idp]\nissuer = \"http://127.0.0.1:{}\"\nclient_id = \"a\"\nclient_secret = {{ file = \"secret\" }}",
        silent.port
    );
    let (output, report) = deployment.check(silent.port, &idp, silent.port, &["--offline"]);
    assert!(output.status.success(), "{report:#}");
    assert_eq!(silent.asked.load(Ordering::SeqCst), 0);
    let (_, _) = deployment.check(silent.port, &idp, silent.port, &[]);
    assert!(silent.asked.load(Ordering::SeqCst) > 0, "it would have been seen");
}

#[test]
fn a_configuration_that_cannot_be_read_is_a_finding_too() {
    let deployment = Deployment::new();
    let (output, report) = deployment.check(nobody(), "[idp]\nissuer = 5", nobody(), &[]);
    assert_eq!((output.status.code(), found(&report)), (Some(3), vec!["config error".to_owned()]));
}
