//! Tokens that a verifier must take, and many that it must not, signed with real keys (A-175, A-177, A-180, A-182, A-184; RS-07…19).

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::scope::{Scope, ScopeRule, ScopeRules, Scopes};
use deputy_protocol::{GrantId, Issuer, Reason, Timestamp};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::{NothingRevoked, Permit, Refused, Revocations, Verifier, jws, protect};

const NOW: u64 = 1_800_000_000;

#[derive(Default)]
struct Revoked(Mutex<HashSet<GrantId>>);

impl Revocations for Revoked {
    fn is_revoked(&self, grant: &GrantId) -> bool {
        self.0.lock().unwrap().contains(grant)
    }
}

struct Key {
    signing: EncodingKey,
    jwk: Jwk,
}

fn key(kid: &str) -> Key {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let signing = EncodingKey::from_ec_der(pkcs8.as_ref());
    let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    Key { signing, jwk }
}

struct Bench {
    ours: Key,
    keys: Arc<ArcSwap<JwkSet>>,
    revoked: Arc<Revoked>,
    verifier: Arc<Verifier>,
}

fn bench() -> Bench {
    let ours = key("k1");
    let keys = Arc::new(ArcSwap::from_pointee(JwkSet { keys: vec![ours.jwk.clone(), key("k2").jwk] }));
    let revoked = Arc::new(Revoked::default());
    let verifier = Verifier::new(
        Issuer::parse("https://h").unwrap(),
        ResourceUri::parse("https://h/mcp").unwrap(),
        Scopes::parse("mcp").unwrap(),
        Arc::clone(&keys),
        Arc::clone(&revoked) as Arc<dyn Revocations>,
    );
    Bench { ours, keys, revoked, verifier: Arc::new(verifier) }
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt", "kid": "k1" })
}

fn claims() -> Value {
    json!({
        "iss": "https://h", "sub": "s", "aud": "https://h/mcp", "client_id": "c", "iat": NOW, "exp": NOW + 300, "jti": "j",
        "scope": "mcp", "grant": "g_1", "email": "a@h",
    })
}

fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

/// Signs any header and payload, however odd.
fn sign_text(header: &str, payload: &str, key: &EncodingKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::ES256).unwrap();
    format!("{message}.{signature}")
}

fn sign(header: &Value, claims: &Value, key: &Key) -> String {
    sign_text(&header.to_string(), &claims.to_string(), &key.signing)
}

fn authorization(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(value).unwrap());
    headers
}

impl Bench {
    fn token(&self) -> String {
        sign(&header(), &claims(), &self.ours)
    }

    fn verify_at(&self, token: &str, now: u64) -> Result<Permit, Refused> {
        self.verifier.verify(&authorization(&format!("Bearer {token}")), Timestamp::from_seconds(now))
    }

    fn reason(&self, token: &str) -> Option<Reason> {
        self.verify_at(token, NOW).err().map(|refused| refused.reason())
    }
}

#[test]
fn a_good_token_gives_a_permit() {
    let bench = bench();
    let permit = bench.verify_at(&bench.token(), NOW).unwrap();
    assert_eq!((permit.subject(), permit.client().as_str(), permit.email(), permit.name()), ("s", "c", Some("a@h"), None));
    assert_eq!((permit.grant().as_str(), permit.resource().as_str()), ("g_1", "https://h/mcp"));
    assert_eq!((permit.scopes().to_string().as_str(), permit.expires().seconds()), ("mcp", NOW + 300));
    for typ in ["application/at+jwt", "AT+JWT"] {
        assert_eq!(bench.reason(&sign(&with(header(), "typ", typ), &claims(), &bench.ours)), None, "{typ}");
    }
}

#[test]
fn a_permit_says_who_acts_for_whom() {
    let bench = bench();
    let anonymous = bench.verify_at(&bench.token(), NOW).unwrap();
    assert_eq!((anonymous.client_name(), anonymous.idp()), (None, None));
    let mut told = claims();
    for (claim, value) in [("name", "N"), ("client_name", "C"), ("idp", "https://idp.test"), ("idp_sub", "i")] {
        told[claim] = value.into();
    }
    let permit = bench.verify_at(&sign(&header(), &told, &bench.ours), NOW).unwrap();
    assert_eq!((permit.name(), permit.client_name()), (Some("N"), Some("C")));
    let (idp, subject) = permit.idp().unwrap();
    assert_eq!((idp.as_str(), subject), ("https://idp.test", "i"));
}

#[test]
fn nothing_is_revoked_where_nobody_revokes() {
    let bench = bench();
    let scopes = Scopes::parse("mcp").unwrap();
    let (issuer, resource) = (Issuer::parse("https://h").unwrap(), ResourceUri::parse("https://h/mcp").unwrap());
    let verifier = Verifier::new(issuer, resource, scopes, Arc::clone(&bench.keys), Arc::new(NothingRevoked));
    let headers = authorization(&format!("Bearer {}", bench.token()));
    assert!(verifier.verify(&headers, Timestamp::from_seconds(NOW)).is_ok());
}

