//! Endpoint and attack tests over real sockets. Attack cases carry their id (`a_031_…`), requirements theirs (`con_19_…`).
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod assertions;
mod attacks;
mod attacks_codes;
mod attacks_faults;
mod attacks_legs;
mod attacks_proxy;
mod attacks_surface;
mod authorize;
mod callback;
mod calls;
mod clients;
mod consent;
mod discovery;
mod documents;
mod documents_keys;
mod entra;
mod finish;
mod floods;
mod github;
mod grants;
mod groups;
mod hearing;
mod idp;
mod keys;
mod known_clients;
mod lost_database;
mod managed;
mod masters;
mod on_behalf;
mod providers;
mod register;
mod remember;
mod resource;
mod restored;
mod revocation;
mod scopes;
mod secrets;
mod store;
mod stories;
mod token;
mod told;
mod traps;
mod upgrade;
mod verify;
