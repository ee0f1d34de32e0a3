//! The signing keys of our access tokens: ES256, sealed at rest, with a `kid`; they rotate while gateways run (decision 8, AS-90, AS-91,
//!

mod schedule;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
use crate::gateway::StartError;
use crate::seal::{Purpose, Seal};
use crate::store::{SealedKey, Step, Store, StoreResult};
pub use schedule::KeyUse;
use schedule::schedule;

/// All our signing keys. Which of them signs is a matter of the time: see [`schedule`].
pub(crate) struct Keyring {
    keys: ArcSwap<Vec<Key>>,
    public: Arc<ArcSwap<JwkSet>>,
}

/// One key, opened.
struct Key {
    kid: String,
    made: Timestamp,
    signing: EncodingKey,
    public: Jwk,
}

impl Keyring {
    /// Loads the keys, and makes the first one if there is none. Replicas that start at once agree: the store keeps the first.
    pub(crate) async fn load(store: &dyn Store, seal: &Seal, now: Timestamp) -> Result<Self, Failure> {
        if store.signing_keys().await?.is_empty() {
            store.take(Step::AddFirstSigningKey(new_key(seal, now)?)).await?;
        }
        let keyring = Self { keys: ArcSwap::default(), public: Arc::new(ArcSwap::from_pointee(JwkSet { keys: Vec::new() })) };
        keyring.follow(store, seal, now).await?;
        if keyring.keys.load().is_empty() {
            return Err(Failure::internal("no signing key"));
        }
        Ok(keyring)
    }

    /// Takes in what the store has and what the time makes of it. On failure everything stays as it was.
    pub(crate) async fn follow(&self, store: &dyn Store, seal: &Seal, now: Timestamp) -> Result<(), Failure> {
        let rows = store.signing_keys().await?;
        let known = self.keys.load();
        if !known.iter().map(|key| &key.kid).eq(rows.iter().map(|row| &row.kid)) {
            let keys = rows.iter().map(|row| opened(seal, row)).collect::<Result<Vec<_>, _>>()?;
            self.keys.store(Arc::new(keys));
        }
        self.publish(now);
        Ok(())
    }

    /// Publishes the keys that are not over. The set is exchanged only when it changes: the guard verifies everything anew then.
    fn publish(&self, now: Timestamp) {
        let keys = self.keys.load();
        let uses = schedule(&made(&keys), now);
        let keys: Vec<Jwk> =
            keys.iter().zip(uses).filter(|(_, how)| *how != KeyUse::Over).map(|(key, _)| key.public.clone()).collect();
        if self.public.load().keys != keys {
            self.public.store(Arc::new(JwkSet { keys }));
        }
    }

    /// The public keys, as published and as the guard uses them.
    pub(crate) fn public(&self) -> &Arc<ArcSwap<JwkSet>> {
        &self.public
    }

    /// Signs an access token (RFC 9068 §2.1: `typ` is `at+jwt`).
    pub(crate) fn sign<T: Serialize>(&self, claims: &T, now: Timestamp) -> Result<String, Reason> {
        self.signed("at+jwt", claims, now)
    }

    /// Signs what a backend is told of a person: never an access token, which has another type (RFC 8725 §3.11).
    pub(crate) fn sign_assertion<T: Serialize>(&self, claims: &T, now: Timestamp) -> Result<String, Reason> {
        self.signed("JWT", claims, now)
    }

    /// With the key whose time it is.
    fn signed<T: Serialize>(&self, typ: &str, claims: &T, now: Timestamp) -> Result<String, Reason> {
        let keys = self.keys.load();
        let uses = schedule(&made(&keys), now);
        let signing = keys.iter().zip(uses).find(|(_, how)| *how == KeyUse::Signs).map(|(key, _)| key);
        let key = signing.ok_or(Reason::Internal)?;
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.signing).map_err(|_| Reason::Internal)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.load().iter().map(|key| key.kid.clone())).finish()
    }
}

