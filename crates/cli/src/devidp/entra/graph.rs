//! As much of Microsoft Graph as an application asks about groups.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::super::people::Person;
use super::super::{Idp, json_answer, lock};
use super::tokens::groups;

/// Most groups of one question.
const AT_ONCE: usize = 20;

pub(super) fn routes(router: Router<Arc<Idp>>) -> Router<Arc<Idp>> {
    router.route("/v1.0/me/getMemberObjects", post(member_objects)).route("/v1.0/me/checkMemberGroups", post(check_member_groups))
}

fn whose(idp: &Idp, headers: &HeaderMap) -> Option<&'static Person> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    token.and_then(|token| lock(&idp.access).get_mut(token).copied())
}

fn nobodys() -> Response {
    json_answer(StatusCode::UNAUTHORIZED, &json!({ "error": { "code": "InvalidAuthenticationToken" } }))
}

/// All groups of the person whose token it is.
/// <https://learn.microsoft.com/graph/api/directoryobject-getmemberobjects>
async fn member_objects(State(idp): State<Arc<Idp>>, headers: HeaderMap) -> Response {
    match whose(&idp, &headers) {
        Some(person) => json_answer(StatusCode::OK, &json!({ "value": groups(person) })),
        None => nobodys(),
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "groupIds")]
    groups: Vec<String>,
}

/// Which of these groups the person is in.
/// <https://learn.microsoft.com/graph/api/directoryobject-checkmembergroups>
async fn check_member_groups(State(idp): State<Arc<Idp>>, headers: HeaderMap, body: String) -> Response {
    let Some(person) = whose(&idp, &headers) else { return nobodys() };
    let asked = serde_json::from_str::<Asked>(&body).ok().filter(|asked| asked.groups.len() <= AT_ONCE);
    let Some(asked) = asked else {
        return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": { "code": "Request_BadRequest" } }));
    };
    let theirs = groups(person);
    let found: Vec<String> = asked.groups.iter().map(|id| id.to_lowercase()).filter(|id| theirs.contains(id)).collect();
    json_answer(StatusCode::OK, &json!({ "value": found }))
}
