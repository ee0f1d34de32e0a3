//! More than one provider, and how we prove ourselves there (OC-04, A-118, A-127, A-134, A-138).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_guard::jws;
use deputy_protocol::claims::SignedClaims;
use deputy_protocol::secret::{ClientSecret, sha256};
use deputy_protocol::{IdpName, Issuer};
use deputy_server::IdpConfig;
use deputy_server::StartError;
use deputy_server::clock::Clock;
use deputy_server::config::{AssertionKey, Credential, RsaAlgorithm};
use http::Method;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde_json::{Value, json};

use super::entra::{T1, says, with_entra};
use super::idp::{audience, rsa};
use crate::support::clock::TestClock;
use crate::support::http::{Answer, Browser, claims, get};
use crate::support::idp::{CLIENT_ID, CLIENT_SECRET, Faults, Idp};
use crate::support::{Client, HONEST, World};

pub(crate) fn name(raw: &str) -> IdpName {
    IdpName::parse(raw).unwrap()
}

pub(crate) fn secret() -> Credential {
    Credential::Secret(ClientSecret::from_text(CLIENT_SECRET.to_owned()))
}

fn openid(raw: &str, idp: &Idp) -> IdpConfig {
    IdpConfig::openid(name(raw), Issuer::parse(&idp.issuer).unwrap(), CLIENT_ID.to_owned(), secret())
}

/// A gateway with the provider that every test has, called `first`, and another, called `second`.
async fn two() -> (World, Arc<Idp>) {
    let clock = Arc::new(TestClock::new());
    let (first, second) = (Idp::start(Arc::clone(&clock)).await, Idp::start(Arc::clone(&clock)).await);
    let configs = vec![openid("first", &first), openid("second", &second)];
    let world = World::with_idp(first, clock, |config| config.idps = configs).await.unwrap_or_else(|error| panic!("{error}"));
    (world, second)
}

/// Allows a client's request at the page, with the provider of this name.
async fn choose(world: &World, browser: &mut Browser, client: &Client, idp: &str) -> Answer {
    let page = browser.open(&world.authorize_url(client, &[]), HONEST).await;
    browser.decide(&world.origin, &page.ticket(), &format!("approve:{idp}")).await
}

