//! The worlds that are searched, and which guards are taken out in which.

use deputy_protocol::hooks::Guard;
use serde_json::Value;

use crate::search::{World, search};
use crate::sign_in::{self, Place, SignIn};
use crate::tokens::{self, Tokens};

/// A bounded world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounded {
    /// From a link to a code.
    SignIn(Place),
    /// From a code to calls, with a public client.
    PublicClient,
    /// The same with a client that has a secret, whose request carries the attacker's challenge.
    ConfidentialClient,
}

/// Every world, searched with all guards.
pub(crate) const WORLDS: &[Bounded] = &[
    Bounded::SignIn(Place::Https),
    Bounded::SignIn(Place::Loopback),
    Bounded::SignIn(Place::WeakProvider),
    Bounded::SignIn(Place::Remembers),
    Bounded::PublicClient,
    Bounded::ConfidentialClient,
];

/// What a search found.
#[derive(Debug)]
pub(crate) struct Report {
    /// How many different states were reached.
    pub(crate) states: usize,
    /// How many steps were tried.
    pub(crate) steps: usize,
    /// The shortest story that breaks a property.
    pub(crate) broken: Option<Story>,
}

/// A story that breaks a property: for people, and for a test that plays it.
#[derive(Debug)]
pub(crate) struct Story {
    /// A sentence a step.
    pub(crate) told: Vec<String>,
    /// What is broken at the end.
    pub(crate) breaks: String,
    /// The steps.
    pub(crate) steps: Vec<Value>,
}

impl Bounded {
    /// The name in file names.
    #[must_use]
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::SignIn(Place::Https) => "https",
            Self::SignIn(Place::Loopback) => "loopback",
            Self::SignIn(Place::WeakProvider) => "weak_provider",
            Self::SignIn(Place::Remembers) => "remembers",
            Self::PublicClient => "public_client",
            Self::ConfidentialClient => "confidential_client",
        }
    }

    /// The name in reports.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SignIn(Place::Https) => "sign-in on https",
            Self::SignIn(Place::Loopback) => "sign-in on plain-http loopback",
            Self::SignIn(Place::WeakProvider) => "sign-in at a provider without PKCE",
            Self::SignIn(Place::Remembers) => "sign-in with remembered decisions",
            Self::PublicClient => "tokens of a public client",
            Self::ConfidentialClient => "tokens of a client with a secret",
        }
    }

    /// Searches it. Without a guard, nobody asks whether a fresh sign-in can be finished.
    #[must_use]
    pub(crate) fn search(self, full: bool, mutant: bool) -> Report {
        match self {
            Self::SignIn(place) => {
                // The attacker's cookies multiply the states by forty on loopback: three of each take hours there.
                let size = if full && place != Place::Loopback { 3 } else { 2 };
                report(SignIn::new(sign_in::Bounds { transactions: size, answers: size, place, mutant }))
            }
            Self::PublicClient | Self::ConfidentialClient => {
                let (tokens, waits) = size_of_tokens(full);
                let confidential = self == Self::ConfidentialClient;
                report(Tokens::new(tokens::Bounds { confidential, tokens, waits }))
            }
        }
    }
}

fn report<W: World>(world: W) -> Report {
    let found = search(world);
    let broken = found.broken.map(|broken| {
        let steps = broken.story.iter().map(|(step, _)| serde_json::to_value(step).unwrap_or_default()).collect();
        let told = broken.story.into_iter().map(|(_, told)| told).collect();
        Story { told, breaks: broken.what, steps }
    });
    Report { states: found.states, steps: found.steps, broken }
}

/// Most refresh tokens and most waits.
const fn size_of_tokens(full: bool) -> (usize, usize) {
    if full { (4, 3) } else { (3, 3) }
}

