//! What somebody belongs to, in the provider's words.

use serde::{Deserialize, Serialize};

/// What the provider says that somebody belongs to. It may change from one sign-in to the next, and is taken anew whenever the provider is
/// asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memberships {
    /// Groups, by the names or ids that the provider sends.
    pub groups: Groups,
    /// Roles in our own registration: Entra's app roles, from the ID token's `roles`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Organisations at GitHub. No claim says them.
    #[serde(default)]
    pub orgs: Vec<String>,
    /// Teams at GitHub, as `org/team`. No claim says them.
    #[serde(default)]
    pub teams: Vec<String>,
}

/// The groups that somebody is in. Written as a list, or as `null` where nobody knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Vec<String>>", into = "Option<Vec<String>>")]
pub enum Groups {
    /// All of them, as far as the provider tells.
    Listed(Vec<String>),
    /// In some that the provider does not list: it says only that they are kept somewhere else (OIDC Core §5.6.2). Entra does so for people in more
    /// than 200 groups (learn.microsoft.com, "Groups overage claim"). They count as in a group wherever that goes against them.
    Elsewhere,
}

impl Groups {
    /// Those that are listed.
    #[must_use]
    pub fn listed(&self) -> &[String] {
        match self {
            Self::Listed(groups) => groups,
            Self::Elsewhere => &[],
        }
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl From<Option<Vec<String>>> for Groups {
    fn from(groups: Option<Vec<String>>) -> Self {
        groups.map_or(Self::Elsewhere, Self::Listed)
    }
}

impl From<Groups> for Option<Vec<String>> {
    fn from(groups: Groups) -> Self {
        match groups {
            Groups::Listed(groups) => Some(groups),
            Groups::Elsewhere => None,
        }
    }
}
