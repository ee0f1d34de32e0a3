//! Steps as sentences.

use super::{Entry, Link, Step};
use crate::people::Person;

fn opens(browser: Person, link: Link) -> String {
    let Link { app, redirect, entry, more, foreign } = link;
    let begins = match entry {
        Entry::Direct => format!("{} opens a link of {}", browser.name(), app.name()),
        Entry::Sent => format!("another site sends {}'s browser to a link of {}", browser.name(), app.name()),
    };
    let address = if app == redirect { String::new() } else { format!(" with the redirect URI of {}", redirect.name()) };
    let scopes = if more { ", for more scopes than usual" } else { "" };
    let resource = if foreign { ", for a resource that is not ours" } else { "" };
    format!("{begins}{address}{scopes}{resource}")
}

/// Tells a step.
pub(super) fn tell(step: Step) -> String {
    match step {
        Step::Open { browser, link } => opens(browser, link),
        Step::Decide { browser, transaction, own_page: true } => {
            format!("{} approves transaction {transaction} on our page", browser.name())
        }
        Step::Decide { browser, transaction, own_page: false } => {
            format!("a page of the attacker's makes {}'s browser post the form of transaction {transaction}", browser.name())
        }
        Step::SignIn { browser, approval, account } => {
            let whose = if browser == account { "" } else { " to the other's account" };
            format!(
                "{} visits the provider with the request of approval {approval}, and is signed in silently{whose}",
                browser.name()
            )
        }
        Step::Callback { browser, approval, answer } => {
            format!("{} comes back with the state of approval {approval} and the provider's code {answer}", browser.name())
        }
        Step::CallbackDies { browser, approval, written, .. } => {
            let moment = if written { "after the write, before the answer" } else { "before the write" };
            format!("{} comes back with the state of approval {approval}; the process dies {moment}", browser.name())
        }
        Step::Finish { browser, page, own_page: true } => format!("{} presses Finish on last page {page}", browser.name()),
        Step::Finish { browser, page, own_page: false } => {
            format!("a page of the attacker's makes {}'s browser post the form of last page {page}", browser.name())
        }
        Step::Plant => "a page on another port plants the attacker's cookies in the victim's browser".to_owned(),
        Step::Wait => "eleven minutes pass".to_owned(),
    }
}
