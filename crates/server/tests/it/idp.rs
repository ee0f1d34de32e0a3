//! The provider's side alone, against providers that fail in every way: OC-02…07, OC-12, A-070, A-119…A-133.

mod renewal;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_fetch::{Client as FetchClient, Limits};
use deputy_protocol::claims::Subject;
use deputy_protocol::pkce::Verifier;
use deputy_protocol::secret::{ClientSecret, IdpState, Nonce};
use deputy_protocol::transaction::IdpRequest;
use deputy_protocol::{IdpName, Issuer, Reason};
use deputy_server::IdpConfig;
use deputy_server::clock::Clock;
use deputy_server::config::Credential;
use deputy_server::idp::{IdpFailure, Provider, SignIn};
use deputy_server::random::bytes;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::support::clock::TestClock;
use crate::support::http::{get, parameter};
use crate::support::idp::{CLIENT_ID, CLIENT_SECRET, Edit, Faults, Idp};
use crate::support::scripted::{Reply, Scripted};

const REDIRECT: &str = "https://deputy.test/callback";
const DISCOVERY: &str = "/.well-known/openid-configuration";

fn config(issuer: &str) -> IdpConfig {
    let secret = Credential::Secret(ClientSecret::from_text(CLIENT_SECRET.to_owned()));
    let name = IdpName::parse("idp").unwrap();
    let openid = IdpConfig::openid(name, Issuer::parse(issuer).unwrap(), CLIENT_ID.to_owned(), secret);
    IdpConfig { scopes: vec!["openid".to_owned(), "email".to_owned()], ..openid }
}

fn provider(config: IdpConfig, clock: &Arc<TestClock>, limits: Limits) -> Provider {
    let fetch = FetchClient::with_limits(limits).unwrap();
    Provider::new(config, REDIRECT.to_owned(), fetch, Arc::clone(clock) as Arc<dyn Clock>)
}

/// Limits that a test can wait for.
const SHORT: Limits = Limits { time: Duration::from_millis(300), body: 64 * 1024 };

fn request(provider: &Provider) -> IdpRequest {
    IdpRequest {
        state: IdpState::new(&bytes().unwrap()),
        nonce: Nonce::new(&bytes().unwrap()),
        verifier: Verifier::new(&bytes().unwrap()),
        idp: provider.name().clone(),
    }
}

/// A provider that signs in, its clock, and ourselves towards it.
async fn pair(edit: impl FnOnce(&mut IdpConfig)) -> (Arc<Idp>, Arc<TestClock>, Provider) {
    let clock = Arc::new(TestClock::new());
    let idp = Idp::start(Arc::clone(&clock)).await;
    let mut config = config(&idp.issuer);
    edit(&mut config);
    let provider = provider(config, &clock, Limits::default());
    (idp, clock, provider)
}

async fn sign_in(provider: &Provider, clock: &TestClock) -> Result<SignIn, IdpFailure> {
    let request = request(provider);
    let answer = get(&provider.authorization_url(&request, &[]).await?).await;
    let code = answer.sent("code").unwrap();
    provider.redeem(&code, &request.verifier, &request.nonce, clock.now()).await
}

fn discovery(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Faults {
    Faults { discovery: Some(Arc::new(edit)), ..Faults::default() }
}

/// Signs the claims again with another header, and with a key that nobody published.
fn resigned(header: Value) -> Edit<String> {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    Arc::new(move |token: &mut String| {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), token.split('.').nth(1).unwrap());
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        *token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    })
}

#[tokio::test]
async fn a_070_oc_12_the_provider_is_asked_with_exactly_our_parameters() {
    let (_idp, _, provider) = pair(|_| ()).await;
    let request = request(&provider);
    let url = url::Url::parse(&provider.authorization_url(&request, &[]).await.unwrap()).unwrap();
    let names: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(
        names,
        ["response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"]
    );
    assert_eq!(parameter(&url, "scope").as_deref(), Some("openid email"));
    assert_eq!(parameter(&url, "redirect_uri").as_deref(), Some(REDIRECT));
}

