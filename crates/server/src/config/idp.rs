//! One identity provider, as the operator registered deputy there.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_fetch::{Endpoint, NotAnEndpoint};
use deputy_protocol::claims::{Authority, Tenants};
use deputy_protocol::secret::{ClientSecret, sha256};
use deputy_protocol::{IdpName, Issuer};
use jsonwebtoken::{Algorithm, EncodingKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// One identity provider.
#[derive(Clone, Debug)]
pub struct IdpConfig {
    /// What the configuration calls it. With several providers, it stands in the redirect URI to register there.
    pub name: IdpName,
    /// What people call it; by default its host.
    pub label: Option<String>,
    /// Which provider it is, and what is special about it.
    pub kind: IdpKind,
    /// Our static registration there.
    pub client_id: String,
    /// How we prove that it is ours.
    pub credential: Credential,
    /// The scopes that we ask for; never what a client asked for.
    pub scopes: Vec<String>,
    /// Whether to ask for `offline_access` as well where the provider says that it knows it: without a refresh token of the provider's,
    /// people sign in again after [`Hearing::silence`](deputy_protocol::family::Hearing::silence).
    pub offline_access: bool,
    /// Whether to ask the userinfo endpoint for claims that the ID token lacks.
    pub userinfo: bool,
    /// Further parameters of the request that sends people there, such as `access_type=offline`. Our own parameters are never replaced.
    pub parameters: Vec<(String, String)>,
}

impl IdpConfig {
    /// An OpenID provider with discovery, and the scopes that every one of them knows.
    #[must_use]
    pub fn openid(name: IdpName, issuer: Issuer, client_id: String, credential: Credential) -> Self {
        Self {
            name,
            label: None,
            kind: IdpKind::OpenId { issuer },
            client_id,
            credential,
            scopes: ["openid", "profile", "email"].map(str::to_owned).to_vec(),
            offline_access: true,
            userinfo: false,
            parameters: Vec::new(),
        }
    }

    /// GitHub. It does not tell applications apart by what they may read of a person's own profile, so little is asked for.
    #[must_use]
    pub fn github(name: IdpName, github: GitHub, client_id: String, credential: Credential) -> Self {
        let scopes: &[&str] =
            if github.memberships { &["read:user", "user:email", "read:org"] } else { &["read:user", "user:email"] };
        Self {
            name,
            label: Some("GitHub".to_owned()),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            kind: IdpKind::GitHub(github),
            client_id,
            credential,
            offline_access: false,
            userinfo: false,
            parameters: Vec::new(),
        }
    }

    /// Microsoft Entra ID. Its ID tokens say all that it tells; the userinfo endpoint knows less, under another name for the person.
    #[must_use]
    pub fn entra(name: IdpName, entra: Entra, client_id: String, credential: Credential) -> Self {
        let scopes = ["openid", "profile", "email", "offline_access"].map(str::to_owned);
        Self {
            name,
            label: Some("Microsoft".to_owned()),
            scopes: scopes.into_iter().chain(entra.api_scope(&client_id)).collect(),
            kind: IdpKind::Entra(entra),
            client_id,
            credential,
            offline_access: false,
            userinfo: false,
            parameters: Vec::new(),
        }
    }
}

/// Which provider it is.
#[derive(Clone, Debug)]
pub enum IdpKind {
    /// An OpenID provider that publishes its metadata.
    OpenId {
        /// Its issuer, to the letter.
        issuer: Issuer,
    },
    /// Microsoft Entra ID.
    Entra(Entra),
    /// GitHub, which has no ID tokens.
    GitHub(GitHub),
    /// Another provider without ID tokens.
    OAuth(Box<OAuth>),
}

impl IdpKind {
    /// Whose ID tokens count.
    #[must_use]
    pub fn authority(&self) -> Authority {
        match self {
            Self::OpenId { issuer } => Authority::Issuer(issuer.clone()),
            Self::Entra(entra) => Authority::Tenants(entra.tenants.clone()),
            Self::GitHub(github) => Authority::Issuer(github.web.clone()),
            Self::OAuth(oauth) => Authority::Issuer(oauth.issuer.clone()),
        }
    }

    /// Whether ID tokens say who signed in.
    #[must_use]
    pub const fn has_id_tokens(&self) -> bool {
        matches!(self, Self::OpenId { .. } | Self::Entra(_))
    }
}

/// GitHub, or a GitHub Enterprise Server: an OAuth app or a GitHub App there.
#[derive(Clone, Debug)]
pub struct GitHub {
    /// Where people sign in: `https://github.com`. People are named by their number there.
    pub web: Issuer,
    /// Its interface: `https://api.github.com`, or `https://HOST/api/v3`.
    pub api: Issuer,
    /// Whether to ask for organisations and teams, which rules may name.
    pub memberships: bool,
}

/// A provider without ID tokens and without published metadata.
#[derive(Clone, Debug)]
pub struct OAuth {
    /// What stands for the provider in our names of its people. It never changes.
    pub issuer: Issuer,
    /// RFC 6749 §3.1.
    pub authorization_endpoint: Issuer,
    /// RFC 6749 §3.2.
    pub token_endpoint: Issuer,
    /// What says whose an access token is.
    pub userinfo_endpoint: Issuer,
    /// What the answer's members are called.
    pub claims: ClaimNames,
}

/// What the members of an answer about a person are called.
#[derive(Clone, Debug)]
pub struct ClaimNames {
    /// The provider's lasting name for the person.
    pub id: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether that was verified: without it no address counts.
    pub email_verified: Option<String>,
    /// What the person is called.
    pub name: Option<String>,
    /// A list of groups.
    pub groups: Option<String>,
}

/// The tenants of Microsoft Entra ID whose people may sign in, and where.
#[derive(Clone, Debug)]
pub struct Entra {
    /// The origin of its endpoints: `https://login.microsoftonline.com`, that of a national cloud, or of an external tenant.
    pub origin: Issuer,
    /// The tenants.
    pub tenants: Tenants,
    /// Microsoft Graph of that cloud, to be asked about people in more groups than a token lists: `https://graph.microsoft.com`. The scope
    /// `User.Read` lets us; without Graph, such people come in by no group, and are kept out by any.
    pub graph: Option<Issuer>,
    /// Whether access tokens are for this registration itself, to be exchanged for such that are for an API (on-behalf-of).
    pub on_behalf: bool,
}

impl Entra {
    /// What stands in its endpoints' paths: the one tenant, or the word for all of them.
    #[must_use]
    pub fn path(&self) -> &str {
        match self.tenants.allowed() {
            [one] => one.as_str(),
            _ => "organizations",
        }
    }

    /// The scope that says for which API the access token is to be; without one it is for nothing that we ask. Entra takes a registration's
    /// own id only as it stands, without `api://` (AADSTS90009).
    #[must_use]
    pub fn api_scope(&self, client_id: &str) -> Option<String> {
        match (self.on_behalf, &self.graph) {
            (true, _) => Some(format!("{client_id}/.default")),
            (false, Some(_)) => Some("User.Read".to_owned()),
            (false, None) => None,
        }
    }

    /// The issuer that its metadata must name: the one tenant's, or the pattern for all of them.
    #[must_use]
    pub fn metadata_issuer(&self) -> String {
        match self.tenants.allowed() {
            [one] => self.tenants.issuer(one).map_or_else(String::new, |issuer| issuer.to_string()),
            _ => self.tenants.template().to_owned(),
        }
    }
}

/// How we prove at the provider that a registration is ours.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// Not at all: a public client.
    #[default]
    None,
    /// By a secret.
    Secret(ClientSecret),
    /// By what we sign with a private key (RFC 7523 §2.2).
    Key(AssertionKey),
    /// By an assertion that somebody else renews in a file, such as a workload's identity token.
    File(PathBuf),
    /// By what Azure says about the machine or the service that we run on.
    Managed(ManagedIdentity),
}

