//! Signatures of JSON Web Tokens (RFC 7515): the only caller of the JWT library (RFC 8725, RS-17, A-184).
//!
//! What this module guarantees:
//! - The algorithm is one that the caller allows, never symmetric, and it fits the key.
//! - The key comes from the caller's set, never from the token: a header that brings or names one is refused.
//! - Nothing is said about the claims, neither time nor audience: that is for the rules in `deputy-protocol`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::Reason;
use deputy_protocol::claims::SignedClaims;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// The longest token that is looked at, in bytes. An ID token with many groups stays below it.
const TOKEN_MAX: usize = 16 * 1024;

/// Verifies the signature of `token` with the one fitting key of `keys`.
///
/// # Errors
/// [`Reason::TokenMalformed`] when it is no JWT that could be taken, whoever signed it; [`Reason::TokenSignature`] when no key of ours
/// signed it with an allowed algorithm.
pub fn verify<T: DeserializeOwned>(token: &str, keys: &JwkSet, allowed: &[Algorithm]) -> Result<SignedClaims<T>, Reason> {
    let header = Header::of(token)?;
    header.verify(token, keys, allowed)
}

/// As [`verify`], and the header's `typ` must be `typ`, with or without `application/` (RFC 7515 §4.1.9).
///
/// # Errors
/// As [`verify`]; another type, or none, is [`Reason::TokenMalformed`].
pub fn verify_typed<T: DeserializeOwned>(
    token: &str,
    keys: &JwkSet,
    allowed: &[Algorithm],
    typ: &str,
) -> Result<SignedClaims<T>, Reason> {
    let header = Header::of(token)?;
    let given = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
    if given.strip_prefix("application/").unwrap_or(&given) != typ {
        return Err(Reason::TokenMalformed);
    }
    header.verify(token, keys, allowed)
}

/// A JWS header, as far as we take one. Deriving refuses repeated members.
#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    typ: Option<String>,
    kid: Option<String>,
    /// Extensions that we would have to understand (RFC 7515 §4.1.11): there are none.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    jwk: bool,
    #[serde(default, deserialize_with = "present")]
    jku: bool,
    #[serde(default, deserialize_with = "present")]
    x5u: bool,
}

/// Any value counts as present, `null` too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Header {
    fn of(token: &str) -> Result<Self, Reason> {
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Reason::TokenMalformed);
        };
        if token.len() > TOKEN_MAX {
            return Err(Reason::TokenMalformed);
        }
        let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| Reason::TokenMalformed)?;
        let header: Self = serde_json::from_slice(&json).map_err(|_| Reason::TokenMalformed)?;
        let brings_its_own = header.crit || header.jwk || header.jku || header.x5u;
        if brings_its_own { Err(Reason::TokenMalformed) } else { Ok(header) }
    }

    fn verify<T: DeserializeOwned>(&self, token: &str, keys: &JwkSet, allowed: &[Algorithm]) -> Result<SignedClaims<T>, Reason> {
        if !allowed.contains(&self.alg) {
            return Err(Reason::TokenSignature);
        }
        let key = self.key(keys)?;
        let key = DecodingKey::from_jwk(key).map_err(|_| Reason::TokenSignature)?;
        let claims = decode(token, &key, self.alg)?;
        Ok(SignedClaims::assume_verified(claims))
    }

    /// The one key that this header can mean. Two candidates are as bad as none: trying them in turn would hide a mix-up.
    fn key<'k>(&self, keys: &'k JwkSet) -> Result<&'k Jwk, Reason> {
        let named = |key: &&Jwk| self.kid.is_none() || key.common.key_id == self.kid;
        let mut fitting = keys.keys.iter().filter(|key| fits(key, self.alg)).filter(named);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(Reason::TokenSignature),
        }
    }
}

/// Whether a signature with this algorithm can be checked with this key (RFC 8725 §3.1). Symmetric keys never fit.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever kind of key comes to exist fits nothing here")]
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let kind = match &key.algorithm {
        AlgorithmParameters::EllipticCurve(key) => {
            matches!((&key.curve, algorithm), (EllipticCurve::P256, Algorithm::ES256) | (EllipticCurve::P384, Algorithm::ES384))
        }
        AlgorithmParameters::RSA(_) => {
            use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
            matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
        }
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519 && algorithm == Algorithm::EdDSA,
        _ => false,
    };
    let common = &key.common;
    let declared = common.key_algorithm.is_none_or(|declared| declared == KeyAlgorithm::from(algorithm));
    let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    kind && declared && signs && verifies
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that decides about signatures; time and audience are judged by the caller"
)]
fn decode<T: DeserializeOwned>(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<T, Reason> {
    use jsonwebtoken::errors::ErrorKind;
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other error is one of the signature")]
    let data = jsonwebtoken::decode(token, key, &validation).map_err(|error| match error.kind() {
        // The signature was good, the claims are not of the kind that was asked for.
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => Reason::TokenMalformed,
        _ => Reason::TokenSignature,
    })?;
    Ok(data.claims)
}

#[cfg(test)]
mod tests {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    use jsonwebtoken::jwk::Jwk;
    use serde_json::{Value, json};

    use super::*;

    const EVERY: [Algorithm; 12] = [ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512];

    fn fitting(key: Value) -> Vec<Algorithm> {
        let key: Jwk = serde_json::from_value(key).unwrap();
        EVERY.into_iter().filter(|algorithm| fits(&key, *algorithm)).collect()
    }

    #[test]
    fn a_184_a_key_fits_the_algorithms_of_its_kind_only() {
        let curve = |name: &str| json!({ "kty": "EC", "crv": name, "x": "AA", "y": "AA" });
        let octets = |name: &str| json!({ "kty": "OKP", "crv": name, "x": "AA" });
        let rsa = json!({ "kty": "RSA", "n": "AA", "e": "AQAB" });
        assert_eq!(fitting(curve("P-256")), [ES256]);
        assert_eq!(fitting(curve("P-384")), [ES384]);
        assert_eq!(fitting(octets("Ed25519")), [EdDSA]);
        assert_eq!(fitting(rsa.clone()), [PS256, PS384, PS512, RS256, RS384, RS512]);
        for none in [curve("P-521"), curve("Ed25519"), octets("P-256"), json!({ "kty": "oct", "k": "AA" })] {
            assert_eq!(fitting(none.clone()), [], "{none}");
        }
        let mut declared = rsa;
        declared["alg"] = json!("RS256");
        assert_eq!(fitting(declared), [RS256]);
    }
}
