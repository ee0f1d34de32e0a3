//! `deputy grants`: who signed in with which client, and the end of it.

use deputy_protocol::GrantId;
use deputy_protocol::client::is_deceptive;
use deputy_server::clock::{Clock as _, SystemClock};
use deputy_server::{Ended, Grants, LivingGrant};
use serde_json::json;

use crate::cli::{GrantsListArgs, GrantsRevokeArgs};
use crate::config::Settings;
use crate::keys::moment;
use crate::output;

const HEAD: &str = "grant                               since                 refreshed             until                 person, resource, client";

/// How soon what was ended is ended everywhere.
const BOUND: &str = "every gateway that can read the store follows within 2 seconds";

/// Prints the living grants, oldest first, as they are read.
pub(crate) async fn list(settings: &Settings, args: &GrantsListArgs) -> Result<(), String> {
    let grants = open(settings).await?;
    let shown = |living: &LivingGrant| {
        args.person.as_deref().is_none_or(|text| living.person_contains(text))
            && args.client.as_deref().is_none_or(|text| living.client_contains(text))
    };
    let now = SystemClock.now();
    let mut wanted = args.json || output::line(HEAD);
    let mut after: Option<LivingGrant> = None;
    // Who closes the pipe (`| head`) has seen enough.
    while wanted {
        let page = grants.living(after.as_ref(), now).await.map_err(|error| error.to_string())?;
        let write = |living: &LivingGrant| output::line(&if args.json { json_line(living) } else { row(living) });
        wanted = page.iter().filter(|living| shown(living)).all(write);
        let Some(last) = page.into_iter().next_back() else { break };
        after = Some(last);
    }
    Ok(())
}

/// Ends grants and says how many.
pub(crate) async fn revoke(settings: &Settings, args: &GrantsRevokeArgs) -> Result<String, String> {
    let ids = args.ids.iter().map(|text| grant_id(text)).collect::<Result<Vec<_>, _>>()?;
    let (grants, now) = (open(settings).await?, SystemClock.now());
    if args.all {
        grants.forget_decisions().await.map_err(|error| error.to_string())?;
        return grants.end_all(|_| true, now).await.map(said).map_err(|error| error.to_string());
    }
    if let Some(person) = &args.person {
        let ended = grants.end_all(|living| living.is_of(person), now).await.map_err(|error| error.to_string())?;
        if ended == 0 {
            return Err(format!(
                "{} has no grant that is alive; an e-mail address or subject must be written whole",
                printable(person)
            ));
        }
        return Ok(said(ended));
    }
    let (mut ended, mut unknown) = (0, Vec::new());
    for id in &ids {
        match grants.end(id, now).await.map_err(|error| format!("{ended} grants have ended, then: {error}"))? {
            Ended::Now => ended += 1,
            Ended::Before => {}
            Ended::Unknown => unknown.push(id.as_str()),
        }
    }
    match (unknown.is_empty(), ended) {
        (true, _) => Ok(said(ended)),
        (false, 0) => Err(format!("there is no grant {}", unknown.join(", "))),
        (false, _) => Err(format!("{} But there is no grant {}.", said(ended), unknown.join(", "))),
    }
}

fn said(ended: usize) -> String {
    match ended {
        0 => "Nothing ended that had not before.".to_owned(),
        1 => format!("1 grant ended; {BOUND}. Its person can sign in again, unless [access] says otherwise."),
        _ => format!("{ended} grants ended; {BOUND}. Their people can sign in again, unless [access] says otherwise."),
    }
}

fn grant_id(text: &str) -> Result<GrantId, String> {
    let id = GrantId::from_stored(text.to_owned());
    let ours = id.to_bytes().is_some_and(|bytes| GrantId::new(bytes) == id);
    if ours { Ok(id) } else { Err(format!("{} is not the id of a grant; `deputy grants list` shows them", printable(text))) }
}

async fn open(settings: &Settings) -> Result<Grants, String> {
    Grants::open(&settings.server.store, &settings.server.data_dir).await.map_err(|error| error.to_string())
}

/// One grant on one line. What its client calls itself stands last, so that it cannot pass for another column.
fn row(living: &LivingGrant) -> String {
    let LivingGrant { grant, refreshed_at, until } = living;
    let refreshed = refreshed_at.map_or_else(|| "-".to_owned(), moment);
    let person = grant.email.as_deref().unwrap_or(&grant.subject);
    printable(&format!(
        "{:<34}  {:<20}  {refreshed:<20}  {:<20}  {person}  {}  {}",
        grant.id.as_str(),
        moment(grant.granted_at),
        moment(*until),
        grant.resource.as_str(),
        grant.client_name
    ))
}

