//! OAuth parameters, read strictly: no repeated names, no broken encoding, a size limit (RFC 6749 §3.1; AS-59, A-068).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use percent_encoding::percent_decode;

use crate::error::Reason;

/// The longest query or form that is read, in bytes. A `state` of 4096 bytes fits even when every byte is percent-encoded.
pub const PARAMS_MAX: usize = 32 * 1024;

/// Most parameters in one request: OAuth has about twenty, and what nobody asked for must not cost anything.
const COUNT_MAX: usize = 100;

/// The only parameter that may stand more than once (RFC 8707 §2).
const REPEATABLE: &str = "resource";

/// The parameters of one request. Names are unique, `resource` apart; a parameter without a value counts as absent.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `application/x-www-form-urlencoded` text: a query or a form body.
    ///
    /// # Errors
    /// [`Reason::RequestTooLarge`], [`Reason::ParametersMalformed`] for broken percent-encoding, text that is not UTF-8, or NUL, and
    /// [`Reason::ParameterRepeated`].
    pub fn parse(encoded: &[u8]) -> Result<Self, Reason> {
        Self::parse_within(encoded, PARAMS_MAX)
    }

    /// [`Params::parse`] with another size limit, for a form of ours that carries more than OAuth does.
    ///
    /// # Errors
    /// As [`Params::parse`].
    pub fn parse_within(encoded: &[u8], limit: usize) -> Result<Self, Reason> {
        if encoded.len() > limit {
            return Err(Reason::RequestTooLarge);
        }
        let mut params: Vec<(String, String)> = Vec::new();
        let mut names: HashSet<String> = HashSet::new();
        let pairs = || encoded.split(|&b| b == b'&').filter(|pair| !pair.is_empty());
        if pairs().count() > COUNT_MAX {
            return Err(Reason::RequestTooLarge);
        }
        for pair in pairs() {
            let mut halves = pair.splitn(2, |&b| b == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            // An empty value is no value, but its name counts: `state=&state=x` is still a repetition.
            if name != REPEATABLE && !names.insert(name.clone()) {
                return Err(Reason::ParameterRepeated);
            }
            if !value.is_empty() {
                params.push((name, value));
            }
        }
        Ok(Self(params))
    }

    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that must be there.
    ///
    /// # Errors
    /// [`Reason::ParameterMissing`].
    pub fn require(&self, name: &str) -> Result<&str, Reason> {
        self.get(name).ok_or(Reason::ParameterMissing)
    }

    /// All `resource` values.
    #[must_use]
    pub fn resources(&self) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == REPEATABLE).map(|(_, value)| value.clone()).collect()
    }
}

impl fmt::Debug for Params {
    /// Names only: the values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn decode(encoded: &[u8]) -> Result<String, Reason> {
    let malformed = Reason::ParametersMalformed;
    // percent_decode leaves a broken escape as it stands; two readers might then disagree about what was sent.
    let escapes_hold = encoded
        .iter()
        .enumerate()
        .filter(|&(_, &b)| b == b'%')
        .all(|(at, _)| encoded.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    if !escapes_hold {
        return Err(malformed);
    }
    let spaced: Vec<u8> = encoded.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    let bytes: Cow<'_, [u8]> = percent_decode(&spaced).into();
    let text = String::from_utf8(bytes.into_owned()).map_err(|_| malformed)?;
    if text.contains('\0') { Err(malformed) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_empty_ones_are_absent() {
        let params = Params::parse(b"state=a%20b%2Bc+d&scope=&x&=y&resource=1&resource=2").expect("valid");
        assert_eq!(params.get("state"), Some("a b+c d"));
        assert_eq!(params.get("scope"), None);
        assert_eq!(params.resources(), ["1", "2"]);
        assert_eq!(params.require("code"), Err(Reason::ParameterMissing));
    }

    #[test]
    fn a_068_repetition_is_refused_whatever_the_values() {
        for raw in ["state=a&state=a", "state=&state=b", "foo=1&foo=2", "client_id=a&client%5Fid=b"] {
            assert_eq!(Params::parse(raw.as_bytes()).err(), Some(Reason::ParameterRepeated), "{raw}");
        }
    }

    #[test]
    fn broken_encoding_is_refused() {
        for raw in [&b"a=%zz"[..], b"a=%", b"a=%4", b"a=%ff", b"a=\xff", b"a=%00"] {
            assert_eq!(Params::parse(raw).err(), Some(Reason::ParametersMalformed), "{raw:?}");
        }
        assert_eq!(Params::parse(&vec![b'a'; PARAMS_MAX + 1]).err(), Some(Reason::RequestTooLarge));
    }

    #[test]
    fn a_230_there_are_only_so_many() {
        let many = |count: usize| (0..count).map(|n| format!("a{n}=1")).collect::<Vec<_>>().join("&");
        assert!(Params::parse(many(COUNT_MAX).as_bytes()).is_ok());
        assert_eq!(Params::parse(many(COUNT_MAX + 1).as_bytes()).err(), Some(Reason::RequestTooLarge));
    }

    #[test]
    fn debug_shows_names_only() {
        let params = Params::parse(b"code=s3cret").expect("valid");
        assert_eq!(format!("{params:?}"), r#"{"code"}"#);
    }
}