/// A user-assigned managed identity of Azure's, which the registration trusts as a federated credential.
#[derive(Clone, Debug)]
pub struct ManagedIdentity {
    pub(crate) endpoint: Endpoint,
    /// What shows that no forwarder was talked into the request.
    pub(crate) header: (&'static str, ClientSecret),
}

impl ManagedIdentity {
    /// Of a virtual machine or anything else with an instance metadata service at `origin`, which is `http://169.254.169.254`. `audience` is
    /// for whom the assertion is: `api://AzureADTokenExchange`, or what the national cloud calls that.
    ///
    /// # Errors
    /// [`NotAnEndpoint`] for an origin that is not on this machine.
    pub fn of_machine(origin: &str, audience: &str, client_id: &str) -> Result<Self, NotAnEndpoint> {
        let url = format!("{}/metadata/identity/oauth2/token", origin.trim_end_matches('/'));
        let endpoint = asked_for(&url, "2018-02-01", audience, client_id)?;
        Ok(Self { endpoint, header: ("metadata", ClientSecret::from_text("true".to_owned())) })
    }

    /// Of App Service, Container Apps or Functions: `endpoint` and `header` are their `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
    ///
    /// # Errors
    /// [`NotAnEndpoint`] for an endpoint that is not on this machine.
    pub fn of_service(endpoint: &str, header: ClientSecret, audience: &str, client_id: &str) -> Result<Self, NotAnEndpoint> {
        Ok(Self { endpoint: asked_for(endpoint, "2019-08-01", audience, client_id)?, header: ("x-identity-header", header) })
    }
}

fn asked_for(url: &str, version: &str, audience: &str, client_id: &str) -> Result<Endpoint, NotAnEndpoint> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("api-version", version).append_pair("resource", audience).append_pair("client_id", client_id);
    Endpoint::parse_local(&format!("{url}?{}", query.finish()))
}

