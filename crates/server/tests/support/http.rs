//! Plain HTTP over a socket, one request at a time, and a browser made of it: a cookie jar that follows redirects.

use std::collections::BTreeMap;

use axum::body::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use url::Url;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub url: Url,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ascii"))
    }

    /// Where it redirects to.
    pub fn location(&self) -> Option<Url> {
        let raw = self.headers.get(LOCATION)?.to_str().expect("ascii");
        Some(self.url.join(raw).expect("a URL"))
    }

    /// A parameter of where it redirects to.
    pub fn sent(&self, name: &str) -> Option<String> {
        parameter(&self.location()?, name)
    }

    /// The ticket in the consent page's form.
    pub fn ticket(&self) -> String {
        let text = self.text();
        let at = text.find("name=\"ticket\"").unwrap_or_else(|| panic!("no consent page: {} {text}", self.status));
        let tail = &text[at..];
        let value = tail.find("value=\"").expect("a value") + 7;
        tail[value..].split('"').next().expect("an end").to_owned()
    }

    /// The way back to the client on a page that turned somebody away.
    pub fn way_back(&self) -> Option<Url> {
        let text = self.text();
        let link = text.split_once("<a class=\"button\" href=\"")?.1.split('"').next()?;
        Url::parse(&link.replace("&#38;", "&")).ok()
    }

    /// What that way takes to the client, and that this page is ours: nobody is sent anywhere.
    pub fn turned_away(&self) -> Option<String> {
        assert_eq!(self.url.path(), "/stopped", "{} {}", self.url, self.text());
        parameter(&self.assert_local().way_back()?, "error")
    }

    /// Whether this is the last page.
    pub fn is_last_page(&self) -> bool {
        self.text().contains("action=\"/finish\"")
    }

    /// A page or JSON of our own that sends nobody anywhere.
    pub fn assert_local(&self) -> &Self {
        assert!(self.status.is_client_error() || self.status.is_server_error(), "{} {}", self.status, self.text());
        assert!(self.location().is_none(), "redirects to {:?}", self.location());
        self
    }
}

pub fn parameter(url: &Url, name: &str) -> Option<String> {
    let values: Vec<_> = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect();
    assert!(values.len() < 2, "{name} twice in {url}");
    values.into_iter().next()
}

pub fn client() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Sends one request and reads the answer; follows nothing.
pub async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let url = Url::parse(url).unwrap_or_else(|error| panic!("{error}: {url}"));
    let mut request = match behind_tls(&url) {
        Some((wire, host)) => Request::builder().method(method).uri(wire).header(HOST, host),
        None => Request::builder().method(method).uri(url.as_str()),
    };
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client().request(request.body(Full::new(body.into())).expect("a request")).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Answer { url, status: parts.status, headers: parts.headers, body }
}

/// `https://p4711.test` is what listens at port 4711 of this machine, behind a proxy that ends TLS: where its connections come from, and
/// the `Host` that the proxy passes on.
fn behind_tls(url: &Url) -> Option<(String, String)> {
    let host = url.host_str().filter(|_| url.scheme() == "https")?;
    let port: u16 = host.strip_prefix('p')?.strip_suffix(".test")?.parse().ok()?;
    Some((format!("http://127.0.0.1:{port}{}", &url[url::Position::BeforePath..]), host.to_owned()))
}

pub async fn get(url: &str) -> Answer {
    send(Method::GET, url, &[], "").await
}

pub async fn post_json(url: &str, body: &Value) -> Answer {
    send(Method::POST, url, &[("content-type", "application/json")], body.to_string()).await
}

pub fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub async fn post_form(url: &str, pairs: &[(&str, &str)]) -> Answer {
    send(Method::POST, url, &[("content-type", "application/x-www-form-urlencoded")], form(pairs)).await
}

/// A browser: keeps cookies per origin, follows redirects up to a page or to an address that it was told to stop at.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    jar: BTreeMap<String, BTreeMap<String, String>>,
    /// Every address that it visited.
    pub visited: Vec<String>,
    /// Whether its person stops at the last page instead of going on.
    wary: bool,
}

