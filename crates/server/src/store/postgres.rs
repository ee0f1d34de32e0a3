//! The store in PostgreSQL, for any number of identical replicas.
//!
//! A step of one statement is its own transaction. PostgreSQL's `synchronous_commit` is left as the operator set it; its default makes an
//! acknowledged step survive power loss.

use std::time::Duration;

use async_trait::async_trait;
use deputy_protocol::Timestamp;
use deputy_protocol::client::assertion::Assertion;
use deputy_protocol::ids::{GrantId, TransactionId};
use deputy_protocol::remember::Memory;
use deputy_protocol::secret::{AuthorizationCode, BrowserKey, ClientSecret, Digest};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, query_as};

use super::migrations::{Migrations, changed, explained, migrator};
use super::{HeldCode, HeldGrant, LivingGrant, Revocation, Rows, SealedKey, Step, Store, StoreError, StoreResult};

/// What `statements` is compiled for here.
type Db = sqlx::Postgres;

#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
#[path = "statements.rs"]
mod statements;

/// How long a request waits for the database before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections of one replica.
const CONNECTIONS: u32 = 20;
/// A connection that was used within this time is not asked whether it lives.
const FRESH: Duration = Duration::from_secs(1);
/// PostgreSQL's error code for a table that there is not.
const NO_SUCH_TABLE: &str = "42P01";
/// Uses a code and begins its line. A grant has one code, so there is no line yet; a test that takes the code's guard out makes a second one.
const USE_CODE: &str = "WITH used AS (\
       UPDATE codes SET used_at = $1 WHERE digest = $2 AND used_at IS NOT DISTINCT FROM $3 \
       AND (SELECT revoked_at FROM grants WHERE id = $4) IS NOT DISTINCT FROM $5 RETURNING 1), \
     begun AS (\
       INSERT INTO lines (grant_id, generation, living, ends_at, recent) SELECT $4, $6::bigint, $7, $8, $9 FROM used \
       WHERE $6::bigint IS NOT NULL \
       ON CONFLICT (grant_id) DO UPDATE SET generation = $6::bigint, living = $7, ends_at = $8, recent = $9) \
     SELECT FROM used";
/// What the tables are made by.
const MIGRATIONS: Migrations = &[
    ("state", include_str!("../../migrations/postgres/0001_state.sql")),
    ("memberships", include_str!("../../migrations/postgres/0002_memberships.sql")),
];

/// One PostgreSQL database.
#[derive(Debug)]
pub(crate) struct Postgres {
    pool: PgPool,
}

impl Postgres {
    /// Connects, and refuses a database whose tables are not up to date: see [`Postgres::migrate`].
    pub(crate) async fn open(url: &ClientSecret) -> StoreResult<Self> {
        let store = Self::connect(url, true).await?;
        let applied: Vec<(i64, Vec<u8>)> =
            match query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success").fetch_all(&store.pool).await {
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_SUCH_TABLE) => Vec::new(),
                applied => applied?,
            };
        // A later version may have added to the tables: it takes nothing away that this one needs.
        for ours in migrator(MIGRATIONS).iter() {
            match applied.iter().find(|(version, _)| *version == ours.version) {
                Some((_, checksum)) if *checksum == *ours.checksum => {}
                Some(_) => return Err(changed(ours.version)),
                None => {
                    return Err(StoreError::new("the tables are not up to date; run `deputy migrate` with this configuration"));
                }
            }
        }
        Ok(store)
    }

    /// Brings the tables up to date. An advisory lock lets one replica do it while the others wait.
    pub(crate) async fn migrate(url: &ClientSecret) -> StoreResult<()> {
        // A table may be large, and another replica may be at it: no statement is bounded here.
        let store = Self::connect(url, false).await?;
        let migrated = migrator(MIGRATIONS).run(&store.pool).await.map_err(explained);
        store.pool.close().await;
        migrated
    }

    async fn connect(url: &ClientSecret, bound: bool) -> StoreResult<Self> {
        // The parser's own words may repeat the URL, and the password in it.
        let options: PgConnectOptions = url
            .expose()
            .parse()
            .map_err(|_| StoreError::new("the URL of the database cannot be read: postgres://user@host/name"))?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .after_connect(move |connection, _| Box::pin(async move { if bound { bounded(connection).await } else { Ok(()) } }))
            .before_acquire(|connection, meta| {
                // A connection that was idle may have died with its server.
                Box::pin(async move { Ok(meta.idle_for < FRESH || connection.ping().await.is_ok()) })
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool })
    }

    async fn read(&self) -> StoreResult<PoolConnection<Db>> {
        Ok(self.pool.acquire().await?)
    }
}

