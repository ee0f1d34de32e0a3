//! A person with a browser and a client, for whom an answer may fail to come.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use http::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use url::Url;

const REDIRECT: &str = "http://localhost:5599/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A complete answer: nothing less acknowledges anything.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The tokens of a good answer.
    pub fn tokens(&self) -> Tokens {
        assert_eq!(self.status, 200, "{self:?}");
        let body = self.json();
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        Tokens { access: text("access_token"), refresh: text("refresh_token") }
    }

    fn location(&self) -> Option<Url> {
        Url::parse(self.headers.get(LOCATION)?.to_str().ok()?).ok()
    }

    fn ticket(&self) -> Option<String> {
        let (_, rest) = self.text.split_once("name=\"ticket\" value=\"")?;
        rest.split('"').next().map(str::to_owned)
    }
}

#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

/// How long a client waits for an answer: longer than any that is due.
const PATIENCE: Duration = Duration::from_secs(40);

/// Why there is no complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listened, so nothing was sent.
    NotSent,
    /// The request may have been taken.
    Lost,
}

/// Sends one request to who listens on `port`, or where the URL says.
pub async fn send_to(
    port: Option<u16>,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<Answer, NoAnswer> {
    let mut url = Url::parse(url).unwrap();
    let host = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
    if let Some(port) = port {
        url.set_port(Some(port)).unwrap();
    }
    let mut request = Request::builder().method(method).uri(url.as_str()).header(HOST, host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let complete = async {
        let response = client.request(request).await.map_err(|error| match error.is_connect() {
            true => NoAnswer::NotSent,
            false => NoAnswer::Lost,
        })?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| NoAnswer::Lost)?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::time::timeout(PATIENCE, complete).await.unwrap_or(Err(NoAnswer::Lost))
}

/// Sends one request. `None`: no complete answer came.
pub async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Option<Answer> {
    send_to(None, method, url, headers, body).await.ok()
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Sends requests until they are answered, or does not.
pub trait Line {
    /// One request; `None` when it is given up.
    async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Option<Answer>;
    /// The gateway's origin.
    fn origin(&self) -> &str;
}

/// What the gateway answered where a sign-in stopped.
pub type SignIn = Result<String, Option<Answer>>;

pub async fn register(line: &impl Line) -> Option<String> {
    let metadata = json!({"client_name": "Test client", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
    let headers = [("content-type", "application/json")];
    let answer = line.ask(Method::POST, &format!("{}/register", line.origin()), &headers, metadata.to_string()).await?;
    assert_eq!(answer.status, 201, "{answer:?}");
    Some(answer.json()["client_id"].as_str().unwrap().to_owned())
}

/// One complete sign-in of a fresh browser: a code, or where it stopped.
pub async fn sign_in(line: &impl Line, client: &str) -> SignIn {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let resource = format!("{}/mcp", line.origin());
    let query = form(&[
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("resource", &resource),
    ]);
    let mut jar = BTreeMap::new();
    let mut answer = step(line, &mut jar, Method::GET, &format!("{}/authorize?{query}", line.origin()), String::new()).await?;
    for path in ["/consent", "/finish"] {
        let Some(ticket) = answer.ticket() else { return Err(Some(answer)) };
        let body = form(&[("ticket", &ticket), ("decision", "approve")]);
        answer = step(line, &mut jar, Method::POST, &format!("{}{path}", line.origin()), body).await?;
        // To the provider and back.
        while let Some(next) = answer.location() {
            let code = next.query_pairs().find(|(name, _)| name == "code");
            if let Some((_, code)) = code.filter(|_| next.as_str().starts_with(REDIRECT)) {
                return Ok(code.into_owned());
            }
            answer = step(line, &mut jar, Method::GET, next.as_str(), String::new()).await?;
        }
    }
    Err(Some(answer))
}

async fn step(
    line: &impl Line,
    jar: &mut BTreeMap<String, String>,
    method: Method,
    url: &str,
    body: String,
) -> Result<Answer, Option<Answer>> {
    let cookies = jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let mut headers = vec![FORM, ("origin", line.origin()), ("sec-fetch-site", "same-origin"), (COOKIE.as_str(), &cookies)];
    if method == Method::GET {
        headers.drain(..3);
    }
    let answer = line.ask(method, url, &headers, body).await.ok_or(None)?;
    for cookie in answer.headers.get_all(SET_COOKIE) {
        let text = cookie.to_str().unwrap();
        let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
        if text.contains("Max-Age=0") {
            jar.remove(name);
        } else {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(answer)
}

async fn post(line: &impl Line, path: &str, pairs: &[(&str, &str)]) -> Option<Answer> {
    line.ask(Method::POST, &format!("{}{path}", line.origin()), &[FORM], form(pairs)).await
}

pub async fn redeem(line: &impl Line, client: &str, code: &str) -> Option<Answer> {
    let pairs = [("grant_type", "authorization_code"), ("client_id", client), ("code", code), ("code_verifier", VERIFIER)];
    post(line, "/token", &pairs).await
}

pub async fn refresh(line: &impl Line, client: &str, token: &str) -> Option<Answer> {
    post(line, "/token", &[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)]).await
}

pub async fn revoke(line: &impl Line, client: &str, token: &str) -> Option<Answer> {
    post(line, "/revoke", &[("client_id", client), ("token", token)]).await
}

/// The status of a call to the protected server.
pub async fn call(line: &impl Line, access: &str) -> Option<u16> {
    Some(called(line, access).await?.status)
}

/// A call to the protected server.
pub async fn called(line: &impl Line, access: &str) -> Option<Answer> {
    let authorization = format!("Bearer {access}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned();
    line.ask(Method::POST, &format!("{}/mcp", line.origin()), &headers, ping).await
}