#[test]
fn a_182_rs_15_the_token_comes_in_one_header_only() {
    let bench = bench();
    let token = bench.token();
    let judge =
        |headers: &HeaderMap| bench.verifier.verify(headers, Timestamp::from_seconds(NOW)).err().map(|refused| refused.reason());
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(judge(&authorization(&format!("{scheme} {token}"))), None, "{scheme}");
    }
    assert_eq!(judge(&HeaderMap::new()), Some(Reason::TokenMissing));
    for other in ["Basic dTpw", "AWS4-HMAC-SHA256 a"] {
        assert_eq!(judge(&authorization(other)), Some(Reason::TokenMissing), "{other}");
    }
    for garbage in [
        "",
        "Bearer",
        "Bearer ",
        "Basic ",
        "Bearer a b",
        "Bearer a,Bearer b",
        "Bearer \"a\"",
        &token,
        "Bearer\ta",
        " ",
        " a",
        ": a",
        "Bearer =",
    ] {
        assert_eq!(judge(&authorization(garbage)), Some(Reason::AuthorizationMalformed), "{garbage:?}");
    }
    let mut twice = authorization(&format!("Bearer {token}"));
    twice.append("authorization", HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    assert_eq!(judge(&twice), Some(Reason::AuthorizationMalformed));
    let mut cookie = HeaderMap::new();
    cookie.insert("cookie", HeaderValue::from_str(&format!("access_token={token}")).unwrap());
    assert_eq!(judge(&cookie), Some(Reason::TokenMissing));
}

#[test]
fn a_177_a_180_tokens_for_others_do_not_count() {
    let bench = bench();
    for (claims, reason) in [
        (with(claims(), "aud", "https://h/other"), Reason::TokenAudience),
        (with(claims(), "aud", json!(["https://h/mcp", "https://h/other"])), Reason::TokenMalformed),
        (with(claims(), "aud", Value::Null), Reason::TokenMalformed),
        (with(claims(), "iss", "https://idp.test"), Reason::TokenIssuer),
        (with(claims(), "exp", NOW), Reason::TokenExpired),
        (with(claims(), "exp", "never"), Reason::TokenMalformed),
        (with(claims(), "nbf", NOW + 3600), Reason::TokenNotYetValid),
        (json!({ "iss": "https://h", "aud": "https://h/mcp", "exp": NOW + 300 }), Reason::TokenMalformed),
    ] {
        assert_eq!(bench.reason(&sign(&header(), &claims, &bench.ours)), Some(reason), "{claims}");
    }
    // The identity provider's tokens: other keys, even under our key id. Our own ID tokens: another type.
    assert_eq!(bench.reason(&sign(&header(), &claims(), &key("k1"))), Some(Reason::TokenSignature));
    for typ in [json!("JWT"), json!(""), Value::Null, json!("id+jwt"), json!("application/application/at+jwt")] {
        assert_eq!(
            bench.reason(&sign(&with(header(), "typ", typ.clone()), &claims(), &bench.ours)),
            Some(Reason::TokenMalformed),
            "{typ}"
        );
    }
}

#[test]
fn a_184_jose_attacks_fail() {
    let bench = bench();
    let public = serde_json::to_value(&bench.ours.jwk).unwrap();
    let signed = |header: &Value| bench.reason(&sign(header, &claims(), &bench.ours));
    for (header, reason) in [
        (with(header(), "kid", "k2"), Reason::TokenSignature),
        (with(header(), "kid", "k3"), Reason::TokenSignature),
        (with(header(), "alg", "none"), Reason::TokenMalformed),
        (with(header(), "alg", "es256"), Reason::TokenMalformed),
        (with(header(), "alg", "HS256"), Reason::TokenSignature),
        (with(header(), "alg", "RS256"), Reason::TokenSignature),
        (with(header(), "alg", "ES384"), Reason::TokenSignature),
        (with(header(), "crit", json!(["exp"])), Reason::TokenMalformed),
        (with(header(), "crit", Value::Null), Reason::TokenMalformed),
        (with(header(), "jwk", public), Reason::TokenMalformed),
        (with(header(), "jku", "https://evil.test/jwks"), Reason::TokenMalformed),
        (with(header(), "x5u", "https://evil.test/cert"), Reason::TokenMalformed),
    ] {
        assert_eq!(signed(&header), Some(reason), "{header}");
    }
    // Two candidates without a key id are as bad as none.
    let mut unnamed = header();
    unnamed.as_object_mut().unwrap().remove("kid");
    assert_eq!(signed(&unnamed), Some(Reason::TokenSignature));
    bench.keys.store(Arc::new(JwkSet { keys: vec![bench.ours.jwk.clone()] }));
    assert_eq!(signed(&unnamed), None);
}