/// Bounds at the server what is given up here: a statement whose caller has gone must not be done late, and a process that vanished must
/// not hold what others wait for. The server lets go a little before we do.
async fn bounded(connection: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    for setting in [
        "statement_timeout = '4s'",
        "lock_timeout = '4s'",
        "idle_in_transaction_session_timeout = '5s'",
        "tcp_user_timeout = '10s'",
    ] {
        // Not every server that speaks this protocol knows all of them.
        let set = sqlx::AssertSqlSafe(format!("SET {setting}"));
        if let Err(sqlx::Error::Database(error)) = connection.execute(set).await {
            tracing::debug!(target: "deputy::store", setting, %error, "the database does not know a setting");
        }
    }
    Ok(())
}

/// Gives a statement up that takes too long: its outcome is unknown.
async fn in_time<T>(work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(StoreError::new("the database does not answer")))
}

fn is_one_statement(step: &Step) -> bool {
    match step {
        Step::UseCode(used) => used.assertion.is_none(),
        Step::ReplaceLine(replaced) => replaced.assertion.is_none(),
        Step::Ask(_) | Step::ForgetIdle(..) => true,
        Step::ForgetDecisions | Step::Complete(_) | Step::Revoke(_) | Step::Hear(_) | Step::Sweep(_) => false,
        Step::AddFirstSigningKey(_) | Step::AddSigningKey(_) | Step::ForgetSigningKey(_) => false,
    }
}

#[async_trait]
impl Store for Postgres {
    async fn take(&self, step: Step) -> StoreResult<bool> {
        in_time(async {
            if is_one_statement(&step) {
                return statements::take(&mut *self.read().await?, &step).await;
            }
            let mut transaction = self.pool.begin_with("BEGIN").await?;
            let taken = statements::take(&mut transaction, &step).await?;
            if taken {
                transaction.commit().await?;
            } else {
                transaction.rollback().await?;
            }
            Ok(taken)
        })
        .await
    }

    async fn is_complete(&self, transaction: &TransactionId) -> StoreResult<bool> {
        in_time(async { statements::is_complete(&mut *self.read().await?, transaction).await }).await
    }

    async fn code(&self, code: &Digest<AuthorizationCode>) -> StoreResult<Option<HeldCode>> {
        in_time(async { statements::code(&mut *self.read().await?, code).await }).await
    }

    async fn grant(&self, grant: &GrantId) -> StoreResult<Option<HeldGrant>> {
        in_time(async { statements::grant(&mut *self.read().await?, grant).await }).await
    }

    async fn is_assertion_used(&self, assertion: &Assertion) -> StoreResult<bool> {
        in_time(async { statements::is_used(&mut *self.read().await?, Some(assertion)).await }).await
    }

    async fn idp_tokens(&self, grant: &GrantId) -> StoreResult<Option<String>> {
        in_time(async { statements::idp_tokens(&mut *self.read().await?, grant).await }).await
    }

    async fn memories(&self, browser: &Digest<BrowserKey>) -> StoreResult<Vec<Memory>> {
        in_time(async { statements::memories(&mut *self.read().await?, browser).await }).await
    }

    async fn feed_head(&self) -> StoreResult<i64> {
        in_time(async { statements::feed_head(&mut *self.read().await?).await }).await
    }

    async fn revocations_after(&self, sequence: i64) -> StoreResult<Vec<Revocation>> {
        in_time(async { statements::revocations_after(&mut *self.read().await?, sequence).await }).await
    }

    async fn signing_keys(&self) -> StoreResult<Vec<SealedKey>> {
        in_time(async { statements::signing_keys(&mut *self.read().await?).await }).await
    }

    async fn idle_grants(&self, now: Timestamp) -> StoreResult<Vec<GrantId>> {
        in_time(async { statements::idle_grants(&mut *self.read().await?, now).await }).await
    }

    async fn living_grants(&self, after: Option<&LivingGrant>, now: Timestamp) -> StoreResult<Vec<LivingGrant>> {
        in_time(async { statements::living_grants(&mut *self.read().await?, after, now).await }).await
    }

    async fn newest_sign_in(&self) -> StoreResult<Option<Timestamp>> {
        in_time(async { statements::newest_sign_in(&mut *self.read().await?).await }).await
    }

    async fn count(&self) -> StoreResult<Rows> {
        in_time(async { statements::count(&mut *self.read().await?).await }).await
    }
}
