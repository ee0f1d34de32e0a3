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
