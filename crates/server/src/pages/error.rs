//! Pages that say what happened, whether to worry, what to do, and under which reference the operator finds it. Never exception text.

use askama::Template;
use deputy_protocol::client::DisplayName;
use deputy_protocol::redirect::TrustedRedirect;
use deputy_protocol::{OAuthError, Reason};

use super::{Opener, Page, Referrer, render};
use crate::error::page_status;

/// An error for a person.
#[derive(Debug)]
pub(crate) struct ErrorView<'a> {
    /// Why. Its message says what happened.
    pub(crate) reason: Reason,
    /// What the operator finds in the log, for example the transaction's id.
    pub(crate) reference: &'a str,
    /// A way back to the client, by the person's own click (AS-63).
    pub(crate) return_to: Option<ReturnTo>,
    /// Who signed in, where that is what it is about.
    pub(crate) person: Option<PersonView<'a>>,
}

/// Who signed in and may not come in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PersonView<'a> {
    /// As the person knows the account.
    pub(crate) account: &'a str,
    /// The host of the identity provider.
    pub(crate) idp_host: &'a str,
    /// Whom to ask for access.
    pub(crate) contact: Option<&'a str>,
}

/// A link that takes an error to the client. Made from a [`TrustedRedirect`] only.
#[derive(Debug)]
pub(crate) struct ReturnTo {
    host: String,
    location: String,
}

impl ReturnTo {
    /// The link that tells this client of this error.
    #[must_use]
    pub(crate) fn new(redirect: &TrustedRedirect, reason: Reason) -> Self {
        Self { host: redirect.uri().host(), location: redirect.with_error(reason.oauth(), reason) }
    }
}

/// The error page.
#[must_use]
pub(crate) fn error(view: &ErrorView<'_>) -> Page {
    let words = Words::of(view.reason);
    let template = ErrorTemplate {
        title: words.title,
        what: view.reason.message(),
        worry: words.worry,
        advice: words.advice,
        reference: view.reference,
        code: view.reason.code(),
        return_to: view.return_to.as_ref(),
        // The provider's words, not ours: cleaned as a client's are.
        account: view.person.map(|person| DisplayName::clean(person.account)),
        idp_host: view.person.map_or("", |person| person.idp_host),
        contact: view.person.and_then(|person| person.contact),
    };
    let opener = if view.return_to.is_some() { Opener::Kept } else { Opener::Cut };
    Page { status: page_status(view.reason), html: render(&template), referrer: Referrer::Nobody, opener }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorTemplate<'a> {
    title: &'static str,
    what: &'static str,
    worry: &'static str,
    advice: &'static str,
    reference: &'a str,
    code: &'static str,
    return_to: Option<&'a ReturnTo>,
    account: Option<DisplayName>,
    idp_host: &'a str,
    contact: Option<&'a str>,
}

/// The words around a reason's own message.
struct Words {
    title: &'static str,
    worry: &'static str,
    advice: &'static str,
}

impl Words {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other reasons go by their OAuth error, and most of those mean the client"
    )]
    fn of(reason: Reason) -> Self {
        match reason {
            Reason::ConsentOtherBrowser | Reason::CallbackOtherBrowser | Reason::TransactionUsed => Self::OTHER_BROWSER,
            Reason::ConsentNotOurPage | Reason::TicketInvalid => Self::FOREIGN_PAGE,
            Reason::RedirectNotRegistered | Reason::IdpIssuerMismatch => Self::SUSPICIOUS_LINK,
            Reason::TransactionExpired => Self::EXPIRED,
            Reason::SubjectNotAllowed
            | Reason::GroupsElsewhere
            | Reason::BackendTokenRefused
            | Reason::ScopesNotAllowed
            | Reason::TenantNotAllowed => Self::NOT_ALLOWED,
            Reason::ConsentDenied | Reason::IdpDenied => Self::DENIED,
            Reason::ClientUnknown => Self::UNKNOWN_CLIENT,
            Reason::NotFound => Self::NOT_FOUND,
            _ => match reason.oauth() {
                OAuthError::TemporarilyUnavailable => Self::LATER,
                OAuthError::ServerError => Self::OUR_FAULT,
                _ => Self::CLIENT_FAULT,
            },
        }
    }

    const OTHER_BROWSER: Self = Self {
        title: "This sign-in cannot go on here",
        worry: "Nothing was shared. If somebody sent you this link, do not go on: it may be an attempt to get at your account.",
        advice: "Start again from your application, and stay in one browser until it is done.",
    };
    const FOREIGN_PAGE: Self = Self {
        title: "This request was stopped",
        worry: "Nothing was shared. Another website may have tried to answer in your name.",
        advice: "Close this page. If you were signing in, start again from your application.",
    };
    const SUSPICIOUS_LINK: Self = Self {
        title: "This link was stopped",
        worry: "Nothing was shared. The answer would have gone to an address that does not belong to the application. If somebody sent \
                you this link, do not use it.",
        advice: "Start again from your application. If it leads here again, tell the people who make it.",
    };
    const EXPIRED: Self = Self {
        title: "This sign-in took too long",
        worry: "There is nothing to worry about, and nothing was shared.",
        advice: "Start again from your application.",
    };
    const NOT_ALLOWED: Self = Self {
        title: "Your account has no access here",
        worry: "There is nothing to worry about: you were signed in, and nothing was shared with the application.",
        advice: "Ask the operator of this server for access, or sign in with another account.",
    };
    const DENIED: Self = Self {
        title: "Access was not given",
        worry: "Nothing was shared with the application.",
        advice: "You can close this page. To try again, start from your application.",
    };
    const UNKNOWN_CLIENT: Self = Self {
        title: "This application is not known here",
        worry: "There is nothing to worry about, and nothing was shared.",
        advice: "Remove the connection in your application and add it again: it then registers anew.",
    };
    const NOT_FOUND: Self = Self {
        title: "There is nothing here",
        worry: "There is nothing to worry about.",
        advice: "Check the address. Connections to MCP servers begin in your application, not in the browser.",
    };
    const LATER: Self = Self {
        title: "Not possible at the moment",
        worry: "There is nothing to worry about, and nothing was shared.",
        advice: "Wait a minute, then start again from your application.",
    };
    const OUR_FAULT: Self = Self {
        title: "Signing in did not work",
        worry: "It is not your fault, and nothing was shared with the application.",
        advice: "Start again from your application. If it happens again, give the reference below to the operator of this server.",
    };
    const CLIENT_FAULT: Self = Self {
        title: "The application made a mistake",
        worry: "There is nothing to worry about, and nothing was shared.",
        advice: "Start again from your application. If it happens again, tell the people who make it, with the reference below.",
    };
}
