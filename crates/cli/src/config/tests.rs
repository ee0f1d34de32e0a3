//! What a configuration may say, and what people read when it is wrong.

mod access;
mod calls;
mod clients;
mod idp;
mod scopes;

use std::path::Path;
use std::time::Duration;

use deputy_server::config::{Credential, IdpKind};
use deputy_server::{Consent, IdpConfig, StoreConfig};

use super::{Settings, Source, parse};

const SECRET: &str = "correct-horse-battery";

/// A good file, in which tests replace one thing.
const GOOD: &str = r#"public_url = "https://mcp.example.com"

[idp]
issuer = "https://login.example.com"
client_id = "deputy"
client_secret = { env = "IDP_SECRET" }

[access]
allow = ["domain:example.com"]

[[server]]
path = "/mcp"
url = "http://127.0.0.1:9000/mcp"
name = "Company Wiki"
"#;

fn load_with(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    let lookup = |name: &str| {
        let set = env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        set.or_else(|| (name == "IDP_SECRET").then(|| SECRET.to_owned()))
    };
    parse(Source::new("deputy.toml", text), Path::new("/etc/deputy"), &lookup).map_err(|error| error.to_string())
}

fn secret_of(idp: &IdpConfig) -> String {
    let Credential::Secret(secret) = &idp.credential else { panic!("{:?}", idp.credential) };
    secret.expose().to_owned()
}

fn load(text: &str) -> Result<Settings, String> {
    load_with(text, &[])
}

/// The error of the good file with `from` replaced by `to`.
fn error_of(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not in the good file");
    load(&GOOD.replacen(from, to, 1)).unwrap_err()
}

#[test]
fn the_smallest_useful_file_is_enough() {
    let settings = load(GOOD).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8000");
    let config = &settings.server;
    assert_eq!(config.public_url.as_str(), "https://mcp.example.com");
    assert_eq!(config.data_dir, Path::new("/etc/deputy/deputy-data"));
    assert_eq!(config.idps[0].scopes, ["openid", "profile", "email"]);
    assert_eq!(secret_of(&config.idps[0]), SECRET);
    assert_eq!(config.servers[0].scopes.to_string(), "mcp");
    assert_eq!(config.servers[0].name, "Company Wiki");
    assert_eq!(config.tokens.access_token, Duration::from_secs(300));
    assert_eq!(config.consent, Consent::Always);
    assert!(settings.notes.is_empty(), "{:?}", settings.notes);
}

#[test]
fn remembering_needs_https() {
    let remember = format!("consent = \"remember\"\n{GOOD}");
    assert!(load(&remember).unwrap().notes.is_empty());
    let notes = load(&remember.replace("https://mcp.example.com", "http://localhost:8000")).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("does nothing on plain http")), "{notes:?}");
}

