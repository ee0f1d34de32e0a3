//! What is kept: the master key and the database.

use deputy_server::trial::{self, StoreTrial};
use deputy_server::{Config, StoreConfig, master_keys};

use super::{Code, Finding, Level};

pub(super) async fn tried(config: &Config) -> Vec<Finding> {
    vec![master(config), database(config).await]
}

fn master(config: &Config) -> Finding {
    let dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let found = |level, text: String| Finding::new(Code::MasterKey, level, "data_dir", text);
    match master_keys(&config.data_dir) {
        Ok(keys) if keys.is_empty() => {
            found(Level::Note, format!("there is no master key in {} yet; the first start makes one.", dir.display()))
                .so("Keep a copy of master.key apart from the database: who has both can read what is sealed, who lost it signs everybody out.")
        }
        Ok(_) => found(Level::Ok, format!("the master key in {} is readable by its owner alone.", dir.display())),
        Err(error) => found(Level::Error, format!("{error}.")).so("deputy's own user must own the directory and the files in it."),
    }
}

async fn database(config: &Config) -> Finding {
    let found = |level, text: &str| Finding::new(Code::Store, level, "store", text);
    match (trial::store(&config.store, &config.data_dir).await, &config.store) {
        (Ok(StoreTrial::Ready), _) => found(Level::Ok, "the database can be read."),
        (Ok(StoreTrial::NotYet), _) => found(Level::Note, "there is no database yet; the first start makes one."),
        (Err(why), StoreConfig::Sqlite) => {
            Finding::new(Code::Store, Level::Error, "store", format!("the database cannot be read: {why}."))
                .so("Is deputy.sqlite in data_dir a file of deputy's own, on a local disk?")
        }
        (Err(why), StoreConfig::Postgres(_)) => {
            Finding::new(Code::Store, Level::Error, "store", format!("PostgreSQL cannot be used: {why}."))
                .so("Compare the URL in store with the database. New tables are made by `deputy migrate`.")
        }
    }
}
