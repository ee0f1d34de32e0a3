//! `deputy keys`: the keys that sign access tokens.

use deputy_protocol::Timestamp;
use deputy_server::clock::SystemClock;
use deputy_server::{KeyUse, SigningKey};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::Settings;

/// A table of all keys, oldest first.
pub(crate) async fn list(settings: &Settings) -> Result<String, String> {
    let config = &settings.server;
    let keys = deputy_server::signing_keys(&config.store, &config.data_dir).await.map_err(|error| error.to_string())?;
    if keys.is_empty() {
        return Ok("There is no key yet: the first gateway that starts makes it.".to_owned());
    }
    Ok(table(&keys))
}

/// Makes a key, and says when it takes over.
pub(crate) async fn rotate(settings: &Settings) -> Result<String, String> {
    let config = &settings.server;
    let rotated = deputy_server::rotate_signing_key(&config.store, &config.data_dir, &SystemClock).await;
    let key = rotated.map_err(|error| error.to_string())?;
    Ok(format!(
        "Key {} is made. It {}. Running gateways follow by themselves, and what the old key signed stays valid until it ends.",
        key.kid,
        words(key.usage)
    ))
}

fn table(keys: &[SigningKey]) -> String {
    let row = |key: &SigningKey| format!("{:<18}  made {}  {}", key.kid, moment(key.made), words(key.usage));
    keys.iter().map(row).collect::<Vec<_>>().join("\n")
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