#[test]
fn a_184_hmac_with_the_public_key_fails() {
    let bench = bench();
    let public = serde_json::to_string(&bench.ours.jwk).unwrap();
    for secret in [public.as_bytes(), b""] {
        let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
        (header.typ, header.kid) = (Some("at+jwt".to_owned()), Some("k1".to_owned()));
        let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(bench.reason(&token), Some(Reason::TokenSignature));
        // Even a caller that allows it gets no symmetric key out of a set.
        let keys = JwkSet {
            keys: vec![
                serde_json::from_value(json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret), "kid": "k1" })).unwrap(),
            ],
        };
        assert_eq!(jws::verify::<Value>(&token, &keys, &[Algorithm::HS256]).err(), Some(Reason::TokenSignature));
    }
}

#[test]
fn rs_17_altered_and_malformed_tokens_fail() {
    let bench = bench();
    let token = bench.token();
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let (head, payload) = rest.split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode(with(claims(), "sub", "admin").to_string());
    for altered in [
        format!("{head}.{other}.{signature}"),
        format!("{head}.{payload}."),
        format!("{head}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        format!("{head}.{payload}.{signature}A"),
        format!("{token}="),
        format!("{head}.{payload}.{}", signature.get(..80).unwrap()),
    ] {
        assert_eq!(bench.reason(&altered), Some(Reason::TokenSignature), "{altered}");
    }
    let long = sign(&header(), &with(claims(), "name", "n".repeat(20_000)), &bench.ours);
    let none = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#));
    for malformed in ["a", "a.b", "..", &format!("{token}.x"), &long, &none] {
        assert_eq!(bench.reason(malformed), Some(Reason::TokenMalformed), "{malformed}");
    }
    // Repeated members: another reader might see the other one.
    let repeated_claim = claims().to_string().replacen('{', r#"{"sub":"admin","#, 1);
    assert_eq!(
        bench.reason(&sign_text(&header().to_string(), &repeated_claim, &bench.ours.signing)),
        Some(Reason::TokenMalformed)
    );
    let repeated_header = header().to_string().replacen('{', r#"{"kid":"k2","#, 1);
    assert_eq!(
        bench.reason(&sign_text(&repeated_header, &claims().to_string(), &bench.ours.signing)),
        Some(Reason::TokenMalformed)
    );
}

#[test]
fn a_token_has_16_kib_and_not_a_byte_more() {
    let bench = bench();
    // Space before the header and after the claims counts like everything else.
    let padded = |length: usize| {
        (0..3).flat_map(|front| (11_900..12_300).map(move |back| (front, back))).find_map(|(front, back)| {
            let (header, claims) = (" ".repeat(front) + &header().to_string(), claims().to_string() + &" ".repeat(back));
            // Three parts without padding, two dots, a signature of 64 bytes.
            let total = (header.len() * 4).div_ceil(3) + (claims.len() * 4).div_ceil(3) + 2 + 86;
            (total == length).then(|| sign_text(&header, &claims, &bench.ours.signing))
        })
    };
    let (longest, longer) = (padded(16_384).unwrap(), padded(16_385).unwrap());
    assert_eq!((longest.len(), longer.len()), (16_384, 16_385));
    assert_eq!((bench.reason(&longest), bench.reason(&longer)), (None, Some(Reason::TokenMalformed)));
}

#[test]
fn keys_that_are_not_for_signatures_are_not_used() {
    let bench = bench();
    for change in [
        |jwk: &mut Jwk| jwk.common.public_key_use = Some(PublicKeyUse::Encryption),
        |jwk: &mut Jwk| jwk.common.key_algorithm = Some(Algorithm::ES384.into()),
        |jwk: &mut Jwk| jwk.common.key_operations = Some(Vec::new()),
        |jwk: &mut Jwk| jwk.common.key_id = None,
    ] {
        let mut jwk = bench.ours.jwk.clone();
        change(&mut jwk);
        bench.keys.store(Arc::new(JwkSet { keys: vec![jwk] }));
        assert_eq!(bench.reason(&bench.token()), Some(Reason::TokenSignature));
    }
    bench.keys.store(Arc::new(JwkSet { keys: vec![bench.ours.jwk.clone(), bench.ours.jwk.clone()] }));
    assert_eq!(bench.reason(&bench.token()), Some(Reason::TokenSignature));
}

#[test]
fn rs_07_a_remembered_token_is_still_judged_each_time() {
    let bench = bench();
    let token = bench.token();
    let (first, second) = (bench.verify_at(&token, NOW).unwrap(), bench.verify_at(&token, NOW + 299).unwrap());
    assert!(Arc::ptr_eq(&first.token, &second.token), "the signature was checked twice");
    assert_eq!(bench.verify_at(&token, NOW + 300).unwrap_err().reason(), Reason::TokenExpired);

    bench.revoked.0.lock().unwrap().insert(GrantId::from_stored("g_1".to_owned()));
    assert_eq!(bench.reason(&token), Some(Reason::TokenRevoked));
    assert_eq!(bench.verifier.still_good(&first, Timestamp::from_seconds(NOW)), Err(Reason::TokenRevoked));
    bench.revoked.0.lock().unwrap().clear();
    assert_eq!(bench.reason(&token), None);

    bench.keys.store(Arc::new(JwkSet { keys: vec![key("k9").jwk] }));
    assert_eq!(bench.reason(&token), Some(Reason::TokenSignature), "a key that was taken out still counts");
}

#[test]
fn rs_12_rs_13_rs_14_too_little_scope_names_all_of_it() {
    let bench = bench();
    let permit = bench.verify_at(&bench.token(), NOW).unwrap();
    assert!(bench.verifier.require(&permit, &Scopes::parse("mcp").unwrap()).is_ok());
    let refused = bench.verifier.require(&permit, &Scopes::parse("write admin").unwrap()).unwrap_err();
    let response = refused.response();
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!(response.status(), 403);
    assert!(challenge.contains(r#"scope="admin mcp write", error="insufficient_scope""#), "{challenge}");
}

#[test]
fn rs_13_a_scope_that_contains_another_suffices() {
    let rule = |name: &str, implies: &str| ScopeRule {
        implies: Scopes::parse(implies).unwrap(),
        ..ScopeRule::new(Scope::parse(name).unwrap())
    };
    let rules = ScopeRules::new(vec![rule("files:admin", "files:write"), rule("files:write", "files:read")]).unwrap();
    let (plain, token) = (bench(), |bench: &Bench, scope: &str| sign(&header(), &with(claims(), "scope", scope), &bench.ours));
    let rich = bench();
    let knowing = Arc::into_inner(rich.verifier).unwrap().with_hierarchy(rules.hierarchy());
    let rich = Bench { verifier: Arc::new(knowing), ..rich };
    let suffices = |bench: &Bench, has: &str, needs: &str| {
        let permit = bench.verify_at(&token(bench, has), NOW).unwrap();
        assert_eq!(permit.scopes().to_string(), has, "what was granted is still told");
        bench.verifier.require(&permit, &Scopes::parse(needs).unwrap()).is_ok()
    };
    for (has, needs) in [("files:write", "files:read"), ("files:admin", "files:read"), ("files:admin", "files:write files:read")]
    {
        assert!(suffices(&rich, has, needs) && !suffices(&plain, has, needs), "{has} {needs}");
    }
    for (has, needs) in [("files:read", "files:write"), ("files:write", "files:admin"), ("files:write", "files:read other")] {
        assert!(!suffices(&rich, has, needs), "{has} {needs}");
    }
}

#[test]
fn rs_10_rs_11_refusals_are_answers() {
    let bench = bench();
    let expired = bench.verify_at(&bench.token(), NOW + 300).unwrap_err().response();
    assert_eq!(bench.verify_at(&bench.token(), NOW + 300).unwrap_err().to_string(), Reason::TokenExpired.message());
    assert_eq!((expired.status().as_u16(), &expired.headers()["cache-control"]), (401, &HeaderValue::from_static("no-store")));
    assert!(expired.headers()["www-authenticate"].to_str().unwrap().contains(r#"error="invalid_token""#));
    let bare = bench.verifier.verify(&HeaderMap::new(), Timestamp::from_seconds(NOW)).unwrap_err().response();
    let text = r#"Bearer resource_metadata="https://h/.well-known/oauth-protected-resource/mcp", scope="mcp""#;
    assert_eq!(bare.headers()["www-authenticate"], text);
}

#[tokio::test]
async fn a_175_behind_the_layer_only_permitted_requests_arrive() {
    let bench = bench();
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&arrived);
    let inner = service_fn(move |request: Request<Empty<Bytes>>| {
        let subject = request.extensions().get::<Permit>().map(|permit| permit.subject().to_owned());
        log.lock().unwrap().push(subject);
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let service = protect(Arc::clone(&bench.verifier), Arc::new(|| Timestamp::from_seconds(NOW))).layer(inner);
    let refused = service.clone().oneshot(Request::new(Empty::new())).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(!refused.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert!(arrived.lock().unwrap().is_empty());
    let request = Request::builder().header("authorization", format!("Bearer {}", bench.token())).body(Empty::new()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(*arrived.lock().unwrap(), [Some("s".to_owned())]);
}
