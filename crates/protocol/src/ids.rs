//! Identifiers, one type each, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Reason;
use crate::resource::is_loopback_host;

/// Longest `client_id` that is looked at, in bytes. Ours are under 512 typically; the limit keeps URLs and cookies usable.
pub const CLIENT_ID_MAX: usize = 2048;

/// An OAuth client identifier (RFC 6749 §2.2). Compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(String);

impl ClientId {
    /// Accepts 1 to [`CLIENT_ID_MAX`] visible ASCII characters.
    ///
    /// # Errors
    /// [`Reason::ClientUnknown`] for anything else: no such identifier was ever issued.
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        let fits = !raw.is_empty() && raw.len() <= CLIENT_ID_MAX && raw.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(raw.to_owned())) } else { Err(Reason::ClientUnknown) }
    }

    /// The identifier as sent on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the operator calls one of the identity providers: 1 to 32 lower-case letters, digits and hyphens. It stands in the path of its callback.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdpName(String);

impl IdpName {
    /// Reads a name. `None` when it is not one.
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=32).contains(&raw.len()) && raw.bytes().all(plain)).then(|| Self(raw.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One run from `/authorize` to a code. Its first eight characters are the start time, so that the oldest of several sorts first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransactionId(String);

impl TransactionId {
    /// Makes the id of a transaction that starts `now`, from 128 random bits.
    #[must_use]
    pub fn new(now: crate::Timestamp, random: [u8; 16]) -> Self {
        let seconds = u32::try_from(now.seconds()).unwrap_or(u32::MAX);
        Self(format!("{seconds:08x}{}", hex(&random)))
    }

    /// Reads an id back, for example from a cookie's name.
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        let fits = raw.len() == 40 && raw.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(raw.to_owned()))
    }

    /// The id as text: 40 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a person granted to a client: owner of one token family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(String);

impl GrantId {
    /// Makes an id from 128 random bits.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(format!("g_{}", hex(&random)))
    }

    /// The random bits that it was made from. `None` for an id of another shape.
    #[must_use]
    pub fn to_bytes(&self) -> Option<[u8; 16]> {
        u128::from_str_radix(self.0.strip_prefix("g_").filter(|digits| digits.len() == 32)?, 16).ok().map(u128::to_be_bytes)
    }

    /// Takes an id that we made earlier (a row, a claim of a token of ours).
    #[must_use]
    pub fn from_stored(raw: String) -> Self {
        Self(raw)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An authorization server's identifier (RFC 8414 §2), kept byte for byte: issuers are compared as strings (AS-02, OC-05).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Issuer(String);

impl Issuer {
    /// Accepts an `https` URL, or `http` on a loopback host, without query and fragment.
    ///
    /// # Errors
    /// [`Reason::UrlInvalid`] says that it is none.
    pub fn parse(raw: &str) -> Result<Self, Reason> {
        let url = Url::parse(raw).map_err(|_| Reason::UrlInvalid)?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => url.host_str().is_some_and(is_loopback_host),
            _ => false,
        };
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        if secure && plain { Ok(Self(raw.to_owned())) } else { Err(Reason::UrlInvalid) }
    }

    /// The issuer as it stands in metadata, `iss` parameters and tokens.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
