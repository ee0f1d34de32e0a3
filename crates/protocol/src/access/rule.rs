//! One rule: how it is written, and whom it is about.

use super::{Known, RuleError};
use crate::claims::{Authority, Groups, TenantId};
use crate::ids::{IdpName, Issuer};

/// One rule, of one provider's people or of everybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The issuers of the people whom it is about; `None`: of every provider.
    of: Option<Vec<Issuer>>,
    who: Who,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Anyone,
    Mail(Mail),
    Group(String),
    Role(String),
    /// In lower case, as GitHub compares names.
    Org(String),
    /// `org/team`, in lower case.
    Team(String),
    Subject(String),
}

/// Whose addresses a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mail {
    Domain(String),
    Address(String),
}

/// What stands before a rule that counts at one provider only.
const AT_IDP: &str = "idp:";

impl Rule {
    /// Reads a rule, given the deployment's providers.
    pub(super) fn parse(raw: &str, providers: &[(IdpName, Authority)]) -> Result<Self, RuleError> {
        let all = || providers.iter().map(|(_, authority)| authority);
        let Some(rest) = raw.strip_prefix(AT_IDP) else { return Self::among(raw, raw, None, all()) };
        let (name, rule) = rest.split_once('/').unwrap_or((rest, "*"));
        let named = providers.iter().find(|(known, _)| known.as_str() == name);
        let (_, authority) = named.ok_or_else(|| RuleError::NoProvider(raw.to_owned()))?;
        Self::among(raw, rule, Some(authority.issuers()), std::iter::once(authority))
    }

    fn among<'a>(
        raw: &str,
        rule: &str,
        of: Option<Vec<Issuer>>,
        mut authorities: impl Iterator<Item = &'a Authority>,
    ) -> Result<Self, RuleError> {
        let unknown = || RuleError::Unknown(raw.to_owned());
        if rule == "*" {
            return Ok(Self { of, who: Who::Anyone });
        }
        let (kind, value) = rule.split_once(':').ok_or_else(unknown)?;
        if kind == "tenant" {
            // A tenant is an issuer of its own, so this is about where somebody comes from.
            let tenant = TenantId::parse(value).ok_or_else(unknown)?;
            let issuer = authorities.find_map(|authority| authority.issuer_of(&tenant));
            let issuer = issuer.ok_or_else(|| RuleError::NoTenant(raw.to_owned()))?;
            return Ok(Self { of: Some(vec![issuer]), who: Who::Anyone });
        }
        Ok(Self { of, who: Who::parse(kind, value).ok_or_else(unknown)? })
    }

    /// Whether it is about everybody, of every provider.
    pub(super) fn is_anyone(&self) -> bool {
        self.of.is_none() && self.who == Who::Anyone
    }

    /// The group that it names, if it is about one of people of these issuers.
    pub(super) fn group(&self, issuers: &[Issuer]) -> Option<&str> {
        let of_these = self.of.as_ref().is_none_or(|of| of.iter().any(|issuer| issuers.contains(issuer)));
        match &self.who {
            Who::Group(name) if of_these => Some(name),
            Who::Group(_) | Who::Anyone | Who::Mail(_) | Who::Role(_) | Who::Org(_) | Who::Team(_) | Who::Subject(_) => None,
        }
    }

    /// Whether it counts for somebody. Only a verified address says anything about its owner.
    pub(super) fn admits(&self, known: &Known<'_>) -> bool {
        let mail = || known.email.and_then(address);
        self.is_about(known, |rule| match rule {
            Mail::Domain(listed) => mail().is_some_and(|(_, domain)| domain == *listed),
            Mail::Address(listed) => mail().is_some_and(|(local, domain)| format!("{local}@{domain}") == *listed),
        })
    }

    /// Whether it counts against somebody. Here an address counts that nobody verified, and however it is written: keeping it unverified
    /// must not be the way in; neither must being in so many groups that nobody lists them.
    pub(super) fn denies(&self, known: &Known<'_>) -> bool {
        let loosely = |raw: &str| raw.trim().trim_end_matches('.').to_ascii_lowercase();
        if self.needs_groups(known) {
            return true;
        }
        let mut said = [known.email, known.said_email].into_iter().flatten().map(loosely);
        self.is_about(known, |rule| match rule {
            Mail::Domain(listed) => said.any(|said| said.rsplit_once('@').is_some_and(|(_, domain)| domain == listed)),
            Mail::Address(listed) => said.any(|said| said == *listed),
        })
    }

    /// Whether nobody knows what it says of somebody: it names a group, and theirs are not listed.
    pub(super) fn needs_groups(&self, known: &Known<'_>) -> bool {
        let unlisted = known.memberships.groups == Groups::Elsewhere;
        unlisted && matches!(self.who, Who::Group(_)) && self.of.as_ref().is_none_or(|issuers| issuers.contains(known.idp))
    }

    fn is_about(&self, known: &Known<'_>, by_mail: impl FnOnce(&Mail) -> bool) -> bool {
        let listed = |names: &[String], name: &String| names.contains(name);
        let in_any_case = |names: &[String], name: &str| names.iter().any(|own| own.eq_ignore_ascii_case(name));
        let belongs = known.memberships;
        self.of.as_ref().is_none_or(|issuers| issuers.contains(known.idp))
            && match &self.who {
                Who::Anyone => true,
                Who::Group(name) => listed(belongs.groups.listed(), name),
                Who::Role(name) => listed(&belongs.roles, name),
                Who::Org(name) => in_any_case(&belongs.orgs, name),
                Who::Team(name) => in_any_case(&belongs.teams, name),
                Who::Subject(sub) => known.sub == sub,
                Who::Mail(rule) => by_mail(rule),
            }
    }
}

impl Who {
    fn parse(kind: &str, value: &str) -> Option<Self> {
        if value.is_empty() || value.trim() != value {
            return None;
        }
        match kind {
            "domain" => plain_domain(value).map(|domain| Self::Mail(Mail::Domain(domain))),
            "email" => address(value).map(|(local, domain)| Self::Mail(Mail::Address(format!("{local}@{domain}")))),
            "group" => Some(Self::Group(value.to_owned())),
            "role" => Some(Self::Role(value.to_owned())),
            "org" => github_name(value).map(Self::Org),
            "team" => {
                let (org, team) = value.split_once('/')?;
                Some(Self::Team(format!("{}/{}", github_name(org)?, github_name(team)?)))
            }
            "subject" => Some(Self::Subject(value.to_owned())),
            _ => None,
        }
    }
}

/// An organisation's or a team's name as it stands in GitHub's addresses.
fn github_name(raw: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (!raw.is_empty() && raw.bytes().all(plain)).then(|| raw.to_ascii_lowercase())
}

/// A host name in lower case, without a trailing dot.
fn plain_domain(raw: &str) -> Option<String> {
    let label = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (raw.contains('.') && raw.split('.').all(label)).then(|| raw.to_ascii_lowercase())
}

/// Local part and domain of a plain address, in lower case: exactly one `@`, no quotes, no spaces, no comments.
fn address(raw: &str) -> Option<(String, String)> {
    let (local, domain) = raw.split_once('@')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let fits = !local.is_empty() && local.bytes().all(plain) && !domain.contains('@');
    if fits { Some((local.to_ascii_lowercase(), plain_domain(domain)?)) } else { None }
}