impl Browser {
    /// The `Cookie` header for an address.
    pub fn cookies(&self, url: &Url) -> String {
        let jar = self.jar.get(&origin(url)).cloned().unwrap_or_default();
        jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// A browser whose person stops at the last page.
    pub fn wary() -> Self {
        Self { wary: true, ..Self::default() }
    }

    /// The names of the cookies for an address.
    pub fn cookie_names(&self, url: &str) -> Vec<String> {
        self.jar.get(&origin(&Url::parse(url).expect("a URL"))).map(|jar| jar.keys().cloned().collect()).unwrap_or_default()
    }

    /// One request, no redirects.
    pub async fn step(&mut self, method: Method, url: &str, extra: &[(&str, &str)], body: String) -> Answer {
        let parsed = Url::parse(url).expect("a URL");
        let cookies = self.cookies(&parsed);
        let mut headers = vec![("accept", "text/html")];
        if !cookies.is_empty() {
            headers.push((COOKIE.as_str(), &cookies));
        }
        headers.extend_from_slice(extra);
        self.visited.push(url.to_owned());
        let answer = send(method, url, &headers, body).await;
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        let jar = self.jar.entry(origin(&answer.url)).or_default();
        for line in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie::Cookie::parse(line.to_str().expect("ascii").to_owned()).expect("a cookie");
            if cookie.max_age() == Some(cookie::time::Duration::ZERO) {
                jar.remove(cookie.name());
            } else {
                jar.insert(cookie.name().to_owned(), cookie.value().to_owned());
            }
        }
    }

    /// Opens an address and follows redirects, but never to one that starts with `stop`.
    pub async fn open(&mut self, url: &str, stop: &str) -> Answer {
        let mut answer = self.step(Method::GET, url, &[], String::new()).await;
        for _ in 0..10 {
            match answer.location() {
                Some(next) if !next.as_str().starts_with(stop) => {
                    answer = self.step(Method::GET, next.as_str(), &[], String::new()).await
                }
                None if answer.is_last_page() && !self.wary => answer = self.finish(&answer, "approve").await,
                _ => return answer,
            }
        }
        panic!("redirects without end: {:?}", self.visited);
    }

    /// Decides on the last page.
    pub async fn finish(&mut self, page: &Answer, decision: &str) -> Answer {
        self.post(&origin(&page.url), "/finish", &page.ticket(), decision).await
    }

    /// Decides on the consent page.
    pub async fn decide(&mut self, gateway: &str, ticket: &str, decision: &str) -> Answer {
        self.post(gateway, "/consent", ticket, decision).await
    }

    /// Puts a cookie into the jar, as a program on another port of the same host can.
    pub fn plant(&mut self, url: &str, other: &Self) {
        let origin = origin(&Url::parse(url).expect("a URL"));
        let theirs = other.jar.get(&origin).cloned().unwrap_or_default();
        self.jar.entry(origin).or_default().extend(theirs);
    }

    /// Sends a form of our own pages from a page of the attacker's: the browser says so.
    pub async fn post_from_elsewhere(&mut self, gateway: &str, path: &str, ticket: &str) -> Answer {
        let body = form(&[("ticket", ticket), ("decision", "approve")]);
        let headers = [
            (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded"),
            (ORIGIN.as_str(), "https://evil.test"),
            ("sec-fetch-site", "cross-site"),
        ];
        self.step(Method::POST, &format!("{gateway}{path}"), &headers, body).await
    }

    /// Sends a form of our own pages, as a browser would.
    pub async fn post(&mut self, gateway: &str, path: &str, ticket: &str, decision: &str) -> Answer {
        self.post_form(gateway, path, &[("ticket", ticket), ("decision", decision)]).await
    }

    /// [`Browser::post`], with other fields.
    pub async fn post_form(&mut self, gateway: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let headers = [
            (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded"),
            (ORIGIN.as_str(), gateway),
            ("sec-fetch-site", "same-origin"),
        ];
        self.step(Method::POST, &format!("{gateway}{path}"), &headers, form(fields)).await
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The claims of a JWT, unverified: for looking at, in tests.
pub fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// One request with a request line written by hand, and the start of its answer.
pub async fn raw(origin: &str, line: &str, headers: &[(&str, &str)]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = origin.trim_start_matches("http://");
    let address = host.replace("localhost", "127.0.0.1");
    let stream = std::net::TcpStream::connect(address).expect("connected");
    stream.set_nonblocking(true).expect("set");
    let mut stream = tokio::net::TcpStream::from_std(stream).expect("a stream");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream
        .write_all(format!("{line}\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n{lines}\r\n").as_bytes())
        .await
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}
