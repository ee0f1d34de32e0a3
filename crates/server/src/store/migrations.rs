//! Bringing the tables up to date: forward only, one process at a time, and never under the feet of an older one.
//!
//! The rule: **a migration only adds** — tables, indexes, and columns that an older version need not know. What is taken away is taken away
//! by a later version, when none that needs it can still run (expand, then contract). So an older gateway goes on working while the tables are
//! newer, and starts on them too: a rolling upgrade passes through both, and a version that turns out bad can be rolled back. For the same
//! reason no statement says `*`: what is prepared must mean the same after a column was added.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::StoreError;

/// The migrations of one database, in order, as (name, statements). Their numbers begin at 1.
pub(super) type Migrations = &'static [(&'static str, &'static str)];

/// Applies what is missing, and leaves alone what a newer version applied.
pub(super) fn migrator(migrations: Migrations) -> Migrator {
    let made = migrations.iter().zip(1..).map(|((name, statements), version)| {
        Migration::new(version, (*name).into(), MigrationType::Simple, statements.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(made.collect());
    migrator.set_ignore_missing(true);
    migrator
}

/// What is wrong, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds say enough themselves")]
pub(super) fn explained(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMismatch(version) => changed(version),
        MigrateError::Dirty(version) => StoreError::new(format_args!(
            "migration {version} of this database was begun and did not end; restore the backup from before it, then migrate again"
        )),
        other => StoreError::new(other),
    }
}

/// A migration that was applied with other statements than ours.
pub(super) fn changed(version: i64) -> StoreError {
    StoreError::new(format_args!(
        "migration {version} of this database is not the one of this version: another build made these tables. Use that build, or an \
         empty database; do not change the table _sqlx_migrations"
    ))
}
