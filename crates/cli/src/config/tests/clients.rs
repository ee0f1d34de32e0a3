//! `[[client]]` and `[clients]`.

use deputy_protocol::client::AuthMethod;
use deputy_protocol::client::policy::DocumentPolicy;
use deputy_protocol::redirect::{RedirectRule, RedirectUri};
use deputy_protocol::secret::ClientSecret;
use deputy_server::ClientAuth;

use super::{GOOD, load, load_with};
use crate::config::Settings;

const CLIENT: &str =
    "\n[[client]]\nid = \"claude\"\nname = \"Claude\"\nredirect_uris = [\"https://claude.ai/api/mcp/auth_callback\"]\n";
const SECRET: &str = "a long secret of a client";
/// SHA-256 of [`SECRET`].
fn hashed() -> String {
    ClientSecret::from_text(SECRET.to_owned()).digest().as_bytes().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn with(lines: &str) -> Result<Settings, String> {
    load_with(&format!("{GOOD}{CLIENT}{lines}\n"), &[("CLIENT_SECRET", SECRET)])
}

fn error_of(lines: &str) -> String {
    with(lines).unwrap_err()
}

#[test]
fn a_client_of_the_operator_is_read() {
    let settings = with("").unwrap();
    let [client] = settings.server.clients.as_slice() else { panic!("{:?}", settings.server.clients) };
    assert_eq!((client.id().as_str(), client.name().as_str()), ("claude", "Claude"));
    assert_eq!(client.redirect_uris()[0].as_str(), "https://claude.ai/api/mcp/auth_callback");
    assert!(matches!(client.auth(), ClientAuth::Public));
    let said = crate::explain::settings(&settings);
    assert!(
        said.contains("claude   \"Claude\", without a secret, answers go to https://claude.ai/api/mcp/auth_callback"),
        "{said}"
    );
}

#[test]
fn a_228_of_a_secret_only_the_digest_is_kept() {
    for (lines, method) in [
        ("secret = { env = \"CLIENT_SECRET\" }".to_owned(), None),
        (format!("secret_sha256 = \"{}\"", hashed()), None),
        ("secret = { env = \"CLIENT_SECRET\" }\nauth_method = \"client_secret_post\"".to_owned(), Some(AuthMethod::SecretPost)),
        (format!("secret_sha256 = \"{}\"\nauth_method = \"client_secret_basic\"", hashed()), Some(AuthMethod::SecretBasic)),
    ] {
        let settings = with(&lines).unwrap();
        let ClientAuth::Secret { digest, by } = settings.server.clients[0].auth() else { panic!("{lines}") };
        assert_eq!((digest, *by), (&ClientSecret::from_text(SECRET.to_owned()).digest(), method), "{lines}");
        let said = format!("{settings:?}{}", crate::explain::settings(&settings));
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[test]
fn what_is_wrong_with_a_client_is_said_where_it_stands() {
    for (lines, said) in [
        ("auth_method = \"client_secret_post\"", "deputy.toml:20:15: this auth_method needs a secret"),
        ("auth_method = \"private_key_jwt\"", "deputy.toml:20:15: auth_method private_key_jwt needs the client's public keys"),
        ("jwks = { file = \"/no/such/keys.json\" }", "deputy.toml:20:8: the key file /no/such/keys.json: cannot be read"),
        ("jwks = { url = \"/no/such/keys.json\" }", "unknown key `url`"),
        ("auth_method = \"password\"", "deputy.toml:20:15: auth_method must be one of \"none\", \"client_secret_basic\""),
        (
            "secret = { env = \"CLIENT_SECRET\" }\nauth_method = \"none\"",
            "deputy.toml:21:15: auth_method none does not go with a secret.",
        ),
        ("secret = \"hunter2-hunter2\"", "deputy.toml:20:10: a secret does not belong in this file."),
        ("secret = { env = \"NO_SUCH\" }", "deputy.toml:20:10: the environment variable NO_SUCH is not set."),
        ("secret_sha256 = \"hunter2-hunter2\"", "deputy.toml:20:17: secret_sha256 must be 64 hexadecimal digits"),
        ("jwks_uri = \"https://a.test/keys\"", "deputy.toml:20:12: keys are not fetched for a [[client]]"),
        ("redirect_uri = 1", "deputy.toml:20:1: unknown key `redirect_uri`. Did you mean `redirect_uris`?"),
        (CLIENT, "deputy.toml:22:6: id \"claude\" is used by two clients."),
        (
            "[[client]]\nid = \"dc_x\"\nname = \"X\"\nredirect_uris = [\"https://a.test/cb\"]",
            "deputy.toml:21:6: id must not begin with dc_",
        ),
        (
            "[[client]]\nid = \"https://a.test/c\"\nname = \"X\"\nredirect_uris = [\"https://a.test/cb\"]",
            "deputy.toml:21:6: id must not begin",
        ),
        ("[[client]]\nid = \"x\"\nname = \" \"\nredirect_uris = [\"https://a.test/cb\"]", "deputy.toml:22:8: name is empty."),
        (
            "[[client]]\nid = \"x\"\nname = \"X\"\nredirect_uris = []",
            "deputy.toml:21:6: redirect_uris must have 1 to 20 entries.",
        ),
        (
            "[[client]]\nid = \"x\"\nname = \"X\"\nredirect_uris = [\"https://a.test/cb\", \"http://a.test/cb\"]",
            "deputy.toml:23:39: the redirect URI \"http://a.test/cb\" is refused. A redirect URI uses a scheme",
        ),
        ("[[client]]\nid = \"x\"\nname = \"X\"", "`redirect_uris` is missing here."),
    ] {
        let error = error_of(lines);
        assert!(error.contains(said), "{lines}\n{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let both = error_of(&format!("secret = {{ env = \"CLIENT_SECRET\" }}\nsecret_sha256 = \"{}\"", hashed()));
    assert!(both.contains("has both secret and secret_sha256"), "{both}");
}

#[test]
fn the_policy_about_clients_is_read() {
    let settings = load(GOOD).unwrap();
    let policy = &settings.server.client_policy;
    assert!(policy.takes_registrations() && policy.redirects.is_none() && policy.blocked.is_empty());
    let lines = "[clients]\nregistration = \"off\"\nredirects = [\"https://claude.ai/api/mcp/auth_callback\", \"http://localhost/callback\"]\n\
                 blocked = [\"evil.test\", \"https://app.test/client.json\", \"dc_x\"]\n";
    let settings = load(&format!("{GOOD}{lines}")).unwrap();
    let policy = &settings.server.client_policy;
    assert!(!policy.takes_registrations());
    assert_eq!(policy.redirects.as_ref().map(Vec::len), Some(2));
    assert_eq!(policy.blocked, ["evil.test", "https://app.test/client.json", "dc_x"]);
    let said = crate::explain::settings(&settings);
    for words in
        ["may not register", "alone: https://claude.ai/api/mcp/auth_callback http://localhost/callback", "evil.test, https"]
    {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn as_42_known_clients_have_names_and_schemes_are_a_list() {
    let policy = |lines: &str| load(&format!("{GOOD}[clients]\n{lines}\n")).map(|settings| settings.server.client_policy);
    let uri = |raw: &str| RedirectUri::of_operator(raw).unwrap();
    let cursor = uri("cursor://anysphere.cursor-mcp/oauth/callback");
    assert!(policy("").unwrap().private_use.allows(&cursor));
    assert!(!policy("private_use = []").unwrap().private_use.allows(&cursor));
    let own = policy("private_use = [\"claude\", \"com.corp.app:/cb\"]").unwrap().private_use;
    assert!(own.allows(&uri("com.corp.app:/cb")) && !own.allows(&cursor));
    let redirects = policy("redirects = [\"claude\", \"loopback\", \"https://app.test/cb\"]").unwrap().redirects.unwrap();
    assert_eq!(redirects.iter().map(RedirectRule::as_str).collect::<Vec<_>>(), ["claude", "loopback", "https://app.test/cb"]);
    for (lines, text) in [
        ("redirects = [\"curser\"]", "Did you mean \"cursor\"?"),
        ("redirects = [\"javascript:alert(1)\"]", "no client can have this redirect URI"),
        ("private_use = [\"https://app.test/cb\"]", "private_use is for schemes of programs"),
        ("private_use = [\"loopback\"]", "private_use is for schemes of programs"),
        ("private_use = [\"file:///x\"]", "no client can have this redirect URI"),
    ] {
        let error = policy(lines).unwrap_err();
        assert!(error.contains(text), "{lines}: {error}");
    }
    let said = crate::explain::settings(&load(&format!("{GOOD}[clients]\nprivate_use = []\n")).unwrap());
    assert!(said.contains("own schemes      none"), "{said}");
}

#[test]
fn registration_can_need_an_invitation() {
    let settings = load(&format!("{GOOD}[clients]\nregistration = \"invited\"\n")).unwrap();
    let policy = &settings.server.client_policy;
    assert!(policy.takes_registrations() && policy.admits(true).is_ok() && policy.admits(false).is_err());
    assert!(crate::explain::settings(&settings).contains("deputy clients invite"));
}

#[test]
fn a_policy_that_would_do_nothing_is_refused() {
    for (line, said) in [
        ("registration = \"closed\"", "deputy.toml:16:16: registration must be \"open\", \"invited\" or \"off\"."),
        (
            "redirects = [\"http://a.test/cb\"]",
            "deputy.toml:16:14: no client can have this redirect URI. A redirect URI uses a scheme",
        ),
        ("redirects = [\"https://*.a.test/cb\"]", "deputy.toml:16:14: no client can have this redirect URI."),
        ("blocked = [\"*.a.test\"]", "deputy.toml:16:12: blocked takes client ids"),
        ("blocked = [\"https://a.test\"]", "deputy.toml:16:12: blocked takes client ids"),
        ("blocked = [\"\"]", "deputy.toml:16:12: blocked takes client ids"),
        ("block = [\"a\"]", "unknown key `block`"),
    ] {
        let error = load(&format!("{GOOD}[clients]\n{line}\n")).unwrap_err();
        assert!(error.contains(said), "{line}\n{error}");
    }
}

#[test]
fn a_169_the_keys_of_a_client_are_public_and_its_only_proof() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    let with_keys = |keys: &str, lines: &str| {
        std::fs::write(&file, keys).unwrap();
        with(&format!("jwks = {{ file = {:?} }}\n{lines}", file.display().to_string()))
    };
    let good = r#"{"keys":[{"kty":"RSA","n":"AA","e":"AQAB"}]}"#;
    for lines in ["", "auth_method = \"private_key_jwt\""] {
        let settings = with_keys(good, lines).unwrap();
        assert!(matches!(settings.server.clients[0].auth(), ClientAuth::Keys(keys) if keys.count() == 1));
        let said = crate::explain::settings(&settings);
        assert!(said.contains("private_key_jwt (public keys: 1)"), "{said}");
    }
    for (keys, lines, said) in [
        (r#"{"keys":[{"kty":"oct","k":"hunter2"}]}"#, "", "it has a private or symmetric key in it"),
        ("hunter2", "", "it is no JSON object with the keys"),
        (r#"{"keys":[]}"#, "", "it has no RSA, P-256 or Ed25519 key"),
        (
            good,
            "auth_method = \"client_secret_post\"",
            "deputy.toml:21:15: a client with jwks authenticates by private_key_jwt alone.",
        ),
        (good, "secret = { env = \"CLIENT_SECRET\" }", "the client has a secret and jwks. Keep one."),
    ] {
        let error = with_keys(keys, lines).unwrap_err();
        assert!(error.contains(said) && !error.contains("hunter2"), "{lines}\n{error}");
    }
}

#[test]
fn as_37_a_174_documents_are_taken_as_the_operator_says() {
    let said = |lines: &str| {
        let settings = with(&format!("[clients]\n{lines}")).unwrap();
        (settings.server.client_policy.documents.clone(), crate::explain::settings(&settings))
    };
    let (policy, text) = said("");
    assert!(
        policy == DocumentPolicy::Open
            && text.contains("any public https host come with their metadata document, fetched directly"),
        "{text}"
    );
    let (policy, text) = said("documents = false");
    assert!(policy == DocumentPolicy::Off && text.contains("with a metadata document may not come"), "{text}");
    let (policy, text) = said("documents = [\"claude.ai\", \"Tools.example.com\"]\ndocuments_proxy = \"http://proxy.corp:3128\"");
    assert_eq!(policy, DocumentPolicy::Hosts(vec!["claude.ai".to_owned(), "Tools.example.com".to_owned()]));
    assert!(
        text.contains("a metadata document of claude.ai, Tools.example.com, fetched through http://proxy.corp:3128/"),
        "{text}"
    );
    for (lines, said) in [
        ("documents = []", "deputy.toml:21:13: documents is true, false, or a list of hosts"),
        ("documents = [\"https://claude.ai\"]", "documents is true, false, or a list of hosts"),
        ("documents = [\"claude.ai:443\"]", "documents is true, false, or a list of hosts"),
        ("documents = [\"*.claude.ai\"]", "documents is true, false, or a list of hosts"),
        ("documents = [\"claude.ai/x\"]", "documents is true, false, or a list of hosts"),
        ("documents = \"open\"", "deputy.toml:21:13: "),
        ("documents_proxy = \"https://proxy.corp\"", "deputy.toml:21:19: documents_proxy is not the address of a forward proxy"),
        ("documents_ca = \"no-such.pem\"", "deputy.toml:21:16: documents_ca: "),
    ] {
        let error = error_of(&format!("[clients]\n{lines}"));
        assert!(error.contains(said), "{lines}\n{error}");
    }
}
