//! A client and the browser of the person behind it: what happens from registration to tokens, each step one request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::secret::sha256;
use serde::Deserialize;

use crate::http::{Answer, Connection};
use crate::{Outcome, provider};

const REDIRECT: &str = "http://localhost:5599/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// What a public client sends to `/register`.
pub(crate) const METADATA: &str = r#"{"client_name":"Bench","redirect_uris":["http://localhost:5599/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}"#;
/// The header lines of JSON.
pub(crate) const JSON: &str = "content-type: application/json\r\n";

/// What a sign-in ended with, not yet redeemed.
#[derive(Debug)]
pub(crate) struct Code {
    client: String,
    code: String,
}

/// A client with a refresh token.
#[derive(Debug)]
pub(crate) struct Session {
    /// The client.
    pub(crate) client: String,
    /// The access token.
    pub(crate) access: String,
    /// The refresh token, always the newest.
    pub(crate) refresh: String,
}

#[derive(Deserialize)]
struct Registered {
    client_id: String,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: Option<String>,
}

/// The few cookies of one sign-in.
#[derive(Default)]
struct Jar(Vec<(String, String)>);

impl Jar {
    fn keep(&mut self, answer: &Answer<'_>) {
        for cookie in answer.headers("set-cookie") {
            let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            self.0.retain(|(known, _)| known != name);
            if !cookie.contains("Max-Age=0") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// The header line.
    fn header(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { String::new() } else { format!("cookie: {}\r\n", pairs.join("; ")) }
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Path and query of a URL.
fn target(url: &str) -> Outcome<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let at = rest.find('/').ok_or_else(|| format!("no path: {url}"))?;
    Ok(rest.get(at..).unwrap_or_default())
}

/// Registers a public client.
async fn register(connection: &mut Connection) -> Outcome<String> {
    let answer = connection.post("/register", JSON, METADATA).await?;
    Ok(serde_json::from_str::<Registered>(answer.expect(201)?)?.client_id)
}

/// The path of the authorization request.
fn request(client: &str, host: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let query = form(&[
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("state", "a state"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("resource", &format!("http://{host}/mcp")),
    ]);
    format!("/authorize?{query}")
}

/// The path of an authorization request of a client that registers for it.
pub(crate) async fn request_of_new_client(connection: &mut Connection, host: &str) -> Outcome<String> {
    Ok(request(&register(connection).await?, host))
}

/// One complete sign-in of a new client, approved on each page that asks. A page that does not ask (the peer's preparation) is none.
pub(crate) async fn sign_in(connection: &mut Connection, host: &str) -> Outcome<Code> {
    let client = register(connection).await?;
    let mut jar = Jar::default();
    let mut next = request(&client, host);
    let mut pages = ["/consent", "/finish"].iter();
    let mut ticket: Option<String> = None;
    // Two pages, and redirects to the provider, back, and to the client.
    for _ in 0..8 {
        let answer = match ticket.take() {
            None => connection.get(&next, &jar.header()).await?,
            Some(ticket) => {
                let page = pages.next().ok_or("a third page")?;
                let headers = format!(
                    "content-type: application/x-www-form-urlencoded\r\norigin: http://{host}\r\nsec-fetch-site: same-origin\r\n{}",
                    jar.header()
                );
                connection.post(page, &headers, &form(&[("ticket", &ticket), ("decision", "approve")])).await?
            }
        };
        jar.keep(&answer);
        if answer.status == 200 {
            let (_, rest) = answer.body.split_once("name=\"ticket\" value=\"").ok_or("a page without a ticket")?;
            ticket = rest.split('"').next().map(str::to_owned);
            continue;
        }
        let mut location = answer.headers("location").next().ok_or_else(|| format!("nowhere to go: {answer:?}"))?.to_owned();
        if let Some((_, query)) = location.split_once("/authorize?") {
            location = provider::answer(query)?;
        }
        if let Some(query) = location.strip_prefix(REDIRECT) {
            let mut pairs = form_urlencoded::parse(query.trim_start_matches('?').as_bytes());
            let code = pairs.find(|(name, _)| name == "code").ok_or_else(|| format!("refused: {query}"))?.1.into_owned();
            return Ok(Code { client, code });
        }
        target(&location)?.clone_into(&mut next);
    }
    Err("a sign-in without an end".into())
}

/// Tokens for a code.
pub(crate) async fn redeem(connection: &mut Connection, code: Code) -> Outcome<Session> {
    let Code { client, code } = code;
    let body = form(&[
        ("grant_type", "authorization_code"),
        ("client_id", &client),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", REDIRECT),
    ]);
    let answer = connection.form("/token", &body).await?;
    let tokens: Tokens = serde_json::from_str(answer.expect(200)?)?;
    let refresh = tokens.refresh_token.ok_or("no refresh token")?;
    Ok(Session { client, access: tokens.access_token, refresh })
}

/// The next refresh token for the last.
pub(crate) async fn refresh(connection: &mut Connection, session: &mut Session) -> Outcome<()> {
    let body = form(&[("grant_type", "refresh_token"), ("client_id", &session.client), ("refresh_token", &session.refresh)]);
    let answer = connection.form("/token", &body).await?;
    let tokens: Tokens = serde_json::from_str(answer.expect(200)?)?;
    session.access = tokens.access_token;
    // A replay inside the grace window would be cheap, and is not what is measured.
    let next = tokens.refresh_token.filter(|next| *next != session.refresh).ok_or("no successor")?;
    session.refresh = next;
    Ok(())
}

/// Ends a session.
pub(crate) async fn revoke(connection: &mut Connection, session: &Session) -> Outcome<()> {
    let body = form(&[("client_id", &session.client), ("token", &session.refresh)]);
    connection.form("/revoke", &body).await?.expect(200).map(drop)
}

/// The status of a call to the protected server.
pub(crate) async fn call(connection: &mut Connection, session: &Session) -> Outcome<u16> {
    let headers = format!("{JSON}accept: application/json, text/event-stream\r\nauthorization: Bearer {}\r\n", session.access);
    Ok(connection.post("/mcp", &headers, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await?.status)
}
