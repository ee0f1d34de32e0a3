//! The store in one SQLite file: the default, for one machine.
//!
//! WAL with `synchronous = FULL`: an acknowledged rotation or revocation survives power loss. Every write runs in `BEGIN IMMEDIATE`, so
//! that two writers queue instead of failing half-way.

mod rows;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use deputy_protocol::family::{
    CheckedCode, CheckedRefresh, CodeRecord, CodeState, CodeUse, Grant, RefreshRecord, RefreshState, RefreshUse,
};
use deputy_protocol::hooks::{Guard, passes};
use deputy_protocol::ids::{GrantId, TransactionId};
use deputy_protocol::secret::{AuthorizationCode, Digest, RefreshToken};
use deputy_protocol::{Reason, Timestamp};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteQueryResult, SqliteSynchronous,
};
use sqlx::{Row as _, SqlSafeStr as _, Sqlite as Db, Transaction};

use super::{
    Completed, Completion, NewRefresh, Redeemed, Redemption, Revocation, Rotation, Rows, SealedKey, Store, StoreError,
    StoreResult,
};
use rows::{damaged, from_json, maybe_time, parsed, read_grant, sql, time};

/// A clock that is so far ahead of the last sign-in is wrong, or nobody was here.
const CLOCK_JUMP: Duration = Duration::from_secs(24 * 60 * 60);

/// One SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    pool: SqlitePool,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
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
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(5))
            .after_release(|connection, _| Box::pin(is_idle(connection)))
            .connect_with(options)
            .await?;
        migrator().run(&pool).await.map_err(|error| StoreError(error.to_string()))?;
        Ok(Self { pool })
    }

    async fn write(&self) -> StoreResult<Transaction<'static, Db>> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Whether a connection that comes back is outside of every transaction. SQLite ends a transaction by itself when the disk is full, sqlx
