//! The store in one SQLite file: the default, for one machine.
//!
//! WAL with `synchronous = FULL`: an acknowledged step survives power loss. One writer takes all steps that wait, in one transaction with
//! one fsync, and acknowledges them together; while the disk writes, the next ones gather. Readers have connections of their own.

use std::mem;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use deputy_protocol::Timestamp;
use deputy_protocol::client::assertion::Assertion;
use deputy_protocol::ids::{GrantId, TransactionId};
use deputy_protocol::remember::Memory;
use deputy_protocol::secret::{AuthorizationCode, BrowserKey, Digest};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, query};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::migrations::{Migrations, explained, migrator};
use super::{HeldCode, HeldGrant, LivingGrant, Revocation, Rows, SealedKey, Step, Store, StoreError, StoreResult};

/// What `statements` is compiled for here.
type Db = sqlx::Sqlite;

#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
#[path = "statements.rs"]
mod statements;

/// Uses a code and begins its line, in one visit to the thread that owns the connection: the visit costs more than the statement. A grant
/// has one code, so there is no line yet; a test that takes the code's guard out makes a second one.
const USE_CODE: &str = "UPDATE codes SET used_at = $1 WHERE digest = $2 AND used_at IS NOT DISTINCT FROM $3 \
     AND (SELECT revoked_at FROM grants WHERE id = $4) IS NOT DISTINCT FROM $5; \
     INSERT INTO lines (grant_id, generation, living, ends_at, recent) SELECT $4, $6, $7, $8, $9 WHERE changes() = 1 AND $6 IS NOT NULL \
     ON CONFLICT (grant_id) DO UPDATE SET generation = $6, living = $7, ends_at = $8, recent = $9";
/// What the tables are made by.
const MIGRATIONS: Migrations = &[
    ("state", include_str!("../../migrations/sqlite/0001_state.sql")),
    ("memberships", include_str!("../../migrations/sqlite/0002_memberships.sql")),
];
/// How long a request waits for the disk before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// SQLite's error code for a file that another connection has locked, and how soon to look again.
const BUSY: &str = "5";
const AGAIN: Duration = Duration::from_millis(20);
/// Most steps that wait, and most that share one transaction.
const QUEUE: usize = 1024;
const BATCH: usize = 256;
/// Readers at once.
const READERS: u32 = 4;

/// One SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    readers: SqlitePool,
    queue: mpsc::Sender<Waiting>,
}

/// A step, and who waits for it.
#[derive(Debug)]
struct Waiting {
    step: Step,
    done: oneshot::Sender<StoreResult<bool>>,
}

impl Sqlite {
    /// Opens the file, creates it if need be, and brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> StoreResult<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let mut connection = connect(&options).await?;
        migrate(&mut connection).await?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(Writer { options: options.clone(), connection: Some(connection) }.run(waiting));
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Self { readers, queue })
    }

    /// Looks whether there is a database that can be read, and changes nothing.
    pub(crate) async fn look(path: &Path) -> StoreResult<()> {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).pragma("query_only", "ON");
        let mut connection = connect(&options).await?;
        sqlx::query("SELECT count(*) FROM sqlite_master").fetch_one(&mut connection).await?;
        Ok(())
    }

    async fn read(&self) -> StoreResult<PoolConnection<Db>> {
        Ok(self.readers.acquire().await?)
    }
}

/// The first connection. Only one of several can make a new file a WAL, and SQLite lets the others not wait but fail.
async fn connect(options: &SqliteConnectOptions) -> StoreResult<SqliteConnection> {
    let patience = Instant::now() + PATIENCE;
    loop {
        match SqliteConnection::connect_with(options).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(BUSY) && Instant::now() < patience => {
                tokio::time::sleep(AGAIN).await;
            }
            connection => return Ok(connection?),
        }
    }
}

/// Brings the tables up to date. Several that start at once wait for the first.
async fn migrate(connection: &mut SqliteConnection) -> StoreResult<()> {
    let mut alone = connection.begin_with("BEGIN IMMEDIATE").await?;
    migrator(MIGRATIONS).run(&mut *alone).await.map_err(explained)?;
    Ok(alone.commit().await?)
}

/// The one who writes. A connection on which anything failed is closed: SQLite may have ended its transaction by itself (a full disk), and
/// after a failed fsync only what a new connection reads can be believed (A-247, I12).
struct Writer {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
}

/// How a transaction failed.
enum Failed {
    /// A step of it did: the others may be tried without it.
    Step(StoreError),
    /// All of it did; when it was the commit that failed, nobody knows what is written.
    Whole(StoreError),
}

