//! Guards that a test may take out, to show that the tests and the model checker notice.
//!
//! Without the feature `test-hooks`, [`removed`] is the constant `false` and nothing can change it.

#[cfg(all(feature = "test-hooks", not(debug_assertions)))]
compile_error!("the feature `test-hooks` weakens the server on purpose and cannot be part of a release build");

/// Declares [`Guard`] as one table: variant, name, what it holds.
macro_rules! guards {
    ($($variant:ident, $name:literal, $holds:literal;)+) => {
        /// A guard of the safety property or of an invariant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Guard {
            $(#[doc = $holds] $variant,)+
        }

        impl Guard {
            /// Every guard there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The guard's name, for switches and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it holds.
            #[must_use]
            pub const fn holds(self) -> &'static str {
                match self { $(Self::$variant => $holds,)+ }
            }
        }
    };
}

guards! {
    // The safety property (I1)
    ConsentPage, "consent_page", "Nothing goes to the identity provider before an approval on our own page (CON-02; GHSA-c2jp-c369-7pvx).";
    OwnershipCookie, "ownership_cookie", "An approval counts only from the browser that was shown the page (CON-31).";
    OwnPage, "own_page", "A decision counts only when it was sent from our own page (A-010).";
    StateCookie, "state_cookie", "The provider's answer counts only in the browser that approved (CON-19, CON-30; GHSA-rww4-4w9c-7733).";
    StateMatch, "state_match", "The provider's answer counts only for the transaction that its state names (CON-19).";
    IdpNonce, "idp_nonce", "An ID token counts only for the sign-in that asked for it (OIDC Core §3.1.3.7).";
    StateSingleUse, "state_single_use", "A transaction ends once, in at most one grant (A-036).";
    CleanAddress, "clean_address", "A refused answer of the provider is shown at an address without its code.";
    LastPage, "last_page", "Where other programs can plant cookies, the code leaves only after a decision on our own last page.";
    TransactionLifetime, "transaction_lifetime", "A transaction that took too long is over (CON-21).";
    RedirectMatch, "redirect_match", "An answer goes only to an address that the client registered (AS-40).";
    AuthorizedResource, "authorized_resource", "Only resources of ours can be asked for (AS-60).";
    AccessRules, "access_rules", "Only whom the rules admit gets in (A-141), at each token again (R32).";
    // Remembered decisions
    RememberKey, "remember_key", "A decision is remembered for the very same request only (A-007).";
    RememberEntry, "remember_entry", "Where another site sent the browser, a person is asked (A-005; GHSA-6x8h-498w-gv8c).";
    RememberClient, "remember_client", "Only of clients that somebody vouches for, and only for web servers, is a decision remembered.";
    AccountMatch, "account_match", "A remembered decision counts for the account that made it (CON-39).";
    // Codes and tokens
    CodeClient, "code_client", "A code is redeemed by its own client only (A-084).";
    CodeRedirect, "code_redirect", "A code is redeemed for the redirect URI that it was sent to (A-058).";
    Pkce, "pkce", "A code is redeemed only with the verifier behind its challenge (A-066).";
    TokenResource, "token_resource", "A token is issued for the resource that was granted (AS-82).";
    RefreshClient, "refresh_client", "A refresh token is used by its own client only (A-102).";
    RefreshScope, "refresh_scope", "A refresh never grows the scopes (A-104).";
    CodeSingleUse, "code_single_use", "A code gives tokens once (I2; A-081).";
    CodeReplayRevokes, "code_replay_revokes", "A second use of a code ends what the first gave (AS-64).";
    CodeLifetime, "code_lifetime", "A code ends (A-086).";
    RefreshRotation, "refresh_rotation", "A refresh token that was replaced is not alive any more (I3; A-097).";
    RefreshReuseRevokes, "refresh_reuse_revokes", "A late second use of a refresh token ends its family (AS-84).";
    RefreshLifetime, "refresh_lifetime", "A refresh token that nobody uses ends (AS-87).";
    RevokedGrant, "revoked_grant", "No code and no refresh token of a revoked grant gives anything (I4; A-108).";
    RevokedAccess, "revoked_access", "No access token of a revoked grant is taken (I4; A-108).";
    RevokeClient, "revoke_client", "A token is revoked by its own client only (A-108).";
    Audience, "audience", "An access token counts for the one resource that it names (A-177; GHSA-5h2m-4q8j-pqpj).";
    AccessLifetime, "access_lifetime", "An access token ends (A-180).";
}

impl Guard {
    /// The guard with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|guard| guard.name() == name)
    }
}

#[cfg(feature = "test-hooks")]
mod switch {
    use super::Guard;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// One bit a guard. For the whole process: a server runs on many threads.
    static REMOVED: AtomicU64 = AtomicU64::new(0);

    /// Takes these guards out of this process, and puts all others back.
    pub fn remove(guards: &[Guard]) {
        let bits = guards.iter().fold(0, |bits, guard| bits | 1 << *guard as u64);
        REMOVED.store(bits, Ordering::SeqCst);
    }

    /// Whether a test took this guard out.
    #[must_use]
    pub fn removed(guard: Guard) -> bool {
        REMOVED.load(Ordering::Relaxed) & (1 << guard as u64) != 0
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

/// Whether a check holds, or its guard was taken out.
#[must_use]
pub fn passes(guard: Guard, holds: bool) -> bool {
    holds || removed(guard)
}
