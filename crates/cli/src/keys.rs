//! `deputy keys`: the keys that sign access tokens, and the master secret.

use std::time::Duration;

use deputy_protocol::Timestamp;
use deputy_server::clock::{Clock as _, SystemClock};
use deputy_server::{Grants, KeyUse, MasterKey, MasterRotation, MasterUse, SigningKey};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::KeysRotateArgs;
use crate::config::{Settings, show_duration};

/// Two tables: the signing keys, oldest first, and the master secrets.
pub(crate) async fn list(settings: &Settings) -> Result<String, String> {
    let config = &settings.server;
    let masters = deputy_server::master_keys(&config.data_dir).map_err(|error| error.to_string())?;
    if masters.is_empty() {
        let dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        return Ok(format!(
            "There are no keys yet: the first gateway that starts makes them, the master secret in {}.",
            dir.display()
        ));
    }
    let keys = deputy_server::signing_keys(&config.store, &config.data_dir, SystemClock.now()).await;
    let keys = keys.map_err(|error| error.to_string())?;
    let signing = if keys.is_empty() { "none yet: the first gateway that starts makes it".to_owned() } else { table(&keys) };
    Ok(format!(
        "Keys that sign access tokens\n{signing}\n\nMaster secrets, by fingerprint\n{}",
        masters_table(&masters, config.client_ids_after_rotation)
    ))
}

/// Makes a key or a master secret, and says when it takes over.
pub(crate) async fn rotate(settings: &Settings, args: &KeysRotateArgs) -> Result<String, String> {
    let config = &settings.server;
    match (args.master, args.prepare, args.forget_old) {
        (true, true, _) => rotate_master(settings, MasterRotation::Prepare).await,
        (true, _, false) => rotate_master(settings, MasterRotation::TakeOver).await,
        (true, _, true) => forget_old(settings).await,
        (false, ..) => {
            let rotated = deputy_server::rotate_signing_key(&config.store, &config.data_dir, &SystemClock).await;
            let key = rotated.map_err(|error| error.to_string())?;
            Ok(format!(
                "Key {} is made. It {}. Running gateways follow by themselves, and what the old key signed stays valid until it ends.",
                key.kid,
                words(key.usage)
            ))
        }
    }
}

async fn rotate_master(settings: &Settings, how: MasterRotation) -> Result<String, String> {
    let config = &settings.server;
    let masters = deputy_server::rotate_master(&config.store, &config.data_dir, how, SystemClock.now()).await;
    let masters = masters.map_err(|error| error.to_string())?;
    let file = config.data_dir.join("master.key");
    let next = match how {
        MasterRotation::Prepare => {
            "The new secret opens, and does not seal yet. Copy the file to every gateway and restart each, one after the other. Then run \
             `deputy keys rotate --master`, and do the same again."
                .to_owned()
        }
        MasterRotation::TakeOver | MasterRotation::ForgetOld => format!(
            "Restart the gateway. Of several, prepare them first (--prepare), then copy the file to each and restart it, one after the other: who has \
             the old file cannot read what the new secret seals. Nobody is signed out; clients that registered themselves keep their ids for {}.",
            show_duration(config.client_ids_after_rotation)
        ),
    };
    Ok(format!(
        "{} has changed; keep a copy of it in a safe place.\n\n{}\n\n{next}",
        file.display(),
        masters_table(&masters, config.client_ids_after_rotation)
    ))
}

