use std::io::Cursor;

use super::guide::Guide;
use super::{Options, run};
use crate::config::{self, Source};

/// Answers that are right for every provider.
fn answers(provider: &str, dir: &std::path::Path) -> Options {
    let asks = Guide::all().unwrap()[provider].asks.clone();
    Options {
        provider: Some(provider.to_owned()),
        public_url: Some("https://mcp.example.com".to_owned()),
        idp: asks.iter().map(|blank| format!("{}={}", blank.key, blank.example)).collect(),
        client_id: Some("the-client".to_owned()),
        client_secret_env: Some("S".to_owned()),
        server: Some("http://127.0.0.1:9000/mcp".to_owned()),
        path: Some("/mcp".to_owned()),
        name: Some("Tools \"of\" ours".to_owned()),
        allow: Some("domain:example.com, group:Staff".to_owned()),
        output: dir.join("deputy.toml"),
        ..Options::default()
    }
}

fn load(text: &str) -> Result<config::Settings, config::ConfigError> {
    let env = |name: &str| (name == "S").then(|| "correct-horse-battery".to_owned());
    config::parse(Source::new("deputy.toml", text), std::path::Path::new("/"), &env)
}

#[test]
fn what_it_writes_loads_for_every_provider() {
    for provider in config::provider_names() {
        let dir = tempfile::tempdir().unwrap();
        run(&answers(provider, dir.path()), Cursor::new(""), Vec::new()).unwrap_or_else(|error| panic!("{provider}: {error}"));
        let text = std::fs::read_to_string(dir.path().join("deputy.toml")).unwrap();
        let settings = load(&text).unwrap_or_else(|error| panic!("{provider}: {error}\n{text}"));
        assert_eq!(settings.allow, ["domain:example.com", "group:Staff"]);
        assert_eq!(
            (settings.server.servers[0].name.as_str(), settings.server.idps[0].client_id.as_str()),
            ("Tools \"of\" ours", "the-client")
        );
    }
}

#[test]
fn every_provider_has_a_guide_with_its_redirect_uri() {
    let guides = Guide::all().unwrap();
    let names: Vec<&str> = config::provider_names().collect();
    assert!(guides.len() == names.len() && names.iter().all(|name| guides.contains_key(*name)));
    for (name, guide) in guides {
        let steps: Vec<String> = guide.steps("https://mcp.example.com").collect();
        assert!(steps.iter().any(|step| step.contains("https://mcp.example.com/callback")), "{name}");
        assert!(steps.iter().all(|step| !step.contains('{')), "{name}");
    }
}

#[test]
fn a_wrong_answer_is_explained_and_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let lines = "entar\n1\nhttp://mcp.example.com\nhttps://mcp.example.com/\ncommon\n11111111-2222-3333-4444-555555555555\n\nthe-client\nno\n\n\n\nmcp\n/tools\n\n\n";
    let options = Options { output: dir.path().join("deputy.toml"), ..Options::default() };
    run(&options, Cursor::new(lines), Vec::new()).unwrap();
    let text = std::fs::read_to_string(&options.output).unwrap();
    for said in [
        "provider = \"entra\"",
        "\"https://mcp.example.com\"",
        "tenant = \"11111111-",
        "{ file = \"client-secret\" }",
        "path = \"/tools\"",
        "# [access]",
    ] {
        assert!(text.contains(said), "{said} not in\n{text}");
    }
    assert!(load(&text.replace("{ file = \"client-secret\" }", "{ env = \"S\" }")).is_ok(), "{text}");
}

#[test]
fn a_missing_answer_names_its_flag_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (without, flag) in [
        ("provider", "--provider"),
        ("id", "--client-id"),
        ("idp", "--idp tenant=…"),
        ("proof", "--client-secret-file"),
        ("allow", "--allow"),
    ] {
        let mut options = answers(if without == "allow" { "google" } else { "entra" }, dir.path());
        match without {
            "provider" => options.provider = None,
            "id" => options.client_id = None,
            "idp" => options.idp.clear(),
            "proof" => options.client_secret_env = None,
            _ => options.allow = None,
        }
        let error = run(&options, Cursor::new(""), Vec::new()).unwrap_err();
        assert!(error.contains(&format!("give {flag}")), "{error}");
        assert!(!options.output.exists());
    }
}

#[test]
fn wrong_flags_are_refused_and_no_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let good = || answers("entra", dir.path());
    for (options, said) in [
        (Options { provider: Some("gogle".into()), ..good() }, "Did you mean \"google\"?"),
        (Options { public_url: Some("http://mcp.example.com".into()), ..good() }, "--public-url: "),
        (Options { idp: vec!["tenant=common".into()], ..good() }, "every tenant in the world"),
        (Options { idp: [good().idp, vec!["realm=x".into()]].concat(), ..good() }, "entra needs tenant"),
        (Options { allow: Some("grup:x".into()), ..good() }, "--allow: "),
        (Options { server: Some("ftp://x".into()), ..good() }, "--server: "),
    ] {
        let error = run(&options, Cursor::new(""), Vec::new()).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    std::fs::write(dir.path().join("deputy.toml"), "mine").unwrap();
    assert!(run(&good(), Cursor::new(""), Vec::new()).unwrap_err().contains("replaces no file"));
    assert_eq!(std::fs::read_to_string(dir.path().join("deputy.toml")).unwrap(), "mine");
}

#[test]
fn every_way_to_prove_who_deputy_is_can_be_given() {
    for (way, said) in [
        ("certificate\na.key\na.pem\n", "certificate = { file = \"a.pem\" }"),
        ("assertion\n\n", "azure-identity-token"),
        ("managed-identity\ndeputy\n99999999-2222-3333-4444-555555555555\n", "managed_identity = \"99999999-"),
        ("secret\n$THE_SECRET\n", "{ env = \"THE_SECRET\" }"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { client_secret_env: None, ..answers("entra", dir.path()) };
        run(&options, Cursor::new(way), Vec::new()).unwrap();
        let text = std::fs::read_to_string(&options.output).unwrap();
        assert!(text.contains(said), "{said} not in\n{text}");
    }
}
