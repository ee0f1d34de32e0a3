//! `[[server.rule]]`: who may call what.

use super::{GOOD, Settings, load};

fn with(about: &str) -> Result<Settings, String> {
    load(&format!("{GOOD}scopes = [\"mcp\", \"files:write\"]\n{about}"))
}

#[test]
fn rules_are_read_in_their_order_and_shown_in_words() {
    let settings = with(
        "default = \"deny\"\nhide_denied = true\n[[server.rule]]\ntools = [\"delete_*\"]\npeople = [\"group:Admins\"]\nscopes = [\"files:write\"]\n\
         [[server.rule]]\ntools = [\"delete_*\"]\nallow = false\n[[server.rule]]\nmethods = [\"tools/*\"]\n[[server.rule]]\nresources = [\"file:///*\"]\n\
         [[server.rule]]\nprompts = [\"*\"]\nallow = true\n[[server.rule]]\npeople = [\"role:auditor\"]\n",
    )
    .unwrap();
    let shown = crate::explain::settings(&settings);
    for line in [
        "/mcp   tools/call of delete_* for group:Admins, with a token that has files:write",
        "/mcp   no tools/call of delete_*",
        "/mcp   tools/*",
        "/mcp   resources/read, resources/subscribe, resources/unsubscribe of file:///*",
        "/mcp   prompts/get of *",
        "/mcp   everything for role:auditor",
        "/mcp   nothing else may be called; tools that somebody may not call are not shown to them",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!crate::explain::settings(&with("").unwrap()).contains("calls"));
}

#[test]
fn what_is_wrong_with_a_rule_is_said_where_it_stands() {
    for (about, said) in [
        ("default = \"no\"\n", "\"allow\" or \"deny\""),
        ("[[server.rule]]\ntools = [\"a\"]\nmethods = [\"b\"]\n", "one of tools, prompts, resources and methods"),
        ("[[server.rule]]\ntools = [\"a\"]\nprompts = [\"b\"]\n", "one of tools, prompts, resources and methods"),
        ("[[server.rule]]\ntools = []\n", "about nothing"),
        ("[[server.rule]]\ntools = [\"a?\"]\n", "question mark"),
        ("[[server.rule]]\npeople = [\"Admins\"]\n", "17:11: \"Admins\" is no access rule"),
        ("[[server.rule]]\nscopes = [\"files:delete\"]\n", "no scope \"files:delete\""),
        ("[[server.rule]]\nscopes = [\"mcp\"]\nallow = false\n", "With allow = false"),
        ("[[server.rule]]\ntool = [\"a\"]\n", "Did you mean `tools`?"),
    ] {
        let error = with(about).unwrap_err();
        assert!(error.contains(said), "{about}: {error}");
    }
}

#[test]
fn a_server_is_told_who_is_calling_as_the_file_says() {
    use deputy_server::config::BackendCredential as Credential;
    let told = |about: &str| with(about).unwrap().server.servers[0].credential.clone();
    assert!(matches!(told(""), Credential::Headers) && matches!(told("credential = \"none\"\n"), Credential::None));
    assert!(matches!(told("credential = \"assertion\"\n"), Credential::Assertion));
    assert!(matches!(told("credential = \"static\"\nbearer = { env = \"IDP_SECRET\" }\n"), Credential::Static(_)));
    let shown = crate::explain::settings(&with("credential = \"assertion\"\n").unwrap());
    assert!(shown.contains("/mcp   who is calling stands in a JWT of ours"), "{shown}");
    for (about, said) in [
        ("credential = \"static\"\n", "needs the token: bearer"),
        ("bearer = { env = \"IDP_SECRET\" }\n", "goes with credential = \"static\" alone"),
        ("credential = \"idp\"\n", "\"headers\" (the default), \"assertion\""),
        ("credential = \"static\"\nbearer = \"abc\"\n", "secret"),
    ] {
        let error = with(about).unwrap_err();
        assert!(error.contains(said), "{about}: {error}");
    }
}
