//! The public keys of a client (RFC 7517), to check its assertions with.

use std::fmt;
use std::sync::Arc;

use deputy_guard::jws;
use deputy_protocol::Reason;
use deputy_protocol::claims::SignedClaims;
use deputy_protocol::client::assertion::AssertionClaims;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What an assertion may be signed with, as published. Nothing symmetric: we do not have a client's secrets.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// Most keys of one client: each may have to be tried.
const KEYS_MAX: usize = 10;

/// What only the owner of a key may have (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The public keys of a client.
#[derive(Clone, Debug)]
pub struct ClientKeys(Arc<[JwkSet]>);

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongKeys {
    /// It is no key set.
    Malformed(String),
    /// A key is one that the client must keep for itself.
    Private,
    /// There are too many.
    TooMany,
    /// None of them can check a signature here.
    None,
}

impl fmt::Display for WrongKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "it is no JSON object with the keys as a list (RFC 7517 §5): {why}"),
            Self::Private => {
                f.write_str("it has a private or symmetric key in it. Replace that key, and give the public keys alone")
            }
            Self::TooMany => write!(f, "it has more than {KEYS_MAX} keys"),
            Self::None => f.write_str("it has no RSA, P-256 or Ed25519 key that may sign"),
        }
    }
}

impl std::error::Error for WrongKeys {}

#[derive(Deserialize)]
struct RawKeys {
    keys: Vec<Map<String, Value>>,
}

impl ClientKeys {
    /// Reads a key set. Keys of other kinds are left out.
    ///
    /// # Errors
    /// [`WrongKeys`].
    pub fn parse(json: &[u8]) -> Result<Self, WrongKeys> {
        let raw: RawKeys = deputy_fetch::object(json).map_err(WrongKeys::Malformed)?;
        if raw.keys.iter().any(|key| PRIVATE.iter().any(|member| key.contains_key(*member))) {
            return Err(WrongKeys::Private);
        }
        if raw.keys.len() > KEYS_MAX {
            return Err(WrongKeys::TooMany);
        }
        let readable = raw.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(Value::Object(key)).ok());
        let keys: Arc<[JwkSet]> = readable.filter(is_of_use).map(|key| JwkSet { keys: vec![key] }).collect();
        if keys.is_empty() { Err(WrongKeys::None) } else { Ok(Self(keys)) }
    }

    /// [`ClientKeys::parse`] of what a client publishes: a set without keys is how it takes all of them back, and verifies nothing.
    ///
    /// # Errors
    /// [`WrongKeys`].
    pub(crate) fn published(json: &[u8]) -> Result<Self, WrongKeys> {
        match Self::parse(json) {
            Err(WrongKeys::None) => Ok(Self::none()),
            other => other,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// No key at all: nothing is signed with one.
    pub(crate) fn none() -> Self {
        Self(Arc::default())
    }

    /// Checks the signature of an assertion, with the key that its header names or with each that fits: a client that replaces its key
    /// may name none.
    pub(crate) fn verify(&self, assertion: &str) -> Result<SignedClaims<AssertionClaims>, Reason> {
        let mut wrong = Reason::AssertionSignature;
        for key in self.0.iter() {
            match jws::verify(assertion, key, &ALGORITHMS) {
                Ok(claims) => return Ok(claims),
                Err(Reason::TokenMalformed) => wrong = Reason::AssertionMalformed,
                Err(_) => {}
            }
        }
        Err(wrong)
    }
}

fn is_of_use(key: &Jwk) -> bool {
    matches!(
        key.algorithm,
        AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::RSA(_) | AlgorithmParameters::OctetKeyPair(_)
    )
}

#[cfg(test)]
mod tests {
    use deputy_protocol::client::assertion::ASSERTION_ALGORITHMS;

    use super::*;

    const KEY: &str = r#"{"kty":"RSA","n":"AA","e":"AQAB"}"#;

    fn parse(keys: &[&str]) -> Result<usize, WrongKeys> {
        ClientKeys::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).map(|keys| keys.count())
    }

    #[test]
    fn what_is_published_is_what_is_taken() {
        assert_eq!(ASSERTION_ALGORITHMS.map(|name| name.parse::<Algorithm>().unwrap()), ALGORITHMS);
    }

    #[test]
    fn as_32_only_public_keys_are_read() {
        assert_eq!(parse(&[KEY]), Ok(1));
        assert_eq!(parse(&[KEY, r#"{"kty":"new"}"#, "{}"]), Ok(1));
        assert_eq!(parse(&[KEY; 10]), Ok(10));
        assert_eq!(parse(&[KEY; 11]), Err(WrongKeys::TooMany));
        for none in [&[][..], &["{}"], &[r#"{"kty":"new"}"#]] {
            assert_eq!(parse(none), Err(WrongKeys::None), "{none:?}");
        }
        for secret in [r#"{"kty":"oct","k":"AA"}"#, r#"{"kty":"RSA","n":"AA","e":"AQAB","d":"AA"}"#, r#"{"kty":"x","p":1}"#] {
            assert_eq!(parse(&[KEY, secret]), Err(WrongKeys::Private), "{secret}");
        }
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#, "\u{feff}{}"] {
            assert!(matches!(ClientKeys::parse(bad.as_bytes()), Err(WrongKeys::Malformed(_))), "{bad}");
        }
    }
}
