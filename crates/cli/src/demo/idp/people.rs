//! Who can sign in at the demo.

use serde_json::{Map, Value, json};

/// A person of the demo's directory.
#[derive(Debug)]
pub(in crate::demo) struct Person {
    pub(super) id: &'static str,
    pub(in crate::demo) name: &'static str,
    pub(super) about: &'static str,
    pub(super) email: &'static str,
    object: &'static str,
    groups: &'static [&'static str],
}

/// Everybody.
pub(in crate::demo) const PEOPLE: &[Person] = &[
    Person {
        id: "alice",
        name: "Alice Weber",
        about: "Engineering",
        email: "alice@demo.example",
        object: "a11ce000-0000-4000-8000-000000000001",
        groups: &["Engineering", "MCP Users"],
    },
    Person {
        id: "bob",
        name: "Bob Tanaka",
        about: "Finance",
        email: "bob@demo.example",
        object: "b0b00000-0000-4000-8000-000000000002",
        groups: &["Finance", "MCP Users"],
    },
    Person {
        id: "carol",
        name: "Carol Díaz",
        about: "Contractor, in no group",
        email: "carol@partner.example",
        object: "ca401000-0000-4000-8000-000000000003",
        groups: &[],
    },
];

/// The person with this id.
pub(super) fn find(id: &str) -> Option<&'static Person> {
    PEOPLE.iter().find(|person| person.id == id)
}

impl Person {
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