/// How far the searches go, as a sentence.
#[must_use]
pub(crate) fn bound(full: bool) -> String {
    let size = if full { 3 } else { 2 };
    let (tokens, waits) = size_of_tokens(full);
    format!(
        "{size} transactions, {size} approvals, {size} answers of the provider (two of each on loopback), one wait; then two codes, \
         {tokens} refresh tokens, {waits} waits, two replicas; crashes before and after \
         the writes of the callback and of the victim's token requests (none with remembered decisions)"
    )
}

/// Guards that are taken out together, and the world in which that must be noticed. More than one where each alone is enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    /// What is taken out.
    pub(crate) guards: &'static [Guard],
    /// Where.
    pub(crate) world: Bounded,
}

impl Mutant {
    /// The guards' names.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.guards.iter().map(|guard| guard.name()).collect()
    }
}

const fn without(guards: &'static [Guard], world: Bounded) -> Mutant {
    Mutant { guards, world }
}

/// Each guard in one mutant at least.
pub(crate) const MUTANTS: &[Mutant] = &[
    without(&[Guard::ConsentPage], Bounded::SignIn(Place::Https)),
    without(&[Guard::OwnershipCookie, Guard::OwnPage], Bounded::SignIn(Place::Https)),
    without(&[Guard::StateCookie], Bounded::SignIn(Place::Https)),
    without(&[Guard::CleanAddress], Bounded::SignIn(Place::Https)),
    without(&[Guard::StateMatch, Guard::IdpNonce], Bounded::SignIn(Place::WeakProvider)),
    without(&[Guard::IdpNonce], Bounded::SignIn(Place::WeakProvider)),
    without(&[Guard::StateSingleUse], Bounded::SignIn(Place::Https)),
    without(&[Guard::RedirectMatch], Bounded::SignIn(Place::Https)),
    without(&[Guard::AuthorizedResource], Bounded::SignIn(Place::Https)),
    without(&[Guard::TransactionLifetime], Bounded::SignIn(Place::Https)),
    without(&[Guard::LastPage], Bounded::SignIn(Place::Loopback)),
    without(&[Guard::OwnPage], Bounded::SignIn(Place::Loopback)),
    without(&[Guard::RememberKey], Bounded::SignIn(Place::Remembers)),
    without(&[Guard::RememberEntry], Bounded::SignIn(Place::Remembers)),
    without(&[Guard::RememberClient], Bounded::SignIn(Place::Remembers)),
    without(&[Guard::AccountMatch], Bounded::SignIn(Place::Remembers)),
    without(&[Guard::CodeSingleUse], Bounded::PublicClient),
    without(&[Guard::CodeReplayRevokes], Bounded::PublicClient),
    without(&[Guard::CodeLifetime], Bounded::PublicClient),
    without(&[Guard::CodeClient], Bounded::ConfidentialClient),
    without(&[Guard::CodeRedirect], Bounded::PublicClient),
    without(&[Guard::Pkce], Bounded::PublicClient),
    without(&[Guard::TokenResource], Bounded::PublicClient),
    without(&[Guard::AccessRules], Bounded::PublicClient),
    without(&[Guard::RefreshClient], Bounded::ConfidentialClient),
    without(&[Guard::RefreshScope], Bounded::PublicClient),
    without(&[Guard::RefreshRotation], Bounded::PublicClient),
    without(&[Guard::RefreshReuseRevokes], Bounded::PublicClient),
    without(&[Guard::RefreshLifetime], Bounded::PublicClient),
    without(&[Guard::RevokedGrant], Bounded::PublicClient),
    without(&[Guard::RevokedAccess], Bounded::PublicClient),
    without(&[Guard::RevokeClient], Bounded::PublicClient),
    without(&[Guard::Audience], Bounded::PublicClient),
    without(&[Guard::AccessLifetime], Bounded::PublicClient),
];

/// The guards that no mutant takes out: there must be none.
#[must_use]
pub(crate) fn forgotten() -> Vec<&'static str> {
    let known = |guard: &Guard| MUTANTS.iter().any(|mutant| mutant.guards.contains(guard));
    Guard::ALL.iter().filter(|guard| !known(guard)).map(|guard| guard.name()).collect()
}
