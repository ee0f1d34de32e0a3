use std::time::Duration;

use deputy_protocol::Timestamp;
use deputy_server::config::BackendCredential;
use deputy_server::config::{Credential, IdpKind};
use deputy_server::trial::{BackendTrial, CredentialTrial, IdpTrial};

use super::finding::Code;
use super::{Finding, Level, backend, human, json, provider};
use crate::config::{Settings, Source, parse};

const FILE: &str = "public_url = \"https://mcp.example.com\"\n[idp]\nprovider = \"entra\"\n\
                    tenant = \"11111111-2222-3333-4444-555555555555\"\nclient_id = \"deputy\"\nclient_secret = { env = \"S\" }\n\
                    [[server]]\npath = \"/mcp\"\nurl = \"http://127.0.0.1:9000/mcp?key=hidden\"\n";

fn settings() -> Settings {
    let env = |name: &str| (name == "S").then(|| "correct-horse-battery".to_owned());
    parse(Source::new("deputy.toml", FILE), std::path::Path::new("/etc/deputy"), &env).unwrap()
}

fn good() -> IdpTrial {
    let now = Timestamp::from_seconds(1_800_000_000);
    IdpTrial {
        discovery: Some(Ok(())),
        keys: Some(Ok(3)),
        unknown_scopes: Vec::new(),
        offline_access: true,
        credential: Some(CredentialTrial::Accepted),
        clock: Some((now, now)),
    }
}

fn read(trial: IdpTrial) -> Vec<Finding> {
    provider::read("provider entra", &settings().server.idps[0], trial)
}

fn worst(trial: IdpTrial) -> Finding {
    read(trial).into_iter().max_by_key(|finding| finding.level).unwrap()
}

#[test]
fn what_is_wrong_with_a_provider_is_said_with_what_to_do() {
    assert!(read(good()).iter().all(|finding| finding.level == Level::Ok));
    let refused = |numbers: &[u64]| CredentialTrial::Refused { code: "invalid_client".to_owned(), numbers: numbers.to_vec() };
    for (trial, code, level, said) in [
        (IdpTrial { discovery: Some(Err("gone".into())), ..good() }, Code::Discovery, Level::Error, "written as the provider"),
        (IdpTrial { keys: Some(Err("none".into())), ..good() }, Code::Keys, Level::Error, "jwks_uri"),
        (IdpTrial { unknown_scopes: vec!["groups".into()], ..good() }, Code::Scopes, Level::Warning, "take them out"),
        (IdpTrial { offline_access: false, ..good() }, Code::RefreshTokens, Level::Warning, "add \"offline_access\""),
        (IdpTrial { credential: Some(refused(&[7_000_222])), ..good() }, Code::Credential, Level::Error, "has expired"),
        (IdpTrial { credential: Some(refused(&[7_000_215])), ..good() }, Code::Credential, Level::Error, "not its id"),
        // No number stands for the beginning of another.
        (IdpTrial { credential: Some(refused(&[70_002])), ..good() }, Code::Credential, Level::Error, "Compare client_id"),
        (IdpTrial { credential: Some(CredentialTrial::Away("x".into())), ..good() }, Code::Credential, Level::Error, "reach it"),
        (
            IdpTrial { credential: Some(CredentialTrial::Unclear("x".into())), ..good() },
            Code::Credential,
            Level::Note,
            "first sign-in",
        ),
    ] {
        let finding = worst(trial);
        assert_eq!((finding.code, finding.level), (code, level), "{finding:?}");
        assert!(finding.advice.as_ref().is_some_and(|advice| advice.contains(said)), "{finding:?}");
    }
}

#[test]
fn clocks_that_differ_are_said_before_they_break_sign_ins() {
    let now = Timestamp::from_seconds(1_800_000_000);
    for (theirs, level, said) in [
        (now.after(Duration::from_secs(30)), Level::Ok, "agree"),
        (now.after(Duration::from_secs(31)), Level::Warning, "31 seconds behind"),
        (now.before(Duration::from_secs(300)), Level::Warning, "300 seconds ahead of"),
        (now.before(Duration::from_secs(301)), Level::Error, "301 seconds ahead of"),
    ] {
        let findings = read(IdpTrial { clock: Some((theirs, now)), ..good() });
        let clock = findings.iter().find(|finding| finding.code == Code::Clock).unwrap();
        assert!(clock.level == level && clock.text.contains(said), "{clock:?}");
    }
}

#[test]
fn a_server_that_wants_credentials_is_right_when_it_is_sent_some() {
    let mut server = settings().server.servers.remove(0);
    let level = |said: Result<BackendTrial, String>| {
        let finding = backend::read(&server, said);
        assert!(!finding.text.contains("hidden"), "{finding:?}");
        finding.level
    };
    assert_eq!(level(Ok(BackendTrial::Mcp("2025-06-18".into()))), Level::Ok);
    assert_eq!(level(Ok(BackendTrial::WantsCredentials(401))), Level::Error);
    assert_eq!(level(Ok(BackendTrial::Other(404))), Level::Error);
    assert_eq!(level(Err("refused".into())), Level::Error);
    let assertion = deputy_server::ServerConfig { credential: BackendCredential::Assertion, ..server.clone() };
    assert_eq!(backend::read(&assertion, Ok(BackendTrial::WantsCredentials(401))).level, Level::Ok);
    server.on_behalf_of = vec!["api://a/b".to_owned()];
    assert_eq!(backend::read(&server, Ok(BackendTrial::WantsCredentials(401))).level, Level::Ok);
}

#[test]
fn reports_are_for_people_and_for_programs() {
    let findings = read(IdpTrial { offline_access: false, credential: Some(CredentialTrial::Away("x".into())), ..good() });
    let text = human(&findings, false);
    assert!(text.ends_with("1 error, 1 warning.") && !text.contains('\u{1b}'), "{text}");
    assert!(text.find("warning  ").unwrap() < text.find("error  ").unwrap(), "what matters most stands last");
    assert!(human(&findings, true).contains("\u{1b}[31merror"));
    let json: serde_json::Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
    assert_eq!(json["summary"], serde_json::json!({ "ok": 3, "notes": 0, "warnings": 1, "errors": 1 }));
    assert_eq!(json["findings"][0]["code"], "discovery");
    assert!(json["findings"][2]["what_to_do"].is_string());
}

#[test]
fn the_page_about_check_knows_every_code() {
    let page = include_str!("../../../../docs/check.md");
    for (code, meaning) in Code::ALL {
        assert!(page.contains(&format!("| `{code}` | {meaning} |")), "docs/check.md lacks:\n| `{code}` | {meaning} |");
    }
}

#[test]
fn advice_fits_the_credential() {
    let mut idp = settings().server.idps.remove(0);
    for (credential, said) in [(Credential::None, "give client_secret"), (Credential::File("x".into()), "in the file")] {
        idp.credential = credential;
        assert!(super::advice::of_credential(&idp, "invalid_client", "").contains(said));
    }
    assert!(matches!(idp.kind, IdpKind::Entra(_)));
}