#[tokio::test]
async fn offline_access_is_asked_for_where_the_provider_knows_it_and_the_operator_listed_nothing_else() {
    let knows: Edit<Value> = Arc::new(|document: &mut Value| document["scopes_supported"] = json!(["openid", "offline_access"]));
    let asks = async |offline_access: bool| {
        let clock = Arc::new(TestClock::new());
        let idp = Idp::start(Arc::clone(&clock)).await;
        idp.misbehave(Faults { discovery: Some(Arc::clone(&knows)), ..Faults::default() });
        let provider = provider(IdpConfig { offline_access, ..config(&idp.issuer) }, &clock, Limits::default());
        let url = url::Url::parse(&provider.authorization_url(&request(&provider), &[]).await.unwrap()).unwrap();
        assert_eq!(parameter(&url, "scope"), Some(provider.scopes().join(" ")), "what the consent page says");
        provider.scopes().join(" ")
    };
    assert_eq!(asks(true).await, "openid email offline_access");
    assert_eq!(asks(false).await, "openid email");
}

#[tokio::test]
async fn a_121_a_token_signed_by_a_stranger_is_refused() {
    let (idp, clock, provider) = pair(|_| ()).await;
    for header in [json!({"alg": "ES256", "kid": "first"}), json!({"alg": "ES256"}), json!({"alg": "ES256", "kid": "unknown"})] {
        idp.misbehave(Faults { id_token: Some(resigned(header.clone())), ..Faults::default() });
        let failure = sign_in(&provider, &clock).await.err().unwrap();
        assert_eq!((failure.reason, failure.outage), (Reason::IdTokenSignature, false), "{header}");
    }
}

#[tokio::test]
async fn a_121_a_header_may_name_the_algorithm_and_the_key_and_nothing_else() {
    let (idp, clock, provider) = pair(|_| ()).await;
    let key = idp.public_key();
    for (header, good) in [
        (json!({"alg": "ES256", "kid": "first", "typ": "JWT"}), true),
        (json!({"alg": "ES256"}), true),
        (json!({"alg": "ES256", "kid": "second"}), false),
        (json!({"alg": "ES384", "kid": "first"}), false),
        (json!({"alg": "RS256", "kid": "first"}), false),
        (json!({"alg": "HS256", "kid": "first"}), false),
        (json!({"alg": "none", "kid": "first"}), false),
        (json!({"alg": "ES256", "kid": "first", "jwk": key}), false),
        (json!({"alg": "ES256", "kid": "first", "jku": "https://evil.test/keys"}), false),
        (json!({"alg": "ES256", "kid": "first", "crit": ["exp"]}), false),
    ] {
        let (signer, wanted) = (Arc::clone(&idp), header.clone());
        let edit: Edit<String> = Arc::new(move |token: &mut String| *token = signer.resign(&header, token));
        idp.misbehave(Faults { id_token: Some(edit), ..Faults::default() });
        let reason = sign_in(&provider, &clock).await.err().map(|failure| failure.reason);
        assert_eq!(reason, (!good).then_some(Reason::IdTokenSignature), "{wanted}");
    }
}

