//! Secrets: types that do not print, and the digests that stand for them in the store.

use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The longest secret that is looked at, in bytes.
const SECRET_MAX: usize = 512;

/// A secret in transit. The prefix makes a leaked one recognisable to secret scanners and must never change.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Takes what somebody presented. `None` when it cannot be one of ours.
            #[must_use]
            pub fn presented(raw: &str) -> Option<Self> {
                let fits = raw.starts_with($prefix) && raw.len() <= SECRET_MAX;
                fits.then(|| Self(SecretString::from(raw)))
            }

            /// What the store knows it by.
            #[must_use]
            pub fn digest(&self) -> Digest<Self> {
                Digest::of(self.0.expose_secret().as_bytes())
            }

            /// The text itself, for the one place that sends it to its owner.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

/// A secret that is nothing but 256 random bits.
macro_rules! random_secret {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        secret!($(#[$doc])* $name, $prefix);

        impl $name {
            #[doc = concat!("Makes one from 256 random bits; starts with `", $prefix, "`.")]
            #[must_use]
            pub fn new(random: &[u8; 32]) -> Self {
                Self(SecretString::from(format!("{}{}", $prefix, URL_SAFE_NO_PAD.encode(random))))
            }
        }
    };
}

random_secret!(
    /// An authorization code (RFC 6749 §4.1.2).
    AuthorizationCode,
    "dpc_"
);
secret!(
    /// A refresh token (RFC 6749 §1.5). It says whose it is, how many came before it, and that it is ours; see `family::Place`.
    RefreshToken,
    "dpr_"
);
random_secret!(
    /// What the ownership cookie holds: proof that this browser was shown the consent page (CON-31).
    BrowserKey,
    "dpb_"
);
random_secret!(
    /// The `state` that we send to the identity provider (CON-16).
    IdpState,
    "dps_"
);
random_secret!(
    /// The `nonce` that an ID token must bring back (OIDC Core §3.1.3.7).
    Nonce,
    "dpn_"
);

impl RefreshToken {
    /// A token of these bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(SecretString::from(format!("dpr_{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// Its bytes. `None` when it has none.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let text = self.expose().strip_prefix("dpr_")?;
        URL_SAFE_NO_PAD.decode(text).ok().map(Zeroizing::new)
    }
}

impl IdpState {
    /// Whether `other` is the same state, in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Nonce {
    /// Whether the ID token's `nonce` is this one, in constant time.
    #[must_use]
    pub fn matches(&self, claim: &str) -> bool {
        self.digest() == Digest::of(claim.as_bytes())
    }
}

/// Serialises the text: only ever called on the way into a sealed box.
macro_rules! sealed_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.expose())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw = String::deserialize(deserializer)?;
                Self::presented(&raw).ok_or_else(|| serde::de::Error::custom("not a secret of this kind"))
            }
        }
    };
}

sealed_text!(IdpState);
sealed_text!(Nonce);

/// A secret given by the operator or derived for a client: a client secret, for one. Compared by digest, in constant time.
#[derive(Clone)]
pub struct ClientSecret(SecretString);

impl ClientSecret {
    /// Takes a secret as configured, derived or presented.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// Whether both are the same. Both are hashed first, so the time taken tells nothing.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }

    /// What stands for it where it is only compared.
    #[must_use]
    pub fn digest(&self) -> Digest<Self> {
        Digest::of(self.expose().as_bytes())
    }

    /// The text itself, for the one place that sends it to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // The digest of SHA-256 is 32 bytes, so the two lengths agree.
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// SHA-256 of a secret of kind `T`. The secrets have 256 random bits, so a plain hash is enough; equality takes constant time.
pub struct Digest<T> {
    bytes: [u8; 32],
    of: PhantomData<fn() -> T>,
}

impl<T> Digest<T> {
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self { bytes: sha256(secret), of: PhantomData }
    }

    /// Takes a digest that was computed earlier (a row).
    #[must_use]
    pub fn from_stored(bytes: [u8; 32]) -> Self {
        Self { bytes, of: PhantomData }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl<T> Clone for Digest<T> {
    fn clone(&self) -> Self {
        Self::from_stored(self.bytes)
    }
}

impl<T> fmt::Debug for Digest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A digest reveals nothing; its head is enough to follow one through a log.
        write!(f, "Digest({}…)", crate::ids::hex(self.bytes.get(..4).unwrap_or_default()))
    }
}

impl<T> PartialEq for Digest<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl<T> Eq for Digest<T> {}

impl<T> std::hash::Hash for Digest<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl<T> Serialize for Digest<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.bytes))
    }
}

impl<'de, T> Deserialize<'de> for Digest<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(raw).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
        bytes.map(Self::from_stored).ok_or_else(|| serde::de::Error::custom("not a SHA-256 digest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let code = AuthorizationCode::new(&[7; 32]);
        assert_eq!(format!("{code:?}"), "AuthorizationCode(…)");
        assert!(!format!("{:?}", code.digest()).contains(code.expose()));
    }

    #[test]
    fn a_secret_of_another_kind_is_none_of_ours() {
        let code = AuthorizationCode::new(&[7; 32]);
        assert!(RefreshToken::presented(code.expose()).is_none());
        assert!(AuthorizationCode::presented(code.expose()).is_some_and(|c| c.digest() == code.digest()));
    }
}
