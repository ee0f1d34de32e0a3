//! Clients that the operator registered.

use std::fmt;

use deputy_protocol::client::{AuthMethod, DisplayName, REDIRECT_URIS_MAX};
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::secret::{ClientSecret, Digest};
use deputy_protocol::{ClientId, Reason};

use crate::clients::ClientKeys;

/// What ids of other kinds of client begin with: those that we issue, and those that are addresses of documents (AS-39).
const RESERVED: [&str; 2] = ["dc_", "https://"];

/// A client that the operator registered.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    id: ClientId,
    name: DisplayName,
    redirect_uris: Vec<RedirectUri>,
    auth: ClientAuth,
}

/// How a client that the operator registered authenticates.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// Not at all: PKCE and rotation protect it.
    Public,
    /// With a secret, of which only this is kept.
    Secret {
        /// The secret's digest.
        digest: Digest<ClientSecret>,
        /// The one way in which it may come; `None` takes it in the header and in the form.
        by: Option<AuthMethod>,
    },
    /// With assertions (`private_key_jwt`), signed with one of these keys of its own.
    Keys(ClientKeys),
}

/// Why a client cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongClient {
    /// The id is none.
    Id,
    /// The id looks like one of another kind.
    IdReserved,
    /// The id cannot be sent in an `Authorization` header.
    IdNotForBasic,
    /// There are none, or too many, redirect URIs.
    RedirectCount,
    /// A redirect URI is refused.
    Redirect(String, Reason),
    /// That is no way to send a secret.
    Method(AuthMethod),
}

impl fmt::Display for WrongClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("id must be 1 to 2048 visible ASCII characters without %: clients differ in how they encode it"),
            Self::IdReserved => f.write_str(
                "id must not begin with dc_ (clients that registered themselves) or https:// (clients with a metadata document)",
            ),
            Self::IdNotForBasic => f.write_str(
                "id has a colon, which ends the id in an Authorization header (RFC 7617). Choose another id, or auth_method = \"client_secret_post\"",
            ),
            Self::RedirectCount => write!(f, "redirect_uris must have 1 to {REDIRECT_URIS_MAX} entries"),
            Self::Redirect(uri, reason) => write!(f, "the redirect URI {uri:?} is refused. {}", reason.message().trim_end_matches('.')),
            Self::Method(method) => write!(f, "auth_method {} does not go with a secret", method.as_str()),
        }
    }
}

impl std::error::Error for WrongClient {}

impl ClientConfig {
    /// Checks a client as the operator wrote it down. Its redirect URIs obey the same rules as anybody's (AS-40).
    ///
    /// # Errors
    /// [`WrongClient`].
    pub fn new(id: &str, name: &str, redirect_uris: &[String], auth: ClientAuth) -> Result<Self, WrongClient> {
        if RESERVED.iter().any(|prefix| id.starts_with(prefix)) {
            return Err(WrongClient::IdReserved);
        }
        // Without % no id is another one's encoded form, so an id that comes encoded or not means one client (RFC 6749 §2.3.1).
        let id = ClientId::parse(id).ok().filter(|id| !id.as_str().contains('%')).ok_or(WrongClient::Id)?;
        if let ClientAuth::Secret { by, .. } = &auth {
            check_method(&id, *by)?;
        }
        if redirect_uris.is_empty() || redirect_uris.len() > REDIRECT_URIS_MAX {
            return Err(WrongClient::RedirectCount);
        }
        let redirect = |raw: &String| RedirectUri::of_operator(raw).map_err(|reason| WrongClient::Redirect(raw.clone(), reason));
        let redirect_uris = redirect_uris.iter().map(redirect).collect::<Result<_, _>>()?;
        Ok(Self { id, name: DisplayName::clean(name), redirect_uris, auth })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// What people are told it is called.
    #[must_use]
    pub fn name(&self) -> &DisplayName {
        &self.name
    }

    /// Where answers may go.
    #[must_use]
    pub fn redirect_uris(&self) -> &[RedirectUri] {
        &self.redirect_uris
    }

    /// How it authenticates.
    #[must_use]
    pub fn auth(&self) -> &ClientAuth {
        &self.auth
    }
}

fn check_method(id: &ClientId, by: Option<AuthMethod>) -> Result<(), WrongClient> {
    match by {
        Some(method @ (AuthMethod::None | AuthMethod::PrivateKeyJwt)) => Err(WrongClient::Method(method)),
        Some(AuthMethod::SecretPost) => Ok(()),
        Some(AuthMethod::SecretBasic) | None if id.as_str().contains(':') => Err(WrongClient::IdNotForBasic),
        Some(AuthMethod::SecretBasic) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(id: &str, redirect: &str, by: Option<AuthMethod>) -> Result<ClientConfig, WrongClient> {
        let digest = ClientSecret::from_text("a secret".to_owned()).digest();
        ClientConfig::new(id, "Tool", &[redirect.to_owned()], ClientAuth::Secret { digest, by })
    }

    #[test]
    fn as_39_as_40_a_client_of_the_operator_obeys_the_same_rules() {
        const GOOD: &str = "https://a.test/cb";
        assert!(new("app+one@corp", GOOD, None).is_ok());
        assert!(new("urn:app", GOOD, Some(AuthMethod::SecretPost)).is_ok());
        for (id, redirect, by, wrong) in [
            ("", GOOD, None, WrongClient::Id),
            ("my app", GOOD, None, WrongClient::Id),
            ("app%2B", GOOD, None, WrongClient::Id),
            ("dc_app", GOOD, None, WrongClient::IdReserved),
            ("https://a.test/client.json", GOOD, None, WrongClient::IdReserved),
            ("urn:app", GOOD, None, WrongClient::IdNotForBasic),
            ("urn:app", GOOD, Some(AuthMethod::SecretBasic), WrongClient::IdNotForBasic),
            ("app", GOOD, Some(AuthMethod::None), WrongClient::Method(AuthMethod::None)),
            ("app", GOOD, Some(AuthMethod::PrivateKeyJwt), WrongClient::Method(AuthMethod::PrivateKeyJwt)),
            (
                "app",
                "http://a.test/cb",
                None,
                WrongClient::Redirect("http://a.test/cb".to_owned(), Reason::RegistrationRedirectScheme),
            ),
        ] {
            assert_eq!(new(id, redirect, by).unwrap_err(), wrong, "{id} {redirect}");
        }
        let none = ClientConfig::new("app", "Tool", &[], ClientAuth::Public);
        assert_eq!(none.unwrap_err(), WrongClient::RedirectCount);
    }
}