#[tokio::test]
async fn a_119_oidc_core_3_1_3_7_audiences_and_leeway() {
    let (idp, clock, provider) = pair(|_| ()).await;
    let now = clock.seconds();
    for (edit, reason) in [
        (json!({"aud": [CLIENT_ID, "other"]}), Some(Reason::IdTokenAudience)),
        (json!({"aud": [CLIENT_ID, "other"], "azp": "other"}), Some(Reason::IdTokenAudience)),
        (json!({"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID}), None),
        (json!({"aud": [CLIENT_ID]}), None),
        (json!({"exp": now - 59, "iat": now + 59, "nbf": now + 59}), None),
        (json!({"exp": now - 60}), Some(Reason::IdTokenExpired)),
        (json!({"sub": 7}), Some(Reason::IdTokenSignature)),
    ] {
        let wanted = edit.clone();
        let claims: Edit<Value> =
            Arc::new(move |claims: &mut Value| claims.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone()));
        idp.misbehave(Faults { claims: Some(claims), ..Faults::default() });
        assert_eq!(sign_in(&provider, &clock).await.err().map(|failure| failure.reason), reason, "{wanted}");
    }
}

#[tokio::test]
async fn a_123_keys_that_cannot_be_renewed_serve_for_a_day_and_then_fail_closed() {
    let (idp, clock, provider) = pair(|_| ()).await;
    assert!(sign_in(&provider, &clock).await.is_ok());
    idp.misbehave(discovery(|document| document["jwks_uri"] = json!("http://127.0.0.1:1/keys")));
    clock.advance(3601);
    assert!(sign_in(&provider, &clock).await.is_ok(), "the last good keys serve");
    clock.advance(24 * 3600);
    let failure = sign_in(&provider, &clock).await.err().unwrap();
    assert_eq!((failure.reason, failure.outage), (Reason::IdpUnavailable, true));
    idp.misbehave(Faults::default());
    clock.advance(3601);
    assert!(sign_in(&provider, &clock).await.is_ok(), "I12: it comes back by itself");
}

#[tokio::test]
async fn a_125_metadata_that_turns_bad_does_not_replace_the_last_good() {
    let (idp, clock, provider) = pair(|_| ()).await;
    assert_eq!(provider.discover().await, Ok(()));
    for (name, value) in
        [("issuer", json!("https://evil.test")), ("token_endpoint", json!("http://evil.test/token")), ("jwks_uri", Value::Null)]
    {
        idp.misbehave(discovery(move |document| document[name] = value.clone()));
        clock.advance(3601);
        assert!(sign_in(&provider, &clock).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_125_a_message_of_the_provider_is_cut_before_it_is_logged() {
    let (idp, _, provider) = pair(|_| ()).await;
    idp.misbehave(discovery(|document| document["issuer"] = json!("https://evil.test/\n".repeat(1000))));
    let message = provider.discover().await.unwrap_err();
    assert!(message.len() < 1000 && !message.contains('\n'), "{message}");
}

#[tokio::test]
async fn a_127_oc_05_a_promise_that_we_learn_of_late_still_counts() {
    let scripted = Scripted::start().await;
    let clock = Arc::new(TestClock::new());
    let mut document = scripted.document();
    document["authorization_response_iss_parameter_supported"] = json!(true);
    scripted.reply(DISCOVERY, Reply::Status(503));
    let provider = provider(config(&scripted.origin), &clock, Limits::default());
    assert_eq!(provider.discover().await, Ok(()), "a provider that is away is no reason not to start");
    assert!(provider.check_issuer(None).await.is_err_and(|failure| failure.outage));
    assert!(
        provider.check_issuer(Some("https://evil.test")).await.is_err_and(|failure| failure.reason == Reason::IdpIssuerMismatch)
    );
    scripted.reply(DISCOVERY, Reply::Json(document));
    assert!(provider.check_issuer(None).await.is_err_and(|failure| failure.reason == Reason::IdpIssuerMismatch));
    assert!(provider.check_issuer(Some(&scripted.origin)).await.is_ok());
    assert_eq!(scripted.requests("/token").len(), 0);
}

#[tokio::test]
async fn a_132_silent_slow_and_huge_providers_end_at_a_limit() {
    for path in [DISCOVERY, "/token", "/keys"] {
        for reply in [Reply::Silent, Reply::Stalled, Reply::Huge] {
            let scripted = Scripted::start().await;
            scripted.reply(path, reply.clone());
            let clock = Arc::new(TestClock::new());
            let provider = provider(config(&scripted.origin), &clock, SHORT);
            let request = request(&provider);
            let failure = provider.redeem("code", &request.verifier, &request.nonce, clock.now()).await.err().unwrap();
            assert_eq!((failure.reason, failure.outage), (Reason::IdpUnavailable, true), "{path} {reply:?}");
            assert!(!failure.detail.contains(CLIENT_SECRET), "{}", failure.detail);
        }
    }
}

/// Strangers can bring us to send a code to the provider; a provider that is slow must not hold all our sockets for it.
#[tokio::test]
async fn i10_so_many_sign_ins_are_under_way_at_the_provider_and_no_more() {
    let scripted = Scripted::start().await;
    scripted.reply("/token", Reply::Silent);
    let clock = Arc::new(TestClock::new());
    let provider = Arc::new(provider(config(&scripted.origin), &clock, Limits::default()));
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (provider, now) = (Arc::clone(&provider), clock.now());
        crowd.spawn(async move {
            let request = request(&provider);
            provider.redeem("code", &request.verifier, &request.nonce, now).await.err().unwrap()
        });
    }
    for _ in 0..68 {
        let failure = crowd.join_next().await.unwrap().unwrap();
        assert!(failure.outage && failure.detail.contains("too many"), "{}", failure.detail);
    }
    assert_eq!(scripted.requests("/token").len(), 32);
}

#[tokio::test]
async fn a_132_a_crowd_waits_for_one_answer_not_for_one_each() {
    let scripted = Scripted::start().await;
    scripted.reply(DISCOVERY, Reply::Silent);
    let clock = Arc::new(TestClock::new());
    let provider = Arc::new(provider(config(&scripted.origin), &clock, SHORT));
    let crowd: Vec<_> = (0..30)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move {
                provider.authorization_url(&request(&provider), &[]).await.is_err_and(|failure| failure.outage)
            })
        })
        .collect();
    for one in crowd {
        assert!(one.await.unwrap());
    }
    assert_eq!(scripted.requests(DISCOVERY).len(), 1);
}

#[tokio::test]
async fn a_132_while_one_renews_the_others_use_the_last_good() {
    let scripted = Scripted::start().await;
    let clock = Arc::new(TestClock::new());
    let provider = Arc::new(provider(config(&scripted.origin), &clock, Limits::default()));
    assert_eq!(provider.discover().await, Ok(()));
    clock.advance(3601);
    scripted.reply(DISCOVERY, Reply::Silent);
    let renewing = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.authorization_url(&request(&provider), &[]).await.is_ok() }
    });
    scripted.wait_for(DISCOVERY, 2).await;
    assert!(provider.authorization_url(&request(&provider), &[]).await.is_ok());
    assert!(!renewing.is_finished(), "nobody waited");
    renewing.abort();
}

