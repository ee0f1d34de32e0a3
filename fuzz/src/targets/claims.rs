//! The claims of an ID token whose signature was good, and of a userinfo answer.

use deputy_protocol::Issuer;
use deputy_protocol::claims::{
    Authority, ExpectedIdToken, IdTokenClaims, SignedClaims, Userinfo, VerifiedIdentity, check_id_token,
};
use deputy_protocol::secret::Nonce;
use serde_json::Value;

use super::NOW;

const ISSUER: &str = "https://idp.test";

pub fn run(data: &[u8]) {
    let nul = data.iter().position(|&b| b == 0);
    let (token, userinfo) = nul.map_or((data, &b""[..]), |at| (&data[..at], &data[at + 1..]));
    let Ok(claims) = serde_json::from_slice::<IdTokenClaims>(token) else { return };
    let (authority, nonce) = (Authority::from(Issuer::parse(ISSUER).unwrap()), Nonce::new(&[1; 32]));
    let expected = ExpectedIdToken { authority: &authority, client_id: "deputy", nonce: &nonce, now: NOW };
    let Ok(identity) = check_id_token(SignedClaims::assume_verified(claims), expected) else { return };
    let Some(said) = super::second_reading(token) else { return };
    assert_eq!((&said["iss"], &said["sub"]), (&ISSUER.into(), &identity.subject().sub().into()));
    assert_eq!(said["nonce"], nonce.expose());
    let ours = |value: &Value| value == "deputy";
    assert!(ours(&said["aud"]) || said["aud"].as_array().is_some_and(|list| list.iter().any(ours)));
    assert!(said["azp"].is_null() || ours(&said["azp"]));
    assert!(said["exp"].as_u64().unwrap() + 60 > NOW.seconds() && said["iat"].as_u64().unwrap() <= NOW.seconds() + 60);
    vouched(&identity, &[&said]);
    let Ok(about) = serde_json::from_slice::<Userinfo>(userinfo) else { return };
    let sub = identity.subject().clone();
    let Some(more) = super::second_reading(userinfo) else { return };
    match identity.with_userinfo(about) {
        Ok(identity) => {
            assert_eq!((identity.subject(), more["sub"].as_str()), (&sub, Some(sub.sub())));
            vouched(&identity, &[&said, &more]);
        }
        Err(_) => assert_ne!(more["sub"].as_str(), Some(sub.sub())),
    }
}

/// A verified address was called verified by the very document that names it.
fn vouched(identity: &VerifiedIdentity, documents: &[&Value]) {
    let Some(email) = identity.verified_email() else { return };
    assert!(
        documents
            .iter()
            .any(|said| said["email"] == email && (said["email_verified"] == true || said["email_verified"] == "true"))
    );
}
