//! How deputy proves at the provider that its registration is its own.

use deputy_server::config::{AssertionKey, Credential, RsaAlgorithm};

use super::{FROM_CONSOLE, Reader};
use crate::config::file::{Idp, SECRET_VARIABLE};
use crate::config::place::{Located, Place};
use crate::config::secret::SecretSource;
use crate::config::{Problem, secret};

impl Reader<'_> {
    /// A secret, a private key, or an assertion that somebody else renews: one of them, or none.
    pub(super) fn credential(&self, idp: &Idp, rsa: RsaAlgorithm) -> Result<Credential, Problem> {
        let given = idp.given_secret.as_ref().filter(|_| self.alone);
        let ways = [
            idp.client_secret.as_ref().map(|it| &it.place),
            idp.private_key.as_ref().map(|it| &it.place),
            idp.assertion.as_ref().map(|it| &it.place),
        ];
        if let [Some(_), Some(second), ..] =
            ways.iter().flatten().map(|&it| Some(it)).chain([None, None]).collect::<Vec<_>>().as_slice()
        {
            return Err(Problem::new(second, "one of client_secret, private_key and assertion is enough; take the others out."));
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
        Ok(idp.assertion.as_ref().map_or(Credential::None, |file| Credential::File(self.base.join(&file.value.file))))
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