/// then waits for an end that never comes: such a connection would refuse every write until a restart (A-247, I12).
async fn is_idle(connection: &mut sqlx::SqliteConnection) -> Result<bool, sqlx::Error> {
    use sqlx::Connection as _;
    // A rollback may still be under way; the answer comes after it.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

fn migrator() -> Migrator {
    let grants = include_str!("../../../migrations/sqlite/0001_grants.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(1, "grants".into(), MigrationType::Simple, grants, false)])
}

/// Revokes inside a running transaction, and enters the feed. Whether the grant was alive.
async fn revoke_in(tx: &mut Transaction<'static, Db>, grant: &GrantId, why: Reason, now: Timestamp) -> StoreResult<bool> {
    let revoked = sqlx::query("UPDATE grants SET revoked_at = ?, revoked_why = ? WHERE id = ? AND revoked_at IS NULL")
        .bind(sql(now))
        .bind(why.code())
        .bind(grant.as_str())
        .execute(&mut **tx)
        .await?;
    if revoked.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT INTO revocations (grant_id, at) VALUES (?, ?)")
        .bind(grant.as_str())
        .bind(sql(now))
        .execute(&mut **tx)
        .await?;
    Ok(true)
}

async fn insert_refresh(tx: &mut Transaction<'static, Db>, grant: &GrantId, token: &NewRefresh) -> StoreResult<()> {
    sqlx::query("INSERT INTO refresh_tokens (digest, grant_id, ends_at) VALUES (?, ?, ?)")
        .bind(token.digest.as_bytes().as_slice())
        .bind(grant.as_str())
        .bind(sql(token.ends_at))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn insert_grant(tx: &mut Transaction<'static, Db>, grant: &Grant, idp_tokens: &str) -> StoreResult<()> {
    let groups = serde_json::to_string(&grant.groups).map_err(|_| damaged("groups"))?;
    sqlx::query(
        "INSERT INTO grants (id, subject, idp, idp_subject, email, name, groups, client, client_name, resource, scopes, idp_tokens, granted_at, ends_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(grant.id.as_str())
    .bind(&grant.subject)
    .bind(grant.idp.as_str())
    .bind(&grant.idp_subject)
    .bind(&grant.email)
    .bind(&grant.name)
    .bind(groups)
    .bind(grant.client.as_str())
    .bind(grant.client_name.as_str())
    .bind(grant.resource.as_str())
    .bind(grant.scopes.to_string())
    .bind(idp_tokens)
    .bind(sql(grant.granted_at))
    .bind(sql(grant.ends_at))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether the time can be right: somebody signed in within the last day. A machine that wakes up in another year must not forget
/// everybody; where nobody signs in, few rows come and nothing presses. Only sign-ins count, because the provider's clock agreed
/// to their time: a revocation or rotation is written under any clock, by whoever holds a token.
async fn clock_fits(tx: &mut Transaction<'static, Db>, now: Timestamp) -> StoreResult<bool> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT max(granted_at) FROM grants").fetch_one(&mut **tx).await?;
    Ok(newest.is_none_or(|newest| sql(now.before(CLOCK_JUMP)) <= newest))
}

/// A write that repeats what was judged must find it so. In a transaction that excludes all other writers it does.
fn still_as_judged(written: &SqliteQueryResult) -> StoreResult<()> {
    if written.rows_affected() == 1 { Ok(()) } else { Err(StoreError("a row changed inside a transaction".to_owned())) }
}

/// The grant of a code or token inside a running transaction, with whether it was revoked.
async fn grant_in(tx: &mut Transaction<'static, Db>, id: &str) -> StoreResult<(Grant, bool)> {
    let row = sqlx::query("SELECT * FROM grants WHERE id = ?").bind(id).fetch_one(&mut **tx).await?;
    let revoked: Option<i64> = row.try_get("revoked_at")?;
    Ok((read_grant(&row)?, revoked.is_some()))
}

#[async_trait]
impl Store for Sqlite {
    async fn complete(&self, completed: &Completed) -> StoreResult<Completion> {
        let mut tx = self.write().await?;
        let used = sqlx::query("INSERT INTO completed_transactions (id, until) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(completed.transaction.as_str())
            .bind(sql(completed.transaction_ends))
            .execute(&mut *tx)
            .await?;
        if !passes(Guard::StateSingleUse, used.rows_affected() == 1) {
            return Ok(Completion::Replay);
        }
        insert_grant(&mut tx, &completed.grant, &completed.idp_tokens).await?;
        sqlx::query("INSERT INTO codes (digest, grant_id, redirect_uri, challenge, refresh, ends_at) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(completed.code.as_bytes().as_slice())
            .bind(completed.grant.id.as_str())
            .bind(completed.redirect_uri.as_str())
            .bind(completed.challenge.as_str())
            .bind(completed.refresh)
            .bind(sql(completed.code_ends))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Completion::First)
    }

    async fn is_complete(&self, transaction: &TransactionId) -> StoreResult<bool> {
        let row = sqlx::query("SELECT 1 FROM completed_transactions WHERE id = ?")
            .bind(transaction.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }

    async fn code(&self, code: &Digest<AuthorizationCode>) -> StoreResult<Option<CodeRecord>> {
        let row = sqlx::query(
            "SELECT c.redirect_uri, c.challenge, c.refresh, g.* FROM codes c JOIN grants g ON g.id = c.grant_id WHERE c.digest = ?",
        )
        .bind(code.as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(CodeRecord {
            digest: code.clone(),
            grant: read_grant(&row)?,
            redirect_uri: parsed(&row, "redirect_uri", from_json)?,
            challenge: parsed(&row, "challenge", from_json)?,
            refresh: row.try_get("refresh")?,
        }))
    }

    async fn redeem_code(&self, code: &CheckedCode, first: Option<&NewRefresh>, now: Timestamp) -> StoreResult<Redemption> {
        let digest = code.record().digest.as_bytes().as_slice();
        let mut tx = self.write().await?;
        let row = sqlx::query("SELECT grant_id, used_at, ends_at FROM codes WHERE digest = ?")
            .bind(digest)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(Redemption::Unknown) };
        let (grant, revoked) = grant_in(&mut tx, row.try_get("grant_id")?).await?;
        let used_at = maybe_time(&row, "used_at")?;
        let state = CodeState { used: used_at.is_some(), ends_at: time(&row, "ends_at")?, revoked };
        match state.judge(now) {
            CodeUse::First => {
                let used = sqlx::query("UPDATE codes SET used_at = ? WHERE digest = ? AND used_at IS ?")
                    .bind(sql(now))
                    .bind(digest)
                    .bind(used_at.map(sql))
                    .execute(&mut *tx)
                    .await?;
                still_as_judged(&used)?;
                if let Some(first) = first {
                    insert_refresh(&mut tx, &grant.id, first).await?;
                }
                tx.commit().await?;
                Ok(Redemption::First(Box::new(Redeemed(grant))))
            }
            CodeUse::Replay => {
                revoke_in(&mut tx, &grant.id, Reason::CodeReplayed, now).await?;
                tx.commit().await?;
                Ok(Redemption::Replay(grant.id))
            }
            CodeUse::Expired => Ok(Redemption::Expired),
            CodeUse::Revoked => Ok(Redemption::Revoked),
        }
    }

    async fn refresh(&self, token: &Digest<RefreshToken>) -> StoreResult<Option<RefreshRecord>> {
        let row = sqlx::query("SELECT g.* FROM refresh_tokens r JOIN grants g ON g.id = r.grant_id WHERE r.digest = ?")
            .bind(token.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(RefreshRecord { digest: token.clone(), grant: read_grant(&row)? }))
    }

    async fn rotate(
        &self,
        token: &CheckedRefresh,
        successor: &NewRefresh,
        sealed: &[u8],
        grace: Duration,
        now: Timestamp,
    ) -> StoreResult<Rotation> {
        let digest = token.record().digest.as_bytes().as_slice();
        let mut tx = self.write().await?;
        let row = sqlx::query("SELECT grant_id, rotated_at, successor, ends_at FROM refresh_tokens WHERE digest = ?")
            .bind(digest)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(Rotation::Unknown) };
        let (grant, revoked) = grant_in(&mut tx, row.try_get("grant_id")?).await?;
        let rotated_at = maybe_time(&row, "rotated_at")?;
        let state = RefreshState { rotated_at, ends_at: time(&row, "ends_at")?, grant_ends_at: grant.ends_at, revoked };
        match state.judge(grace, now) {
            RefreshUse::Rotate => {
                let rotated =
                    sqlx::query("UPDATE refresh_tokens SET rotated_at = ?, successor = ? WHERE digest = ? AND rotated_at IS ?")
                        .bind(sql(now))
                        .bind(sealed)
                        .bind(digest)
                        .bind(rotated_at.map(sql))
                        .execute(&mut *tx)
                        .await?;
                still_as_judged(&rotated)?;
                insert_refresh(&mut tx, &grant.id, successor).await?;
                tx.commit().await?;
                Ok(Rotation::Rotated(Box::new(Redeemed(grant))))
            }
            RefreshUse::Replay => Ok(Rotation::Replayed(Box::new(Redeemed(grant)), row.try_get("successor")?)),
            RefreshUse::Reuse => {
                revoke_in(&mut tx, &grant.id, Reason::RefreshReused, now).await?;
                tx.commit().await?;
                Ok(Rotation::Reused(grant.id))
            }
            RefreshUse::Expired => Ok(Rotation::Expired),
            RefreshUse::Revoked => Ok(Rotation::Revoked),
        }
    }

    async fn revoke(&self, grant: &GrantId, why: Reason, now: Timestamp) -> StoreResult<bool> {
        let mut tx = self.write().await?;
        let alive = revoke_in(&mut tx, grant, why, now).await?;
        tx.commit().await?;
        Ok(alive)
    }

    async fn revocations_after(&self, sequence: i64) -> StoreResult<Vec<Revocation>> {
        let rows = sqlx::query("SELECT sequence, grant_id FROM revocations WHERE sequence > ? ORDER BY sequence")
            .bind(sequence)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Revocation { sequence: row.try_get("sequence")?, grant: GrantId::from_stored(row.try_get("grant_id")?) })
            })
            .collect()
    }

    async fn signing_keys(&self) -> StoreResult<Vec<SealedKey>> {
        let rows = sqlx::query("SELECT kid, sealed, created_at FROM signing_keys ORDER BY created_at, kid")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(SealedKey { kid: row.try_get("kid")?, sealed: row.try_get("sealed")?, created_at: time(row, "created_at")? })
            })
            .collect()
    }

    async fn add_first_signing_key(&self, key: &SealedKey) -> StoreResult<()> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO signing_keys (kid, sealed, created_at) SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM signing_keys)",
        )
        .bind(&key.kid)
        .bind(&key.sealed)
        .bind(sql(key.created_at))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn sweep(&self, now: Timestamp, keep_revocations: Duration) -> StoreResult<()> {
        // A code is remembered for ten minutes after its end, so that a late replay still ends its grant.
        let long_over = sql(now.before(Duration::from_secs(600)));
        let mut tx = self.write().await?;
        if !clock_fits(&mut tx, now).await? {
            return Ok(());
        }
        // What keeps a used or revoked thing from counting again outlives it by as much as the clock may be wrong.
        let wrong = now.before(CLOCK_JUMP);
        sqlx::query("DELETE FROM completed_transactions WHERE until <= ?").bind(sql(wrong)).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM codes WHERE ends_at <= ?").bind(long_over).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM refresh_tokens WHERE ends_at <= ?").bind(sql(now)).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM grants WHERE ends_at <= ?").bind(sql(now)).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM revocations WHERE at <= ?").bind(sql(wrong.before(keep_revocations))).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn count(&self) -> StoreResult<Rows> {
        let mut rows = Vec::new();
        for (table, query) in [
            ("grants", "SELECT count(*) FROM grants"),
            ("completed_transactions", "SELECT count(*) FROM completed_transactions"),
            ("codes", "SELECT count(*) FROM codes"),
            ("refresh_tokens", "SELECT count(*) FROM refresh_tokens"),
            ("revocations", "SELECT count(*) FROM revocations"),
            ("signing_keys", "SELECT count(*) FROM signing_keys"),
        ] {
            rows.push((table, sqlx::query_scalar(query).fetch_one(&self.pool).await?));
        }
        Ok(rows)
    }
}
