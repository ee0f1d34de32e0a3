//! An identity provider: what it publishes, whether it takes our credential, what its clock says.

use std::time::Duration;

use deputy_fetch::Client as FetchClient;
use deputy_protocol::Timestamp;
use deputy_server::trial::{self, CredentialTrial, IdpTrial};
use deputy_server::{Config, IdpConfig};

use super::advice;
use super::{Code, Finding, Level};

/// From which difference on clocks are worth a word, and from which on sign-ins fail.
const SKEW_SEEN: Duration = Duration::from_secs(30);
const SKEW_BREAKS: Duration = Duration::from_secs(5 * 60);

pub(super) async fn tried(idp: &IdpConfig, config: &Config, alone: bool, fetch: &FetchClient) -> Vec<Finding> {
    let mut tried = idp.clone();
    tried.scopes.extend(config.scopes.iter().flat_map(|rule| rule.idp.iter().cloned()));
    let trial = Box::pin(trial::provider(tried, &config.public_url, alone, fetch)).await;
    read(&format!("provider {}", idp.name), idp, trial)
}

/// What a trial means.
pub(super) fn read(about: &str, idp: &IdpConfig, trial: IdpTrial) -> Vec<Finding> {
    let found = |code, level, text: String| Finding::new(code, level, about, text);
    let mut findings = Vec::new();
    match trial.discovery {
        None => {}
        Some(Ok(())) => {
            findings.push(found(Code::Discovery, Level::Ok, "its metadata is there and names the configured issuer.".into()))
        }
        Some(Err(why)) => {
            let advice = "Is issuer (or tenant, url, domain) written as the provider writes it, and can this machine reach it?";
            findings.push(found(Code::Discovery, Level::Error, format!("its metadata cannot be used: {why}.")).so(advice));
            // Nothing else can be asked of it.
            return findings;
        }
    }
    match trial.keys {
        None => {}
        Some(Ok(count)) => findings.push(found(
            Code::Keys,
            Level::Ok,
            format!("it publishes {count} usable key{}.", if count == 1 { "" } else { "s" }),
        )),
        Some(Err(why)) => {
            let text = format!("its keys cannot be used: {why}.");
            findings.push(
                found(Code::Keys, Level::Error, text).so("Nobody can sign in without them: is its jwks_uri reachable from here?"),
            );
        }
    }
    if !trial.unknown_scopes.is_empty() {
        let text = format!("it does not list {} among its scopes.", trial.unknown_scopes.join(", "));
        let advice = "Many providers refuse what they do not know: take them out of scopes, or add them in its console.";
        findings.push(found(Code::Scopes, Level::Warning, text).so(advice));
    }
    if !trial.offline_access {
        let text = "it knows offline_access, and scopes does not ask for that.".to_owned();
        let advice = "Without a refresh token people sign in again after without_recheck: add \"offline_access\" to scopes.";
        findings.push(found(Code::RefreshTokens, Level::Warning, text).so(advice));
    }
    findings.extend(trial.credential.map(|said| credential(about, idp, said)));
    findings.extend(trial.clock.map(|(theirs, ours)| clock(about, theirs, ours)));
    findings
}

fn credential(about: &str, idp: &IdpConfig, said: CredentialTrial) -> Finding {
    let found = |level, text: String| Finding::new(Code::Credential, level, about, text);
    match said {
        CredentialTrial::Accepted => found(Level::Ok, "it takes the credential.".to_owned()),
        CredentialTrial::Refused { code, numbers } => {
            let numbers: String = numbers.iter().map(|number| format!(" AADSTS{number}")).collect();
            let text = format!("it refuses the credential ({code}{numbers}).");
            found(Level::Error, text).so(advice::of_credential(idp, &code, &numbers))
        }
        CredentialTrial::Unclear(what) => {
            let text = format!("whether it takes the credential cannot be told: {what}.");
            found(Level::Note, text).so("The first sign-in tells.")
        }
        CredentialTrial::Away(why) => {
            let text = format!("its token endpoint cannot be asked: {why}.");
            found(Level::Error, text).so("Can this machine reach it? Sign-ins and refreshes wait until it is back.")
        }
    }
}

fn clock(about: &str, theirs: Timestamp, ours: Timestamp) -> Finding {
    let (apart, which) = if ours > theirs { (ours.since(theirs), "ahead of") } else { (theirs.since(ours), "behind") };
    let text = format!("this machine's clock is {} seconds {which} its clock.", apart.as_secs());
    let level = match apart {
        apart if apart > SKEW_BREAKS => Level::Error,
        apart if apart > SKEW_SEEN => Level::Warning,
        _ => return Finding::new(Code::Clock, Level::Ok, about, "its clock and this machine's agree."),
    };
    Finding::new(Code::Clock, level, about, text)
        .so("Let a time service set the clock (timedatectl set-ntp true): tokens have a beginning and an end.")
}
