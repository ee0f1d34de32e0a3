//! Which certificates are trusted: those of the machine, and what an operator adds.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

use crate::FetchError;

/// Certificates of authorities that an operator trusts beside those of the machine: a company's own.
#[derive(Clone, Default)]
pub struct Certificates(Vec<CertificateDer<'static>>);

impl Certificates {
    /// Reads all certificates of a PEM file.
    ///
    /// # Errors
    /// Says what is wrong with it; a file without certificates is wrong.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        if all.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(Self(all)) }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.0.len())
    }
}

/// TLS as every request of ours has it.
pub(crate) fn tls(certificates: &Certificates) -> Result<ClientConfig, FetchError> {
    let failed = |error: rustls::Error| FetchError::Setup(error.to_string());
    let provider = Arc::new(default_provider());
    let verifier = Verifier::new_with_extra_roots(certificates.0.iter().cloned(), Arc::clone(&provider)).map_err(failed)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(failed)?;
    // "Dangerous" is any verifier that is not built in; this is the machine's.
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}