/// The same for a program, with everything that names person and client.
fn json_line(living: &LivingGrant) -> String {
    let LivingGrant { grant, refreshed_at, until } = living;
    let value = json!({
        "grant": grant.id,
        "subject": grant.subject,
        "idp": grant.idp,
        "idp_subject": grant.idp_subject,
        "email": grant.email,
        "name": grant.name,
        "client_id": grant.client,
        "client_name": grant.client_name,
        "resource": grant.resource,
        "scope": grant.scopes,
        "since": moment(grant.granted_at),
        "refreshed": refreshed_at.map(moment),
        "until": moment(*until),
    });
    // Outside of its strings, JSON has nothing that is written out here.
    printable(&value.to_string())
}

/// The one way of a stranger's text to a terminal: whatever controls it, or cannot be seen on it, is written as JSON would.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if is_deceptive(c) {
            let units = c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            safe.push_str(&units);
        } else {
            safe.push(c);
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use deputy_protocol::claims::Memberships;
    use deputy_protocol::client::DisplayName;
    use deputy_protocol::family::Grant;
    use deputy_protocol::ids::ClientId;
    use deputy_protocol::resource::ResourceUri;
    use deputy_protocol::scope::Scopes;
    use deputy_protocol::{Issuer, Timestamp};

    use super::*;

    fn living(refreshed_at: Option<Timestamp>) -> LivingGrant {
        let start = Timestamp::from_seconds(1_800_000_000);
        let grant = Grant {
            id: GrantId::new([1; 16]),
            subject: "u_1".to_owned(),
            idp: Issuer::parse("https://idp.test").unwrap(),
            idp_subject: "al\u{1b}[2Jice".to_owned(),
            email: Some("al\u{202e}ice\n@corp.test".to_owned()),
            name: Some("A\u{e0041}".to_owned()),
            said_email: None,
            memberships: Memberships::default(),
            client: ClientId::parse("c").unwrap(),
            client_name: DisplayName::clean("Claude \"Code\""),
            resource: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
            scopes: Scopes::parse("read write").unwrap(),
            granted_at: start,
            ends_at: start,
        };
        LivingGrant { grant, refreshed_at, until: start }
    }

    #[test]
    fn a_grant_is_one_line_whatever_strangers_call_themselves() {
        let expected = "g_01010101010101010101010101010101  2027-01-15T08:00:00Z  -                     2027-01-15T08:00:00Z  \
                        al\\u202eice\\u000a@corp.test  https://mcp.test/mcp  Claude \"Code\"";
        assert_eq!(row(&living(None)), expected);
        let columns = |line: &str| ["since", "refreshed", "until", "person"].map(|name| line.find(name).unwrap());
        assert_eq!(columns(HEAD), [36, 58, 80, 102]);
        assert_eq!((&expected[36..40], &expected[80..84], &expected[102..104]), ("2027", "2027", "al"));
    }

    #[test]
    fn a_grant_is_json_that_a_terminal_survives() {
        let grant = living(Some(Timestamp::from_seconds(1_800_000_060)));
        let line = json_line(&grant);
        assert!(!line.chars().any(is_deceptive), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((read["email"].as_str(), read["name"].as_str()), (grant.grant.email.as_deref(), grant.grant.name.as_deref()));
        assert_eq!(
            (read["idp_subject"].as_str(), read["refreshed"].as_str()),
            (Some("al\u{1b}[2Jice"), Some("2027-01-15T08:01:00Z"))
        );
        assert_eq!((read["client_name"].as_str(), read["scope"].as_str()), (Some("Claude \"Code\""), Some("read write")));
    }

    #[test]
    fn only_whole_ids_of_ours_are_taken() {
        assert!(grant_id("g_01010101010101010101010101010101").is_ok());
        for text in [
            "",
            "g_",
            "u_01010101010101010101010101010101",
            "g_+1010101010101010101010101010101",
            "g_0101010101010101010101010101010A",
        ] {
            assert!(grant_id(text).is_err(), "{text}");
        }
        assert!(!grant_id("g_\u{1b}[2J").unwrap_err().contains('\u{1b}'));
    }
}
