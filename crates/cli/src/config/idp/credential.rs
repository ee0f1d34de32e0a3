//! How deputy proves at the provider that its registration is its own.

use deputy_protocol::claims::TenantId;
use deputy_protocol::secret::ClientSecret;
use deputy_server::config::{AssertionKey, Credential, ManagedIdentity, RsaAlgorithm};

use super::{FROM_CONSOLE, Reader};
use crate::config::file::{Idp, SECRET_VARIABLE};
use crate::config::place::{Located, Place};
use crate::config::presets::ENTRA;
use crate::config::secret::SecretSource;
use crate::config::{Problem, secret};

/// What App Service, Container Apps and Functions set (learn.microsoft.com, "REST endpoint reference" of managed identities).
const SERVICE_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const SERVICE_HEADER: &str = "IDENTITY_HEADER";
/// What stands in for the address at which machines ask, as Azure's libraries read it.
const MACHINE_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const MACHINE: &str = "http://169.254.169.254";

/// For whom a federated credential is (learn.microsoft.com, "Configure an application to trust a managed identity").
fn exchange_audience(cloud: Option<&str>) -> &'static str {
    match cloud {
        Some("us") => "api://AzureADTokenExchangeUSGov",
        Some("china") => "api://AzureADTokenExchangeChina",
        Some(_) | None => "api://AzureADTokenExchange",
    }
}

impl Reader<'_> {
    /// A secret, a private key, an assertion that somebody else renews, or what Azure says of us: one of them, or none.
    pub(super) fn credential(&self, idp: &Idp, rsa: RsaAlgorithm) -> Result<Credential, Problem> {
        let given = idp.given_secret.as_ref().filter(|_| self.alone);
        let ways = [
            idp.client_secret.as_ref().map(|it| &it.place),
            idp.private_key.as_ref().map(|it| &it.place),
            idp.assertion.as_ref().map(|it| &it.place),
            idp.managed_identity.as_ref().map(|it| &it.place),
        ];
        if let Some(second) = ways.into_iter().flatten().nth(1) {
            let text = "one of client_secret, private_key, assertion and managed_identity is enough; take the others out.";
            return Err(Problem::new(second, text));
        }
        if let (Some(certificate), None) = (&idp.certificate, &idp.private_key) {
            return Err(Problem::new(
                &certificate.place,
                "certificate goes with private_key = { file = \"…\" }: both halves are needed.",
            ));
        }
        if let Some(text) = given {
            return secret::given(&text.0, &Place::Env(SECRET_VARIABLE), FROM_CONSOLE).map(Credential::Secret);
        }
        if let Some(source) = &idp.client_secret {
            return secret::fetch(source, self.base, self.env, FROM_CONSOLE).map(Credential::Secret);
        }
        if let Some(source) = &idp.private_key {
            return self.key(source, idp, rsa).map(Credential::Key);
        }
        if let Some(client_id) = &idp.managed_identity {
            return self.managed(client_id, idp).map(Credential::Managed);
        }
        Ok(idp.assertion.as_ref().map_or(Credential::None, |file| Credential::File(self.base.join(&file.value.file))))
    }

    /// Where Azure answers is said by the environment that Azure makes, or it is where machines ask.
    fn managed(&self, client_id: &Located<String>, idp: &Idp) -> Result<ManagedIdentity, Problem> {
        let problem = |text: &str| Problem::new(&client_id.place, text);
        if idp.provider.as_ref().is_none_or(|provider| provider.value != ENTRA) {
            return Err(problem("managed_identity is for provider = \"entra\"."));
        }
        if TenantId::parse(&client_id.value).is_none() {
            let text = "managed_identity is the client id of a user-assigned managed identity, a UUID: in the portal under Managed Identities, \
                        Overview. Entra trusts no system-assigned one here.";
            return Err(problem(text));
        }
        let audience = exchange_audience(idp.cloud.as_ref().map(|cloud| cloud.value.as_str()));
        let given = |name: &str| (self.env)(name).filter(|value| !value.is_empty());
        let identity = match (given(SERVICE_ENDPOINT), given(SERVICE_HEADER)) {
            (Some(endpoint), Some(header)) => {
                ManagedIdentity::of_service(&endpoint, ClientSecret::from_text(header), audience, &client_id.value)
            }
            (None, _) | (_, None) => {
                let machine = given(MACHINE_HOST).unwrap_or_else(|| MACHINE.to_owned());
                ManagedIdentity::of_machine(&machine, audience, &client_id.value)
            }
        };
        let text = format!("{SERVICE_ENDPOINT} and {MACHINE_HOST} in the environment are http addresses on this machine.");
        identity.map_err(|_| problem(&text))
    }

    fn key(&self, source: &Located<SecretSource>, idp: &Idp, rsa: RsaAlgorithm) -> Result<AssertionKey, Problem> {
        let pem = secret::fetch_lines(source, self.base, self.env)?;
        let kid = idp.key_id.as_ref().map(|kid| kid.value.clone());
        let key = AssertionKey::from_pem(pem.expose().as_bytes(), rsa, kid);
        let key = key.map_err(|error| Problem::new(&source.place, format!("private_key: {error}.")))?;
        let Some(certificate) = &idp.certificate else {
            return if rsa == RsaAlgorithm::Ps256 {
                let text = "private_key needs certificate = { file = \"…\" } beside it: Entra knows the key by its certificate.";
                Err(Problem::new(&source.place, text))
            } else {
                Ok(key)
            };
        };
        let path = self.base.join(&certificate.value.file);
        let problem = |why: String| Problem::new(&certificate.place, format!("certificate {}: {why}.", path.display()));
        let pem = std::fs::read(&path).map_err(|error| problem(error.to_string()))?;
        key.with_certificate(&pem).map_err(|error| problem(error.to_string()))
    }
}
