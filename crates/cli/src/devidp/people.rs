//! Who can sign in at the demo.

use serde_json::{Map, Value, json};

/// A person of the demo's directory.
#[derive(Debug)]
pub(crate) struct Person {
    pub(super) id: &'static str,
    pub(crate) name: &'static str,
    pub(super) about: &'static str,
    pub(super) email: &'static str,
    pub(super) object: &'static str,
    pub(super) groups: &'static [&'static str],
    /// Groups without a name of their own, as people of large companies have.
    pub(super) more_groups: usize,
    pub(super) roles: &'static [&'static str],
    /// Signs in, and is locked out from the next refresh on.
    pub(super) disabled: bool,
    /// Has to come with a second factor.
    pub(super) second_factor: bool,
    /// Has to come with a second factor before an application may call APIs in their name.
    pub(super) factor_for_apis: bool,
    /// Nobody agreed that an application calls APIs in their name.
    pub(super) without_consent: bool,
    /// Is in the other tenant.
    pub(super) elsewhere: bool,
}

const SOMEBODY: Person = Person {
    id: "",
    name: "",
    about: "",
    email: "",
    object: "",
    groups: &[],
    more_groups: 0,
    roles: &[],
    disabled: false,
    second_factor: false,
    factor_for_apis: false,
    without_consent: false,
    elsewhere: false,
};

/// Everybody.
pub(crate) const PEOPLE: &[Person] = &[
    Person {
        id: "alice",
        name: "Alice Weber",
        about: "Engineering",
        email: "alice@demo.example",
        object: "a11ce000-0000-4000-8000-000000000001",
        groups: &["Engineering", "MCP Users"],
        ..SOMEBODY
    },
    Person {
        id: "bob",
        name: "Bob Tanaka",
        about: "Finance",
        email: "bob@demo.example",
        object: "b0b00000-0000-4000-8000-000000000002",
        groups: &["Finance", "MCP Users"],
        ..SOMEBODY
    },
    Person {
        id: "carol",
        name: "Carol Díaz",
        about: "Contractor, in no group",
        email: "carol@partner.example",
        object: "ca401000-0000-4000-8000-000000000003",
        groups: &[],
        ..SOMEBODY
    },
];

/// Who else is in the directory of `deputy devidp`: each is there for one thing that goes differently.
pub(super) const CASES: &[Person] = &[
    Person {
        id: "admin",
        name: "Ada Admin",
        about: "Has the app role mcp.admin",
        email: "admin@demo.example",
        object: "ad000000-0000-4000-8000-000000000004",
        groups: &["MCP Users"],
        roles: &["mcp.admin"],
        ..SOMEBODY
    },
    Person {
        id: "many",
        name: "Max Many",
        about: "In 250 groups: too many for a token",
        email: "many@demo.example",
        object: "3a0f0000-0000-4000-8000-000000000005",
        more_groups: 250,
        ..SOMEBODY
    },
    Person {
        id: "mfa",
        name: "Mia Factor",
        about: "Has to come with a second factor",
        email: "mfa@demo.example",
        object: "3fa00000-0000-4000-8000-000000000006",
        groups: &["MCP Users"],
        second_factor: true,
        ..SOMEBODY
    },
    Person {
        id: "disabled",
        name: "Dirk Gone",
        about: "Is locked out at the next refresh",
        email: "disabled@demo.example",
        object: "d15ab1ed-0000-4000-8000-000000000007",
        groups: &["MCP Users"],
        disabled: true,
        ..SOMEBODY
    },
    Person {
        id: "step",
        name: "Stella Step",
        about: "Needs a second factor for the API behind",
        email: "step@demo.example",
        object: "57e90000-0000-4000-8000-000000000009",
        groups: &["MCP Users"],
        factor_for_apis: true,
        ..SOMEBODY
    },
    Person {
        id: "nobody",
        name: "Nora Noconsent",
        about: "Nobody agreed to the API behind",
        email: "nora@demo.example",
        object: "90c00000-0000-4000-8000-000000000010",
        groups: &["MCP Users"],
        without_consent: true,
        ..SOMEBODY
    },
    Person {
        id: "other",
        name: "Olga Other",
        about: "Of another tenant",
        email: "olga@other.example",
        object: "07e40000-0000-4000-8000-000000000008",
        elsewhere: true,
        ..SOMEBODY
    },
];

/// The person with this id.
pub(super) fn find(id: &str) -> Option<&'static Person> {
    PEOPLE.iter().chain(CASES).find(|person| person.id == id)
}

/// The person with this object id.
pub(super) fn of_object(object: &str) -> Option<&'static Person> {
    PEOPLE.iter().chain(CASES).find(|person| person.object == object)
}

impl Person {
    /// A number that nobody else has.
    pub(super) fn number(&self) -> u64 {
        let digest = deputy_protocol::secret::sha256(self.object.as_bytes());
        digest.iter().take(5).fold(0, |number, byte| number * 256 + u64::from(*byte))
    }

    /// What the directory says about them. The subject is made for this application alone, as Entra's are.
    pub(super) fn claims(&self) -> Map<String, Value> {
        let claims = [
            ("sub", json!(format!("pairwise-{}", self.object))),
            ("oid", json!(self.object)),
            ("name", json!(self.name)),
            ("preferred_username", json!(self.email)),
            ("email", json!(self.email)),
            ("email_verified", json!(true)),
            ("groups", json!(self.groups)),
        ];
        claims.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}
