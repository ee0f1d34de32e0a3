//! The demo provider's two pages. Server-rendered, no script, and plainly not a real company's.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::people::Person;

const STYLE: &str = "
:root{color-scheme:light dark;--bg:#f1efe9;--card:#fffdf8;--ink:#2b2620;--soft:#6b6257;--line:#e2dccf;--accent:#8a4b12;--hover:#f6f0e4}
@media (prefers-color-scheme:dark){:root{--bg:#1d1a16;--card:#272320;--ink:#f2ece3;--soft:#b9aea0;--line:#403930;--accent:#f0b37a;--hover:#322d28}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif;min-height:100vh;display:grid;place-items:center;padding:1rem}
main{background:var(--card);border:1px solid var(--line);border-radius:14px;max-width:26rem;width:100%;padding:1.75rem}
h1{font-size:1.35rem;margin:.25rem 0 .5rem}p{margin:.25rem 0 1rem;color:var(--soft)}.badge{display:inline-block;font-size:.8rem;font-weight:600;color:var(--accent);border:1px solid currentColor;border-radius:99px;padding:.1rem .6rem}
button{font:inherit;color:inherit;width:100%;text-align:left;background:none;border:1px solid var(--line);border-radius:10px;padding:.75rem 1rem;margin:.3rem 0;cursor:pointer}
button:hover{background:var(--hover)}button:focus-visible{outline:3px solid var(--accent);outline-offset:2px}button b{display:block}button span{color:var(--soft);font-size:.9rem}
.row{display:flex;gap:.6rem}.row button{text-align:center;font-weight:600}";

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><span class=\"badge\">Demo identity provider</span>{body}</main></body></html>"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"),
    ];
    (status, headers, html).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Who are you?
pub(super) fn sign_in(action: &str, request: &str, people: impl Iterator<Item = &'static Person>) -> Response {
    let people: String = people
        .map(|p| {
            format!("<button name=\"person\" value=\"{}\"><b>{}</b><span>{} · {}</span></button>", p.id, p.name, p.email, p.about)
        })
        .collect();
    let body = format!(
        "<h1>Pick an account</h1><p>There are no passwords here: this provider exists for trying things only. It remembers you in this browser.</p>\
         <form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"request\" value=\"{}\">{people}</form>",
        escape(action),
        escape(request)
    );
    page(StatusCode::OK, "Sign in · demo identity provider", &body)
}

/// May the one registered application know who you are? Asked once, then remembered.
pub(super) fn consent(action: &str, request: &str, person: &Person) -> Response {
    let body = format!(
        "<h1>Let “MCP gateway” know who you are?</h1>\
         <p>You are {} ({}). The application “MCP gateway” asks for your name, e-mail address and groups. \
         This provider knows that one application only, asks once, and remembers the answer — whichever MCP client is behind it.</p>\
         <form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"request\" value=\"{}\"><div class=\"row\">\
         <button name=\"consent\" value=\"no\">Cancel</button><button name=\"consent\" value=\"yes\">Accept</button></div></form>",
        escape(person.name),
        escape(person.email),
        escape(action),
        escape(request)
    );
    page(StatusCode::OK, "Permissions requested · demo identity provider", &body)
}

/// Nobody is signed in any more.
pub(super) fn signed_out() -> Response {
    let body =
        "<h1>Signed out</h1><p>Nobody is signed in at this provider in this browser now. The next sign-in asks who you are.</p>";
    page(StatusCode::OK, "Signed out · demo identity provider", body)
}

/// A request that cannot be answered.
pub(super) fn refused(text: &str) -> Response {
    page(
        StatusCode::BAD_REQUEST,
        "Sign-in refused · demo identity provider",
        &format!("<h1>Sign-in refused</h1><p>{}</p>", escape(text)),
    )
}
