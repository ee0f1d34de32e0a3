//! Proof Key for Code Exchange, S256 only (RFC 7636; AS-58, AS-80). Used in both directions: clients prove themselves to us, and we to
//! the identity provider.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

use crate::error::Reason;
use crate::secret::sha256;

/// A `code_challenge`: base64url of a SHA-256, 43 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Challenge(String);

impl Challenge {
    /// Reads `code_challenge` and `code_challenge_method` of an authorization request.
    ///
    /// # Errors
    /// [`Reason::PkceMissing`] without a challenge, [`Reason::PkceMethod`] for `plain`, another or no method (the default would be
    /// `plain`), [`Reason::PkceChallengeMalformed`] for what cannot be a SHA-256.
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Self, Reason> {
        let challenge = challenge.ok_or(Reason::PkceMissing)?;
        if method != Some("S256") {
            return Err(Reason::PkceMethod);
        }
        Self::try_from(challenge.to_owned())
    }

    /// The challenge on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `verifier` is the one behind this challenge (RFC 7636 §4.6), in constant time.
    ///
    /// # Errors
    /// [`Reason::VerifierMismatch`] if not.
    pub fn verify(&self, verifier: &Verifier) -> Result<(), Reason> {
        let same: bool = self.0.as_bytes().ct_eq(verifier.challenge().0.as_bytes()).into();
        if same { Ok(()) } else { Err(Reason::VerifierMismatch) }
    }
}

impl TryFrom<String> for Challenge {
    type Error = Reason;

    fn try_from(raw: String) -> Result<Self, Reason> {
        let digest = URL_SAFE_NO_PAD.decode(&raw).ok();
        if digest.is_some_and(|d| d.len() == 32) { Ok(Self(raw)) } else { Err(Reason::PkceChallengeMalformed) }
    }
}

impl From<Challenge> for String {
    fn from(challenge: Challenge) -> Self {
        challenge.0
    }
}

/// A `code_verifier`: 43 to 128 unreserved characters (RFC 7636 §4.1).
#[derive(Clone)]
pub struct Verifier(SecretString);

impl Verifier {
    /// Makes one from 256 random bits, for our own request to the identity provider.
    #[must_use]
    pub fn new(random: &[u8; 32]) -> Self {
        Self(SecretString::from(URL_SAFE_NO_PAD.encode(random)))
    }

    /// Takes what a client presented.
    ///
    /// # Errors
    /// [`Reason::VerifierMismatch`] for what cannot be a verifier: no challenge can fit it.
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if (43..=128).contains(&raw.len()) && raw.bytes().all(unreserved) {
            Ok(Self(SecretString::from(raw)))
        } else {
            Err(Reason::VerifierMismatch)
        }
    }

    /// Its S256 challenge.
    #[must_use]
    pub fn challenge(&self) -> Challenge {
        Challenge(URL_SAFE_NO_PAD.encode(sha256(self.expose().as_bytes())))
    }

    /// The text itself, for the token request.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Serialize for Verifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Verifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc_verifies() {
        let challenge = Challenge::parse(Some(CHALLENGE), Some("S256")).expect("valid");
        assert_eq!(challenge.verify(&Verifier::parse(VERIFIER).expect("valid")), Ok(()));
        let other = Verifier::new(&[1; 32]);
        assert_eq!(challenge.verify(&other), Err(Reason::VerifierMismatch));
    }

    #[test]
    fn a_063_a_064_missing_and_plain_are_refused() {
        assert_eq!(Challenge::parse(None, None), Err(Reason::PkceMissing));
        assert_eq!(Challenge::parse(Some(CHALLENGE), None), Err(Reason::PkceMethod));
        assert_eq!(Challenge::parse(Some(CHALLENGE), Some("plain")), Err(Reason::PkceMethod));
        for raw in ["", "short", &CHALLENGE[..42], &format!("{CHALLENGE}A"), &CHALLENGE.replace('E', "+")] {
            assert_eq!(Challenge::parse(Some(raw), Some("S256")), Err(Reason::PkceChallengeMalformed), "{raw}");
        }
    }

    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        assert!(Verifier::parse(&"a".repeat(128)).is_ok());
        for raw in ["a".repeat(42), "a".repeat(129), format!("{}+", "a".repeat(43))] {
            assert!(Verifier::parse(&raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn a_challenge_survives_being_stored() {
        let challenge = Challenge::parse(Some(CHALLENGE), Some("S256")).expect("valid");
        assert_eq!(String::from(challenge.clone()), CHALLENGE);
        assert_eq!(serde_json::to_string(&challenge).expect("json"), format!("\"{CHALLENGE}\""));
    }
}