#[test]
fn every_key_is_read() {
    let full = format!(
        "listen = \"[::1]:9999\"\ndata_dir = \"/var/lib/deputy\"\nconsent = \"remember\"\nallowed_hosts = [\"mcp.internal:8443\"]\n\
         trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n\
         allowed_origins = [\"https://app.example.com\"]\n{}scopes = [\"read\", \"write\"]\n[tokens]\ncode_lifetime = \"30s\"\n\
         access_token_lifetime = \"10m\"\nrefresh_idle_lifetime = \"7d\"\nrefresh_absolute_lifetime = \"30d\"\nrefresh_grace = \"10s\"\n\
         recheck_after = \"5m\"\nwithout_recheck = \"8h\"\n",
        GOOD.replace("client_id", "provider = \"oidc\"\nuserinfo = true\nscopes = [\"openid\", \"groups\"]\nclient_id")
    );
    let settings = load(&full).unwrap();
    let config = &settings.server;
    assert_eq!(settings.listen.to_string(), "[::1]:9999");
    assert_eq!(config.data_dir, Path::new("/var/lib/deputy"));
    assert_eq!(config.consent, Consent::Remember);
    assert!(config.idps[0].userinfo);
    assert_eq!(config.idps[0].scopes, ["openid", "groups"]);
    assert_eq!(config.servers[0].scopes.to_string(), "read write");
    assert_eq!(config.tokens.code, Duration::from_secs(30));
    assert_eq!(config.tokens.refresh_grace, Duration::from_secs(10));
    assert_eq!(config.tokens.hearing.age, Duration::from_secs(300));
    assert_eq!(config.tokens.hearing.silence, Duration::from_secs(8 * 3600));
    assert_eq!(config.allowed_hosts, ["mcp.internal:8443"]);
    assert_eq!(config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1/32", "10.0.0.0/8"]);
    assert_eq!(config.allowed_origins, ["https://app.example.com"]);
}

#[test]
fn the_environment_replaces_the_file() {
    let env = [
        ("DEPUTY_PUBLIC_URL", "http://localhost:8000"),
        ("DEPUTY_LISTEN", "127.0.0.1:0"),
        ("DEPUTY_DATA_DIR", "elsewhere"),
        ("DEPUTY_IDP_ISSUER", "http://127.0.0.1:9001"),
        ("DEPUTY_IDP_CLIENT_ID", "other"),
        ("DEPUTY_IDP_CLIENT_SECRET", "another-good-secret"),
    ];
    let settings = load_with(GOOD, &env).unwrap();
    let config = &settings.server;
    assert_eq!(config.public_url.as_str(), "http://localhost:8000");
    assert_eq!(settings.listen.port(), 0);
    assert_eq!(config.data_dir, Path::new("elsewhere"));
    assert!(matches!(&config.idps[0].kind, IdpKind::OpenId { issuer } if issuer.as_str() == "http://127.0.0.1:9001"));
    assert_eq!(config.idps[0].client_id, "other");
    assert_eq!(secret_of(&config.idps[0]), "another-good-secret");
    let error = load_with(GOOD, &[("DEPUTY_PUBLIC_URL", "http://mcp.example.com")]).unwrap_err();
    assert!(error.starts_with("environment variable DEPUTY_PUBLIC_URL: public_url is plain http to mcp.example.com."), "{error}");
}

#[test]
fn unknown_keys_have_a_place_and_a_suggestion() {
    assert_eq!(error_of("client_id", "client_ids"), "deputy.toml:5:1: unknown key `client_ids`. Did you mean `client_id`?");
    assert_eq!(error_of("[access]", "[acces]"), "deputy.toml:8:2: unknown key `acces`. Did you mean `access`?");
    assert_eq!(error_of("[[server]]", "[[upstream]]").split(". ").next(), Some("deputy.toml:11:3: unknown key `upstream`"));
    assert!(error_of("name =", "nmae =").ends_with("unknown key `nmae`. Did you mean `name`?"));
    assert!(error_of("path = \"/mcp\"", "").contains("`path` is missing here."));
    let syntax = error_of("[idp]", "[idp");
    assert!(syntax.starts_with("deputy.toml:3:"), "{syntax}");
}

/// One row: what is replaced, by what, and how the error begins.
#[test]
fn what_is_refused_is_refused_with_words() {
    let table = [
        // A-225: plain http, and where deputy lives
        ("https://mcp.example.com", "http://mcp.example.com", "1:14: public_url is plain http to mcp.example.com."),
        ("https://mcp.example.com", "https://example.com/mcp", "1:14: public_url has a path."),
        ("https://mcp.example.com", "https://mcp.example.com/", "1:14: public_url must be written \"https://mcp.example.com\""),
        (
            "https://mcp.example.com",
            "https://MCP.example.com:443",
            "1:14: public_url must be written \"https://mcp.example.com\"",
        ),
        ("https://mcp.example.com", "mcp.example.com", "1:14: public_url is no URL"),
        ("https://mcp.example.com", "ftp://mcp.example.com", "1:14: public_url has the scheme ftp."),
        ("https://mcp.example.com", "https://u:p@mcp.example.com", "1:14: public_url must not have a user name"),
        ("public_url = \"https://mcp.example.com\"", "", " the origin under which clients reach deputy is missing."),
        ("https://login.example.com", "http://login.example.com", "4:10: issuer is plain http"),
        (
            "https://login.example.com",
            "https://login.example.com/.well-known/openid-configuration",
            "4:10: issuer is the provider's issuer",
        ),
        ("http://127.0.0.1:9000/mcp", "http://10.0.0.5:9000/mcp", "13:7: url is plain http to 10.0.0.5."),
        ("issuer = \"https://login.example.com\"", "", " the identity provider's issuer is missing."),
        ("\"deputy\"", "\"\"", "5:13: the client_id of deputy at the identity provider is empty."),
        // Decisions that are not configurable
        ("\n[idp]", "consent = \"sometimes\"\n[idp]", "2:11: consent must be \"always\" or \"remember\"."),
        ("\n[idp]", "consent = \"never\"\n[idp]", "2:11: consent cannot be switched off"),
        ("[idp]", "[idp]\nprovider = \"entra\"", "5:10: issuer is not needed with provider = \"entra\""),
        // Who may come in
        ("allow = [\"domain:example.com\"]", "", " nobody may come in"),
        ("[access]\nallow = [\"domain:example.com\"]", "", " nobody may come in"),
        ("domain:example.com", "example.com", "9:10: \"example.com\" is no access rule"),
        // Servers
        ("\"/mcp\"", "\"mcp\"", "12:8: path \"mcp\" must begin with /"),
        ("\"/mcp\"", "\"/\"", "12:8: path \"/\" must begin with /"),
        ("\"/mcp\"", "\"/mcp/\"", "12:8: path \"/mcp/\" must begin with /"),
        ("\"/mcp\"", "\"/a/../b\"", "12:8: path \"/a/../b\" must begin with /"),
        ("\"/mcp\"", "\"/a%2fb\"", "12:8: path \"/a%2fb\" must begin with /"),
        ("\"/mcp\"", "\"/token\"", "12:8: path \"/token\" is one of deputy's own addresses."),
        ("\"/mcp\"", "\"/.well-known/x\"", "12:8: path \"/.well-known/x\" is one of deputy's own addresses."),
        ("\"Company Wiki\"", "\" \"", "14:8: name is empty."),
        ("name =", "scopes = [\"a b\"]\nname =", "14:10: scopes must be words"),
        ("name =", "scopes = []\nname =", "14:10: scopes is empty."),
        ("client_id", "scopes = [\"email\"]\nclient_id", "5:10: scopes must contain \"openid\""),
        // Types
        ("\"deputy\"", "5", "5:13: invalid type: integer `5`, expected a string."),
    ];
    for (from, to, beginning) in table {
        let error = error_of(from, to);
        assert!(error.starts_with(&format!("deputy.toml:{beginning}")), "{from} -> {to}\n{error}");
        assert!(!error.contains('\n') && error.ends_with(['.', ')']), "{error}");
    }
}

#[test]
fn two_servers_are_fine_when_their_paths_differ() {
    let second = |path: &str| format!("{GOOD}[[server]]\npath = \"{path}\"\nurl = \"https://backend.example/mcp\"\n");
    assert_eq!(load(&second("/team/wiki")).unwrap().server.servers[1].name, "team/wiki");
    assert!(load(&second("/mcp")).unwrap_err().contains("path \"/mcp\" is used by two servers."));
    let none = GOOD.split("[[server]]").next().unwrap();
    assert!(load(none).unwrap_err().starts_with("deputy.toml: there is no MCP server to protect."));
}

#[test]
fn a_225_plain_http_does_not_listen_to_the_network() {
    let local = GOOD.replace("https://mcp.example.com", "http://localhost:8000");
    assert!(load(&local).is_ok());
    for address in ["0.0.0.0:8000", "[::]:8000", "192.168.1.5:8000"] {
        let error = load_with(&local, &[("DEPUTY_LISTEN", address)]).unwrap_err();
        assert!(error.contains("listen must stay on this machine"), "{address}: {error}");
        assert!(load_with(GOOD, &[("DEPUTY_LISTEN", address)]).is_ok(), "behind TLS: {address}");
    }
    assert!(load_with(GOOD, &[("DEPUTY_LISTEN", "localhost:8000")]).unwrap_err().contains("listen is an IP address and a port"));
}

#[test]
fn lifetimes_have_bounds() {
    let tokens = |line: &str| load(&format!("{GOOD}[tokens]\n{line}\n"));
    for line in [
        "code_lifetime = \"61s\"",
        "code_lifetime = \"0s\"",
        "access_token_lifetime = \"2h\"",
        "access_token_lifetime = \"1s\"",
        "refresh_grace = \"6m\"",
        "refresh_absolute_lifetime = \"401d\"",
        "recheck_after = \"151s\"",
        "without_recheck = \"91d\"",
    ] {
        assert!(tokens(line).unwrap_err().contains(" must be between "), "{line}");
    }
    assert_eq!(
        tokens("code_lifetime = \"5m\"").unwrap_err(),
        "deputy.toml:16:17: code_lifetime must be between 1s and 1m. A code is redeemed at once."
    );
    assert!(tokens("access_token_lifetime = \"5 minutes\"").unwrap_err().contains("is no duration"));
    assert!(tokens("refresh_idle_lifetime = \"91d\"").unwrap_err().contains("must not be longer than refresh_absolute_lifetime"));
    assert_eq!(tokens("refresh_absolute_lifetime = \"1d\"").unwrap().server.tokens.refresh_idle, Duration::from_secs(86_400));
}

#[test]
fn a_postgres_store_is_a_url_without_a_password() {
    let with = |line: &str| {
        load_with(&format!("{line}\n{GOOD}"), &[("IDP_SECRET", SECRET), ("DB", "postgres://d:hunter2-hunter2@db/d")])
    };
    let url = |line: &str| match with(line).unwrap().server.store {
        StoreConfig::Postgres(url) => url.expose().to_owned(),
        StoreConfig::Sqlite => "sqlite".to_owned(),
    };
    assert_eq!(url("store = \"sqlite\""), "sqlite");
    assert_eq!(url("store = \"postgres://deputy@db/deputy\""), "postgres://deputy@db/deputy");
    assert_eq!(url("store = { env = \"DB\" }"), "postgres://d:hunter2-hunter2@db/d");
    let refused = with("store = \"postgres://d:hunter2-hunter2@db/d\"").unwrap_err();
    assert!(refused.contains("has a password in it") && !refused.contains("hunter2"), "{refused}");
    assert!(with("store = \"mysql://db/d\"").unwrap_err().contains("\"sqlite\" (the default)"));
    assert!(!format!("{:?}", with("store = { env = \"DB\" }").unwrap()).contains("hunter2"));
}

#[test]
fn a_228_secrets_do_not_stand_in_the_file_and_no_error_repeats_one() {
    for inline in ["\"hunter2-hunter2\"", "8472938472", "1.5"] {
        let error = error_of("{ env = \"IDP_SECRET\" }", inline);
        assert!(error.starts_with("deputy.toml:6:17: a secret does not belong in this file."), "{error}");
        assert!(!error.contains(inline.trim_matches('"')), "{error}");
    }
    assert!(error_of("{ env = \"IDP_SECRET\" }", "{ value = \"hunter2-hunter2\" }").contains("exactly one key, file or env"));
    assert!(error_of("{ env = \"IDP_SECRET\" }", "{ file = \"a\", env = \"B\" }").contains("exactly one key, file or env"));
    // A typing error in the key, a broken line: the value stays unquoted.
    assert!(!error_of("client_secret = { env = \"IDP_SECRET\" }", "clientsecret = \"hunter2-hunter2\"").contains("hunter2"));
    assert!(!error_of("client_secret = { env = \"IDP_SECRET\" }", "client_secret = \"hunter2-hunter2").contains("hunter2"));
    assert!(!format!("{:?}", load(GOOD).unwrap()).contains(SECRET));
}

#[test]
fn a_228_weak_secrets_are_refused() {
    let with = |secret: &str| load_with(GOOD, &[("IDP_SECRET", secret)]).map(drop).unwrap_err();
    assert!(with("").contains("the secret in the environment variable IDP_SECRET is empty."));
    assert!(with("\n").contains("is empty"));
    assert!(with("short").contains("is shorter than 8 bytes"));
    for sample in ["changeme", "Change-Me!", "your-client-secret", "<client_secret>", "xxxxxxxxxxxx", "Password123"] {
        let error = with(sample);
        assert!(error.contains("is a well-known sample value"), "{sample}: {error}");
        assert!(error.starts_with("deputy.toml:6:17:") && !error.contains(sample), "{error}");
    }
    assert!(with(" padded-secret-value ").contains("has spaces around it"));
    assert!(
        load_with(GOOD, &[("DEPUTY_IDP_CLIENT_SECRET", "")])
            .unwrap_err()
            .starts_with("environment variable DEPUTY_IDP_CLIENT_SECRET: ")
    );
    let unset = GOOD.replace("IDP_SECRET", "NOT_SET");
    assert!(load(&unset).unwrap_err().contains("the environment variable NOT_SET is not set."));
}

#[cfg(unix)]
#[test]
fn a_228_a_secret_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let file = GOOD.replace("{ env = \"IDP_SECRET\" }", "{ file = \"secret\" }");
    let load = |text: &str| parse(Source::new("deputy.toml", text), dir.path(), &|_| None).map_err(|error| error.to_string());
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let error = load(&file).unwrap_err();
    assert!(error.contains(&format!("Run: chmod o= '{}'", path.display())), "{error}");
    mode(0o640);
    assert_eq!(secret_of(&load(&file).unwrap().server.idps[0]), SECRET);
    mode(0o600);
    assert!(load(&file).is_ok());
    assert!(load(&file.replace("\"secret\"", "\"missing\"")).unwrap_err().contains("cannot be read"));
    assert!(load(&file.replace("\"secret\"", "\".\"")).is_err(), "a directory");
}

