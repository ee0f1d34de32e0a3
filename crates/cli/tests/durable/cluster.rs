//! A PostgreSQL that can die: a private cluster in a temporary folder, on a port of its own, durable as a real one (fsync on).

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use crate::process::free_port;

/// Makes a cluster, then starts it and lets it die as it is told. When its input ends, it clears everything away. PostgreSQL does not run
/// as root, so root becomes `postgres`.
const SCRIPT: &str = r#"
set -eu
port=$1
bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb /usr/local/bin/initdb 2>/dev/null | sort -V | head -n 1)")
[ -x "$bin/initdb" ] || { echo "PostgreSQL is not installed (Debian: apt-get install postgresql)"; exit 1; }
dir=$(mktemp -d /tmp/deputy-pg-XXXXXX)
run=''
if [ "$(id -u)" -eq 0 ]; then chown postgres "$dir"; run='setpriv --reuid=postgres --regid=postgres --clear-groups'; fi
trap 'rm -rf "$dir"' EXIT
cd "$dir"
$run "$bin/initdb" -D "$dir/data" -A trust -U deputy --no-sync --no-instructions >"$dir/initdb" 2>&1 || { cat "$dir/initdb"; exit 1; }
start() {
  $run "$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" -c listen_addresses=127.0.0.1 -c fsync=on -c max_connections=100 >>"$dir/log" 2>&1 &
  pid=$!
  until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" -U deputy; do kill -0 $pid || { cat "$dir/log"; exit 1; }; sleep 0.05; done
}
start
"$bin/createdb" -h 127.0.0.1 -p "$port" -U deputy deputy
echo up
while read -r word; do
  case $word in
    # An immediate shutdown: nothing is written any more, and the next start recovers from the log as after a crash.
    die) kill -QUIT $pid; wait $pid || true; echo dead ;;
    start) start; echo up ;;
  esac
done
kill -QUIT $pid 2>/dev/null || true
wait $pid || true
"#;

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
        command.args(["-c", SCRIPT, "postgres", &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("bash");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        expect(&mut lines, "up");
        let talk = Mutex::new(child.stdin.take().map(|input| (input, lines)));
        Self { port, child, talk }
    }

    /// The URL of its database, reached at `port`.
    pub fn url(port: u16) -> String {
        format!("postgres://deputy@127.0.0.1:{port}/deputy?sslmode=disable")
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
