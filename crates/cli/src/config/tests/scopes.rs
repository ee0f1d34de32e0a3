//! `[[scope]]`: what scopes mean, and who may have them.

use super::{GOOD, Settings, load};

/// The good file with scopes at its server, and what is said about them.
fn with(about: &str) -> Result<Settings, String> {
    load(&format!("{GOOD}scopes = [\"files:read\", \"files:write\"]\n{about}"))
}

#[test]
fn each_word_about_a_scope_is_read() {
    let settings = with(
        "[[scope]]\nname = \"files:write\"\ndescription = \"Change your files\"\ngrants_to = [\"group:Writers\", \"role:admin\"]\n\
         implies = [\"files:read\"]\nidp = [\"api://files/Files.Write\"]\n[[scope]]\nname = \"files:read\"\n",
    )
    .unwrap();
    assert!(settings.notes.is_empty(), "{:?}", settings.notes);
    let rules: Vec<_> = settings.server.scopes.iter().collect();
    assert_eq!((rules.len(), rules[0].grants_to.as_ref(), rules[0].implies.is_empty()), (2, None, true));
    let write = rules[1];
    assert_eq!((write.name.as_str(), write.description.as_deref()), ("files:write", Some("Change your files")));
    assert_eq!(
        (write.implies.to_string().as_str(), write.idp.as_slice()),
        ("files:read", ["api://files/Files.Write".to_owned()].as_slice())
    );
    assert!(write.grants_to.is_some());
}

#[test]
fn scopes_of_the_provider_go_with_one_provider_and_with_entra_for_one_api() {
    let mapped = |idp: &str| {
        let scope = "[[scope]]\nname = \"mcp\"\nidp = [\"api://files/Read\", \"openid\"]\n";
        let server = "[[server]]\npath = \"/mcp\"\nurl = \"http://127.0.0.1:9000/mcp\"\n";
        load(&format!("public_url = \"https://mcp.test\"\n{scope}{server}{idp}"))
    };
    let entra = |more: &str| {
        mapped(&format!(
            "[idp]\nprovider = \"entra\"\ntenant = \"11111111-2222-3333-4444-555555555555\"\nclient_id = \"c\"\n\
             client_secret = {{ env = \"IDP_SECRET\" }}\n{more}"
        ))
    };
    assert!(entra("").is_ok());
    assert!(entra("scopes = [\"openid\", \"api://files/Write\"]").is_ok());
    let two = entra("groups = \"graph\"").unwrap_err();
    assert!(two.contains("deputy.toml:4:8: scopes are for two resources, https://graph.microsoft.com and api://files"), "{two}");
    let github = |name: &str| {
        format!(
            "[[idp]]\nname = \"{name}\"\nprovider = \"github\"\nclient_id = \"c\"\nclient_secret = {{ env = \"IDP_SECRET\" }}\n"
        )
    };
    let several = mapped(&format!("{}{}[access]\nallow = [\"*\"]\n", github("a"), github("b"))).unwrap_err();
    assert!(several.contains("goes with one [idp] alone"), "{several}");
}

#[test]
fn what_is_wrong_with_a_scope_is_said_where_it_stands() {
    let scope = |more: &str| with(&format!("[[scope]]\nname = \"files:write\"\n{more}\n")).unwrap_err();
    for (more, said) in [
        ("grants_to = []", "is empty, so nobody could have it"),
        ("grants_to = [\"*\", \"Writers\"]", "18:19: \"Writers\" is no access rule"),
        ("grants_to = [\"idp:okta/*\"]", "is not configured"),
        ("description = \"  \"", "one line of 1 to 200 characters"),
        ("description = \"a\\nb\"", "one line of 1 to 200 characters"),
        ("implies = [\"files read\"]", "18:12: a scope is one word"),
        ("idp = [\"\"]", "a scope is one word"),
        ("[[scope]]\nname = \"files:write\"", "is described by two [[scope]]"),
        ("grant_to = []", "Did you mean `grants_to`?"),
    ] {
        let error = scope(more);
        assert!(error.contains(said), "{more}: {error}");
    }
    assert!(with("[[scope]]\nname = \"offline_access\"\n").unwrap_err().contains("needs no [[scope]]"));
    assert!(with("[[scope]]\ndescription = \"x\"\n").unwrap_err().contains("`name` is missing"));
}

#[test]
fn a_scope_that_is_nowhere_and_a_way_around_a_rule_get_a_second_look() {
    for (about, said) in [
        ("[[scope]]\nname = \"file:write\"\n", "\"file:write\": no [[server]] has this scope. Did you mean \"files:write\"?"),
        ("[[scope]]\nname = \"files:write\"\nimplies = [\"filesread\"]\n", "implies \"filesread\", which no [[server]] has"),
        (
            "[[scope]]\nname = \"files:write\"\nimplies = [\"files:read\"]\n[[scope]]\nname = \"files:read\"\ngrants_to = [\"group:Staff\"]\n",
            "everybody gets it this way",
        ),
    ] {
        let notes = with(about).unwrap().notes;
        assert!(notes.len() == 1 && notes[0].contains(said), "{about}: {notes:?}");
    }
    let dead = with("[[scope]]\nname = \"files:write\"\ngrants_to = [\"org:acme\"]\n").unwrap().notes;
    assert!(
        dead.len() == 1 && dead[0].starts_with("[[scope]] \"files:write\": grants_to \"org:acme\" can never be true"),
        "{dead:?}"
    );
    assert!(with("").unwrap().notes.is_empty(), "scopes of which nothing is said are fine");
}
