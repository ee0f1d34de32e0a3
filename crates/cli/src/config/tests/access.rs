//! `[access]`: who may come in.

use super::{GOOD, load};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

/// The good file with other lines for the provider, and for `[access]` as a whole.
fn with(idp: &str, access: &str) -> Result<super::Settings, String> {
    let text = GOOD.replace("issuer = \"https://login.example.com\"", idp);
    load(&text.replace("[access]\nallow = [\"domain:example.com\"]", access))
}

fn entra() -> String {
    format!("provider = \"entra\"\ntenant = \"{TENANT}\"")
}

#[test]
fn a_companys_own_provider_needs_no_rule() {
    for access in ["", "[access]", "[access]\ndeny = [\"group:Guests\"]"] {
        let settings = with(&entra(), access).unwrap();
        assert_eq!((settings.allow.as_slice(), settings.notes.len()), (["idp:entra".to_owned()].as_slice(), 0), "{access}");
        assert!(!settings.server.access.admit_anyone());
    }
    assert_eq!(with(&entra(), "[access]\ndeny = [\"group:Guests\"]").unwrap().deny, ["group:Guests"]);
    for idp in ["provider = \"google\"", "provider = \"gitlab\"", "issuer = \"https://login.example.com\""] {
        assert!(with(idp, "[access]\ndeny = [\"group:Guests\"]").unwrap_err().contains("nobody may come in"), "{idp}");
    }
}

#[test]
fn each_word_is_read_and_a_wrong_one_is_shown_at_its_place() {
    let all = format!(
        "[access]\nallow = [\"role:mcp.user\", \"tenant:{TENANT}\", \"org:acme\", \"team:acme/devs\", \"idp:entra/group:Staff\", \"idp:entra\"]\n\
         deny = [\"email:mallory@corp.test\", \"idp:entra/role:guest\"]"
    );
    let settings = with(&entra(), &all).unwrap();
    assert_eq!((settings.allow.len(), settings.deny.len()), (6, 2));
    for (access, said) in [
        ("[access]\nallow = [\"idp:entra\"]\ndeny = [\"*\"]", "11:9: deny = [\"*\"] keeps everybody out"),
        ("[access]\nallow = [\"idp:okta/*\"]", "10:10: \"idp:okta/*\" names an identity provider that is not configured"),
        ("[access]\nallow = [\"tenant:99999999-2222-3333-4444-555555555555\"]", "can never be true"),
        ("[access]\nallow = [\"tenant:corp.onmicrosoft.com\"]", "is no access rule"),
        ("[access]\ndeny = [\"team:devs\"]", "10:9: \"team:devs\" is no access rule"),
    ] {
        let error = with(&entra(), access).unwrap_err();
        assert!(error.contains(said), "{access}: {error}");
    }
}

#[test]
fn whom_to_ask_is_one_line() {
    let contact = |line: &str| with(&entra(), &format!("[access]\ncontact = \"{line}\""));
    assert_eq!(contact("it@corp.test").unwrap().server.contact.as_deref(), Some("it@corp.test"));
    for wrong in ["", "a\\nb", &"x".repeat(201)] {
        assert!(contact(wrong).unwrap_err().contains("10:11: contact is one line"), "{wrong:?}");
    }
}

#[test]
fn open_doors_and_loose_names_get_a_second_look() {
    for access in ["*", "idp:google", "idp:google/*"] {
        let notes = with("provider = \"google\"", &format!("[access]\nallow = [\"{access}\"]")).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("everyone who can sign in with Google")), "{access}: {notes:?}");
    }
    let two = format!(
        "[[idp]]\nprovider = \"google\"\nclient_id = \"a\"\nclient_secret = {{ env = \"IDP_SECRET\" }}\n[[idp]]\n{}\nclient_id = \"b\"\n\
         client_secret = {{ env = \"IDP_SECRET\" }}\n[access]\nallow = [\"group:Staff\", \"idp:entra/group:Staff\"]\n[[server]]",
        entra()
    );
    let (head, rest) = (GOOD.split("[idp]").next().unwrap(), GOOD.split("[[server]]").nth(1).unwrap());
    let notes = load(&format!("{head}{two}{rest}")).unwrap().notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("\"group:Staff\" counts at every provider"), "{notes:?}");
}

#[test]
fn a_rule_that_can_never_be_true_gets_a_second_look() {
    let notes = |idp: &str, access: &str| with(idp, &format!("[access]\n{access}")).unwrap().notes;
    let by_graph = format!("{}\ngroups = \"graph\"", entra());
    for (idp, access, said) in [
        (
            entra().as_str(),
            "allow = [\"domain:example.com\"]",
            "allow \"domain:example.com\" can never be true: Entra does not say",
        ),
        (entra().as_str(), "allow = [\"idp:entra/email:a@b.test\"]", "Entra does not say whether an address was verified"),
        (entra().as_str(), "deny = [\"team:acme/devs\"]", "deny \"team:acme/devs\" can never be true"),
        (by_graph.as_str(), "allow = [\"group:Staff\"]", "Write the group's object id"),
        (by_graph.as_str(), "deny = [\"idp:entra/group:Staff\"]", "Write the group's object id"),
        ("provider = \"google\"", "allow = [\"group:Staff\"]", "Google's tokens say nothing about groups"),
        ("issuer = \"https://login.example.com\"", "allow = [\"org:acme\"]", "organisations and teams of GitHub"),
    ] {
        let notes = notes(idp, access);
        assert!(notes.len() == 1 && notes[0].contains(said), "{access}: {notes:?}");
    }
    for (idp, access) in [
        (entra().as_str(), "deny = [\"domain:example.com\"]"),
        (by_graph.as_str(), "allow = [\"group:99999999-2222-3333-4444-555555555555\"]"),
        (entra().as_str(), "allow = [\"group:Staff\", \"role:mcp.user\"]"),
        ("provider = \"google\"", "allow = [\"domain:example.com\"]"),
        ("issuer = \"https://login.example.com\"", "allow = [\"group:Staff\"]"),
    ] {
        assert_eq!(notes(idp, access), [""; 0], "{access}");
    }
}

#[test]
fn what_is_read_is_shown() {
    let about = "[access]\nallow = [\"role:mcp.user\"]\ndeny = [\"group:Guests\"]\ncontact = \"it@corp.test\"\n[[scope]]\nname = \"mcp\"\n\
                 description = \"Ask the wiki\"\ngrants_to = [\"group:Staff\"]\nimplies = [\"mcp\"]\nidp = [\"api://wiki/Read\"]";
    let shown = crate::explain::settings(&with(&entra(), about).unwrap());
    for line in [
        "lets in          role:mcp.user",
        "but not          group:Guests",
        "others ask       it@corp.test",
        "mcp   \"Ask the wiki\", for those whom its grants_to names, contains mcp, stands for api://wiki/Read at the provider",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}
