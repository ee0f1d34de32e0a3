//! A PostgreSQL of the tests' own: a private cluster in a temporary folder, reached by a socket in it. It ends with this process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{Connection as _, Executor as _};

/// Starts a cluster, says so, waits until its input ends, and clears everything away. PostgreSQL does not run as root, so root becomes
/// `postgres`.
const SCRIPT: &str = r#"
set -eu
bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb /usr/local/bin/initdb 2>/dev/null | sort -V | head -n 1)")
[ -x "$bin/initdb" ] || { echo "PostgreSQL is not installed (Debian: apt-get install postgresql)"; exit 1; }
dir=$(mktemp -d /tmp/deputy-pg-XXXXXX)
run=''
if [ "$(id -u)" -eq 0 ]; then chown postgres "$dir"; run='setpriv --reuid=postgres --regid=postgres --clear-groups'; fi
trap 'rm -rf "$dir"' EXIT
cd "$dir"
$run "$bin/initdb" -D "$dir/data" -A trust -U deputy --no-sync --no-instructions >"$dir/initdb" 2>&1 || { cat "$dir/initdb"; exit 1; }
start() {
  $run "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync="$1" -c max_connections=500 >>"$dir/log" 2>&1 &
  pid=$!
  until "$bin/pg_isready" -q -h "$dir" -U deputy; do kill -0 $pid || { cat "$dir/log"; exit 1; }; sleep 0.05; done
}
start "$1"
echo "$dir"
cat >/dev/null
kill -INT $pid
wait $pid || true
"#;

/// A cluster, for as long as its input is open.
#[derive(Debug)]
struct Cluster {
    dir: String,
    _child: Child,
    _input: ChildStdin,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| start("off"));
static DATABASES: AtomicU64 = AtomicU64::new(0);

fn start(fsync: &str) -> Cluster {
    let mut command = Command::new("bash");
    command.args(["-c", SCRIPT, "postgres", fsync]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("bash");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let said = lines.next().and_then(Result::ok).unwrap_or_default();
    assert!(said.starts_with("/tmp/"), "{said}");
    let input = child.stdin.take().expect("piped");
    Cluster { dir: said, _child: child, _input: input }
}

impl Cluster {
    fn url(&self, database: &str) -> String {
        format!("postgres://deputy@localhost/{database}?host={}", self.dir)
    }
}

/// The URL of a new, empty database.
pub async fn database() -> String {
    let cluster = tokio::task::spawn_blocking(|| &*CLUSTER).await.expect("a cluster");
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::SeqCst));
    let mut connection = sqlx::PgConnection::connect(&cluster.url("postgres")).await.expect("connected");
    // Several at once may find the template in use.
    while let Err(error) = connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await {
        let busy = error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "55006");
        assert!(busy, "{error}");
        tokio::task::yield_now().await;
    }
    connection.close().await.expect("closed");
    cluster.url(&name)
}
