//! The signing keys of our access tokens: ES256, sealed at rest, with a `kid` and room for more than one (decision 8, AS-90, AS-91).

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use deputy_protocol::{Reason, Timestamp};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType, Jwk, JwkSet,
    KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::error::Failure;
use crate::seal::{Purpose, Seal};
use crate::store::{SealedKey, Step, Store};

/// All our signing keys. The newest signs; all of them verify.
pub(crate) struct Keyring {
    kid: String,
    signing: EncodingKey,
    public: Arc<ArcSwap<JwkSet>>,
}

impl Keyring {
    /// Loads the keys, and makes the first one if there is none. Replicas that start at once agree: the store keeps the first.
    pub(crate) async fn load(store: &dyn Store, seal: &Seal, now: Timestamp) -> Result<Self, Failure> {
        if store.signing_keys().await?.is_empty() {
            store.take(Step::AddFirstSigningKey(new_key(seal, now)?)).await?;
        }
        let mut keys = Vec::new();
        for row in store.signing_keys().await? {
            let pkcs8: Zeroizing<Vec<u8>> = seal
                .open::<String>(Purpose::AtRest, &row.sealed)
                .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
                .map(Zeroizing::new)
                .ok_or_else(|| Failure::internal("a signing key does not open with this master key; was master.key replaced?"))?;
            keys.push((row, pkcs8));
        }
        let jwks = keys.iter().map(|(row, pkcs8)| public_key(&row.kid, pkcs8)).collect::<Result<Vec<_>, _>>()?;
        let (newest, pkcs8) = keys.last().ok_or_else(|| Failure::internal("no signing key"))?;
        Ok(Self {
            kid: newest.kid.clone(),
            signing: EncodingKey::from_ec_der(pkcs8),
            public: Arc::new(ArcSwap::from_pointee(JwkSet { keys: jwks })),
        })
    }

    /// The public keys, as published and as the guard uses them.
    pub(crate) fn public(&self) -> &Arc<ArcSwap<JwkSet>> {
        &self.public
    }

    /// Signs an access token (RFC 9068 §2.1: `typ` is `at+jwt`).
    pub(crate) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, Reason> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|_| Reason::Internal)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.kid)
    }
}

fn new_key(seal: &Seal, now: Timestamp) -> Result<SealedKey, Failure> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| Failure::internal("cannot make a signing key"))?;
    let pair = parse(pkcs8.as_ref())?;
    let digest = sha256(pair.public_key().as_ref());
    let kid = URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or(&digest));
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(pkcs8.as_ref()));
    Ok(SealedKey { kid, sealed: seal.seal(Purpose::AtRest, &*text)?, created_at: now })
}

fn parse(pkcs8: &[u8]) -> Result<EcdsaKeyPair, Failure> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
        .map_err(|_| Failure::internal("a stored signing key is damaged"))
}

fn public_key(kid: &str, pkcs8: &[u8]) -> Result<Jwk, Failure> {
    let pair = parse(pkcs8)?;
    // An uncompressed point (SEC 1 §2.3.3): 0x04 ‖ x ‖ y, 32 bytes each.
    let point = pair.public_key().as_ref();
    let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
        return Err(Failure::internal("a stored signing key is damaged"));
    };
    Ok(Jwk {
        common: CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm: Some(KeyAlgorithm::ES256),
            key_id: Some(kid.to_owned()),
            ..CommonParameters::default()
        },
        algorithm: AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
            key_type: EllipticCurveKeyType::EC,
            curve: EllipticCurve::P256,
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        }),
    })
}
