//! Our access tokens (RFC 9068): what they say, and when they count.
//!
//! What this module guarantees:
//! - [`ValidAccessToken`] is made by [`check`] only, from claims whose signature was verified, for exactly one resource.
//! - Time is asked again at each use: a token that was checked a minute ago may have expired since.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::claims::SignedClaims;
use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::ids::{ClientId, GrantId, Issuer};
use crate::resource::ResourceUri;
use crate::scope::Scopes;
use crate::time::Timestamp;

/// The media type of an access token's header (RFC 9068 §2.1). It keeps our ID tokens and others out (RS-08).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// How far the clock of the replica that issued a token may be ahead of ours. A token just issued must work at once (RS-23).
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What an access token says (RFC 9068 §2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// Who issued it: this deployment.
    pub iss: Issuer,
    /// The subject, as backends know it.
    pub sub: String,
    /// The one resource that it is for (RS-08). Written as a string; a list with one element is read too.
    #[serde(deserialize_with = "one_audience")]
    pub aud: ResourceUri,
    /// The client that it was issued to.
    pub client_id: ClientId,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// When it begins, if that differs from `iat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<Timestamp>,
    /// Its own id.
    pub jti: String,
    /// What was granted.
    pub scope: Scopes,
    /// The grant that it belongs to: what a revocation names.
    pub grant: GrantId,
    /// The subject's e-mail address, if the identity provider vouched for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What the subject is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the client calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The identity provider that the subject signed in at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp: Option<Issuer>,
    /// The identity provider's own name for the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp_sub: Option<String>,
    /// What of the resource's rules about calls the subject meets ([`CallRules::criteria`](crate::mcp::rules::CallRules::criteria)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<String>,
}

/// RFC 7519 §4.1.3 allows a list; ours has one audience, so a list with several was not made by us.
fn one_audience<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ResourceUri, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(ResourceUri),
        List([ResourceUri; 1]),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(resource) | Audience::List([resource]) => resource,
    })
}

/// What an access token must agree with.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// This deployment.
    pub issuer: &'a Issuer,
    /// The resource that the request is for.
    pub resource: &'a ResourceUri,
    /// The time.
    pub now: Timestamp,
}

/// Proof that an access token is ours, for this resource, and was in its time when [`check`] made this.
#[derive(Clone, Debug)]
pub struct ValidAccessToken(AccessTokenClaims);

impl ValidAccessToken {
    /// What it says.
    #[must_use]
    pub fn claims(&self) -> &AccessTokenClaims {
        &self.0
    }

    /// Whether it is in its time, asked at each use. There is no leeway: it was our own clock that set the end.
    ///
    /// # Errors
    /// [`Reason::TokenExpired`], or [`Reason::TokenNotYetValid`] for one from the future.
    pub fn in_time(&self, now: Timestamp) -> Result<(), Reason> {
        if !passes(Guard::AccessLifetime, now < self.0.exp) {
            return Err(Reason::TokenExpired);
        }
        let begins = self.0.nbf.map_or(self.0.iat, |nbf| nbf.max(self.0.iat));
        if begins > now.after(CLOCK_SKEW) { Err(Reason::TokenNotYetValid) } else { Ok(()) }
    }

    /// Whether it still counts, given whether its grant was revoked as far as this process knows (I4).
    ///
    /// # Errors
    /// [`Reason::TokenRevoked`].
    pub fn not_revoked(&self, revoked: bool) -> Result<(), Reason> {
        if passes(Guard::RevokedAccess, !revoked) { Ok(()) } else { Err(Reason::TokenRevoked) }
    }
}

/// Judges the claims of a token whose signature was verified (RFC 9068 §4, RS-08, RS-17).
///
/// # Errors
/// [`Reason::TokenIssuer`], [`Reason::TokenAudience`], [`Reason::TokenExpired`], [`Reason::TokenNotYetValid`].
pub fn check(claims: SignedClaims<AccessTokenClaims>, expected: Expected<'_>) -> Result<ValidAccessToken, Reason> {
    let claims = claims.into_inner();
    if claims.iss != *expected.issuer {
        return Err(Reason::TokenIssuer);
    }
    if !passes(Guard::Audience, claims.aud == *expected.resource) {
        return Err(Reason::TokenAudience);
    }
    let token = ValidAccessToken(claims);
    token.in_time(expected.now)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn claims(edit: impl Fn(&mut serde_json::Value)) -> Result<AccessTokenClaims, serde_json::Error> {
        let mut json = serde_json::json!({
            "iss": "https://h", "sub": "s", "aud": "https://h/mcp", "client_id": "c", "iat": NOW, "exp": NOW + 300,
            "jti": "j", "scope": "mcp", "grant": "g_1",
        });
        edit(&mut json);
        serde_json::from_str(&json.to_string())
    }

    fn judge(claims: AccessTokenClaims) -> Result<(), Reason> {
        let issuer = Issuer::parse("https://h").unwrap();
        let resource = ResourceUri::parse("https://h/mcp").unwrap();
        let expected = Expected { issuer: &issuer, resource: &resource, now: Timestamp::from_seconds(NOW) };
        check(SignedClaims::assume_verified(claims), expected).map(|_| ())
    }

    #[test]
    fn rs_08_only_this_issuer_and_this_resource() {
        let with = |key: &'static str, value: serde_json::Value| judge(claims(|c| c[key] = value.clone()).unwrap());
        assert_eq!(judge(claims(|_| ()).unwrap()), Ok(()));
        assert_eq!(with("iss", "https://h/".into()), Err(Reason::TokenIssuer));
        for aud in ["https://h", "https://h/mcp/", "https://h/b/mcp", "https://h/MCP", ""] {
            assert_eq!(with("aud", aud.into()), Err(Reason::TokenAudience), "{aud}");
        }
        assert_eq!(with("aud", serde_json::json!(["https://h/mcp"])), Ok(()));
    }

    #[test]
    fn a_177_no_several_and_missing_audiences_do_not_read() {
        for aud in
            [serde_json::json!(["https://h/mcp", "https://evil"]), serde_json::json!([]), serde_json::json!(null), 1.into()]
        {
            assert!(claims(|c| c["aud"] = aud.clone()).is_err(), "{aud}");
        }
        for member in ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "grant"] {
            assert!(claims(|c| drop(c.as_object_mut().unwrap().remove(member))).is_err(), "{member}");
        }
    }

    #[test]
    fn rs_17_a_token_counts_in_its_time_only() {
        let with = |key: &'static str, value: u64| judge(claims(|c| c[key] = value.into()).unwrap());
        assert_eq!(with("exp", NOW), Err(Reason::TokenExpired));
        assert_eq!(with("exp", NOW + 1), Ok(()));
        assert_eq!(with("iat", NOW + 60), Ok(()));
        assert_eq!(with("iat", NOW + 61), Err(Reason::TokenNotYetValid));
        assert_eq!(with("nbf", NOW + 61), Err(Reason::TokenNotYetValid));
        assert!(claims(|c| c["exp"] = (-1).into()).is_err());
    }

    #[test]
    fn i4_a_revoked_grant_ends_its_tokens() {
        let (issuer, resource) = (Issuer::parse("https://h").unwrap(), ResourceUri::parse("https://h/mcp").unwrap());
        let expected = Expected { issuer: &issuer, resource: &resource, now: Timestamp::from_seconds(NOW) };
        let token = check(SignedClaims::assume_verified(claims(|_| ()).unwrap()), expected).unwrap();
        assert_eq!((token.not_revoked(false), token.not_revoked(true)), (Ok(()), Err(Reason::TokenRevoked)));
    }
}
