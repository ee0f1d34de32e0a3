//! Sealing: what leaves us and must come back unread and unchanged.
//!
//! A master secret gives one key per purpose (HKDF-SHA-256, RFC 5869), so that a box made for one purpose opens for no other. The
//! cipher is AES-256-GCM-SIV (RFC 8452): anyone may make us seal registrations without end, and should a random nonce ever repeat,
//! this cipher reveals no more than that two boxes are equal.

mod keys;

use std::fmt;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::family::{Generation, Place};
use deputy_protocol::secret::RefreshToken;
use deputy_protocol::{GrantId, Reason};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::master::Ring;
use crate::random;
use keys::key;
pub(crate) use keys::{KeySet, fingerprint};

const VERSION: u8 = 1;
const NONCE_LEN: usize = 12;

/// What a box is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A client's registration: its `client_id`.
    Registration,
    /// What lets a client register.
    Invitation,
    /// A pending transaction, in the consent page's form.
    Ticket,
    /// An approved transaction, in the state cookie.
    StateCookie,
    /// A signed-in transaction, in the last page's form.
    LastPage,
    /// The key under which a browser's decisions are remembered, in its cookie.
    Browser,
    /// What the page of a refused callback says.
    Stopped,
    /// An MCP session's name, with whose it is.
    McpSession,
    /// A row of the database.
    AtRest,
}

/// All sealing keys of this deployment: what is sealed, is under the first; what comes back may be under any.
pub(crate) struct Seal {
    first: KeySet,
    others: Vec<KeySet>,
}

impl Seal {
    /// The keys of every master secret.
    pub(crate) fn new(ring: &Ring) -> Result<Self, Reason> {
        let others = ring.others().map(|master| KeySet::new(master.secret(), master.replaced())).collect::<Result<_, _>>()?;
        Ok(Self { first: KeySet::new(ring.first().secret(), None)?, others })
    }

    /// The keys of one master secret.
    pub(crate) fn of(master: &[u8; 32]) -> Result<Self, Reason> {
        Ok(Self { first: KeySet::new(master, None)?, others: Vec::new() })
    }

    fn sets(&self) -> impl Iterator<Item = &KeySet> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The keys under which new things are sealed.
    pub(crate) const fn newest(&self) -> &KeySet {
        &self.first
    }

    /// Seals a value as base64url text.
    pub(crate) fn seal<T: Serialize>(&self, purpose: Purpose, value: &T) -> Result<String, Reason> {
        let plain = Zeroizing::new(serde_json::to_vec(value).map_err(|_| Reason::Internal)?);
        Ok(URL_SAFE_NO_PAD.encode(seal_bytes(self.first.key(purpose), &plain)?))
    }

    /// Opens what [`Seal::seal`] made for the same purpose. `None` for everything else: forged, altered, or another purpose's.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: Purpose, text: &str) -> Option<T> {
        self.open_by(purpose, text).map(|(value, _)| value)
    }

    /// [`Seal::open`], and whose keys did it.
    pub(crate) fn open_by<T: DeserializeOwned>(&self, purpose: Purpose, text: &str) -> Option<(T, &KeySet)> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (plain, set) = self.sets().find_map(|set| Some((open_bytes(set.key(purpose), &sealed)?, set)))?;
        Some((serde_json::from_slice(&plain).ok()?, set))
    }

    /// Makes a refresh token: grant, generation and 128 random bits, under a tag that only we can make. So a stranger's guess never
    /// reaches the store, and a token that the store has forgotten is still known as one that was replaced.
    pub(crate) fn refresh_token(&self, grant: &GrantId, generation: Generation) -> Result<RefreshToken, Reason> {
        let random: [u8; 16] = random::bytes()?;
        let grant = grant.to_bytes().ok_or(Reason::Internal)?;
        let said = [grant.as_slice(), &generation.number().to_be_bytes(), &random].concat();
        let tag = self.first.refresh_tag(&said)?;
        Ok(RefreshToken::of_bytes(&[said.as_slice(), &tag].concat()))
    }

    /// What a refresh token says, if it is one of ours.
    pub(crate) fn place_of(&self, token: &RefreshToken) -> Option<Place> {
        let bytes = token.to_bytes()?;
        let (said, tag) = bytes.split_at_checked(16 + 4 + 16)?;
        let ours = |set: &KeySet| set.refresh_tag(said).is_ok_and(|expected| verify_slices_are_equal(&expected, tag).is_ok());
        self.sets().find(|set| ours(set))?;
        let (grant, rest) = said.split_first_chunk::<16>()?;
        let (generation, _) = rest.split_first_chunk::<4>()?;
        let generation = Generation::from_number(u32::from_be_bytes(*generation));
        Some(Place { grant: GrantId::new(*grant), generation, digest: token.digest() })
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

/// Seals a refresh token's successor under a key that only the token itself gives: the database alone reveals nothing (decision 5).
pub(crate) fn seal_successor(token: &RefreshToken, successor: &RefreshToken) -> Result<String, Reason> {
    Ok(URL_SAFE_NO_PAD.encode(seal_bytes(&successor_key(token)?, successor.expose().as_bytes())?))
}

/// Opens what [`seal_successor`] made with the same token.
pub(crate) fn open_successor(token: &RefreshToken, sealed: &str) -> Option<RefreshToken> {
    let plain = open_bytes(&successor_key(token).ok()?, &URL_SAFE_NO_PAD.decode(sealed).ok()?)?;
    RefreshToken::presented(std::str::from_utf8(&plain).ok()?)
}

fn successor_key(token: &RefreshToken) -> Result<LessSafeKey, Reason> {
    key(token.expose().as_bytes(), b"deputy refresh successor 1")
}

/// version ‖ nonce ‖ ciphertext and tag.
fn seal_bytes(key: &LessSafeKey, plain: &[u8]) -> Result<Vec<u8>, Reason> {
    let nonce: [u8; NONCE_LEN] = random::bytes()?;
    let mut body = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from([VERSION]), &mut body)
        .map_err(|_| Reason::Internal)?;
    let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    sealed.append(&mut body);
    Ok(sealed)
}