#[test]
fn a_public_provider_that_lets_everybody_in_is_noted() {
    let open = GOOD.replace("domain:example.com", "*");
    assert!(load(&open).unwrap().notes.is_empty());
    let google = open.replace("https://login.example.com", "https://accounts.google.com");
    assert!(load(&google).unwrap().notes[0].contains("accounts.google.com"));
    let without_secret = GOOD.replace("client_secret = { env = \"IDP_SECRET\" }", "");
    assert!(load(&without_secret).unwrap().notes[0].contains("public client"));
}

/// A mistake that systems of this kind have made: an empty list of who may come in lets everybody in.
#[test]
fn an_empty_list_of_who_may_come_in_does_not_start() {
    for issuer in ["https://login.example.com", "https://accounts.google.com"] {
        let file = GOOD.replace("https://login.example.com", issuer);
        for access in ["[access]\nallow = []", "[access]", ""] {
            let error = load(&file.replace("[access]\nallow = [\"domain:example.com\"]", access)).unwrap_err();
            assert!(error.contains("nobody may come in"), "{issuer} {access:?}: {error}");
        }
        for rule in ["", " ", "domain:", "email:", "group:", "subject:"] {
            assert!(load(&file.replace("domain:example.com", rule)).is_err(), "{issuer} {rule:?}");
        }
    }
}

#[test]
fn a_260_dangerous_switches_do_not_exist() {
    for switch in
        ["skip_consent = true", "insecure = true", "allow_http = true", "disable_origin_check = true", "consent = \"never\""]
    {
        assert!(load(&format!("{switch}\n{GOOD}")).is_err(), "{switch}");
    }
    for (section, switch) in
        [("[idp]", "verify = false"), ("[idp]", "insecure_skip_verify = true"), ("[access]", "allow_all = true")]
    {
        assert!(load(&GOOD.replace(section, &format!("{section}\n{switch}"))).is_err(), "{switch}");
    }
    for switch in [
        "allowed_origins = [\"*\"]",
        "allowed_origins = [\"null\"]",
        "trusted_proxies = [\"*\"]",
        "trusted_proxies = [\"0.0.0.0/0\"]",
    ] {
        assert!(load(&format!("{switch}\n{GOOD}")).is_err(), "{switch}");
    }
    for (from, to) in [
        ("https://mcp.example.com", "http://mcp.example.com"),
        ("https://login.example.com", "http://login.example.com"),
        ("allow = [\"domain:example.com\"]", "allow = []"),
    ] {
        error_of(from, to);
    }
}
