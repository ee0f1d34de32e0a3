//! What somebody belongs to, in the provider's words.

use serde::{Deserialize, Serialize};

/// What the provider says that somebody belongs to. It may change from one sign-in to the next, and is taken anew whenever the provider is
/// asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memberships {
    /// Groups, by the names or ids that the provider sends.
    pub groups: Vec<String>,
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