async fn subject_by(world: &World, idp: &str) -> Value {
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let sent = choose(world, &mut browser, &client, idp).await;
    let back = browser.open(sent.location().expect("the provider").as_str(), HONEST).await;
    let tokens = world.redeem(&client, &back.sent("code").unwrap_or_else(|| panic!("{} {}", back.status, back.text()))).await;
    claims(tokens.json()["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn a_138_oc_08_one_address_at_two_providers_is_two_people() {
    let (world, second) = two().await;
    let client = world.register(HONEST).await;
    let page = get(&world.authorize_url(&client, &[])).await.text();
    for words in ["value=\"approve:first\"", "value=\"approve:second\""] {
        assert!(page.contains(words), "{page}");
    }
    let (one, other) = (subject_by(&world, "first").await, subject_by(&world, "second").await);
    assert_eq!((&one["email"], &one["idp_sub"]), (&other["email"], &other["idp_sub"]));
    assert_ne!(one["sub"], other["sub"]);
    assert_eq!((&one["idp"], &other["idp"]), (&json!(world.idp.issuer), &json!(second.issuer)));
    // Nobody chose: nobody is asked.
    let mut browser = Browser::default();
    for decision in ["approve", "approve:third", "approve:"] {
        let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
        let answer = browser.decide(&world.origin, &page.ticket(), decision).await;
        assert!(answer.status == 400 && answer.location().is_none(), "{decision}: {}", answer.text());
    }
    assert_eq!((world.idp.authorizations(), second.authorizations()), (1, 1));
}

/// Mix-up (RFC 9700 §4.4): what one provider says never counts as another's, whoever brings it to whose address.
#[tokio::test]
async fn oc_04_an_answer_counts_at_its_own_providers_address_alone() {
    let (world, second) = two().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let sent = choose(&world, &mut browser, &client, "second").await;
    let asked = sent.location().unwrap();
    assert!(asked.as_str().starts_with(&second.issuer));
    let callback = browser.open(asked.as_str(), &world.at("/callback")).await.location().expect("a callback");
    assert_eq!(callback.path(), "/callback/second");
    let exchanges = || (world.idp.exchanges(), second.exchanges());
    let elsewhere = |path: &str| format!("{}{path}?{}", world.origin, callback.query().unwrap());
    for path in ["/callback/first", "/callback", "/callback/", "/callback/third", "/callback/second/x", "/callback/%73econd"] {
        let mut copy = browser.clone();
        let answer = copy.open(&elsewhere(path), HONEST).await;
        assert!(
            answer.location().is_none() && answer.status.is_client_error() || answer.status == 500,
            "{path}: {}",
            answer.text()
        );
        assert_eq!(exchanges(), (0, 0), "{path}: the code was sent somewhere");
    }
    let back = browser.open(callback.as_str(), HONEST).await;
    assert!(back.sent("code").is_some(), "{}", back.text());
    assert_eq!(exchanges(), (0, 1));
}

/// What is registered at the only provider is one address; a name below it is nobody's.
#[tokio::test]
async fn oc_04_the_only_provider_has_the_plain_address() {
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let asked = sent.location().unwrap();
    let redirect = asked.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect, world.at("/callback"));
    let callback = browser.open(asked.as_str(), &world.at("/callback")).await.location().unwrap();
    let below = browser.clone().open(&format!("{}/callback/idp?{}", world.origin, callback.query().unwrap()), HONEST).await;
    assert!(below.location().is_none() && below.status.is_client_error(), "{}", below.text());
    assert_eq!(world.idp.exchanges(), 0);
}

#[tokio::test]
async fn two_providers_that_vouch_for_the_same_people_do_not_start() {
    let clock = Arc::new(TestClock::new());
    let idp = Idp::start(Arc::clone(&clock)).await;
    for (configs, words) in [
        (vec![openid("a", &idp), openid("b", &idp)], "vouch for the same people"),
        (vec![openid("a", &idp), openid("a", &idp)], "two identity providers are called"),
        (vec![], "no identity provider"),
    ] {
        let started = World::with_idp(Arc::clone(&idp), Arc::clone(&clock), |config| config.idps = configs).await;
        let Err(StartError::Config(said)) = started.map(drop) else { panic!("started: {words}") };
        assert!(said.contains(words), "{said}");
    }
}

/// A provider that the configuration no longer names vouches for nobody, and nothing of its people is lost.
#[tokio::test]
async fn r32_who_signed_in_at_a_provider_of_yesterday_signs_in_again() {
    let (world, second) = two().await;
    let client = world.register(HONEST).await;
    let mut browser = Browser::default();
    let sent = choose(&world, &mut browser, &client, "second").await;
    let back = browser.open(sent.location().unwrap().as_str(), HONEST).await;
    let tokens = world.redeem(&client, &back.sent("code").unwrap()).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    let only = world.restarted(|config| config.idps = vec![openid("first", &second)]).await;
    only.clock.advance(400);
    // The same people under another name: all is well.
    let renewed = only.refresh(&client, &refresh).await;
    assert_eq!(renewed.status, 200);
    let refresh = renewed.json()["refresh_token"].as_str().unwrap().to_owned();
    let other = Idp::start(Arc::clone(&only.clock)).await;
    let gone = only.restarted(|config| config.idps = vec![openid("second", &other)]).await;
    gone.clock.advance(400);
    let answer = gone.refresh(&client, &refresh).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some("invalid_grant")), "{}", answer.text());
    let again = gone.restarted(|config| config.idps = vec![openid("second", &second)]).await;
    assert_eq!(again.refresh(&client, &refresh).await.status, 200);
}

/// The last token request's assertion, verified by the key that we registered.
fn assertion(world: &World, key: &Jwk, algorithm: Algorithm) -> (Value, Value) {
    let form = world.idp.forms.lock().unwrap().last().cloned().unwrap();
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert!(form["client_id"] == CLIENT_ID && !form.contains_key("client_secret"), "{form:?}");
    let token = &form["client_assertion"];
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    let mut key = key.clone();
    key.common.key_algorithm = None;
    key.common.key_id = header["kid"].as_str().map(str::to_owned);
    let claims: SignedClaims<Value> = jws::verify(token, &JwkSet { keys: vec![key] }, &[algorithm]).expect("signed by us");
    (header, claims.into_inner())
}

#[tokio::test]
async fn a_134_a_private_key_proves_us_for_one_audience_for_a_minute_and_once() {
    let (pem, public) = rsa();
    let certificate = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    let key = AssertionKey::from_pem(pem.as_bytes(), RsaAlgorithm::Ps256, None).unwrap();
    let key = key.with_certificate(certificate.as_bytes()).unwrap();
    let world = with_entra(&[T1], T1, |config| config.idps[0].credential = Credential::Key(key)).await;
    let faults = || Faults { takes_assertions: true, ..says(&world.idp, T1, json!(T1), T1) };
    world.idp.misbehave(faults());
    let client = world.register(HONEST).await;
    let tokens = world.redeem(&client, &world.code(&client).await).await.json();
    let (header, said) = assertion(&world, &public, Algorithm::PS256);
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("PS256"), Some("JWT")));
    assert_eq!(header["x5t#S256"], URL_SAFE_NO_PAD.encode(sha256(&[1, 2, 3])));
    let now = world.clock.now().seconds();
    assert_eq!((&said["iss"], &said["sub"], &said["exp"]), (&json!(CLIENT_ID), &json!(CLIENT_ID), &json!(now + 60)));
    // Entra wants the endpoint's own address.
    assert_eq!(said["aud"], format!("{}/token", world.idp.issuer));
    world.clock.advance(400);
    assert_eq!(world.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await.status, 200);
    assert_ne!(assertion(&world, &public, Algorithm::PS256).1["jti"], said["jti"]);
}

