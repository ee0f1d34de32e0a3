//! Who may come in, by rules over verified identities.

use serde::{Deserialize, Serialize};

use crate::claims::VerifiedIdentity;
use crate::error::Reason;
use crate::hooks::{Guard, passes};

/// One rule that lets somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Anyone,
    Domain(String),
    Email(String),
    Group(String),
    Subject(String),
}

/// A rule that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is none.
    #[error("there is no rule, so nobody could sign in; allow = [\"*\"] admits whoever the identity provider signs in")]
    Empty,
    /// This one is of no known kind.
    #[error(
        "{0:?} is no access rule; write \"*\", \"domain:example.com\", \"email:a@example.com\", \"group:Name\" or \"subject:id\""
    )]
    Unknown(String),
}

/// The rules of a deployment: whoever one of them admits may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

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
    /// Reads rules: `*`, `domain:…`, `email:…`, `group:…`, `subject:…`.
    ///
    /// # Errors
    /// [`RuleError`] says which one and what to write instead.
    pub fn parse<S: AsRef<str>>(rules: &[S]) -> Result<Self, RuleError> {
        let parsed: Vec<Rule> = rules.iter().map(|rule| Rule::parse(rule.as_ref())).collect::<Result<_, _>>()?;
        if parsed.is_empty() { Err(RuleError::Empty) } else { Ok(Self(parsed)) }
    }

    /// Whether everybody is admitted whom the provider signs in.
    #[must_use]
    pub fn admit_anyone(&self) -> bool {
        self.0.contains(&Rule::Anyone)
    }

    /// Lets somebody in, or not.
    ///
    /// # Errors
    /// [`Reason::SubjectNotAllowed`].
    pub fn admit(&self, identity: VerifiedIdentity) -> Result<Admitted, Reason> {
        let known = Known { sub: identity.subject().sub(), email: identity.verified_email(), groups: identity.groups() };
        self.still_admit(&known)?;
        Ok(Admitted(identity))
    }

    /// Whether somebody who came in before may still.
    ///
    /// # Errors
    /// [`Reason::SubjectNotAllowed`].
    pub fn still_admit(&self, known: &Known<'_>) -> Result<(), Reason> {
        let admitted = self.0.iter().any(|rule| rule.admits(known));
        if passes(Guard::AccessRules, admitted) { Ok(()) } else { Err(Reason::SubjectNotAllowed) }
    }
}

/// What is known of somebody who signed in before: the same rules apply at each refresh.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The provider's own name for the person.
    pub sub: &'a str,
    /// The e-mail address, if it was verified.
    pub email: Option<&'a str>,
    /// The groups.
    pub groups: &'a [String],
}

impl Rule {
    fn parse(raw: &str) -> Result<Self, RuleError> {
        let unknown = || RuleError::Unknown(raw.to_owned());
        if raw == "*" {
            return Ok(Self::Anyone);
        }
        let (kind, value) = raw.split_once(':').ok_or_else(unknown)?;
        if value.is_empty() || value.trim() != value {
            return Err(unknown());
        }
        match kind {
            "domain" => plain_domain(value).map(Self::Domain).ok_or_else(unknown),
            "email" => address(value).map(|(local, domain)| Self::Email(format!("{local}@{domain}"))).ok_or_else(unknown),
            "group" => Ok(Self::Group(value.to_owned())),
            "subject" => Ok(Self::Subject(value.to_owned())),
            _ => Err(unknown()),
        }
    }

    fn admits(&self, known: &Known<'_>) -> bool {
        // Only a verified address says anything about its owner.
        let mail = || known.email.and_then(address);
        match self {
            Self::Anyone => true,
            Self::Domain(allowed) => mail().is_some_and(|(_, domain)| domain == *allowed),
            Self::Email(allowed) => mail().is_some_and(|(local, domain)| format!("{local}@{domain}") == *allowed),
            Self::Group(allowed) => known.groups.contains(allowed),
            Self::Subject(allowed) => known.sub == allowed,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::tests::identity;
    use serde_json::json;

    fn admitted(rule: &str, email: &str, verified: bool) -> bool {
        let person = identity(|claims| {
            claims["email"] = json!(email);
            claims["email_verified"] = json!(verified);
            claims["groups"] = json!(["MCP Users"]);
        });
        Rules::parse(&[rule]).unwrap().admit(person.unwrap()).is_ok()
    }

    #[test]
    fn a_141_a_domain_is_matched_exactly_on_a_plain_verified_address() {
        assert!(admitted("domain:corp.test", "a@corp.test", true));
        assert!(admitted("domain:Corp.test", "A@CORP.test", true));
        assert!(!admitted("domain:corp.test", "a@corp.test", false));
        for email in [
            "a@evil.test@corp.test",
            "a@corp.test.evil.test",
            "a@evilcorp.test",
            "a@CORP.TEST.",
            "\"a@evil.test\"@corp.test",
            "a@corp.test ",
            "a@corp\u{3002}test",
            "a@corp.test,b@evil.test",
            "",
            "@corp.test",
            "a",
            "a@sub.corp.test",
            "a b@corp.test",
        ] {
            assert!(!admitted("domain:corp.test", email, true), "{email:?}");
        }
    }

    #[test]
    fn the_other_rules() {
        assert!(admitted("*", "", false));
        assert!(admitted("email:Alice@corp.test", "alice@Corp.test", true));
        assert!(!admitted("email:alice@corp.test", "bob@corp.test", true));
        assert!(admitted("group:MCP Users", "", false));
        assert!(!admitted("group:mcp users", "", false));
        assert!(admitted("subject:alice", "", false));
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_refused() {
        for rule in ["", "corp.test", "domain:", "domain:*", "domain:corp", "email:alice", "role:admin", "group: x"] {
            assert!(Rules::parse(&[rule]).is_err(), "{rule}");
        }
        assert_eq!(Rules::parse::<&str>(&[]), Err(RuleError::Empty));
    }

    #[test]
    fn whether_everybody_may_come_in_is_known() {
        assert!(Rules::parse(&["group:a", "*"]).unwrap().admit_anyone());
        assert!(!Rules::parse(&["group:a", "domain:corp.test"]).unwrap().admit_anyone());
    }

    #[test]
    fn a_domain_is_a_host_name() {
        assert!(Rules::parse(&["domain:a-b.corp.test"]).is_ok());
        for domain in ["corp", "a_b.test", "a..test", ".test", "corp.test.", "", "a b.test", "*.corp.test"] {
            assert!(Rules::parse(&[format!("domain:{domain}")]).is_err(), "{domain:?}");
        }
    }
}