/// A private key of ours, whose public half is known at the provider.
#[derive(Clone)]
pub struct AssertionKey {
    pub(crate) key: EncodingKey,
    pub(crate) algorithm: Algorithm,
    /// The key's name there.
    pub(crate) kid: Option<String>,
    /// The certificate's SHA-256 thumbprint, base64url (RFC 7515 §4.1.8).
    pub(crate) thumbprint: Option<String>,
}

/// A private key or a certificate that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongKey {
    /// The private key.
    #[error("there is no RSA or P-256 private key in it, in PEM (PKCS #8: BEGIN PRIVATE KEY) and without a password")]
    Key,
    /// The certificate.
    #[error("there is no certificate in it, in PEM (BEGIN CERTIFICATE)")]
    Certificate,
}

impl AssertionKey {
    /// Reads a private key in PEM. `algorithm` is for RSA keys; a P-256 key signs with ES256.
    ///
    /// # Errors
    /// [`WrongKey::Key`].
    pub fn from_pem(key: &[u8], rsa: RsaAlgorithm, kid: Option<String>) -> Result<Self, WrongKey> {
        let (key, algorithm) = match EncodingKey::from_rsa_pem(key) {
            Ok(key) => (key, rsa.algorithm()),
            Err(_) => (EncodingKey::from_ec_pem(key).map_err(|_| WrongKey::Key)?, Algorithm::ES256),
        };
        Ok(Self { key, algorithm, kid, thumbprint: None })
    }

    /// Names the key by the first certificate of `pem`, as Entra wants it.
    ///
    /// # Errors
    /// [`WrongKey::Certificate`].
    pub fn with_certificate(mut self, pem: &[u8]) -> Result<Self, WrongKey> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| WrongKey::Certificate)?;
        self.thumbprint = Some(URL_SAFE_NO_PAD.encode(sha256(&der)));
        Ok(self)
    }
}

/// With which algorithm an RSA key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaAlgorithm {
    /// What every OpenID provider knows (OIDC Core §15.1).
    Rs256,
    /// What Entra asks for.
    Ps256,
}

impl RsaAlgorithm {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Ps256 => Algorithm::PS256,
        }
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey").field("algorithm", &self.algorithm).field("kid", &self.kid).finish_non_exhaustive()
    }
}
