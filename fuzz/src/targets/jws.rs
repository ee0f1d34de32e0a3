//! Access tokens: raw text, a genuine token altered, and header and claims of any kind under a genuine signature.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_guard::jws::verify_typed;
use deputy_protocol::access_token::{ACCESS_TOKEN_TYPE, AccessTokenClaims, Expected, check};
use deputy_protocol::resource::ResourceUri;
use deputy_protocol::{Issuer, Reason};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey};

use super::{NOW, mutated};

const HEADER: &[u8] = br#"{"alg":"ES256","typ":"at+jwt","kid":"k1"}"#;
const CLAIMS: &[u8] = br#"{"iss":"https://mcp.test","sub":"u_1","aud":"https://mcp.test/mcp","client_id":"c","iat":1800000000,"exp":1800000300,"jti":"j","scope":"read","grant":"g_1"}"#;

/// A key of this process; no key is in the repository.
struct Key {
    pair: EcdsaKeyPair,
    keys: JwkSet,
    genuine: String,
}

static KEY: LazyLock<Key> = LazyLock::new(|| {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let mut jwk = Jwk::from_encoding_key(&EncodingKey::from_ec_der(pkcs8.as_ref()), Algorithm::ES256).unwrap();
    jwk.common.key_id = Some("k1".to_owned());
    let genuine = signed(&pair, HEADER, CLAIMS);
    Key { pair, keys: JwkSet { keys: vec![jwk] }, genuine }
});

fn signed(pair: &EcdsaKeyPair, header: &[u8], claims: &[u8]) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The genuine token, for targets that need a permit.
pub fn genuine() -> (&'static str, &'static JwkSet) {
    (&KEY.genuine, &KEY.keys)
}

fn verify(token: &str) -> Result<AccessTokenClaims, Reason> {
    verify_typed(token, &KEY.keys, &[Algorithm::ES256], ACCESS_TOKEN_TYPE).map(|claims| claims.into_inner())
}

pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    match mode % 4 {
        0 => {
            if let Ok(token) = std::str::from_utf8(rest) {
                assert!(verify(token).is_err(), "a token that nobody signed");
            }
        }
        1 => altered(rest),
        2 => {
            let genuine: Vec<&str> = KEY.genuine.split('.').collect();
            let token = format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(rest), genuine[1], genuine[2]);
            assert!(verify(&token).is_err() || rest == HEADER, "another header under the same signature");
        }
        _ => {
            let nul = rest.iter().position(|&b| b == 0);
            let (header, claims) = nul.map_or((rest, CLAIMS), |at| (&rest[..at], &rest[at + 1..]));
            genuinely_signed(header, claims);
        }
    }
}

fn altered(edits: &[u8]) {
    let token = mutated(KEY.genuine.as_bytes(), edits);
    let Ok(token) = std::str::from_utf8(&token) else { return };
    assert_eq!(verify(token).is_ok(), token == KEY.genuine, "an altered token");
}

fn genuinely_signed(header: &[u8], claims: &[u8]) {
    let token = signed(&KEY.pair, header, claims);
    let Ok(read) = verify_typed::<AccessTokenClaims>(&token, &KEY.keys, &[Algorithm::ES256], ACCESS_TOKEN_TYPE) else { return };
    let Some(said) = super::second_reading(header) else { return };
    let members = said.as_object().expect("the header is an object");
    assert_eq!(said["alg"], "ES256");
    assert!(said["kid"].is_null() || said["kid"] == "k1");
    let typ = said["typ"].as_str().unwrap().to_ascii_lowercase();
    assert!(matches!(typ.as_str(), "at+jwt" | "application/at+jwt"), "{typ}");
    assert!(["crit", "jwk", "jku", "x5u"].iter().all(|name| !members.contains_key(*name)), "{said}");
    let (issuer, resource) = (Issuer::parse("https://mcp.test").unwrap(), ResourceUri::parse("https://mcp.test/mcp").unwrap());
    let Ok(valid) = check(read, Expected { issuer: &issuer, resource: &resource, now: NOW }) else { return };
    let Some(said) = super::second_reading(claims) else { return };
    assert_eq!(said["iss"], "https://mcp.test");
    assert!(said["aud"] == "https://mcp.test/mcp" || said["aud"] == serde_json::json!(["https://mcp.test/mcp"]));
    assert_eq!(
        (said["sub"].as_str(), said["grant"].as_str()),
        (Some(valid.claims().sub.as_str()), Some(valid.claims().grant.as_str()))
    );
    assert!(said["exp"].as_u64().unwrap() > NOW.seconds());
}