#[tokio::test]
async fn a_133_a_redirect_on_the_back_channel_is_not_followed() {
    for (path, status) in [("/token", 307), ("/token", 308), ("/token", 302), ("/keys", 302), (DISCOVERY, 301)] {
        let scripted = Scripted::start().await;
        scripted.reply(path, Reply::Redirect(status, format!("{}/elsewhere", scripted.origin)));
        let clock = Arc::new(TestClock::new());
        let provider = provider(config(&scripted.origin), &clock, Limits::default());
        let request = request(&provider);
        let failure = provider.redeem("code", &request.verifier, &request.nonce, clock.now()).await.err().unwrap();
        assert!(!failure.outage, "{path} {failure:?}");
        assert_eq!(scripted.requests("/elsewhere").len(), 0, "{path} {status}");
    }
}

#[tokio::test]
async fn oc_02_the_token_request_carries_the_secret_as_the_provider_wants_it() {
    let special = "s:e c/r+e%t=\u{e9}";
    for (methods, secret, basic) in [
        (Value::Null, true, true),
        (json!(["client_secret_post", "client_secret_basic"]), true, true),
        (json!(["client_secret_post"]), true, false),
        (json!(["none"]), false, false),
    ] {
        let scripted = Scripted::start().await;
        let mut document = scripted.document();
        document["token_endpoint_auth_methods_supported"] = methods.clone();
        scripted.reply(DISCOVERY, Reply::Json(document));
        let clock = Arc::new(TestClock::new());
        let mut config = config(&scripted.origin);
        config.credential =
            if secret { Credential::Secret(ClientSecret::from_text(special.to_owned())) } else { Credential::None };
        let provider = provider(config, &clock, Limits::default());
        let request = request(&provider);
        let _ = provider.redeem("the code", &request.verifier, &request.nonce, clock.now()).await;
        let sent = scripted.requests("/token");
        let [sent] = sent.as_slice() else { panic!("{} requests", sent.len()) };
        let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:s%3Ae+c%2Fr%2Be%25t%3D%C3%A9")));
        assert_eq!(sent.authorization.as_deref(), basic.then_some(expected.as_str()), "{methods}");
        assert_eq!(sent.form.get("client_secret").map(String::as_str), (secret && !basic).then_some(special), "{methods}");
        assert_eq!(sent.form.contains_key("client_id"), !basic, "{methods}: one way to authenticate at a time");
        assert_eq!(sent.form["code_verifier"], request.verifier.expose());
        assert_eq!(
            (sent.form["code"].as_str(), sent.form["redirect_uri"].as_str(), sent.form["grant_type"].as_str()),
            ("the code", REDIRECT, "authorization_code")
        );
        assert!(!sent.form.contains_key("resource"), "OC-12");
    }
}

