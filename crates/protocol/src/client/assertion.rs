//! Client assertions, with which a client proves by a key of its own who it is: `private_key_jwt` (RFC 7523 §2.2, §3; AS-33, AS-78, A-169).
//!
//! What this module guarantees:
//! - [`Assertion`] is made by [`check`] only, from claims whose signature was verified with a key of that client.
//! - An assertion counts once: its name goes into the very step that uses what it was presented with.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};

use crate::claims::SignedClaims;
use crate::error::Reason;
use crate::ids::{ClientId, Issuer};
use crate::secret::Digest;
use crate::time::Timestamp;

/// The one `client_assertion_type` that there is (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What an assertion may be signed with, by the names of RFC 7518, as published in our metadata. Never something symmetric.
pub const ASSERTION_ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

/// The longest assertion that is looked at, in bytes. An id of the longest kind stands in it twice.
const ASSERTION_MAX: usize = 8 * 1024;
/// How far the client's clock may differ from ours.
const LEEWAY: Duration = Duration::from_secs(60);
/// The longest life of an assertion.
const LIFETIME_MAX: Duration = Duration::from_secs(600);
/// The longest `jti`, in bytes.
const NAME_MAX: usize = 128;

/// The claims of an assertion. One that is missing or has the wrong type makes it unreadable.
#[derive(Debug, Deserialize)]
pub struct AssertionClaims {
    iss: String,
    sub: String,
    aud: OneAudience,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: String,
}

/// One audience, as a text or as a list. With several, another of them could use the assertion here.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneAudience {
    Text(String),
    List([String; 1]),
}

impl OneAudience {
    fn name(&self) -> &str {
        let (Self::Text(name) | Self::List([name])) = self;
        name
    }
}

/// A time that may have a fraction (RFC 7519 §2).
#[derive(Clone, Copy, Debug)]
struct NumericDate(Timestamp);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if seconds < 0.0 {
            return Err(serde::de::Error::custom("a time before 1970"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and the cast stops at the end of time"
        )]
        Ok(Self(Timestamp::from_seconds(seconds as u64)))
    }
}

/// Whom an assertion says it is from: to look for the client and its keys by, and for nothing else.
///
/// # Errors
/// [`Reason::AssertionMalformed`] when it is no JWT with a subject, [`Reason::ClientUnknown`] when that cannot be a client's id.
pub fn claimed_client(assertion: &str) -> Result<ClientId, Reason> {
    #[derive(Deserialize)]
    struct Claimed {
        sub: String,
    }
    let mut parts = assertion.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Reason::AssertionMalformed);
    };
    if assertion.len() > ASSERTION_MAX {
        return Err(Reason::AssertionMalformed);
    }
    let json = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Reason::AssertionMalformed)?;
    let claimed: Claimed = serde_json::from_slice(&json).map_err(|_| Reason::AssertionMalformed)?;
    ClientId::parse(&claimed.sub)
}

/// What an assertion must agree with.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedAssertion<'a> {
    /// Whose key signed it.
    pub client: &'a ClientId,
    /// Us.
    pub issuer: &'a Issuer,
    /// Our token endpoint, which many clients name in our place (RFC 7523 §3).
    pub token_endpoint: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// A good assertion, which counts once.
#[derive(Clone, Debug)]
pub struct Assertion {
    digest: Digest<Assertion>,
    ends: Timestamp,
}

impl Assertion {
    /// What it is known by: its client's id and its `jti`.
    #[must_use]
    pub fn digest(&self) -> &Digest<Self> {
        &self.digest
    }

    /// From when on it is refused for its age, so that its name may be forgotten.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        self.ends
    }
}

/// Checks the claims (RFC 7523 §3).
///
/// # Errors
/// [`Reason::AssertionOtherClient`], [`Reason::AssertionAudience`], [`Reason::AssertionTime`], and [`Reason::AssertionMalformed`] without a
/// usable name.
pub fn check(claims: SignedClaims<AssertionClaims>, expected: ExpectedAssertion<'_>) -> Result<Assertion, Reason> {
    let claims = claims.into_inner();
    let client = expected.client.as_str();
    if claims.iss != client || claims.sub != client {
        return Err(Reason::AssertionOtherClient);
    }
    if ![expected.issuer.as_str(), expected.token_endpoint].contains(&claims.aud.name()) {
        return Err(Reason::AssertionAudience);
    }
    if !in_time(&claims, expected.now) {
        return Err(Reason::AssertionTime);
    }
    if claims.jti.is_empty() || claims.jti.len() > NAME_MAX {
        return Err(Reason::AssertionMalformed);
    }
    // No id has a NUL in it, so no two pairs read alike.
    let digest = Digest::of(format!("{client}\0{}", claims.jti).as_bytes());
    Ok(Assertion { digest, ends: claims.exp.0.after(LEEWAY) })
}