impl Failed {
    fn whole(error: sqlx::Error) -> Self {
        Self::Whole(error.into())
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Step(error) | Failed::Whole(error) => error,
        }
    }
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            self.take_all(mem::take(&mut batch)).await;
        }
    }

    /// Takes the steps together. When one of them fails, each is tried alone, so that it spoils no other.
    async fn take_all(&mut self, batch: Vec<Waiting>) {
        match self.commit(&batch).await {
            Ok(taken) => batch.into_iter().zip(taken).for_each(|(waiting, taken)| waiting.tell(Ok(taken))),
            Err(Failed::Step(_)) if batch.len() > 1 => {
                for waiting in batch {
                    let alone = self.commit(std::slice::from_ref(&waiting)).await;
                    waiting.tell(alone.map(|taken| taken.first().copied().unwrap_or(false)).map_err(StoreError::from));
                }
            }
            Err(failed) => {
                let error = StoreError::from(failed);
                batch.into_iter().for_each(|waiting| waiting.tell(Err(error.clone())));
            }
        }
    }

    /// One transaction.
    async fn commit(&mut self, batch: &[Waiting]) -> Result<Vec<bool>, Failed> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await.map_err(Failed::whole)?,
        };
        let written = write(&mut connection, batch).await;
        if written.is_ok() {
            self.connection = Some(connection);
        } else {
            let _ = connection.close().await;
        }
        written
    }
}

async fn write(connection: &mut SqliteConnection, batch: &[Waiting]) -> Result<Vec<bool>, Failed> {
    query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(Failed::whole)?;
    let mut taken = Vec::with_capacity(batch.len());
    for waiting in batch {
        // Who has given up was told that nothing is done, and nothing is (a code must not be used up behind its client's back).
        let given_up = waiting.done.is_closed();
        taken.push(!given_up && statements::take(connection, &waiting.step).await.map_err(Failed::Step)?);
    }
    query("COMMIT").execute(connection).await.map_err(Failed::whole)?;
    Ok(taken)
}

impl Waiting {
    /// Acknowledges the step. Who has gone away in the meantime finds it done when it comes back.
    fn tell(self, outcome: StoreResult<bool>) {
        let _ = self.done.send(outcome);
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn take(&self, step: Step) -> StoreResult<bool> {
        let (done, outcome) = oneshot::channel();
        let asked = async {
            self.queue.send(Waiting { step, done }).await.map_err(|_| StoreError::new("the writer is gone"))?;
            outcome.await.map_err(|_| StoreError::new("the writer gave no answer"))?
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(StoreError::new("the disk does not answer")))
    }

    async fn is_complete(&self, transaction: &TransactionId) -> StoreResult<bool> {
        statements::is_complete(&mut *self.read().await?, transaction).await
    }

    async fn code(&self, code: &Digest<AuthorizationCode>) -> StoreResult<Option<HeldCode>> {
        statements::code(&mut *self.read().await?, code).await
    }

    async fn grant(&self, grant: &GrantId) -> StoreResult<Option<HeldGrant>> {
        statements::grant(&mut *self.read().await?, grant).await
    }

    async fn is_assertion_used(&self, assertion: &Assertion) -> StoreResult<bool> {
        statements::is_used(&mut *self.read().await?, Some(assertion)).await
    }

    async fn idp_tokens(&self, grant: &GrantId) -> StoreResult<Option<String>> {
        statements::idp_tokens(&mut *self.read().await?, grant).await
    }

    async fn memories(&self, browser: &Digest<BrowserKey>) -> StoreResult<Vec<Memory>> {
        statements::memories(&mut *self.read().await?, browser).await
    }

    async fn feed_head(&self) -> StoreResult<i64> {
        statements::feed_head(&mut *self.read().await?).await
    }

    async fn revocations_after(&self, sequence: i64) -> StoreResult<Vec<Revocation>> {
        statements::revocations_after(&mut *self.read().await?, sequence).await
    }

    async fn signing_keys(&self) -> StoreResult<Vec<SealedKey>> {
        statements::signing_keys(&mut *self.read().await?).await
    }

    async fn idle_grants(&self, now: Timestamp) -> StoreResult<Vec<GrantId>> {
        statements::idle_grants(&mut *self.read().await?, now).await
    }

    async fn living_grants(&self, after: Option<&LivingGrant>, now: Timestamp) -> StoreResult<Vec<LivingGrant>> {
        statements::living_grants(&mut *self.read().await?, after, now).await
    }

    async fn newest_sign_in(&self) -> StoreResult<Option<Timestamp>> {
        statements::newest_sign_in(&mut *self.read().await?).await
    }

    async fn count(&self) -> StoreResult<Rows> {
        statements::count(&mut *self.read().await?).await
    }
}
