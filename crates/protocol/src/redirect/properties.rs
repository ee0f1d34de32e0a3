//! The matcher as a relation: what holds of all pairs, not of examples.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// URIs over parts that collide.
fn uris() -> impl Strategy<Value = RedirectUri> {
    let origin = prop_oneof![
        Just("https://a.test"),
        Just("https://a.test:8443"),
        Just("https://localhost"),
        Just("http://localhost"),
        Just("http://localhost:1"),
        Just("http://127.0.0.1:1"),
        Just("http://127.0.0.1:2"),
        Just("http://[::1]"),
        Just("http://[::1]:3"),
    ];
    let rest = prop_oneof![Just(""), Just("/"), Just("/cb"), Just("/cb/"), Just("/cb?"), Just("/cb?x=:1"), Just("/:1")];
    (origin, rest).prop_map(|(origin, rest)| RedirectUri::parse(&format!("{origin}{rest}")).unwrap())
}

fn same_but_port(a: &RedirectUri, b: &RedirectUri) -> bool {
    let (mut a, mut b) = (Url::parse(a.as_str()).unwrap(), Url::parse(b.as_str()).unwrap());
    a.set_port(None).is_ok() && b.set_port(None).is_ok() && a == b
}

proptest! {
    #[test]
    fn to_accept_is_an_equivalence(a in uris(), b in uris(), c in uris()) {
        prop_assert!(a.accepts(&a));
        prop_assert_eq!(a.accepts(&b), b.accepts(&a));
        prop_assert!(!(a.accepts(&b) && b.accepts(&c)) || a.accepts(&c));
    }

    /// Two that match differ in nothing but the port, and in that on loopback http only.
    #[test]
    fn a_match_is_equality_but_for_a_loopback_port(a in uris(), b in uris()) {
        if a.accepts(&b) {
            prop_assert!(a == b || (same_but_port(&a, &b) && a.destination() == Destination::Loopback));
        }
    }

    /// One letter more, less or other is another URI.
    #[test]
    fn one_edit_is_a_miss(known in uris(), at: Index, letter in "[ -~]", how in 0..3) {
        let mut edited: Vec<char> = known.as_str().chars().collect();
        let place = at.index(edited.len());
        match how {
            0 => drop(edited.remove(place)),
            1 => edited.insert(place, letter.chars().next().unwrap()),
            _ => edited[place] = letter.chars().next().unwrap(),
        }
        let edited: String = edited.into_iter().collect();
        let issuer = Issuer::parse("https://as.test").unwrap();
        if let Ok(trusted) = match_redirect(std::slice::from_ref(&known), Some(&edited), None, &issuer) {
            let port_only = known.destination() == Destination::Loopback && same_but_port(&known, trusted.uri());
            prop_assert!(edited == known.as_str() || port_only, "{} {}", known, edited);
        }
    }

    /// A sealed copy sends to the same place with the same state.
    #[test]
    fn a_sealed_copy_answers_the_same(known in uris(), state in ".{0,30}") {
        let issuer = Issuer::parse("https://as.test").unwrap();
        let state = Some(ClientState::parse(&state).unwrap());
        let trusted = match_redirect(std::slice::from_ref(&known), Some(known.as_str()), state, &issuer).unwrap();
        let copy: TrustedRedirect = serde_json::from_str(&serde_json::to_string(&trusted).unwrap()).unwrap();
        let location = |trusted: &TrustedRedirect| trusted.with_error(OAuthError::AccessDenied, Reason::ConsentDenied);
        prop_assert_eq!(location(&copy), location(&trusted));
    }
}
