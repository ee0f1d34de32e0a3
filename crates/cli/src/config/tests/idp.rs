//! `[idp]` and `[[idp]]`: presets, Entra, credentials, several at once.

use deputy_server::IdpConfig;
use deputy_server::config::{Credential, IdpKind};

use super::{GOOD, error_of, load, load_with, secret_of};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

/// The good file with other lines under `[idp]`.
fn with(lines: &str) -> String {
    GOOD.replace("issuer = \"https://login.example.com\"", lines)
}

fn issuer(lines: &str) -> String {
    match &load(&with(lines)).unwrap().server.idps[0].kind {
        IdpKind::OpenId { issuer } => issuer.to_string(),
        IdpKind::Entra(entra) => entra.metadata_issuer(),
        IdpKind::GitHub(github) => format!("{} {}", github.web, github.api),
        IdpKind::OAuth(oauth) => format!("{} {}", oauth.issuer, oauth.userinfo_endpoint),
    }
}

fn refused(lines: &str) -> String {
    load(&with(lines)).unwrap_err()
}

#[test]
fn a_preset_says_what_is_known_of_a_provider() {
    for (lines, expected) in [
        ("provider = \"google\"", "https://accounts.google.com"),
        ("provider = \"okta\"\ndomain = \"corp.okta.com\"", "https://corp.okta.com"),
        ("provider = \"auth0\"\ndomain = \"corp.eu.auth0.com\"", "https://corp.eu.auth0.com/"),
        ("provider = \"keycloak\"\nurl = \"https://id.corp.test/\"\nrealm = \"staff\"", "https://id.corp.test/realms/staff"),
        ("provider = \"gitlab\"", "https://gitlab.com"),
        ("provider = \"gitlab\"\nurl = \"https://git.corp.test\"", "https://git.corp.test"),
        ("provider = \"google\"\nissuer = \"http://localhost:9\"", "http://localhost:9"),
        ("provider = \"github\"", "https://github.com https://api.github.com"),
        ("provider = \"github\"\nurl = \"https://git.corp.test\"", "https://git.corp.test https://git.corp.test/api/v3"),
        ("provider = \"discord\"", "https://discord.com https://discord.com/api/users/@me"),
    ] {
        assert_eq!(issuer(lines), expected, "{lines}");
    }
    let google =
        load(&with("provider = \"google\"\nparameters = { hd = \"corp.test\", prompt = \"\" }")).unwrap().server.idps.remove(0);
    let parameters: Vec<_> = google.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(parameters, ["access_type=offline", "hd=corp.test"]);
    assert!(!google.offline_access && google.name.as_str() == "google" && google.label.as_deref() == Some("Google"));
}

#[test]
fn what_is_missing_or_wrong_is_said_with_its_place() {
    for (lines, text) in [
        ("provider = \"gogle\"", "Did you mean \"google\"?"),
        ("provider = \"okta\"", "domain is missing: this provider's issuer is https://{domain}."),
        ("provider = \"entra\"", "tenant is missing"),
        ("provider = \"entra\"\ntenant = \"common\"", "every tenant in the world"),
        ("provider = \"entra\"\ntenants = [\"organizations\"]", "every tenant in the world"),
        ("provider = \"entra\"\ntenant = \"corp.onmicrosoft.com\"", "Directory (tenant) ID"),
        ("provider = \"entra\"\ntenants = []", "Directory (tenant) ID"),
        ("provider = \"entra\"\nissuer = \"https://login.microsoftonline.com/x/v2.0\"", "Take it out"),
        ("provider = \"google\"\ntenant = \"x\"", "tenant is for provider = \"entra\""),
        ("provider = \"google\"\nparameters = { scope = \"all\" }", "parameters cannot contain scope"),
        ("provider = \"google\"\nname = \"G/x\"", "name is 1 to 32 lower-case letters"),
        ("provider = \"google\"\nassertion = { file = \"x\" }", "is enough; take the others out"),
        ("provider = \"google\"\ncertificate = { file = \"x\" }", "certificate goes with private_key"),
    ] {
        let error = refused(lines);
        assert!(error.contains(text), "{lines}: {error}");
    }
}