async fn forget_old(settings: &Settings) -> Result<String, String> {
    let (config, now) = (&settings.server, SystemClock.now());
    let masters = deputy_server::rotate_master(&config.store, &config.data_dir, MasterRotation::ForgetOld, now).await;
    let masters = masters.map_err(|error| error.to_string())?;
    let unfinished = |error: String| {
        format!(
            "The old master secrets are forgotten, but the rest is not done: {error}. Run `deputy keys rotate --master --forget-old` again."
        )
    };
    let replaced = deputy_server::replace_signing_keys(&config.store, &config.data_dir, now).await;
    replaced.map_err(|error| unfinished(error.to_string()))?;
    let grants = Grants::open(&config.store, &config.data_dir).await.map_err(|error| unfinished(error.to_string()))?;
    grants.forget_decisions().await.map_err(|error| unfinished(error.to_string()))?;
    let ended = grants.end_all(|_| true, now).await.map_err(|error| unfinished(error.to_string()))?;
    Ok(format!(
        "{}\n\nThe old secrets and signing keys are forgotten, and {ended} grants have ended. RESTART EVERY GATEWAY NOW, with this file: one that \
         runs goes on with the old secret. People sign in again; clients that registered themselves register anew.",
        masters_table(&masters, config.client_ids_after_rotation)
    ))
}

fn table(keys: &[SigningKey]) -> String {
    let row = |key: &SigningKey| format!("{:<18}  made {}  {}", key.kid, moment(key.made), words(key.usage));
    keys.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn masters_table(masters: &[MasterKey], ids_count: Duration) -> String {
    let row = |master: &MasterKey| format!("{}  {}", master.fingerprint, master_words(master.usage, ids_count));
    masters.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn master_words(usage: MasterUse, ids_count: Duration) -> String {
    match usage {
        MasterUse::Next { made } => format!("prepared {}: opens, and seals after the next rotation", moment(made)),
        MasterUse::Seals { since } if since == Timestamp::from_seconds(0) => "seals".to_owned(),
        MasterUse::Seals { since } => format!("seals since {}", moment(since)),
        MasterUse::Opens { replaced } => {
            let until = moment(replaced.after(ids_count));
            format!("opens what it sealed; replaced {}, its client ids count until {until}", moment(replaced))
        }
    }
}

fn words(usage: KeyUse) -> String {
    match usage {
        KeyUse::Next { from } => format!("signs from {}", moment(from)),
        KeyUse::Signs => "signs".to_owned(),
        KeyUse::Verifies { until } => format!("verifies until {}", moment(until)),
        KeyUse::Over => "is over; the next sweep forgets it".to_owned(),
    }
}

/// A time as RFC 3339 writes it, in UTC.
pub(crate) fn moment(time: Timestamp) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|moment| moment.format(&Rfc3339).ok());
    moment.unwrap_or_else(|| format!("second {seconds}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_masters_says_what_each_is_for() {
        let at = Timestamp::from_seconds;
        let master = |usage| MasterKey { fingerprint: "17c4464d".to_owned(), usage };
        let uses = [
            MasterUse::Seals { since: at(0) },
            MasterUse::Next { made: at(1_800_000_000) },
            MasterUse::Opens { replaced: at(1_800_000_000) },
        ];
        let expected = "17c4464d  seals\n\
                        17c4464d  prepared 2027-01-15T08:00:00Z: opens, and seals after the next rotation\n\
                        17c4464d  opens what it sealed; replaced 2027-01-15T08:00:00Z, its client ids count until 2027-01-16T08:00:00Z";
        assert_eq!(masters_table(&uses.map(master), Duration::from_secs(24 * 60 * 60)), expected);
    }

    #[test]
    fn the_table_says_what_each_key_is_for() {
        let at = Timestamp::from_seconds;
        let key = |kid: &str, usage| SigningKey { kid: kid.to_owned(), made: at(1_800_000_000), usage };
        let keys = [
            key("old", KeyUse::Verifies { until: at(1_800_003_960) }),
            key("now", KeyUse::Signs),
            key("new", KeyUse::Next { from: at(1_800_000_120) }),
        ];
        let expected = "old                 made 2027-01-15T08:00:00Z  verifies until 2027-01-15T09:06:00Z\n\
                        now                 made 2027-01-15T08:00:00Z  signs\n\
                        new                 made 2027-01-15T08:00:00Z  signs from 2027-01-15T08:02:00Z";
        assert_eq!(table(&keys), expected);
    }
}
