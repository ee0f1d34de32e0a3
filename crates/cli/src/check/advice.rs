//! What to do when a provider refuses the credential.

use deputy_server::IdpConfig;
use deputy_server::config::{Credential, IdpKind};

/// Entra's numbers (learn.microsoft.com, "Microsoft Entra authentication and authorization error codes"), and what mends them.
const ENTRA: &[(&str, &str)] = &[
    ("AADSTS7000215", "The client secret is wrong. Copy the secret's value, which the portal shows once, and not its id."),
    ("AADSTS7000222", "The client secret has expired. Make a new one under Certificates & secrets."),
    (
        "AADSTS700016",
        "Entra knows no such application in this tenant: are client_id and tenant those on the registration's Overview page?",
    ),
    ("AADSTS90002", "Entra knows no such tenant: is tenant the Directory (tenant) ID, and cloud the right one?"),
    (
        "AADSTS700027",
        "Entra does not know the certificate. Upload it under Certificates & secrets, Certificates; is it the one of this private key?",
    ),
    ("AADSTS700024", "The assertion is outside its time: set this machine's clock, or see why nobody renews the file."),
    (
        "AADSTS70021",
        "No federated credential of the registration matches the assertion: compare issuer, subject and audience under Certificates & secrets.",
    ),
    (
        "AADSTS700211",
        "No federated credential has the assertion's issuer: compare it under Certificates & secrets, Federated credentials.",
    ),
    (
        "AADSTS700212",
        "No federated credential has the assertion's audience: api://AzureADTokenExchange, or that of the national cloud.",
    ),
    (
        "AADSTS700213",
        "No federated credential has the assertion's subject: compare it under Certificates & secrets, Federated credentials.",
    ),
    ("AADSTS7000218", "Entra wants a credential: give client_secret, private_key, assertion or managed_identity."),
    (
        "AADSTS700025",
        "The registration is a public client; take the credential out, or add the redirect URI under the platform Web.",
    ),
    ("AADSTS53003", "A conditional access policy of the tenant keeps this machine out."),
];

/// What to do about a refused credential.
pub(super) fn of_credential(idp: &IdpConfig, code: &str, numbers: &str) -> String {
    if let Some((_, advice)) = ENTRA.iter().find(|(number, _)| numbers.split(' ').any(|said| said == *number)) {
        return (*advice).to_owned();
    }
    let console = match &idp.kind {
        IdpKind::GitHub(_) => "under Developer settings",
        IdpKind::Entra(_) => "under App registrations",
        IdpKind::OpenId { .. } | IdpKind::OAuth(_) => "in its console",
    };
    let what = match &idp.credential {
        Credential::None => "It wants a credential: give client_secret.",
        Credential::Secret(_) => "Compare client_id and the secret; a secret may have expired or been replaced.",
        Credential::Key(_) => {
            "Compare client_id and key_id, and see that the public key (or certificate) of private_key is registered."
        }
        Credential::File(_) => "Compare client_id, and see that whoever made the assertion in the file is trusted there.",
        Credential::Managed(_) => {
            "Compare client_id, and see that the registration trusts the managed identity as a federated credential."
        }
    };
    let grant =
        if code == "unauthorized_client" { " The registration must be allowed the authorization code grant." } else { "" };
    format!("{what} You find both {console}.{grant}")
}