#[tokio::test]
async fn a_134_an_openid_provider_is_told_itself() {
    let (pem, public) = rsa();
    let key = AssertionKey::from_pem(pem.as_bytes(), RsaAlgorithm::Rs256, Some("k1".to_owned())).unwrap();
    let world = World::with(|config| config.idps[0].credential = Credential::Key(key)).await;
    world.idp.misbehave(Faults { takes_assertions: true, ..Faults::default() });
    let client = world.register(HONEST).await;
    assert!(!world.code(&client).await.is_empty());
    let (header, said) = assertion(&world, &public, Algorithm::RS256);
    assert_eq!((&header["kid"], &header["alg"]), (&json!("k1"), &json!("RS256")));
    assert_eq!(audience(&said), [world.idp.issuer.as_str()]);
}

/// A workload's identity: somebody renews the file, and each request takes what is in it then.
#[tokio::test]
async fn an_assertion_in_a_file_is_read_each_time_and_nobody_is_signed_out_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "first.token.x\n").unwrap();
    let file = path.clone();
    let world = World::with(|config| config.idps[0].credential = Credential::File(file)).await;
    world.idp.misbehave(Faults { takes_assertions: true, ..Faults::default() });
    let client = world.register(HONEST).await;
    let tokens = world.redeem(&client, &world.code(&client).await).await.json();
    let sent = || world.idp.forms.lock().unwrap().last().cloned().unwrap()["client_assertion"].clone();
    assert_eq!(sent(), "first.token.x");
    let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    world.clock.advance(400);
    for broken in ["", "two words", &"x".repeat(20_000)] {
        std::fs::write(&path, broken).unwrap();
        assert_eq!(world.refresh(&client, &refresh).await.status, 503, "{}", broken.len());
    }
    std::fs::remove_file(&path).unwrap();
    let answer = world.refresh(&client, &refresh).await;
    assert!(answer.status == 503 && !answer.header("retry-after").is_empty());
    let url = world.authorize_url(&client, &[]);
    assert_eq!(Browser::default().step(Method::GET, &url, &[], String::new()).await.status, 200);
    std::fs::write(&path, "second.token.x").unwrap();
    assert_eq!(world.refresh(&client, &refresh).await.status, 200);
    assert_eq!(sent(), "second.token.x");
}

/// Conditional access: the token endpoint wants a second factor and says what to ask for. That is a new sign-in, and no failure.
#[tokio::test]
async fn a_provider_that_wants_more_is_asked_for_it_once() {
    const WANTS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let world = World::new().await;
    let client = world.register(HONEST).await;
    let refuses = |claims: &str| {
        let body = json!({ "error": "interaction_required", "suberror": "basic_action", "claims": claims });
        Faults { token: Some((400, body.to_string())), ..Faults::default() }
    };
    world.idp.misbehave(refuses(WANTS));
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&client, &[]), HONEST).await;
    let sent = browser.decide(&world.origin, &page.ticket(), "approve").await;
    let callback = browser.open(sent.location().unwrap().as_str(), &world.at("/callback")).await.location().unwrap();
    let again = browser.step(Method::GET, callback.as_str(), &[], String::new()).await;
    let asked = again.location().expect("the provider again");
    let said =
        |url: &url::Url, name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    assert!(asked.as_str().starts_with(&world.idp.issuer) && said(&asked, "claims").as_deref() == Some(WANTS), "{asked}");
    for fresh in ["state", "nonce", "code_challenge"] {
        assert_ne!(said(&asked, fresh), said(&sent.location().unwrap(), fresh), "{fresh}");
    }
    // The answer of before is used up; another browser has no part in the new one.
    let old = browser.clone().step(Method::GET, callback.as_str(), &[], String::new()).await;
    assert_ne!(old.status, 200, "{}", old.text());
    let mut other = Browser::default();
    let stolen = other.open(asked.as_str(), HONEST).await;
    assert!(stolen.location().is_none(), "{:?}", stolen.location());
    world.idp.misbehave(Faults::default());
    let back = browser.open(asked.as_str(), HONEST).await;
    assert!(back.sent("code").is_some(), "{} {}", back.status, back.text());
    // Once: a provider that is never content is told apart from a second factor.
    world.idp.misbehave(refuses(WANTS));
    let end = world.approve(&mut Browser::default(), &client).await;
    assert_eq!((end.sent("code"), end.sent("error").as_deref()), (None, Some("access_denied")));
    // What is no such wish is a refusal like others.
    for claims in ["", "[]", "x", &format!("{{\"a\":\"{}\"}}", "x".repeat(3000))] {
        world.idp.misbehave(refuses(claims));
        let before = world.idp.authorizations();
        let end = world.approve(&mut Browser::default(), &client).await;
        assert!(end.sent("code").is_none() && world.idp.authorizations() == before + 1, "{claims}: {}", end.text());
    }
}
