//! Who signed in at a provider that has no ID tokens (OC-07; A-136).

use super::{Memberships, SUBJECT_MAX, Subject, VerifiedIdentity};
use crate::error::Reason;
use crate::ids::Issuer;

/// What a provider's own interface says about the owner of an access token.
///
/// For the caller who asked with a token that the provider gave to us, for the code of this very sign-in: a token that anybody else brings
/// may have been made for another application, and says nothing about who sits in front of the browser.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The provider's lasting name for the person. Never one that can be given to somebody else later, as a login can.
    pub id: String,
    /// The e-mail address, if the provider verified it.
    pub email: Option<String>,
    /// What the person is called.
    pub name: Option<String>,
    /// What the person belongs to.
    pub memberships: Memberships,
}

/// Checks a profile of a person who signs in.
///
/// # Errors
/// [`Reason::IdTokenSubject`] when it names nobody.
pub fn check_profile(profile: Profile, issuer: &Issuer) -> Result<VerifiedIdentity, Reason> {
    if profile.id.trim().is_empty() || profile.id.len() > SUBJECT_MAX {
        return Err(Reason::IdTokenSubject);
    }
    let known = |text: &String| !text.trim().is_empty();
    let email = profile.email.filter(known);
    Ok(VerifiedIdentity {
        subject: Subject { idp: issuer.clone(), sub: profile.id },
        email_verified: email.is_some(),
        email,
        name: profile.name.filter(known),
        memberships: profile.memberships,
    })
}

/// Checks a profile of a person who signed in before.
///
/// # Errors
/// [`Reason::IdpOtherSubject`] when it is about somebody else.
pub fn check_renewed_profile(profile: Profile, subject: &Subject) -> Result<VerifiedIdentity, Reason> {
    let identity = check_profile(profile, subject.idp())?;
    if identity.subject() == subject { Ok(identity) } else { Err(Reason::IdpOtherSubject) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(id: &str) -> Profile {
        Profile { id: id.to_owned(), email: Some("a@corp.test".to_owned()), name: Some(" ".to_owned()), ..Profile::default() }
    }

    #[test]
    fn a_136_a_144_a_profile_names_a_person() {
        let issuer = Issuer::parse("https://github.com").unwrap();
        let who = check_profile(profile("583231"), &issuer).unwrap();
        assert_eq!((who.subject().sub(), who.verified_email(), who.name()), ("583231", Some("a@corp.test"), None));
        for id in ["", " ", &"1".repeat(256)] {
            assert_eq!(check_profile(profile(id), &issuer).err(), Some(Reason::IdTokenSubject), "{id:?}");
        }
        assert!(check_renewed_profile(profile("583231"), who.subject()).is_ok());
        assert_eq!(check_renewed_profile(profile("1"), who.subject()).err(), Some(Reason::IdpOtherSubject));
    }
}
