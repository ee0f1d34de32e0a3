//! Starts and upgrades while others run: tables are made once, and an older gateway lives with newer tables (expand, then contract).

use std::sync::Arc;

use deputy_protocol::secret::ClientSecret;
use deputy_server::clock::Clock;
use deputy_server::{Config, Gateway, StoreConfig};

use crate::support::clock::TestClock;
use crate::support::http::post_form;
use crate::support::{World, postgres};

/// What a migration may do: add tables, columns and indexes that an older version can do without.
const NEWER: &str = "
    ALTER TABLE grants ADD COLUMN newer TEXT;
    ALTER TABLE words ADD COLUMN newer TEXT NOT NULL DEFAULT 'x';
    ALTER TABLE lines ADD COLUMN newer INTEGER;
    ALTER TABLE codes ADD COLUMN newer INTEGER NOT NULL DEFAULT 7;
    ALTER TABLE completed_transactions ADD COLUMN newer TEXT;
    ALTER TABLE revocations ADD COLUMN newer TEXT;
    ALTER TABLE feed ADD COLUMN newer TEXT;
    ALTER TABLE signing_keys ADD COLUMN newer TEXT;
    CREATE TABLE newer (id TEXT PRIMARY KEY);
    CREATE INDEX newer_subjects ON grants (subject);
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        SELECT 1000, 'newer', success, checksum, 1 FROM _sqlx_migrations WHERE version = 1;";

/// A configuration that works, on another store.
async fn config(store: StoreConfig) -> (World, Config) {
    let mut kept = None;
    let world = World::with(|config| kept = Some(config.clone())).await;
    let mut config = kept.unwrap();
    config.data_dir = world.data.path().join("other");
    config.store = store;
    (world, config)
}

/// Starts so many gateways at once, each as an init container and its pod would.
async fn start_at_once(config: &Config, count: usize) -> Vec<Gateway> {
    let start = |config: Config| async move {
        deputy_server::migrate(&config.store).await.unwrap();
        Gateway::start_at(config, Arc::new(TestClock::new()) as Arc<dyn Clock>).await.unwrap()
    };
    futures_util::future::join_all((0..count).map(|_| start(config.clone()))).await
}

async fn all_come_up(store: StoreConfig) {
    let (_world, config) = config(store).await;
    for gateway in start_at_once(&config, 8).await {
        let rows = gateway.count_rows().await.unwrap();
        assert_eq!(rows.iter().find(|(table, _)| *table == "signing_keys").unwrap().1, 1, "{rows:?}");
    }
}

#[tokio::test]
async fn eight_gateways_start_at_once_on_an_empty_postgres() {
    all_come_up(StoreConfig::Postgres(ClientSecret::from_text(postgres::database().await))).await;
}

#[tokio::test]
async fn eight_gateways_start_at_once_on_an_empty_directory() {
    all_come_up(StoreConfig::Sqlite).await;
}

#[tokio::test]
async fn an_older_gateway_works_on_newer_tables_and_starts_on_them() {
    let world = World::new().await;
    // What it asks the database is prepared, on every connection that it has.
    let mut before = Vec::new();
    for _ in 0..4 {
        before.push(world.signed_in().await);
    }
    for (client, _, refresh) in &before {
        assert_eq!(world.refresh(client, refresh).await.status, 200);
    }
    world.sql(NEWER).await;
    for (client, access, refresh) in &before {
        assert_eq!(world.call(access).await.status, 200);
        assert_eq!(world.refresh(client, refresh).await.status, 200, "a replay within its grace");
        world.signed_in().await;
    }
    assert_eq!(world.grants().await.living(None, world.clock.now()).await.unwrap().len(), 8);

    let again = world.again().await;
    let (client, access, refresh) = &before[0];
    assert_eq!(again.call_at(&world, access).await.status, 200);
    let form = [("client_id", client.id.as_str()), ("token", refresh)];
    assert_eq!(post_form(&world.at("/revoke"), &form).await.status, 200);
    again.catch_up().await;
    assert_eq!(again.call_at(&world, access).await.status, 401);
    world.gateway.forget().await;
    world.signed_in().await;
}

/// The migration that made the tables, with other statements than ours.
async fn disguise(world: &World) {
    let other = if world.postgres().is_some() { "'\\x00'" } else { "x'00'" };
    world.sql(&format!("UPDATE _sqlx_migrations SET checksum = {other} WHERE version = 1")).await;
}

#[tokio::test]
async fn tables_of_another_build_are_refused_in_words_that_help() {
    let world = World::new().await;
    disguise(&world).await;
    let mut said = vec![world.try_again_in(world.data.path().join("data")).await.err().expect("a refusal").to_string()];
    if let Some(url) = world.postgres() {
        let store = StoreConfig::Postgres(ClientSecret::from_text(url.to_owned()));
        said.push(deputy_server::migrate(&store).await.unwrap_err().to_string());
    }
    for said in said {
        assert!(said.contains("migration 1 ") && said.contains("another build made these tables"), "{said}");
    }
    // Who runs goes on.
    world.signed_in().await;
}

#[tokio::test]
async fn an_older_version_that_migrates_newer_tables_changes_nothing() {
    let world = World::new().await;
    world.sql(NEWER).await;
    let Some(url) = world.postgres() else { return };
    deputy_server::migrate(&StoreConfig::Postgres(ClientSecret::from_text(url.to_owned()))).await.unwrap();
    world.sql("INSERT INTO newer (id) VALUES ('still there')").await;
    world.signed_in().await;
}

/// What the second migration added, taken away again: the tables as the version before made them.
const BEFORE_MEMBERSHIPS: &str = "
    ALTER TABLE grants DROP COLUMN said_email;
    ALTER TABLE grants DROP COLUMN roles;
    ALTER TABLE grants DROP COLUMN orgs;
    ALTER TABLE grants DROP COLUMN teams;
    DELETE FROM _sqlx_migrations WHERE version = 2;";

#[tokio::test]
async fn who_signed_in_before_the_memberships_were_kept_stays_signed_in() {
    let world = World::new().await;
    let (client, _, refresh) = world.signed_in().await;
    let url = world.postgres().map(str::to_owned);
    world.sql(BEFORE_MEMBERSHIPS).await;
    if let Some(url) = url {
        deputy_server::migrate(&StoreConfig::Postgres(ClientSecret::from_text(url))).await.unwrap();
    }
    let world = world.restarted(|_| ()).await;
    let answer = world.refresh(&client, &refresh).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.grants().await.living(None, world.clock.now()).await.unwrap()[0].grant.memberships.roles, [""; 0]);
}