#[test]
fn entra_is_a_tenant_or_several_in_a_cloud() {
    let one = format!("provider = \"entra\"\ntenant = \"{TENANT}\"");
    assert_eq!(issuer(&one), format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    assert_eq!(issuer(&format!("{one}\ncloud = \"us\"")), format!("https://login.microsoftonline.us/{TENANT}/v2.0"));
    let external = format!("{one}\nauthority = \"https://corp.ciamlogin.com\"");
    assert_eq!(issuer(&external), format!("https://{TENANT}.ciamlogin.com/{TENANT}/v2.0"));
    let other = TENANT.replace('1', "2");
    let several = format!("provider = \"entra\"\ntenants = [\"{TENANT}\", \"{other}\"]");
    assert_eq!(issuer(&several), "https://login.microsoftonline.com/{tenantid}/v2.0");
    let scopes = format!("{one}\nscopes = [\"openid\", \"api://a/Read\", \"api://b/Read\"]");
    assert!(refused(&scopes).contains("two resources"));
}

#[test]
fn entra_asks_the_graph_of_its_cloud() {
    let one = format!("provider = \"entra\"\ntenant = \"{TENANT}\"");
    let asked = |lines: &str| match load(&with(lines)).unwrap().server.idps.remove(0) {
        IdpConfig { kind: IdpKind::Entra(entra), scopes, .. } => {
            (entra.graph.map(|graph| graph.to_string()), scopes.iter().any(|scope| scope == "User.Read"))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(&one), (None, false));
    for (more, graph) in [
        ("", "https://graph.microsoft.com"),
        ("cloud = \"us\"", "https://graph.microsoft.us"),
        ("cloud = \"china\"", "https://microsoftgraph.chinacloudapi.cn"),
        ("authority = \"https://corp.ciamlogin.com\"", "https://graph.microsoft.com"),
        ("authority = \"http://127.0.0.1:9000\"", "http://127.0.0.1:9000"),
        ("scopes = [\"openid\", \"offline_access\", \"User.Read\"]", "https://graph.microsoft.com"),
    ] {
        assert_eq!(asked(&format!("{one}\ngroups = \"graph\"\n{more}")), (Some(graph.to_owned()), true), "{more}");
    }
    let other = refused(&format!("{one}\ngroups = \"token\""));
    assert!(other.contains("groups is \"graph\""), "{other}");
    let elsewhere = refused("provider = \"google\"\ngroups = \"graph\"");
    assert!(elsewhere.contains("groups is for provider = \"entra\""), "{elsewhere}");
    let two = refused(&format!("{one}\ngroups = \"graph\"\nscopes = [\"openid\", \"api://a/Read\"]"));
    assert!(two.contains("two resources"), "{two}");
}

#[test]
fn a_private_key_or_an_assertion_stands_for_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["deputy".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (key_file, certificate_file) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let entra = format!("provider = \"entra\"\ntenant = \"{TENANT}\"\nprivate_key = {{ file = {key_file:?} }}");
    let without_secret = |lines: &str| with(lines).replace("client_secret = { env = \"IDP_SECRET\" }", "");
    let error = load(&without_secret(&entra)).unwrap_err();
    assert!(error.contains("needs certificate"), "{error}");
    let both = format!("{entra}\ncertificate = {{ file = {certificate_file:?} }}");
    let idp = load(&without_secret(&both)).unwrap().server.idps.remove(0);
    assert!(matches!(idp.credential, Credential::Key(_)));
    assert!(!format!("{idp:?}").contains("PRIVATE"));
    let swapped = both.replace("key.pem", "none").replace("cert.pem", "key.pem").replace("none", "cert.pem");
    assert!(load(&without_secret(&swapped)).is_err());
    let file = format!("provider = \"entra\"\ntenant = \"{TENANT}\"\nassertion = {{ file = \"token\" }}");
    let idp = load(&without_secret(&file)).unwrap().server.idps.remove(0);
    assert!(matches!(&idp.credential, Credential::File(path) if path.ends_with("/etc/deputy/token")));
}

#[test]
fn github_is_asked_for_organisations_when_a_rule_is_about_them() {
    let scopes = |rule: &str| {
        load(&with("provider = \"github\"").replace("domain:example.com", rule)).unwrap().server.idps.remove(0).scopes
    };
    assert_eq!(scopes("domain:example.com"), ["read:user", "user:email"]);
    for rule in ["org:acme", "team:acme/devs", "idp:github/org:acme"] {
        assert_eq!(scopes(rule), ["read:user", "user:email", "read:org"], "{rule}");
    }
}

#[test]
fn a_provider_without_id_tokens_is_written_out() {
    let lines = "provider = \"oauth2\"\nissuer = \"https://id.corp.test\"\nauthorization_endpoint = \"https://id.corp.test/authorize\"\n\
                 token_endpoint = \"https://id.corp.test/token\"\nuserinfo_endpoint = \"https://id.corp.test/me\"\n";
    let claims = "claims = { id = \"uid\", email = \"mail\", email_verified = \"mail_verified\", groups = \"teams\" }";
    assert_eq!(issuer(&format!("{lines}{claims}")), "https://id.corp.test https://id.corp.test/me");
    assert!(refused(lines).contains("claims is missing"));
    let without = lines.replace("token_endpoint = \"https://id.corp.test/token\"\n", "");
    assert!(refused(&format!("{without}{claims}")).contains("token_endpoint is missing"));
    assert!(
        refused(&format!("{}{claims}", lines.replace("https://id.corp.test/token", "http://id.corp.test/token")))
            .contains("plain http")
    );
}

#[test]
fn several_providers_have_names() {
    let second = "[[idp]]\nprovider = \"google\"\nname = \"staff\"\nlabel = \"Staff\"\nclient_id = \"g\"\n\
                  client_secret = { env = \"IDP_SECRET\" }\n\n[access]";
    let text = GOOD.replace("[idp]", "[[idp]]").replace("[access]", second);
    let idps = load(&text).unwrap().server.idps;
    let names: Vec<_> = idps.iter().map(|idp| idp.name.as_str()).collect();
    assert_eq!((names, idps[1].label.as_deref()), (vec!["oidc", "staff"], Some("Staff")));
    assert_eq!(secret_of(&idps[0]), secret_of(&idps[1]));
    let misspelt = text.replace("label =", "lable =");
    assert!(load(&misspelt).unwrap_err().contains("Did you mean `label`?"));
    assert!(error_of("[idp]", "idp = 3\n[tokens]").contains("a table [idp], or several [[idp]]"));
}

#[test]
fn a_managed_identity_is_asked_where_azure_says() {
    const ID: &str = "99999999-2222-3333-4444-555555555555";
    let lines = format!("provider = \"entra\"\ntenant = \"{TENANT}\"\nmanaged_identity = \"{ID}\"");
    let text = |lines: &str| with(lines).replace("client_secret = { env = \"IDP_SECRET\" }", "");
    let asked = |lines: &str, variables: &[(&str, &str)]| {
        let idp = load_with(&text(lines), variables).unwrap().server.idps.remove(0);
        let Credential::Managed(identity) = idp.credential else { panic!("{idp:?}") };
        format!("{identity:?}")
    };
    assert!(asked(&lines, &[]).contains("169.254.169.254/metadata/identity/oauth2/token"));
    assert!(
        asked(&lines, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")]).contains("127.0.0.1/metadata/identity")
    );
    let service = [("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"), ("IDENTITY_HEADER", "SECRET-HEADER")];
    let debug = asked(&lines, &service);
    assert!(
        debug.contains("127.0.0.1/msi/token") && debug.contains("x-identity-header") && !debug.contains("SECRET-HEADER"),
        "{debug}"
    );
    let away = [("IDENTITY_ENDPOINT", "http://example.com/msi/token"), ("IDENTITY_HEADER", "x")];
    assert!(load_with(&text(&lines), &away).unwrap_err().contains("on this machine"));
    for (lines, said) in [
        (lines.replace(ID, "deputy"), "a UUID"),
        (format!("provider = \"google\"\nmanaged_identity = \"{ID}\""), "managed_identity is for provider = \"entra\""),
        (format!("{lines}\nassertion = {{ file = \"token\" }}"), "is enough"),
    ] {
        let error = load(&text(&lines)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_server_s_api_is_called_in_the_name_of_people_of_entra() {
    let entra = format!("provider = \"entra\"\ntenant = \"{TENANT}\"");
    let with_api = |idp: &str, api: &str| with(idp).replace("[[server]]", &format!("[[server]]\non_behalf_of = {api}"));
    let scopes = |idp: &str| {
        let config = load(&with_api(idp, "[\"api://backend/Tools.Call\"]")).unwrap().server;
        assert_eq!(config.servers[0].on_behalf_of, ["api://backend/Tools.Call"]);
        config.idps[0].scopes.join(" ")
    };
    // The token is for ourselves, to be exchanged, and for nobody else: also where Graph is asked.
    let client_id = load(GOOD).unwrap().server.idps.remove(0).client_id;
    let own = format!("openid profile email offline_access {client_id}/.default");
    assert_eq!(scopes(&entra), own);
    assert_eq!(scopes(&format!("{entra}\ngroups = \"graph\"")), own);
    assert_eq!(scopes(&format!("{entra}\nscopes = [\"openid\", \"api://us/access\"]")), "openid api://us/access");
    for (idp, api, said) in [
        ("provider = \"google\"", "[\"api://backend/a\"]", "goes with provider = \"entra\" alone"),
        (entra.as_str(), "[]", "is the scope of the API"),
        (entra.as_str(), "[\"openid\"]", "is the scope of the API"),
        (entra.as_str(), "[\"api://a/x y\"]", "is the scope of the API"),
        (entra.as_str(), "[\"api://a/x\", \"api://b/x\"]", "two APIs"),
    ] {
        let error = load(&with_api(idp, api)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let public = with_api(&entra, "[\"api://backend/a\"]").replace("client_secret = { env = \"IDP_SECRET\" }", "");
    assert!(load(&public).unwrap_err().contains("needs a credential"));
}
