//! The provider's signing key: made at start, gone at the end.

use anyhow::{Context as _, anyhow};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_protocol::secret::sha256;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto};
use serde_json::{Value, json};

/// A private key, and its public half as it is published.
pub(super) struct SigningKey {
    private: EncodingKey,
    algorithm: Algorithm,
    kid: String,
    public: Value,
    verifies: DecodingKey,
}

impl SigningKey {
    /// An ES256 key.
    pub(super) fn es256() -> anyhow::Result<Self> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| anyhow!("cannot make a key"))?;
        Self::of(EncodingKey::from_ec_der(pkcs8.as_ref()), Algorithm::ES256)
    }

    /// An RS256 key.
    pub(super) fn rs256() -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("cannot make a key"))?;
        let der = pair.as_der().map_err(|_| anyhow!("cannot read the new key"))?;
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        Self::of(EncodingKey::from_rsa_pem(pem.as_bytes())?, Algorithm::RS256)
    }

    fn of(private: EncodingKey, algorithm: Algorithm) -> anyhow::Result<Self> {
        let jwk = Jwk::from_encoding_key(&private, algorithm).context("cannot publish the new key")?;
        let mut public = serde_json::to_value(&jwk)?;
        let kid = URL_SAFE_NO_PAD.encode(sha256(public.to_string().as_bytes()));
        let members = public.as_object_mut().context("a key that is no object")?;
        members.insert("kid".to_owned(), json!(kid));
        members.insert("use".to_owned(), json!("sig"));
        Ok(Self { verifies: DecodingKey::from_jwk(&jwk)?, private, algorithm, kid, public })
    }

    /// As published.
    pub(super) fn public(&self) -> &Value {
        &self.public
    }

    pub(super) fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.private).context("cannot sign")
    }

    /// What a token of this key says.
    pub(super) fn read(&self, token: &str) -> Option<Value> {
        read(token, &self.verifies, self.algorithm)
    }
}

/// What a token says that this key signed.
pub(super) fn read(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    crypto::verify(signature, signed.as_bytes(), key, algorithm).ok()?.then_some(())?;
    part(signed.split_once('.')?.1)
}

/// What stands in a token's header, whoever signed it.
pub(super) fn header(token: &str) -> Option<Value> {
    part(token.split('.').next()?)
}

fn part(encoded: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}
