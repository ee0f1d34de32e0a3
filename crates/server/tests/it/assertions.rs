//! Clients that prove themselves by a key of their own: `private_key_jwt` (AS-33, AS-78, A-169).

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_protocol::client::assertion::ASSERTION_TYPE;
use deputy_protocol::secret::ClientSecret;
use deputy_server::{ClientAuth, ClientConfig, ClientKeys};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::http::{Answer, form, send};
use crate::support::{Client, HONEST, VERIFIER, World};

const ID: &str = "key-tool";

/// A client's key.
pub struct Key {
    algorithm: Algorithm,
    kid: &'static str,
    private: EncodingKey,
}

impl Key {
    pub fn rsa(algorithm: Algorithm, kid: &'static str) -> Self {
        let der = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        Self { algorithm, kid, private: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap() }
    }

    fn elliptic(kid: &'static str) -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self { algorithm: Algorithm::ES256, kid, private: EncodingKey::from_ec_der(pkcs8.as_ref()) }
    }

    fn edwards(kid: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        Self { algorithm: Algorithm::EdDSA, kid, private: EncodingKey::from_ed_der(pkcs8.as_ref()) }
    }

    /// Its public half, as a client publishes it.
    pub fn public(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.private, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.algorithm, Some(self.kid), claims)
    }

    fn sign_as(&self, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

fn keys(keys: &[&Key]) -> ClientAuth {
    let set = json!({ "keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>() });
    ClientAuth::Keys(ClientKeys::parse(set.to_string().as_bytes()).unwrap())
}

fn client(id: &str) -> Client {
    Client { id: id.to_owned(), secret: None, redirect: HONEST.to_owned() }
}

async fn world(auths: Vec<(&str, ClientAuth)>) -> World {
    let configured = auths.into_iter().map(|(id, auth)| ClientConfig::new(id, "Key tool", &[HONEST.to_owned()], auth).unwrap());
    let configured = configured.collect();
    World::with(|config| config.clients = configured).await
}

/// Good claims, with a name of their own.
fn claims(world: &World, jti: &str) -> Value {
    json!({ "iss": ID, "sub": ID, "aud": world.origin, "exp": world.clock.seconds() + 60, "iat": world.clock.seconds(), "jti": jti })
}

async fn post(world: &World, path: &str, headers: &[(&str, &str)], pairs: &[(&str, &str)]) -> Answer {
    let headers = [&[("content-type", "application/x-www-form-urlencoded")], headers].concat();
    send(http::Method::POST, &world.at(path), &headers, form(pairs)).await
}

/// A token request with an assertion, whose only question is who is asking.
async fn ask(world: &World, assertion: &str, extra: &[(&str, &str)]) -> Answer {
    let pairs = [
        &[
            ("grant_type", "authorization_code"),
            ("code", "dpc_x"),
            ("code_verifier", VERIFIER),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ],
        extra,
    ]
    .concat();
    post(world, "/token", &[], &pairs).await
}

async fn redeem(world: &World, code: &str, assertion: &str) -> Answer {
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("code_verifier", VERIFIER),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    post(world, "/token", &[], &pairs).await
}

async fn refresh(world: &World, token: &str, assertion: &str) -> Answer {
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    post(world, "/token", &[], &pairs).await
}

#[track_caller]
fn is(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (status, Some(error)), "{}", answer.text());
}

#[track_caller]
fn known(answer: &Answer) {
    is(answer, 400, "invalid_grant"); // got past authentication
}

#[track_caller]
fn refused(answer: &Answer) {
    is(answer, 401, "invalid_client");
}

#[tokio::test]
async fn as_33_every_published_algorithm_is_taken_and_a_named_key_is_the_one() {
    let (rsa, probabilistic) = (Key::rsa(Algorithm::RS256, "rsa"), Key::rsa(Algorithm::PS256, "pss"));
    let (elliptic, edwards) = (Key::elliptic("ec"), Key::edwards("ed"));
    let next = Key::elliptic("next");
    let all = [&rsa, &probabilistic, &elliptic, &edwards, &next];
    let world = world(vec![(ID, keys(&all))]).await;
    let good = claims(&world, "1");
    for key in all {
        known(&ask(&world, &key.sign(&good), &[]).await);
        known(&ask(&world, &key.sign(&good), &[("client_id", ID)]).await);
        // Without a name each key that fits is tried; with another one's name, none is.
        known(&ask(&world, &key.sign_as(key.algorithm, None, &good), &[]).await);
        refused(&ask(&world, &key.sign_as(key.algorithm, Some("other"), &good), &[]).await);
    }
    refused(&ask(&world, &next.sign_as(Algorithm::ES256, Some("ec"), &good), &[]).await);
    // Declared for one algorithm, used with another.
    refused(&ask(&world, &rsa.sign_as(Algorithm::PS256, Some("rsa"), &good), &[]).await);
    refused(&ask(&world, &rsa.sign_as(Algorithm::RS512, Some("rsa"), &good), &[]).await);
}

#[tokio::test]
async fn a_169_a_wrong_assertion_is_nobodys() {
    let (key, foreign) = (Key::elliptic("ec"), Key::elliptic("ec"));
    let world = world(vec![(ID, keys(&[&key])), ("other", keys(&[&foreign])), ("public", ClientAuth::Public)]).await;
    known(&ask(&world, &key.sign(&claims(&world, "1")), &[]).await);
    known(
        &ask(
            &world,
            &key.sign(
                &json!({ "aud": [world.at("/token")], "iss": ID, "sub": ID, "exp": world.clock.seconds() + 599, "jti": "1" }),
            ),
            &[],
        )
        .await,
    );
    let (other, now) = (json!("other"), world.clock.seconds());
    for (claim, value) in [
        ("aud", json!("https://evil.test")),
        ("aud", json!(world.at("/mcp"))),
        ("aud", json!([world.origin, "https://evil.test"])),
        ("iss", other.clone()),
        ("sub", other.clone()),
        ("exp", json!(now + 3600)),
        ("exp", json!(now - 61)),
        ("exp", Value::Null),
        ("nbf", json!(now + 120)),
        ("iat", json!(now + 120)),
        ("jti", Value::Null),
        ("jti", json!("")),
        ("jti", json!("x".repeat(129))),
    ] {
        let mut bad = claims(&world, "1");
        bad[claim] = value;
        refused(&ask(&world, &key.sign(&bad), &[]).await);
    }
    let good = claims(&world, "1");
    refused(&ask(&world, &foreign.sign(&good), &[]).await);
    // The other client's own good assertion is not this client's.
    let mut others = good.clone();
    (others["iss"], others["sub"]) = (other.clone(), other);
    known(&ask(&world, &foreign.sign(&others), &[]).await);
    refused(&ask(&world, &foreign.sign(&others), &[("client_id", ID)]).await);
    for id in ["public", "nobody"] {
        let mut about = good.clone();
        (about["iss"], about["sub"]) = (json!(id), json!(id));
        refused(&ask(&world, &key.sign(&about), &[]).await);
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let secret = key.public()["x"].as_str().unwrap().to_owned();
    let symmetric =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
    let unsigned = format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&good));
    let bringing = format!("{}.{}.AA", encode(&json!({ "alg": "ES256", "jwk": foreign.public() })), encode(&good));
    for token in [symmetric, unsigned, bringing, String::new(), "x".repeat(9000), format!("{}x", key.sign(&good))] {
        refused(&ask(&world, &token, &[]).await);
    }
}

#[tokio::test]
async fn a_088_as_78_a_client_with_keys_has_no_other_way_and_no_second_one() {
    let key = Key::elliptic("ec");
    let digest = ClientSecret::from_text("a-long-secret".to_owned()).digest();
    let world = world(vec![(ID, keys(&[&key])), ("secret", ClientAuth::Secret { digest, by: None })]).await;
    let assertion = key.sign(&claims(&world, "1"));
    let rest = [("grant_type", "authorization_code"), ("code", "dpc_x"), ("code_verifier", VERIFIER)];
    let basic = |id: &str| format!("Basic {}", STANDARD.encode(format!("{id}:a-long-secret")));
    refused(&post(&world, "/token", &[], &[&rest[..], &[("client_id", ID)]].concat()).await);
    refused(&post(&world, "/token", &[], &[&rest[..], &[("client_id", ID), ("client_secret", "a-long-secret")]].concat()).await);
    refused(&post(&world, "/token", &[("authorization", &basic(ID))], &rest).await);
    // Half an assertion.
    refused(&post(&world, "/token", &[], &[&rest[..], &[("client_id", ID), ("client_assertion", &assertion)]].concat()).await);
    refused(
        &post(&world, "/token", &[], &[&rest[..], &[("client_id", ID), ("client_assertion_type", ASSERTION_TYPE)]].concat())
            .await,
    );
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    let typed = [("client_assertion", assertion.as_str()), ("client_assertion_type", saml)];
    refused(&post(&world, "/token", &[], &[&rest[..], &typed].concat()).await);
    // Two at once.
    is(&ask(&world, &assertion, &[("client_secret", "a-long-secret")]).await, 400, "invalid_request");
    let both = [&rest[..], &[("client_assertion", assertion.as_str()), ("client_assertion_type", ASSERTION_TYPE)]].concat();
    is(&post(&world, "/token", &[("authorization", &basic("secret"))], &both).await, 400, "invalid_request");
    is(&ask(&world, &assertion, &[("client_assertion", &assertion)]).await, 400, "invalid_request");
    known(&ask(&world, &assertion, &[]).await);
    // Nobody registers like this: there is nobody who vouches for the keys.
    let metadata =
        json!({ "redirect_uris": [HONEST], "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.public()] } });
    is(&crate::support::http::post_json(&world.at("/register"), &metadata).await, 400, "invalid_client_metadata");
}

#[tokio::test]
async fn a_169_an_assertion_counts_once_and_a_lost_answer_costs_nothing() {
    let key = Key::elliptic("ec");
    let world = world(vec![(ID, keys(&[&key]))]).await;
    let client = client(ID);
    let sign = |jti: &str| key.sign(&claims(&world, jti));
    let (first, second) = (world.code(&client).await, world.code(&client).await);
    let one = sign("1");
    // What does not get as far as a code uses nothing up, however often it is sent.
    known(&ask(&world, &one, &[]).await);
    let tokens = redeem(&world, &first, &one).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    refused(&redeem(&world, &second, &one).await);
    // Another assertion of the same name is the same one.
    let mut renamed = claims(&world, "1");
    renamed["exp"] = json!(world.clock.seconds() + 300);
    refused(&redeem(&world, &second, &key.sign(&renamed)).await);
    let others = redeem(&world, &second, &sign("2")).await;
    assert_eq!(others.status, 200, "the code was not used up: {}", others.text());

    let token = tokens.json()["refresh_token"].as_str().unwrap().to_owned();
    refused(&refresh(&world, &token, &one).await);
    let three = sign("3");
    let next = refresh(&world, &token, &three).await;
    assert_eq!(next.status, 200, "{}", next.text());
    // The answer was lost: the same request, or one with a new assertion, gives the same successor.
    for again in [&three, &sign("4")] {
        let same = refresh(&world, &token, again).await;
        assert_eq!(
            (same.status.as_u16(), &same.json()["refresh_token"]),
            (200, &next.json()["refresh_token"]),
            "{}",
            same.text()
        );
    }
    // Whoever caught that request has nothing in the next token.
    let next = next.json()["refresh_token"].as_str().unwrap().to_owned();
    refused(&refresh(&world, &next, &three).await);
    assert_eq!(refresh(&world, &next, &sign("5")).await.status, 200);

    let revoke = async |assertion: &str| {
        let proof = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
        post(&world, "/revoke", &[], &[&[("token", next.as_str())], &proof[..]].concat()).await
    };
    refused(&revoke(&Key::elliptic("ec").sign(&claims(&world, "6"))).await);
    assert_eq!(revoke(&sign("6")).await.status, 200);
    is(&refresh(&world, &next, &sign("7")).await, 400, "invalid_grant");
}

/// A stranger has no code: whatever assertions are sent, nothing is written.
#[tokio::test]
async fn decision_1_assertions_of_strangers_write_nothing() {
    let key = Key::elliptic("ec");
    let world = world(vec![(ID, keys(&[&key]))]).await;
    let before = world.rows().await;
    for jti in 0..20 {
        known(&ask(&world, &key.sign(&claims(&world, &jti.to_string())), &[]).await);
        refused(&ask(&world, &Key::elliptic("ec").sign(&claims(&world, &jti.to_string())), &[]).await);
    }
    assert_eq!(world.rows().await, before);
}
