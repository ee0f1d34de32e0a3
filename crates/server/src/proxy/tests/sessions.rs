//! Sessions belong to a principal (PX-15, A-211).

use super::*;

async fn stateful(_: Parts) -> Response<Body> {
    let mut response = answer(200, "application/json", "{}");
    response.headers_mut().insert("mcp-session-id", "backend-1".parse().unwrap());
    response
}

async fn with_session(gate: &Gate, method: &str, token: &str, session: &str) -> Response<hyper::body::Incoming> {
    let request = Request::builder().method(method).uri(format!("{}/mcp", gate.origin)).header("mcp-session-id", session);
    let request = request.header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
    gate.send(request.body(Body::from(PING)).unwrap()).await
}

fn token_with(gate: &Gate, claim: &str, value: &str) -> String {
    let mut claims = gate.claims();
    claims[claim] = value.into();
    gate.sign(&claims)
}

#[tokio::test]
async fn a_211_px_15_a_session_is_its_principals_alone() {
    let gate = Gate::start(stateful).await;
    let opened = gate.post().await;
    let session = header(&opened, "mcp-session-id").to_owned();
    assert!(session != "backend-1" && session.len() < 256 && session.bytes().all(|b| b.is_ascii_graphic()), "{session}");

    // The same person and client, with the token of another refresh.
    let refreshed = token_with(&gate, "jti", "another");
    for method in ["POST", "GET", "DELETE"] {
        assert_eq!(with_session(&gate, method, &refreshed, &session).await.status(), 200, "{method}");
        assert_eq!(gate.seen().last().unwrap().header("mcp-session-id"), ["backend-1"]);
    }

    let asked = gate.seen().len();
    let (bob, other_client) = (token_with(&gate, "sub", "sub-2"), token_with(&gate, "client_id", "client-2"));
    let (mut altered, elsewhere) = (session.clone(), Gate::start(stateful).await.post().await);
    altered.replace_range(20..21, if altered.as_bytes()[20] == b'A' { "B" } else { "A" });
    for method in ["POST", "GET", "DELETE"] {
        for (token, session) in [
            (&bob, session.as_str()),
            (&other_client, &session),
            (&refreshed, "backend-1"),
            (&refreshed, &altered),
            (&refreshed, ""),
            (&refreshed, header(&elsewhere, "mcp-session-id")),
        ] {
            let refused = with_session(&gate, method, token, session).await;
            assert_eq!(refused.status(), 404, "{method} {session}");
            assert!(text(refused).await.contains("session_unknown"));
        }
    }
    assert_eq!(gate.seen().len(), asked, "the backend was asked");
}

#[tokio::test]
async fn px_15_a_session_that_mcp_does_not_have_does_not_leave() {
    let gate = Gate::start(|_| async {
        let mut response = answer(200, "application/json", "{}");
        response.headers_mut().append("mcp-session-id", "a".parse().unwrap());
        response.headers_mut().append("mcp-session-id", "b".parse().unwrap());
        response
    })
    .await;
    assert!(!gate.post().await.headers().contains_key("mcp-session-id"));
}
