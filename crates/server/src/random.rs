//! The only source of random bytes: the operating system's, through aws-lc-rs.

use aws_lc_rs::rand;
use deputy_protocol::Reason;

/// `N` random bytes.
///
/// # Errors
/// [`Reason::Internal`] when the operating system gives none; nothing is issued then.
pub fn bytes<const N: usize>() -> Result<[u8; N], Reason> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Reason::Internal)?;
    Ok(bytes)
}
