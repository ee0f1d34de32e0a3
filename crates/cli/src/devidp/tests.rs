use super::browser::{SESSION_COOKIE, next_step};
use super::plain::{Refusal, exchange};
use super::*;
use axum::extract::{RawForm, RawQuery};
use deputy_fetch::{Client, Credentials, Endpoint};
use deputy_protocol::secret::sha256;
use http::HeaderValue;
use http::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};

const REDIRECT: &str = "http://localhost:8000/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn idp() -> Arc<Idp> {
    Idp::new("http://localhost:8001", REDIRECT.to_owned()).expect("a provider")
}

fn query(changes: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let mut pairs = vec![
        ("client_id", CLIENT_ID),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("state", "s"),
        ("nonce", "n"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name, value));
    }
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A browser that is signed in and has consented.
fn session(idp: &Idp) -> String {
    let session = Session { person: people::find("alice").expect("alice"), consented: true };
    lock(&idp.sessions).keep(session).expect("kept")
}

fn code(idp: &Idp) -> String {
    let answer = next_step(idp, Some(&session(idp)), &query(&[]));
    let location = answer.headers().get(LOCATION).expect("a redirect").to_str().expect("ascii").to_owned();
    fields(location.split_once('?').expect("a query").1.as_bytes())["code"].clone()
}

fn redeem(idp: &Idp, code: &str, verifier: &str) -> Result<Value, Refusal> {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("code_verifier", verifier),
        ("redirect_uri", REDIRECT),
        ("client_id", CLIENT_ID),
        ("client_secret", idp.secret.expose()),
    ];
    let form = form.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    exchange(idp, &HeaderMap::new(), &form)
}

#[test]
fn it_asks_who_then_whether_then_remembers_both() {
    let idp = idp();
    assert_eq!(next_step(&idp, None, &query(&[])).status(), StatusCode::OK);
    let alice =
        lock(&idp.sessions).keep(Session { person: people::find("alice").expect("alice"), consented: false }).expect("kept");
    assert_eq!(next_step(&idp, Some(&alice), &query(&[])).status(), StatusCode::OK);
    assert_eq!(next_step(&idp, Some(&session(&idp)), &query(&[])).status(), StatusCode::SEE_OTHER, "no question the second time");
}

#[test]
fn what_is_not_the_one_registration_is_never_redirected() {
    let idp = idp();
    for change in [
        ("client_id", "x"),
        ("redirect_uri", "https://evil.test/"),
        ("resource", "x"),
        ("code_challenge_method", "plain"),
        ("response_type", "token"),
    ] {
        let answer = next_step(&idp, Some(&session(&idp)), &query(&[change]));
        assert_eq!((answer.status(), answer.headers().get(LOCATION)), (StatusCode::BAD_REQUEST, None), "{change:?}");
    }
}

#[test]
fn a_code_works_once_and_with_its_verifier() {
    let idp = idp();
    assert_eq!(redeem(&idp, &code(&idp), &"x".repeat(43)).err().map(|refusal| refusal.1), Some("invalid_grant"));
    let good = code(&idp);
    assert!(redeem(&idp, &good, VERIFIER).is_ok_and(|body| body["id_token"].is_string()));
    assert_eq!(redeem(&idp, &good, VERIFIER).err().map(|refusal| refusal.1), Some("invalid_grant"));
}

#[tokio::test]
async fn userinfo_answers_its_own_tokens_only() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let idp = Idp::new(&origin, REDIRECT.to_owned()).expect("a provider");
    tokio::spawn(deputy_server::serve(listener, idp.router(), std::future::pending()));
    let endpoint = Endpoint::parse(&idp.url("/userinfo")).expect("an endpoint");
    let tokens = redeem(&idp, &code(&idp), VERIFIER).expect("tokens");
    let ask = async |token: &str| {
        let credentials = Credentials::Header(ClientSecret::from_text(format!("Bearer {token}")));
        Client::new().expect("a client").get(&endpoint, credentials).await.expect("an answer").status
    };
    assert_eq!(ask(tokens["access_token"].as_str().expect("a token")).await, StatusCode::OK);
    assert_eq!(ask("x").await, StatusCode::UNAUTHORIZED);
}

fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value"))).collect()
}

#[tokio::test]
async fn signing_out_forgets_the_person_and_the_consent() {
    let idp = idp();
    let session = session(&idp);
    let cookies = headers(&[(COOKIE, &format!("other=1; {SESSION_COOKIE}={session}"))]);
    let ask = async || authorize(State(Arc::clone(&idp)), cookies.clone(), RawQuery(Some(query(&[])))).await.status();
    assert_eq!(ask().await, StatusCode::SEE_OTHER);
    let answer = logout(State(Arc::clone(&idp)), cookies.clone()).await;
    assert!(answer.headers()[SET_COOKIE].to_str().expect("ascii").contains("Max-Age=0"));
    assert_eq!(ask().await, StatusCode::OK, "it asks again");
}

#[tokio::test]
async fn a_form_from_elsewhere_signs_nobody_in() {
    let idp = idp();
    let form =
        form_urlencoded::Serializer::new(String::new()).append_pair("person", "bob").append_pair("request", &query(&[])).finish();
    let post =
        async |origin: &str| login(State(Arc::clone(&idp)), headers(&[(ORIGIN, origin)]), RawForm(form.clone().into())).await;
    for origin in ["https://evil.test", "null", "http://localhost:80", "http://localhost:8000"] {
        let answer = post(origin).await;
        assert_eq!((answer.status(), answer.headers().get(SET_COOKIE)), (StatusCode::BAD_REQUEST, None), "{origin}");
    }
    assert_eq!(post("http://localhost:8001").await.status(), StatusCode::OK);
}