fn open_bytes(key: &LessSafeKey, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&version, rest) = sealed.split_first()?;
    let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
    if version != VERSION {
        return None;
    }
    let mut body = body.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let plain_len = key.open_in_place(nonce, Aad::from([version]), &mut body).ok()?.len();
    body.truncate(plain_len);
    Some(Zeroizing::new(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::MasterRotation;
    use deputy_protocol::{ClientId, Timestamp};
    use proptest::prelude::*;

    #[test]
    fn a_box_opens_for_its_purpose_and_key_only() {
        let seal = Seal::of(&[1; 32]).expect("keys");
        let text = seal.seal(Purpose::Ticket, &"hello").expect("sealed");
        assert_eq!(seal.open::<String>(Purpose::Ticket, &text).as_deref(), Some("hello"));
        assert_eq!(seal.open::<String>(Purpose::StateCookie, &text), None);
        assert_eq!(Seal::of(&[2; 32]).expect("keys").open::<String>(Purpose::Ticket, &text), None);
    }

    #[test]
    fn an_altered_box_does_not_open() {
        let seal = Seal::of(&[1; 32]).expect("keys");
        let sealed = URL_SAFE_NO_PAD.decode(seal.seal(Purpose::Ticket, &"hello").expect("sealed")).expect("base64");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(seal.open::<String>(Purpose::Ticket, &URL_SAFE_NO_PAD.encode(altered)), None, "byte {at}");
            assert_eq!(seal.open::<String>(Purpose::Ticket, &URL_SAFE_NO_PAD.encode(&sealed[..at])), None, "cut at {at}");
        }
    }

    #[test]
    fn a_successor_opens_with_its_own_token_only() {
        let (one, two) = (RefreshToken::of_bytes(&[1; 32]), RefreshToken::of_bytes(&[2; 32]));
        let sealed = seal_successor(&one, &two).expect("sealed");
        assert_eq!(open_successor(&one, &sealed).map(|t| t.digest()), Some(two.digest()));
        assert!(open_successor(&two, &sealed).is_none());
    }

    #[test]
    fn a_refresh_token_says_whose_it_is_and_cannot_be_made_or_altered() {
        let (seal, grant, generation) = (Seal::of(&[1; 32]).expect("keys"), GrantId::new([7; 16]), Generation::from_number(300));
        let token = seal.refresh_token(&grant, generation).expect("made");
        assert_eq!(seal.place_of(&token), Some(Place { grant, generation, digest: token.digest() }));
        assert_eq!(Seal::of(&[2; 32]).expect("keys").place_of(&token), None);
        let bytes = token.to_bytes().expect("bytes");
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert_eq!(seal.place_of(&RefreshToken::of_bytes(&altered)), None, "byte {at}");
            assert_eq!(seal.place_of(&RefreshToken::of_bytes(&bytes[..at])), None, "cut at {at}");
        }
    }

    /// A ring as rotations make it: 3 is prepared, 2 seals, 1 was replaced.
    fn ring() -> Ring {
        let (at, first) = (Timestamp::from_seconds, Zeroizing::new([1; 32]));
        let ring = Ring::begin(first, at(100)).rotated(MasterRotation::TakeOver, Zeroizing::new([2; 32]), at(200), |_| false);
        ring.unwrap().rotated(MasterRotation::Prepare, Zeroizing::new([3; 32]), at(300), |_| false).unwrap()
    }

    #[test]
    fn every_master_secret_opens_and_the_first_alone_seals() {
        let (seal, grant, generation) = (Seal::new(&ring()).unwrap(), GrantId::new([7; 16]), Generation::from_number(1));
        let [old, now, next, stranger] = [1, 2, 3, 4].map(|byte| Seal::of(&[byte; 32]).unwrap());
        for purpose in
            [PURPOSES.as_slice(), &[Purpose::LastPage, Purpose::Browser, Purpose::Stopped, Purpose::McpSession]].concat()
        {
            for one in [&old, &now, &next] {
                let text = one.seal(purpose, &"hello").unwrap();
                assert_eq!(seal.open::<String>(purpose, &text).as_deref(), Some("hello"), "{purpose:?}");
            }
            assert_eq!(seal.open::<String>(purpose, &stranger.seal(purpose, &"hello").unwrap()), None, "{purpose:?}");
            let text = seal.seal(purpose, &"hello").unwrap();
            let opens = [&old, &now, &next].map(|one| one.open::<String>(purpose, &text).is_some());
            assert_eq!(opens, [false, true, false], "{purpose:?}");
        }
        let token = |seal: &Seal| seal.refresh_token(&grant, generation).unwrap();
        assert_eq!([&old, &now, &next, &stranger].map(|one| seal.place_of(&token(one)).is_some()), [true, true, true, false]);
        assert_eq!([&old, &now, &next].map(|one| one.place_of(&token(&seal)).is_some()), [false, true, false]);
    }

    /// A client's secret is that of the keys that its id lies under, and of no other.
    #[test]
    fn whose_keys_opened_a_box_is_said() {
        let (seal, id) = (Seal::new(&ring()).unwrap(), ClientId::parse("dc_x").unwrap());
        for (byte, replaced) in [(1, Some(Timestamp::from_seconds(200))), (2, None), (3, None)] {
            let one = Seal::of(&[byte; 32]).unwrap();
            let text = one.seal(Purpose::Registration, &"hello").unwrap();
            let (_, keys) = seal.open_by::<String>(Purpose::Registration, &text).unwrap();
            assert_eq!(keys.replaced(), replaced);
            assert!(keys.client_secret(&id).digest() == one.newest().client_secret(&id).digest());
            assert_eq!(keys.client_secret(&id).digest() == seal.newest().client_secret(&id).digest(), byte == 2);
        }
    }

    const PURPOSES: [Purpose; 4] = [Purpose::Registration, Purpose::Ticket, Purpose::StateCookie, Purpose::AtRest];

    proptest! {
        /// A box opens for its purpose and under its master secret, and nowhere else.
        #[test]
        fn what_is_sealed_comes_back_for_its_purpose_only(text in ".{0,200}", master: [u8; 32], other: [u8; 32], purpose in 0_usize..4) {
            let seal = Seal::of(&master).unwrap();
            let sealed = seal.seal(PURPOSES[purpose], &text).unwrap();
            for (index, tried) in PURPOSES.into_iter().enumerate() {
                let opened = seal.open::<String>(tried, &sealed);
                prop_assert_eq!(opened.as_ref(), (index == purpose).then_some(&text));
                prop_assert!(master == other || Seal::of(&other).unwrap().open::<String>(tried, &sealed).is_none());
            }
        }

        /// One bit is enough, anywhere; so is a bit of the base64 text.
        #[test]
        fn any_flipped_bit_spoils_a_box(text in ".{0,60}", at: prop::sample::Index, bit in 0_u8..8) {
            let seal = Seal::of(&[1; 32]).unwrap();
            let sealed = seal.seal(Purpose::Ticket, &text).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            *at.get_mut(&mut bytes) ^= 1 << bit;
            prop_assert_eq!(seal.open::<String>(Purpose::Ticket, &URL_SAFE_NO_PAD.encode(bytes)), None);
            let mut letters = sealed.into_bytes();
            *at.get_mut(&mut letters) ^= 1 << bit;
            if let Ok(altered) = String::from_utf8(letters) {
                prop_assert_eq!(seal.open::<String>(Purpose::Ticket, &altered), None);
            }
        }

        /// A successor opens with the token that it succeeds, and with no other.
        #[test]
        fn a_successor_is_bound_to_its_token(token: [u8; 32], successor: [u8; 32], other: [u8; 32]) {
            let (token, successor, other) = (RefreshToken::of_bytes(&token), RefreshToken::of_bytes(&successor), RefreshToken::of_bytes(&other));
            let sealed = seal_successor(&token, &successor).unwrap();
            prop_assert!(token.digest() == other.digest() || open_successor(&other, &sealed).is_none());
            prop_assert_eq!(open_successor(&token, &sealed).map(|opened| opened.digest()), Some(successor.digest()));
        }
    }
}
