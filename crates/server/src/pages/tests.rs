//! What every page must and must not contain.

use deputy_protocol::redirect::{ClientState, RedirectUri, match_redirect};
use deputy_protocol::{Issuer, Reason};

use super::consent::ClientProof;
use super::samples::Sample;
use super::{ErrorView, Page, PersonView, ReturnTo, STYLESHEET, error};

fn error_page(reason: Reason, back: bool) -> Page {
    error_page_for(reason, back, None)
}

/// Somebody with an odd name who may not come in.
fn turned_away() -> Page {
    let person = PersonView { account: "<b>Al\u{202e}ice</b>", idp_host: "id.example.com", contact: Some("<b>it@corp.test</b>") };
    error_page_for(Reason::SubjectNotAllowed, true, Some(person))
}

fn error_page_for(reason: Reason, back: bool, person: Option<PersonView<'_>>) -> Page {
    let uri = "https://client.example/cb?x=1&y=\"2";
    let registered = RedirectUri::parse("https://client.example/cb?x=1&y=%222").unwrap();
    let state = ClientState::parse("\"><script>alert(1)</script>").unwrap();
    let issuer = Issuer::parse("https://mcp.example.com").unwrap();
    assert!(RedirectUri::parse(uri).is_err());
    let trusted = match_redirect(std::slice::from_ref(&registered), Some(registered.as_str()), Some(state), &issuer).unwrap();
    error(&ErrorView { reason, reference: "<b>tx_1</b>", return_to: back.then(|| ReturnTo::new(&trusted, reason)), person })
}

fn every_kind_of_page() -> Vec<Page> {
    vec![
        Sample::friendly().page(),
        Sample::nasty().page(),
        error_page(Reason::ScopeUnknown, true),
        error_page(Reason::Internal, false),
        error_page(Reason::NotFound, false),
        turned_away(),
    ]
}

