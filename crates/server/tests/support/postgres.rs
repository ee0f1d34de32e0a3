//! A PostgreSQL of the tests' own: a private cluster in a temporary folder, reached by a socket in it. It ends with this process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{Connection as _, Executor as _};

/// Starts a cluster and clears it away when its input ends.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres");

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
    command.args([SCRIPT, "/tmp", fsync]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("bash");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let said = lines.next().and_then(Result::ok).unwrap_or_default();
    assert!(std::path::Path::new(&said).is_dir(), "{said}");
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
