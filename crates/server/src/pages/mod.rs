//! What people see: the consent page, and pages that say what went wrong (CON-04…08, CON-33…37; A-015…A-030).
//!
//! What this module guarantees:
//! - Pages are made from checked types only, by templates that escape everything.
//! - Nothing runs and nothing is loaded from elsewhere: no script, no style in the markup, no remote picture.
//! - A page leaves this module with its security headers; there is no way to send one without.

mod consent;
mod error;
mod finish;
mod headers;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

pub(crate) use consent::{ConsentView, IdpChoice, consent};
pub(crate) use error::{ErrorView, PersonView, ReturnTo, error};
pub(crate) use finish::{FinishView, finish};
pub(crate) use headers::{Opener, Referrer, secure_headers};

/// The one stylesheet; the pages expect it at `/assets/deputy.css`.
pub(crate) const STYLESHEET: &str = include_str!("../../assets/deputy.css");

/// A complete page: turn it into a response with [`IntoResponse`].
#[derive(Debug)]
pub(crate) struct Page {
    status: StatusCode,
    html: String,
    referrer: Referrer,
    opener: Opener,
}

impl Page {
    /// The markup.
    #[cfg(test)]
    pub(crate) fn html(&self) -> &str {
        &self.html
    }

    /// The headers that the response will carry.
    #[must_use]
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        secure_headers(&mut headers, self.referrer, self.opener);
        headers
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let headers = self.headers();
        let mut response = Response::new(Body::from(self.html));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

/// Renders a template. Writing into memory does not fail; if it did, an empty page would go out, never half of one.
fn render<T: askama::Template>(template: &T) -> String {
    template.render().unwrap_or_default()
}
