//! Who may come in, by rules over verified identities.
//!
//! What this module guarantees: nobody comes in whom no rule of `allow` is about, and nobody whom a rule of `deny` is about. The same is asked
//! again at each refresh.

mod criterion;
mod rule;

use serde::{Deserialize, Serialize};

use crate::claims::{Authority, Memberships, VerifiedIdentity};
use crate::error::Reason;
use crate::hooks::{Guard, passes};
use crate::ids::{IdpName, Issuer};
pub use criterion::Criterion;
use rule::Rule;

/// A rule that cannot be read, or that is about nobody.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is none.
    #[error("there is no rule, so nobody could sign in; allow = [\"*\"] admits whoever the identity provider signs in")]
    Empty,
    /// This one is of no known kind.
    #[error(
        "{0:?} is no access rule; write \"*\", \"domain:example.com\", \"email:a@example.com\", \"group:Name\", \"role:name\", \
         \"tenant:UUID\", \"org:name\", \"team:org/name\" or \"subject:id\", and \"idp:NAME/\" before it where it counts for one provider only"
    )]
    Unknown(String),
    /// It names a provider that there is not.
    #[error("{0:?} names an identity provider that is not configured; after \"idp:\" stands the name of an [[idp]]")]
    NoProvider(String),
    /// It names a tenant of which nobody can sign in.
    #[error("{0:?} can never be true: no identity provider with provider = \"entra\" lists this tenant")]
    NoTenant(String),
    /// It keeps everybody out.
    #[error("deny = [\"*\"] keeps everybody out; name those whom you mean")]
    DenyAnyone,
}

/// The rules of a deployment: whom one rule of `allow` is about may come in, unless a rule of `deny` is about them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
}

/// An identity that may come in. Made by [`Rules::admit`] only, sealed copies of one apart.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Admitted(VerifiedIdentity);

impl Admitted {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &VerifiedIdentity {
        &self.0
    }
}

impl Rules {
    /// Reads rules that name no provider and keep nobody out.
    ///
    /// # Errors
    /// [`RuleError`] says which one and what to write instead.
    pub fn parse<S: AsRef<str>>(allow: &[S]) -> Result<Self, RuleError> {
        Self::read(allow, &[], &[])
    }

    /// Reads rules: `*`, `domain:…`, `email:…`, `group:…`, `role:…`, `tenant:…`, `org:…`, `team:…/…`, `subject:…`. After `idp:NAME/` a rule
    /// counts for the people of that one of `providers`; `idp:NAME` is all of them.
    ///
    /// # Errors
    /// [`RuleError`] says which one and what to write instead.
    pub fn read<S: AsRef<str>>(allow: &[S], deny: &[S], providers: &[(IdpName, Authority)]) -> Result<Self, RuleError> {
        let parsed = |rules: &[S]| rules.iter().map(|rule| Rule::parse(rule.as_ref(), providers)).collect::<Result<Vec<_>, _>>();
        let rules = Self { allow: parsed(allow)?, deny: parsed(deny)? };
        if rules.allow.is_empty() {
            return Err(RuleError::Empty);
        }
        if rules.deny.iter().any(Rule::is_anyone) { Err(RuleError::DenyAnyone) } else { Ok(rules) }
    }

    /// Whether everybody is admitted whom a provider signs in, but for those who are kept out.
    #[must_use]
    pub fn admit_anyone(&self) -> bool {
        self.allow.iter().any(Rule::is_anyone)
    }

    /// The groups that they name of people of these issuers.
    pub fn groups(&self, issuers: &[Issuer]) -> impl Iterator<Item = &str> {
        self.allow.iter().chain(&self.deny).filter_map(|rule| rule.group(issuers))
    }

    /// Lets somebody in, or not.
    ///
    /// # Errors
    /// [`Reason::SubjectNotAllowed`], [`Reason::GroupsElsewhere`].
    pub fn admit(&self, identity: VerifiedIdentity) -> Result<Admitted, Reason> {
        self.still_admit(&identity.known())?;
        Ok(Admitted(identity))
    }

    /// Whether somebody who came in before may still.
    ///
    /// # Errors
    /// [`Reason::SubjectNotAllowed`]; [`Reason::GroupsElsewhere`] where a list of the person's groups could have let them in.
    pub fn still_admit(&self, known: &Known<'_>) -> Result<(), Reason> {
        match passes(Guard::AccessRules, self.are_about(known)) {
            true => Ok(()),
            false if self.need_groups(known) => Err(Reason::GroupsElsewhere),
            false => Err(Reason::SubjectNotAllowed),
        }
    }

    /// Whether all that is missing to let somebody in is a list of their groups.
    fn need_groups(&self, known: &Known<'_>) -> bool {
        let (allow, mut deny) = (self.allow.iter(), self.deny.iter());
        let needed = allow.chain(&self.deny).any(|rule| rule.needs_groups(known));
        needed
            && self.allow.iter().any(|rule| rule.admits(known) || rule.needs_groups(known))
            && deny.all(|rule| rule.needs_groups(known) || !rule.denies(known))
    }

    /// Whether they allow and do not deny somebody.
    pub(crate) fn are_about(&self, known: &Known<'_>) -> bool {
        self.allow.iter().any(|rule| rule.admits(known)) && !self.deny.iter().any(|rule| rule.denies(known))
    }
}

/// What is known of somebody who signed in, now or before: the same rules apply at each refresh.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The provider that vouches for the person.
    pub idp: &'a Issuer,
    /// The provider's own name for the person.
    pub sub: &'a str,
    /// The e-mail address, if it was verified.
    pub email: Option<&'a str>,
    /// The e-mail address as the provider says it, verified or not. It counts against somebody only.
    pub said_email: Option<&'a str>,
    /// What the person belongs to.
    pub memberships: &'a Memberships,
}

#[cfg(test)]
mod tests;