#[tokio::test]
async fn userinfo_is_asked_with_the_token_and_must_be_about_the_same_person() {
    let scripted = Scripted::start().await;
    let (idp, clock, provider) = pair(|config| config.userinfo = true).await;
    assert!(provider.discover().await.is_err(), "there is no such endpoint");
    let endpoint = format!("{}/userinfo", scripted.origin);
    let claims: Edit<Value> = Arc::new(|claims: &mut Value| claims["email"] = Value::Null);
    idp.misbehave(Faults { claims: Some(claims), ..discovery(move |document| document["userinfo_endpoint"] = json!(endpoint)) });
    clock.advance(3601);
    for (reply, reason) in [
        (Reply::Json(json!({"sub": "alice", "email": "alice@corp.test", "email_verified": true, "groups": ["MCP Users"]})), None),
        (Reply::Json(json!({"sub": "mallory", "email": "m@corp.test"})), Some(Reason::UserinfoMismatch)),
        (Reply::Json(json!({"email": "m@corp.test"})), Some(Reason::IdpAnswerMalformed)),
        (Reply::Status(401), Some(Reason::IdpAnswerMalformed)),
        (Reply::Status(503), Some(Reason::IdpUnavailable)),
        (Reply::Huge, Some(Reason::IdpUnavailable)),
    ] {
        scripted.reply("/userinfo", reply.clone());
        let signed_in = sign_in(&provider, &clock).await;
        if let Ok(SignIn { identity, .. }) = &signed_in {
            assert_eq!(
                (identity.verified_email(), identity.memberships().groups.listed()),
                (Some("alice@corp.test"), ["MCP Users".to_owned()].as_slice())
            );
        }
        assert_eq!(signed_in.err().map(|failure| failure.reason), reason, "{reply:?}");
    }
    assert!(scripted.requests("/userinfo").iter().all(|sent| sent.authorization.as_deref() == Some("Bearer IDP-ACCESS-CANARY")));
}

/// The person who signs in there.
fn alice(idp: &Idp) -> Subject {
    serde_json::from_value(json!({ "idp": idp.issuer, "sub": "alice" })).unwrap()
}

/// Somebody about whom the provider will say nothing.
fn somebody(sub: &str) -> Subject {
    serde_json::from_value(json!({ "idp": "https://idp.test", "sub": sub })).unwrap()
}

/// A private key in PEM, and its public half.
pub fn rsa() -> (String, Jwk) {
    let der = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    (pem, Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap())
}

/// For whom an assertion is.
pub fn audience(claims: &Value) -> Vec<&str> {
    let one = claims["aud"].as_str().map(|one| vec![one]);
    one.unwrap_or_else(|| claims["aud"].as_array().unwrap().iter().filter_map(Value::as_str).collect())
}