fn in_time(claims: &AssertionClaims, now: Timestamp) -> bool {
    let (exp, latest) = (claims.exp.0, now.after(LEEWAY));
    let begun = [claims.nbf, claims.iat].into_iter().flatten().all(|begin| begin.0 <= latest && begin.0 <= exp);
    begun && now < exp.after(LEEWAY) && exp <= latest.after(LIFETIME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: u64 = 1_800_000_000;
    const TOKEN: &str = "https://mcp.test/token";

    fn judge(edit: impl Fn(&mut Value)) -> Result<Assertion, Reason> {
        let mut json = json!({
            "iss": "tool", "sub": "tool", "aud": "https://mcp.test", "exp": NOW + 60, "iat": NOW, "jti": "1",
        });
        edit(&mut json);
        let claims = serde_json::from_value(json).map_err(|_| Reason::AssertionMalformed)?;
        let (client, issuer) = (ClientId::parse("tool")?, Issuer::parse("https://mcp.test")?);
        let now = Timestamp::from_seconds(NOW);
        let expected = ExpectedAssertion { client: &client, issuer: &issuer, token_endpoint: TOKEN, now };
        check(SignedClaims::assume_verified(claims), expected)
    }

    #[test]
    fn a_169_what_clients_send_is_taken() {
        let known = judge(|_| ()).unwrap();
        assert_eq!(known.ends, Timestamp::from_seconds(NOW + 120));
        for edit in [
            (|json| json["aud"] = json!(TOKEN)) as fn(&mut Value),
            |json| json["aud"] = json!([TOKEN]),
            |json| json["aud"] = json!(["https://mcp.test"]),
            |json| (json["exp"], json["iat"]) = (json!(NOW - 59), json!(NOW - 119)),
            |json| json["exp"] = json!(NOW + 660),
            |json| json["iat"] = json!(NOW + 60),
            |json| json["nbf"] = json!(NOW as f64 + 0.5),
            |json| json["iat"] = Value::Null,
            |json| json["roles"] = json!(["admin"]),
        ] {
            assert_eq!(judge(edit).map(|assertion| assertion.digest), Ok(known.digest.clone()));
        }
        assert_ne!(judge(|json| json["jti"] = json!("2")).unwrap().digest, known.digest);
    }

    #[test]
    fn a_169_what_is_wrong_is_refused() {
        for (edit, reason) in [
            ((|json| json["iss"] = json!("other")) as fn(&mut Value), Reason::AssertionOtherClient),
            (|json| json["sub"] = json!("other"), Reason::AssertionOtherClient),
            (|json| json["sub"] = json!("Tool"), Reason::AssertionOtherClient),
            (|json| json["aud"] = json!("https://mcp.test/"), Reason::AssertionAudience),
            (|json| json["aud"] = json!("https://mcp.test/mcp"), Reason::AssertionAudience),
            (|json| json["aud"] = json!("https://other.test"), Reason::AssertionAudience),
            (|json| json["aud"] = json!(["https://mcp.test", "https://other.test"]), Reason::AssertionMalformed),
            (|json| json["aud"] = json!([]), Reason::AssertionMalformed),
            (|json| json["exp"] = json!(NOW - 1), Reason::AssertionTime),
            (|json| (json["exp"], json["iat"]) = (json!(NOW - 60), json!(NOW - 120)), Reason::AssertionTime),
            (|json| json["exp"] = json!(NOW + 661), Reason::AssertionTime),
            (|json| json["exp"] = json!(NOW + 3600), Reason::AssertionTime),
            (|json| json["exp"] = json!(1e300), Reason::AssertionTime),
            (|json| json["exp"] = json!(-1), Reason::AssertionMalformed),
            (|json| json["exp"] = json!("soon"), Reason::AssertionMalformed),
            (|json| json["exp"] = Value::Null, Reason::AssertionMalformed),
            (|json| (json["iat"], json["exp"]) = (json!(NOW + 61), json!(NOW + 90)), Reason::AssertionTime),
            (|json| (json["nbf"], json["exp"]) = (json!(NOW + 61), json!(NOW + 90)), Reason::AssertionTime),
            (|json| json["jti"] = json!(""), Reason::AssertionMalformed),
            (|json| json["jti"] = json!("x".repeat(129)), Reason::AssertionMalformed),
            (|json| json["jti"] = json!(1), Reason::AssertionMalformed),
            (|json| json["jti"] = Value::Null, Reason::AssertionMalformed),
        ] {
            assert_eq!(judge(edit).err(), Some(reason));
        }
    }

    #[test]
    fn the_claimed_client_is_read_and_nothing_else() {
        let token = |claims: &str| format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(claimed_client(&token(r#"{"sub":"tool","exp":"?"}"#)).unwrap().as_str(), "tool");
        assert_eq!(claimed_client(&token(r#"{"sub":"a tool"}"#)), Err(Reason::ClientUnknown));
        let long = format!("{}{}", token(r#"{"sub":"tool"}"#), "y".repeat(ASSERTION_MAX));
        let twice = token(r#"{"sub":"tool","sub":"other"}"#);
        for bad in ["", "x", "x.y", "x.y.z", "..", "a.b.c.d", &token("{}"), &token("[1]"), &token(r#"{"sub":1}"#), &twice, &long]
        {
            assert_eq!(claimed_client(bad), Err(Reason::AssertionMalformed), "{bad}");
        }
    }
}
