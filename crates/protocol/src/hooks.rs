//! Guards that a test may take out, to show that the tests notice.
//!
//! Without the feature `test-hooks`, [`removed`] is the constant `false` and nothing can change it.

#[cfg(all(feature = "test-hooks", not(debug_assertions)))]
compile_error!("the feature `test-hooks` weakens the server on purpose and cannot be part of a release build");

/// A guard of the safety property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Nothing goes to the identity provider before an approval on our own page (CON-02; GHSA-c2jp-c369-7pvx).
    ConsentPage,
    /// An approval counts only from the browser that was shown the page (CON-31).
    OwnershipCookie,
    /// The provider's answer counts only in the browser that approved (CON-19, CON-30; GHSA-rww4-4w9c-7733).
    StateCookie,
}

impl Guard {
    /// The guard with this name: `consent_page`, `ownership_cookie` or `state_cookie`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "consent_page" => Some(Self::ConsentPage),
            "ownership_cookie" => Some(Self::OwnershipCookie),
            "state_cookie" => Some(Self::StateCookie),
            _ => None,
        }
    }
}

#[cfg(feature = "test-hooks")]
mod switch {
    use super::Guard;
    use std::sync::OnceLock;

    static REMOVED: OnceLock<Guard> = OnceLock::new();

    /// Takes one guard out for the rest of this process.
    pub fn remove(guard: Guard) {
        let _ = REMOVED.set(guard);
    }

    /// Whether a test took this guard out.
    #[must_use]
    pub fn removed(guard: Guard) -> bool {
        REMOVED.get() == Some(&guard)
    }
}

#[cfg(feature = "test-hooks")]
pub use switch::{remove, removed};

/// Whether a test took this guard out: never, in this build.
#[cfg(not(feature = "test-hooks"))]
#[must_use]
pub const fn removed(_: Guard) -> bool {
    false
}
