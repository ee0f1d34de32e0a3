//! How a refusal reaches the person or the client.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use deputy_protocol::Reason;
use deputy_protocol::authorization::Refused;
use deputy_protocol::redirect::{Destination, TrustedRedirect};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::stopped::{self, TurnedAway};
use crate::dispatch::Incoming;
use crate::error::{Failure, common_headers, json};
use crate::gateway::Shared;
use crate::idp::IdpFailure;
use crate::pages;

/// A refusal at an endpoint that a browser visits.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nothing is trusted: our own page, no redirect (AS-55).
    Page(Failure),
    /// The client is told; the person has acted on our page before.
    Client(TrustedRedirect, Failure),
    /// The client may be told, but nobody has acted yet: a stranger's link must not bounce a browser to wherever the stranger
    /// registered (AS-63; RFC 9700 §4.11.2).
    Undecided(TrustedRedirect, Failure),
    /// Who signed in may not come in, or not for this: a page tells the person, who takes the error on.
    TurnedAway(Box<TurnedAway>),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Page(failure)
    }
}

impl From<IdpFailure> for Refusal {
    fn from(failure: IdpFailure) -> Self {
        Self::Page(failure.into())
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Untrusted(reason) => Self::Page(reason.into()),
            Refused::Undecided(redirect, reason) => Self::Undecided(redirect, reason.into()),
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Page(reason.into())
    }
}

impl Refusal {
    /// Tells the client, now that the person has acted.
    pub(super) fn client(redirect: &TrustedRedirect, failure: impl Into<Failure>) -> Self {
        Self::Client(redirect.clone(), failure.into())
    }

    pub(super) fn into_response(self, gateway: &Shared, request: &Incoming, endpoint: &'static str) -> Response {
        match self {
            Self::Page(failure) if request.wants_json() => {
                json(&failure, endpoint, gateway.server_metadata.registration_endpoint())
            }
            Self::Page(failure) => page(failure.reason(), &failure.log(endpoint), None, None),
            Self::TurnedAway(away) if request.wants_json() => {
                json(&away.failure(), endpoint, gateway.server_metadata.registration_endpoint())
            }
            Self::TurnedAway(away) => stopped::turn_away(gateway, *away, endpoint),
            Self::Client(redirect, failure) => tell_client(&redirect, &failure, endpoint),
            // A program on the person's own machine is no place to phish from.
            Self::Undecided(redirect, failure) => match redirect.uri().destination() {
                Destination::Loopback => tell_client(&redirect, &failure, endpoint),
                Destination::Web | Destination::PrivateUse => {
                    page(failure.reason(), &failure.log(endpoint), Some(&redirect), None)
                }
            },
        }
    }
}

fn tell_client(redirect: &TrustedRedirect, failure: &Failure, endpoint: &'static str) -> Response {
    failure.log(endpoint);
    see_other(&redirect.with_error(failure.reason().oauth(), failure.reason()))
}

pub(super) fn page(
    reason: Reason,
    reference: &str,
    back: Option<&TrustedRedirect>,
    person: Option<pages::PersonView<'_>>,
) -> Response {
    let return_to = back.map(|redirect| pages::ReturnTo::new(redirect, reason));
    let mut response = pages::error(&pages::ErrorView { reason, reference, return_to, person }).into_response();
    common_headers(response.headers_mut(), reason);
    response.extensions_mut().insert(reason);
    response
}

/// 303: the browser goes on with GET, whatever it came with (AS-66).
pub(super) fn see_other(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers: &mut HeaderMap = response.headers_mut();
    pages::secure_headers(headers, pages::Referrer::Nobody, pages::Opener::Kept);
    match HeaderValue::from_str(location) {
        Ok(value) => {
            headers.insert(LOCATION, value);
        }
        // Every location is made of checked URIs and encoded parameters; should one not fit, nobody is sent anywhere.
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}
