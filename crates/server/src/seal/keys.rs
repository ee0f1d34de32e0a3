//! The keys of one master secret: one per purpose.

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::ClientSecret;
use deputy_protocol::{ClientId, Reason, Timestamp};
use zeroize::Zeroizing;

use super::Purpose;

/// Bytes of a refresh token's tag.
const TAG_LEN: usize = 16;

impl Purpose {
    pub(super) const fn label(self) -> &'static [u8] {
        match self {
            Self::Registration => b"deputy registration 1",
            Self::Invitation => b"deputy invitation 1",
            Self::Ticket => b"deputy ticket 1",
            Self::StateCookie => b"deputy state cookie 1",
            Self::LastPage => b"deputy last page 1",
            Self::Browser => b"deputy browser 1",
            Self::Stopped => b"deputy stopped 1",
            Self::McpSession => b"deputy mcp session 1",
            Self::AtRest => b"deputy at rest 1",
        }
    }
}

/// The sealing keys of one master secret.
pub(crate) struct KeySet {
    replaced: Option<Timestamp>,
    registration: LessSafeKey,
    invitation: LessSafeKey,
    ticket: LessSafeKey,
    state_cookie: LessSafeKey,
    last_page: LessSafeKey,
    browser: LessSafeKey,
    stopped: LessSafeKey,
    mcp_session: LessSafeKey,
    at_rest: LessSafeKey,
    client_secrets: hmac::Key,
    refresh_tokens: hmac::Key,
}

impl KeySet {
    /// Derives the keys from a master secret.
    pub(super) fn new(master: &[u8; 32], replaced: Option<Timestamp>) -> Result<Self, Reason> {
        Ok(Self {
            replaced,
            registration: key(master, Purpose::Registration.label())?,
            invitation: key(master, Purpose::Invitation.label())?,
            ticket: key(master, Purpose::Ticket.label())?,
            state_cookie: key(master, Purpose::StateCookie.label())?,
            last_page: key(master, Purpose::LastPage.label())?,
            browser: key(master, Purpose::Browser.label())?,
            stopped: key(master, Purpose::Stopped.label())?,
            mcp_session: key(master, Purpose::McpSession.label())?,
            at_rest: key(master, Purpose::AtRest.label())?,
            client_secrets: mac_key(master, b"deputy client secret 1")?,
            refresh_tokens: mac_key(master, b"deputy refresh token 1")?,
        })
    }

    /// When its master secret was replaced by another, if it was.
    pub(crate) const fn replaced(&self) -> Option<Timestamp> {
        self.replaced
    }

    pub(super) const fn key(&self, purpose: Purpose) -> &LessSafeKey {
        match purpose {
            Purpose::Registration => &self.registration,
            Purpose::Invitation => &self.invitation,
            Purpose::Ticket => &self.ticket,
            Purpose::StateCookie => &self.state_cookie,
            Purpose::LastPage => &self.last_page,
            Purpose::Browser => &self.browser,
            Purpose::Stopped => &self.stopped,
            Purpose::McpSession => &self.mcp_session,
            Purpose::AtRest => &self.at_rest,
        }
    }

    /// The secret of a confidential client whose id is sealed under these keys: derived from the id, so that nothing is stored. The id is
    /// sealed with a nonce, so registering the same metadata again gives another id and another secret.
    pub(crate) fn client_secret(&self, client: &ClientId) -> ClientSecret {
        let tag = hmac::sign(&self.client_secrets, client.as_str().as_bytes());
        ClientSecret::from_text(URL_SAFE_NO_PAD.encode(tag))
    }

    /// What only we can put behind the rest of a refresh token.
    pub(super) fn refresh_tag(&self, said: &[u8]) -> Result<[u8; TAG_LEN], Reason> {
        let tag = hmac::sign(&self.refresh_tokens, said);
        tag.as_ref().first_chunk().copied().ok_or(Reason::Internal)
    }
}

struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

/// A key for one use, from a secret (RFC 5869).
fn derive(secret: &[u8], label: &[u8], out: &mut [u8; 32]) -> Result<(), Reason> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"deputy").extract(secret);
    let info = [label];
    let okm = extracted.expand(&info, KeyLength).map_err(|_| Reason::Internal)?;
    okm.fill(out).map_err(|_| Reason::Internal)
}

/// What tells a master secret apart from others, and no more.
pub(crate) fn fingerprint(master: &[u8; 32]) -> Result<String, Reason> {
    let mut bytes = Zeroizing::new([0; 32]);
    derive(master, b"deputy fingerprint 1", &mut bytes)?;
    Ok(bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect())
}

fn mac_key(secret: &[u8], label: &[u8]) -> Result<hmac::Key, Reason> {
    let mut bytes = Zeroizing::new([0; 32]);
    derive(secret, label, &mut bytes)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()))
}

pub(super) fn key(secret: &[u8], label: &[u8]) -> Result<LessSafeKey, Reason> {
    let mut bytes = Zeroizing::new([0; 32]);
    derive(secret, label, &mut bytes)?;
    let key = UnboundKey::new(&AES_256_GCM_SIV, bytes.as_slice()).map_err(|_| Reason::Internal)?;
    Ok(LessSafeKey::new(key))
}