fn made(keys: &[Key]) -> Vec<Timestamp> {
    keys.iter().map(|key| key.made).collect()
}

fn opened(seal: &Seal, row: &SealedKey) -> Result<Key, Failure> {
    let text = seal.open::<String>(Purpose::AtRest, &row.sealed);
    let pkcs8: Zeroizing<Vec<u8>> = text
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .map(Zeroizing::new)
        .ok_or_else(|| Failure::internal("a signing key does not open with this master key; was master.key replaced?"))?;
    Ok(Key {
        kid: row.kid.clone(),
        made: row.created_at,
        signing: EncodingKey::from_ec_der(&pkcs8),
        public: public_key(&row.kid, &pkcs8)?,
    })
}

/// The keys that signed nothing which is valid any more.
pub(crate) fn over(keys: &[SealedKey], now: Timestamp) -> Vec<String> {
    let made: Vec<_> = keys.iter().map(|key| key.created_at).collect();
    let uses = schedule(&made, now);
    keys.iter().zip(uses).filter(|(_, how)| *how == KeyUse::Over).map(|(key, _)| key.kid.clone()).collect()
}

/// A signing key, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its key id.
    pub kid: String,
    /// When it was made.
    pub made: Timestamp,
    /// What it is for now.
    pub usage: KeyUse,
}

/// A rotation that was not begun.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// One is under way: its key does not sign yet.
    #[error("a rotation is under way: key {0} has not begun to sign")]
    UnderWay(String),
    /// The store or the keys in it cannot be used.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The data directory or the store cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Lists the signing keys, oldest first.
pub(crate) async fn list(store: &dyn Store, now: Timestamp) -> StoreResult<Vec<SigningKey>> {
    let rows = store.signing_keys().await?;
    let made: Vec<_> = rows.iter().map(|row| row.created_at).collect();
    let describe = |(row, usage): (SealedKey, KeyUse)| SigningKey { kid: row.kid, made: row.created_at, usage };
    Ok(rows.into_iter().zip(schedule(&made, now)).map(describe).collect())
}

/// Adds a key that takes over in a while.
pub(crate) async fn rotate(store: &dyn Store, seal: &Seal, now: Timestamp) -> Result<SigningKey, RotateError> {
    let rows = store.signing_keys().await.map_err(Failure::from)?;
    if let Some(row) = rows.first() {
        // A key that this master secret cannot open would stop every gateway.
        opened(seal, row)?;
    }
    let keys = list(store, now).await.map_err(Failure::from)?;
    if let Some(next) = keys.iter().find(|key| matches!(key.usage, KeyUse::Next { .. })) {
        return Err(RotateError::UnderWay(next.kid.clone()));
    }
    // The order of the keys is that of their times, also when a clock was set back in between.
    let newest = keys.last().map_or(now, |key| key.made.after(Duration::from_secs(1)));
    let new = new_key(seal, now.max(newest))?;
    let kid = new.kid.clone();
    store.take(Step::AddSigningKey(new)).await.map_err(Failure::from)?;
    let keys = list(store, now).await.map_err(Failure::from)?;
    keys.into_iter().find(|key| key.kid == kid).ok_or_else(|| Failure::internal("the new key is not in the store").into())
}

/// Puts a new key in the place of all others. It is the only one, so it signs at once.
pub(crate) async fn replace(store: &dyn Store, seal: &Seal, now: Timestamp) -> Result<(), Failure> {
    let rows = store.signing_keys().await?;
    store.take(Step::AddSigningKey(new_key(seal, now)?)).await?;
    for row in rows {
        store.take(Step::ForgetSigningKey(row.kid)).await?;
    }
    Ok(())
}

/// Whether any of these keys lies under this master secret. They rotate only when an operator says so, and no gateway starts while there is
/// one that it cannot open.
pub(crate) fn lies_under(rows: &[SealedKey], master: &[u8; 32]) -> bool {
    Seal::of(master).is_ok_and(|seal| rows.iter().any(|row| opened(&seal, row).is_ok()))
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
