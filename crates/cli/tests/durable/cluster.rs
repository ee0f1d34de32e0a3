//! A PostgreSQL that can die: a private cluster in a temporary folder, on a port of its own, durable as a real one (fsync on).

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use crate::process::free_port;

/// Starts a cluster, lets it die and starts it again as it is told, and clears it away when its input ends.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres");

/// A cluster, for as long as its input is open.
#[derive(Debug)]
pub struct Cluster {
    pub port: u16,
    child: Child,
    talk: Mutex<Option<(ChildStdin, Lines<BufReader<ChildStdout>>)>>,
}

impl Cluster {
    pub fn start() -> Self {
        let port = free_port();
        let mut command = Command::new("bash");
        command.args([SCRIPT, "/tmp", "on", &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("bash");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(std::path::Path::new(&said).is_dir(), "{said}");
        let talk = Mutex::new(child.stdin.take().map(|input| (input, lines)));
        Self { port, child, talk }
    }

    /// The URL of its database, reached at `port`.
    pub fn url(port: u16) -> String {
        format!("postgres://deputy@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    /// Its processes end at once, with all that they had in hand.
    pub fn die(&self) {
        self.tell("die", "dead");
    }

    /// It starts again, and is ready.
    pub fn again(&self) {
        self.tell("start", "up");
    }

    fn tell(&self, word: &str, answer: &str) {
        let mut talk = self.talk.lock().unwrap();
        let (input, lines) = talk.as_mut().expect("a cluster");
        writeln!(input, "{word}").unwrap();
        expect(lines, answer);
    }
}

fn expect(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) {
    let said = lines.next().and_then(Result::ok).unwrap_or_default();
    assert_eq!(said, word, "{said}");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.talk.lock().unwrap().take());
        let _ = self.child.wait();
    }
}
