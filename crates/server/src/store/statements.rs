//! The statements, which both databases understand. This file is compiled once for each, as a child of its module, which says what `Db` is.

use deputy_protocol::Timestamp;
use deputy_protocol::claims::Memberships;
use deputy_protocol::client::DisplayName;
use deputy_protocol::family::{CodeRecord, Generation, Grant, Line, NewRefresh, Word};
use deputy_protocol::hooks::{Guard, passes};
use deputy_protocol::ids::{ClientId, GrantId, Issuer, TransactionId};
use deputy_protocol::pkce::Challenge;
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::secret::{AuthorizationCode, Digest};
use sqlx::{Database, Row as _, query, query_scalar};

use super::Db;
use crate::store::rows::{damaged, digest, from_json, parsed, seconds, time};
use crate::store::{
    Ask, AttemptId, Completed, Heard, HeldCode, HeldGrant, ReplaceLine, Revoke, SealedKey, Step, StoreResult, Sweep, UseCode,
};

/// The columns that [`read_grant`] reads, and when it was revoked. By name: see `migrations`.
macro_rules! grant_columns {
    () => {
        "g.id, g.subject, g.idp, g.idp_subject, g.email, g.said_email, g.name, g.groups, g.roles, g.orgs, g.teams, g.client, g.client_name, \
         g.resource, g.scopes, g.granted_at, g.ends_at, g.revoked_at"
    };
}

#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
#[path = "assertion.rs"]
mod assertion;
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
#[path = "feed.rs"]
mod feed;
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
#[path = "listing.rs"]
mod listing;
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
#[path = "memories.rs"]
mod memories;

pub(super) use assertion::is_used;
pub(super) use feed::{feed_head, revocations_after};
pub(super) use listing::{count, idle_grants, living_grants, newest_sign_in};
pub(super) use memories::memories;

type Connection = <Db as Database>::Connection;
type Row = <Db as Database>::Row;

/// Most rows that one sweep takes out of a table.
const SWEPT_MAX: i64 = 500;

/// Takes a step. One that is more than one statement must run in a transaction, which is rolled back when its condition did not hold.
pub(super) async fn take(connection: &mut Connection, step: &Step) -> StoreResult<bool> {
    match step {
        Step::Complete(completed) => complete(connection, completed).await,
        Step::UseCode(step) => use_code(connection, step).await,
        Step::ReplaceLine(step) => replace_line(connection, step).await,
        Step::Revoke(step) => revoke(connection, step).await,
        Step::Ask(step) => ask(connection, step).await,
        Step::Hear(step) => hear(connection, step).await,
        Step::ForgetDecisions => memories::forget_all(connection).await,
        Step::AddFirstSigningKey(key) => add_first_signing_key(connection, key).await,
        Step::AddSigningKey(key) => add_signing_key(connection, key).await,
        Step::ForgetSigningKey(kid) => forget_signing_key(connection, kid).await,
        Step::Sweep(step) => sweep(connection, *step).await,
        Step::ForgetIdle(grant, now) => forget_idle(connection, grant, *now).await,
    }
}