#[test]
fn a_015_a_030_every_page_is_framed_and_kept_by_nobody() {
    for page in every_kind_of_page() {
        let headers = page.headers();
        let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
        assert_eq!(get("content-type"), "text/html; charset=utf-8");
        let policy = get("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("form-action"), "CON-37: {policy}");
        assert_eq!(get("x-frame-options"), "DENY");
        assert_eq!(get("x-content-type-options"), "nosniff");
        assert_eq!(get("cache-control"), "no-store");
    }
}

#[test]
fn con_37_the_consent_form_can_prove_its_origin_and_errors_tell_nobody() {
    assert_eq!(Sample::friendly().page().headers()["referrer-policy"], "same-origin");
    assert_eq!(error_page(Reason::ScopeUnknown, true).headers()["referrer-policy"], "no-referrer");
}

#[test]
fn a_popup_stays_connected_as_long_as_the_way_leads_back_to_the_client() {
    let cut = |page: Page| page.headers().contains_key("cross-origin-opener-policy");
    assert!(!cut(Sample::friendly().page()));
    assert!(!cut(error_page(Reason::ScopeUnknown, true)));
    assert!(cut(error_page(Reason::ScopeUnknown, false)));
}

#[test]
fn a_017_what_a_client_says_is_text() {
    for page in every_kind_of_page() {
        let html = page.html();
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert!(!html.contains("onload=\""), "{html}");
        assert_eq!(html.matches("<title>").count(), 1, "{html}");
    }
    let html = Sample::nasty().page().html().to_owned();
    assert!(html.contains("&#60;script&#62;"), "{html}");
    // The ticket is ours, yet it goes through the same door.
    let odd = Sample { ticket: "\"><img src=x>".to_owned(), ..Sample::friendly() };
    assert!(!odd.page().html().contains("<img"));
}

#[test]
fn a_021_nothing_runs_and_nothing_comes_from_elsewhere() {
    for page in every_kind_of_page() {
        let html = page.html();
        for forbidden in ["<script", "style=", "<img", "<iframe", "src=", "@import", "http-equiv"] {
            assert!(!html.contains(forbidden), "{forbidden} in {html}");
        }
        assert_eq!(html.matches("<link").count(), 1);
        assert!(html.contains("href=\"/assets/deputy.css\""));
    }
    assert!(crate::routes::ROUTES.iter().any(|route| route.path == "/assets/deputy.css"));
    assert!(!STYLESHEET.contains("url(") && !STYLESHEET.contains("@import"));
}

#[test]
fn con_04_05_06_33_the_page_shows_who_what_where_and_the_provider() {
    let page = Sample::friendly().page();
    let html = page.html();
    for shown in [
        "Claude Code",
        "Company Wiki",
        "https://mcp.example.com/mcp",
        "login.example.com",
        "<code>email</code>",
        "<code>mcp</code>",
    ] {
        assert!(html.contains(shown), "{shown} not in {html}");
    }
    // The whole URI with its real port, the host emphasised.
    assert!(html.contains("http://<strong>localhost</strong>:33418/callback"), "{html}");
    assert!(html.contains("name=\"ticket\" value=\"dpt_sealed\""));
    assert!(html.contains("value=\"approve\"") && html.contains("value=\"deny\""));
    assert!(html.contains("method=\"post\" action=\"/consent\""));
    assert!(html.contains("<html lang=\"en\">") && html.contains("<main>"));
}

#[test]
fn a_scope_is_explained_in_the_operators_words() {
    let html = Sample::nasty().page().html().to_owned();
    assert!(html.contains("<li>See your files <code>files:read</code></li>"), "{html}");
    assert!(html.contains("&#60;b&#62;Change&#60;/b&#62; your files"), "{html}");
    assert!(html.contains("Use its tools and read its data in your name <code>mcp</code>"), "{html}");
    assert!(html.contains("<li><code>scope-1</code></li>"), "{html}");
    let own = Sample { words: vec![("mcp", "Ask the wiki")], ..Sample::friendly() };
    assert!(own.page().html().contains("Ask the wiki <code>mcp</code>"));
}

#[test]
fn a_019_an_unproven_name_is_called_so() {
    assert!(Sample::friendly().page().html().contains("Unverified client"));
    let document = Sample { proof: ClientProof::PublishedAt("claude.ai"), ..Sample::friendly() };
    assert!(!document.page().html().contains("Unverified client"));
    assert!(document.page().html().contains("<strong>claude.ai</strong>"));
    let known = Sample { proof: ClientProof::ByOperator, ..Sample::friendly() };
    assert!(!known.page().html().contains("Unverified client"));
    assert!(!Sample::nasty().page().html().contains('\u{202e}'));
}

#[test]
fn a_022_loopback_and_private_use_get_their_own_warning() {
    let warning = |redirect: &str, proof| {
        let sample = Sample { redirect: redirect.to_owned(), proof, ..Sample::friendly() };
        let page = sample.page();
        let html = page.html();
        (html.contains("Any program on this computer"), html.contains("Any app on this device"))
    };
    assert_eq!(warning("http://127.0.0.1:1234/cb", ClientProof::Unverified), (true, false));
    // AS-36: also when the client proved its address, as any local program can pose as it.
    assert_eq!(warning("http://[::1]:1234/cb", ClientProof::PublishedAt("claude.ai")), (true, false));
    assert_eq!(warning("cursor://anysphere.cursor-mcp/oauth/callback", ClientProof::Unverified), (false, true));
    assert_eq!(warning("https://claude.ai/api/mcp/auth_callback", ClientProof::Unverified), (false, false));
}

#[test]
fn as_35_the_emphasised_host_is_the_host() {
    let cases = [
        ("https://claude.ai/api", "https://<strong>claude.ai</strong>/api"),
        ("https://a.example/https://claude.ai/", "https://<strong>a.example</strong>/https://claude.ai/"),
        ("https://a.example:8443/", "https://<strong>a.example</strong>:8443/"),
        ("http://[::1]:9/", "http://<strong>[::1]</strong>:9/"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "<strong>cursor</strong>://anysphere.cursor-mcp/oauth/callback"),
    ];
    for (redirect, shown) in cases {
        let sample = Sample { redirect: redirect.to_owned(), ..Sample::friendly() };
        assert!(sample.page().html().contains(shown), "{shown}");
    }
}

#[test]
fn every_reason_makes_a_page_with_a_reference_and_a_client_or_server_error() {
    for &reason in Reason::ALL {
        let page = error_page(reason, false);
        assert!(page.status.is_client_error() || page.status.is_server_error(), "{reason:?}");
        assert!(page.html().contains("tx_1") && page.html().contains(reason.code()), "{reason:?}");
    }
}

#[test]
fn as_63_the_way_back_is_a_link_that_a_person_follows() {
    let page = error_page(Reason::ScopeUnknown, true);
    let html = page.html();
    assert!(html.contains("Return to client.example"), "{html}");
    assert!(html.contains("href=\"https://client.example/cb?x=1&#38;y=%222&#38;error=invalid_scope"), "{html}");
    assert!(html.contains("iss=https%3A%2F%2Fmcp.example.com"), "{html}");
    assert!(!error_page(Reason::ScopeUnknown, false).html().contains("Return to"));
}

#[test]
fn who_is_turned_away_reads_as_whom_and_whom_to_ask() {
    let html = turned_away().html().to_owned();
    assert!(html.contains("Signed in as") && html.contains("&#60;b&#62;Alice&#60;/b&#62;"), "{html}");
    assert!(
        html.contains("at id.example.com") && html.contains("Ask <strong>&#60;b&#62;it@corp.test&#60;/b&#62;</strong>"),
        "{html}"
    );
    assert!(!error_page(Reason::SubjectNotAllowed, true).html().contains("Signed in as"));
}

/// Writes the pages where `DEPUTY_WRITE_PAGES` says, for the screenshots.
#[test]
fn write_the_pages_for_the_screenshots() {
    let Ok(dir) = std::env::var("DEPUTY_WRITE_PAGES") else { return };
    let dir = std::path::Path::new(&dir);
    let web = Sample {
        name: "Claude".to_owned(),
        proof: ClientProof::PublishedAt("claude.ai"),
        redirect: "https://claude.ai/api/mcp/auth_callback".to_owned(),
        ..Sample::friendly()
    };
    let app = Sample {
        name: "Cursor".to_owned(),
        redirect: "cursor://anysphere.cursor-mcp/oauth/callback".to_owned(),
        ..Sample::friendly()
    };
    let pages = [
        ("consent-loopback", Sample::friendly().page()),
        ("consent-web", web.page()),
        ("consent-app", app.page()),
        ("consent-nasty", Sample::nasty().page()),
        ("error-return", error_page(Reason::ScopeUnknown, true)),
        ("error", error_page(Reason::CallbackOtherBrowser, false)),
    ];
    for (name, page) in pages {
        std::fs::write(dir.join(format!("{name}.html")), page.html()).unwrap();
    }
    std::fs::create_dir_all(dir.join("assets")).unwrap();
    std::fs::write(dir.join("assets/deputy.css"), STYLESHEET).unwrap();
}