async fn complete(connection: &mut Connection, completed: &Completed) -> StoreResult<bool> {
    let used = query("INSERT INTO completed_transactions (id, until) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(completed.transaction.as_str())
        .bind(seconds(completed.transaction_ends))
        .execute(&mut *connection)
        .await?;
    if !passes(Guard::StateSingleUse, used.rows_affected() == 1) {
        return Ok(false);
    }
    let grant = &completed.grant;
    insert_grant(connection, grant).await?;
    query("INSERT INTO words (grant_id, tokens, renewable, heard_at) VALUES ($1, $2, $3, $4)")
        .bind(grant.id.as_str())
        .bind(&completed.idp_tokens)
        .bind(completed.renewable)
        .bind(seconds(grant.granted_at))
        .execute(&mut *connection)
        .await?;
    query("INSERT INTO codes (digest, grant_id, redirect_uri, challenge, refresh, ends_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(completed.code.as_bytes().as_slice())
        .bind(grant.id.as_str())
        .bind(completed.redirect_uri.as_str())
        .bind(completed.challenge.as_str())
        .bind(completed.refresh)
        .bind(seconds(completed.code_ends))
        .execute(&mut *connection)
        .await?;
    if let Some(memory) = &completed.memory {
        memories::keep(connection, memory).await?;
    }
    Ok(true)
}

async fn insert_grant(connection: &mut Connection, grant: &Grant) -> StoreResult<()> {
    query(
        "INSERT INTO grants (id, subject, idp, idp_subject, email, name, groups, client, client_name, resource, scopes, granted_at, \
         ends_at, said_email, roles, orgs, teams) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(grant.id.as_str())
    .bind(&grant.subject)
    .bind(grant.idp.as_str())
    .bind(&grant.idp_subject)
    .bind(&grant.email)
    .bind(&grant.name)
    .bind(json(&grant.memberships.groups)?)
    .bind(grant.client.as_str())
    .bind(grant.client_name.as_str())
    .bind(grant.resource.as_str())
    .bind(grant.scopes.to_string())
    .bind(seconds(grant.granted_at))
    .bind(seconds(grant.ends_at))
    .bind(&grant.said_email)
    .bind(json(&grant.memberships.roles)?)
    .bind(json(&grant.memberships.orgs)?)
    .bind(json(&grant.memberships.teams)?)
    .execute(connection)
    .await?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|_| damaged("list"))
}

async fn use_code(connection: &mut Connection, step: &UseCode) -> StoreResult<bool> {
    if assertion::is_used(connection, step.assertion.as_ref()).await? {
        return Ok(false);
    }
    let line = step.line.as_ref();
    let used = query(super::USE_CODE)
        .bind(seconds(step.now))
        .bind(step.code.as_bytes().as_slice())
        .bind(step.judged_used_at.map(seconds))
        .bind(step.grant.as_str())
        .bind(step.judged_revoked_at.map(seconds))
        .bind(line.map(|line| i64::from(line.generation.number())))
        .bind(line.map(|line| line.living.digest.as_bytes().as_slice()))
        .bind(line.map(|line| seconds(line.living.ends_at)))
        .bind(line.map(|line| json(&line.recent)).transpose()?)
        .execute(&mut *connection)
        .await?;
    Ok(used.rows_affected() > 0 && assertion::use_up(connection, step.assertion.as_ref()).await?)
}

async fn replace_line(connection: &mut Connection, step: &ReplaceLine) -> StoreResult<bool> {
    if assertion::is_used(connection, step.assertion.as_ref()).await? {
        return Ok(false);
    }
    let replaced = query(
        "UPDATE lines SET generation = $1, living = $2, ends_at = $3, recent = $4 WHERE grant_id = $5 AND generation = $6 \
         AND (SELECT revoked_at FROM grants WHERE id = $5) IS NOT DISTINCT FROM $7",
    )
    .bind(i64::from(step.line.generation.number()))
    .bind(step.line.living.digest.as_bytes().as_slice())
    .bind(seconds(step.line.living.ends_at))
    .bind(json(&step.line.recent)?)
    .bind(step.grant.as_str())
    .bind(i64::from(step.judged.number()))
    .bind(step.judged_revoked_at.map(seconds))
    .execute(&mut *connection)
    .await?;
    Ok(replaced.rows_affected() == 1 && assertion::use_up(connection, step.assertion.as_ref()).await?)
}

async fn revoke(connection: &mut Connection, step: &Revoke) -> StoreResult<bool> {
    let revoked = query("UPDATE grants SET revoked_at = $1, revoked_why = $2 WHERE id = $3 AND revoked_at IS NULL")
        .bind(seconds(step.now))
        .bind(step.why.code())
        .bind(step.grant.as_str())
        .execute(&mut *connection)
        .await?;
    if revoked.rows_affected() == 0 {
        return Ok(false);
    }
    memories::forget(&mut *connection, &step.grant).await?;
    feed::tell(connection, &step.grant, step.now).await?;
    Ok(true)
}

async fn ask(connection: &mut Connection, step: &Ask) -> StoreResult<bool> {
    let noted = query(
        "UPDATE words SET asking = $1, asking_since = $2 WHERE grant_id = $3 AND heard_at = $4 AND asking IS NULL AND renewable \
         AND tokens = $5",
    )
    .bind(step.attempt.as_str())
    .bind(seconds(step.now))
    .bind(step.grant.as_str())
    .bind(seconds(step.judged_heard_at))
    .bind(&step.tokens)
    .execute(connection)
    .await?;
    Ok(noted.rows_affected() == 1)
}

async fn hear(connection: &mut Connection, step: &Heard) -> StoreResult<bool> {
    let heard = query(
        "UPDATE words SET tokens = coalesce($1, tokens), renewable = $2, heard_at = coalesce($3, heard_at), \
         asking = CASE WHEN $4 THEN asking END, asking_since = CASE WHEN $4 THEN asking_since END WHERE grant_id = $5 AND asking = $6",
    )
    .bind(&step.tokens)
    .bind(step.renewable)
    .bind(step.heard_at.map(seconds))
    .bind(step.still_asking)
    .bind(step.grant.as_str())
    .bind(step.attempt.as_str())
    .execute(&mut *connection)
    .await?;
    if heard.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some(person) = &step.person {
        query(
            "UPDATE grants SET email = CASE WHEN $5 IS NOT NULL THEN $1 ELSE email END, said_email = coalesce($5, said_email), \
             name = coalesce($2, name), groups = $3, roles = $6, orgs = $7, teams = $8 WHERE id = $4",
        )
        .bind(&person.email)
        .bind(&person.name)
        .bind(json(&person.memberships.groups)?)
        .bind(step.grant.as_str())
        .bind(&person.said_email)
        .bind(json(&person.memberships.roles)?)
        .bind(json(&person.memberships.orgs)?)
        .bind(json(&person.memberships.teams)?)
        .execute(connection)
        .await?;
    }
    Ok(true)
}

async fn add_first_signing_key(connection: &mut Connection, key: &SealedKey) -> StoreResult<bool> {
    // Two replicas that start at once: the head of the feed lets one of them look first.
    query("UPDATE feed SET head = head").execute(&mut *connection).await?;
    let added = query(
        "INSERT INTO signing_keys (kid, sealed, created_at) SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM signing_keys)",
    )
    .bind(&key.kid)
    .bind(&key.sealed)
    .bind(seconds(key.created_at))
    .execute(connection)
    .await?;
    Ok(added.rows_affected() == 1)
}

async fn add_signing_key(connection: &mut Connection, key: &SealedKey) -> StoreResult<bool> {
    let added = query("INSERT INTO signing_keys (kid, sealed, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(&key.kid)
        .bind(&key.sealed)
        .bind(seconds(key.created_at))
        .execute(connection)
        .await?;
    Ok(added.rows_affected() == 1)
}

async fn forget_signing_key(connection: &mut Connection, kid: &str) -> StoreResult<bool> {
    let forgotten = query("DELETE FROM signing_keys WHERE kid = $1").bind(kid).execute(connection).await?;
    Ok(forgotten.rows_affected() == 1)
}

async fn sweep(connection: &mut Connection, sweep: Sweep) -> StoreResult<bool> {
    let mut swept = 0;
    for (statement, until) in [
        (
            "DELETE FROM completed_transactions WHERE id IN (SELECT id FROM completed_transactions WHERE until <= $1 LIMIT $2)",
            sweep.transactions,
        ),
        (
            "DELETE FROM assertions WHERE digest IN (SELECT digest FROM assertions WHERE ends_at <= $1 LIMIT $2)",
            sweep.transactions,
        ),
        ("DELETE FROM codes WHERE digest IN (SELECT digest FROM codes WHERE ends_at <= $1 LIMIT $2)", sweep.codes),
        ("DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE ends_at <= $1 LIMIT $2)", sweep.grants),
        (
            "DELETE FROM memories WHERE (browser, client, resource) IN \
             (SELECT browser, client, resource FROM memories WHERE until <= $1 LIMIT $2)",
            sweep.grants,
        ),
        (
            "DELETE FROM revocations WHERE sequence IN (SELECT sequence FROM revocations WHERE at <= $1 LIMIT $2)",
            sweep.revocations,
        ),
    ] {
        swept += query(statement).bind(seconds(until)).bind(SWEPT_MAX).execute(&mut *connection).await?.rows_affected();
    }
    Ok(swept > 0)
}

async fn forget_idle(connection: &mut Connection, grant: &GrantId, now: Timestamp) -> StoreResult<bool> {
    let forgotten = query("DELETE FROM grants WHERE id = $1 AND (SELECT ends_at FROM lines WHERE grant_id = $1) <= $2")
        .bind(grant.as_str())
        .bind(seconds(now))
        .execute(connection)
        .await?;
    Ok(forgotten.rows_affected() == 1)
}

pub(super) async fn is_complete(connection: &mut Connection, transaction: &TransactionId) -> StoreResult<bool> {
    let found = query("SELECT 1 FROM completed_transactions WHERE id = $1").bind(transaction.as_str()).fetch_optional(connection);
    Ok(found.await?.is_some())
}

pub(super) async fn code(connection: &mut Connection, code: &Digest<AuthorizationCode>) -> StoreResult<Option<HeldCode>> {
    let row = query(concat!(
        "SELECT ",
        grant_columns!(),
        ", w.renewable, w.heard_at, w.asking_since, c.redirect_uri, c.challenge, c.refresh, c.used_at, c.ends_at AS code_ends_at \
         FROM codes c JOIN grants g ON g.id = c.grant_id JOIN words w ON w.grant_id = g.id WHERE c.digest = $1",
    ))
    .bind(code.as_bytes().as_slice())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let challenge = |text: &str| Challenge::parse(Some(text), Some("S256"));
    let record = CodeRecord {
        digest: code.clone(),
        grant: read_grant(&row)?,
        redirect_uri: parsed("redirect_uri", row.try_get("redirect_uri")?, RedirectUri::of_operator)?,
        challenge: parsed("challenge", row.try_get("challenge")?, challenge)?,
        refresh: row.try_get("refresh")?,
    };
    Ok(Some(HeldCode {
        record,
        used_at: maybe_time(&row, "used_at")?,
        ends_at: time(row.try_get("code_ends_at")?),
        revoked_at: maybe_time(&row, "revoked_at")?,
        word: read_word(&row)?,
    }))
}

pub(super) async fn grant(connection: &mut Connection, grant: &GrantId) -> StoreResult<Option<HeldGrant>> {
    let row = query(concat!(
        "SELECT ",
        grant_columns!(),
        ", w.renewable, w.heard_at, w.asking, w.asking_since, l.generation, l.living, l.ends_at AS line_ends_at, l.recent \
         FROM grants g JOIN words w ON w.grant_id = g.id LEFT JOIN lines l ON l.grant_id = g.id WHERE g.id = $1",
    ))
    .bind(grant.as_str())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let asking: Option<String> = row.try_get("asking")?;
    Ok(Some(HeldGrant {
        grant: read_grant(&row)?,
        revoked_at: maybe_time(&row, "revoked_at")?,
        line: read_line(&row)?,
        word: read_word(&row)?,
        asking: asking.map(AttemptId::from_stored),
    }))
}

fn maybe_time(row: &Row, column: &str) -> StoreResult<Option<Timestamp>> {
    let seconds: Option<i64> = row.try_get(column)?;
    Ok(seconds.map(time))
}

fn read_memberships(row: &Row) -> StoreResult<Memberships> {
    let list = |column: &'static str| parsed(column, row.try_get(column)?, |text| serde_json::from_str(text));
    let groups = parsed("groups", row.try_get("groups")?, |text| serde_json::from_str(text))?;
    Ok(Memberships { groups, roles: list("roles")?, orgs: list("orgs")?, teams: list("teams")? })
}

fn read_grant(row: &Row) -> StoreResult<Grant> {
    Ok(Grant {
        id: GrantId::from_stored(row.try_get("id")?),
        subject: row.try_get("subject")?,
        idp: parsed("idp", row.try_get("idp")?, Issuer::parse)?,
        idp_subject: row.try_get("idp_subject")?,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        said_email: row.try_get("said_email")?,
        memberships: read_memberships(row)?,
        client: parsed("client", row.try_get("client")?, ClientId::parse)?,
        client_name: parsed("client_name", row.try_get("client_name")?, from_json::<DisplayName>)?,
        resource: parsed("resource", row.try_get("resource")?, from_json)?,
        scopes: parsed("scopes", row.try_get("scopes")?, from_json)?,
        granted_at: time(row.try_get("granted_at")?),
        ends_at: time(row.try_get("ends_at")?),
    })
}

fn read_word(row: &Row) -> StoreResult<Word> {
    Ok(Word {
        heard_at: time(row.try_get("heard_at")?),
        renewable: row.try_get("renewable")?,
        asking_since: maybe_time(row, "asking_since")?,
    })
}

fn read_line(row: &Row) -> StoreResult<Option<Line>> {
    let generation: Option<i64> = row.try_get("generation")?;
    let Some(generation) = generation else { return Ok(None) };
    let generation = u32::try_from(generation).map_err(|_| damaged("generation"))?;
    let living = NewRefresh { digest: digest(row.try_get("living")?)?, ends_at: time(row.try_get("line_ends_at")?) };
    let recent = parsed("recent", row.try_get("recent")?, |text| serde_json::from_str(text))?;
    Ok(Some(Line { generation: Generation::from_number(generation), living, recent }))
}

pub(super) async fn idp_tokens(connection: &mut Connection, grant: &GrantId) -> StoreResult<Option<String>> {
    Ok(query_scalar("SELECT tokens FROM words WHERE grant_id = $1").bind(grant.as_str()).fetch_optional(connection).await?)
}

pub(super) async fn signing_keys(connection: &mut Connection) -> StoreResult<Vec<SealedKey>> {
    let rows = query("SELECT kid, sealed, created_at FROM signing_keys ORDER BY created_at, kid");
    let read = |row: &Row| {
        Ok(SealedKey { kid: row.try_get("kid")?, sealed: row.try_get("sealed")?, created_at: time(row.try_get("created_at")?) })
    };
    rows.fetch_all(connection).await?.iter().map(read).collect()
}
