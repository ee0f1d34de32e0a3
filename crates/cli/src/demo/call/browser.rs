//! As much of a browser as a sign-in needs: requests over a socket, a cookie jar, links and forms.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use url::Url;

const PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_MAX: usize = 1 << 20;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text)
            .with_context(|| format!("{} {} is not JSON: {}", self.status, self.url.path(), self.text))
    }

    /// The OAuth error that it carries, or nothing.
    pub(crate) fn error(&self) -> String {
        let body = self.json().unwrap_or_default();
        body.get("error").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Where it redirects to.
    pub(crate) fn location(&self) -> Option<Url> {
        self.url.join(self.headers.get(LOCATION)?.to_str().ok()?).ok()
    }

    /// What it was, for a failed check: no value of a parameter, as codes and states are secrets.
    pub(crate) fn summary(&self) -> String {
        let location = self.location().map(|url| format!(" to {}", shape(&url))).unwrap_or_default();
        format!("{} from {}{location}", self.status, self.url.path())
    }

    /// A JSON-RPC answer, as JSON or as the last event of a stream.
    pub(crate) fn rpc(&self) -> anyhow::Result<Value> {
        if !self.header("content-type").starts_with("text/event-stream") {
            return self.json();
        }
        last_event(&self.text).context("the stream ended without an answer")
    }
}

fn last_event(stream: &str) -> Option<Value> {
    let events = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    events.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok()).rfind(|event| event.get("id").is_some())
}

/// An address without the values of its parameters.
pub(crate) fn shape(url: &Url) -> String {
    let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    format!("{}{} with [{}]", origin(url), url.path(), names.join(", "))
}

/// The value of a parameter.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// `application/x-www-form-urlencoded` text.
pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Sends one request and follows nothing.
pub(crate) async fn send(method: Method, url: &Url, headers: &[(&str, &str)], body: String) -> anyhow::Result<Answer> {
    let mut request = Request::builder().method(method).uri(url.as_str());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let exchange = async {
        let (parts, body) = client.request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        anyhow::Ok(Answer { url: url.clone(), status: parts.status, headers: parts.headers, text })
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await;
    answer.with_context(|| format!("{} did not answer", url.path()))?.with_context(|| format!("cannot ask {}", url.path()))
}

/// A form of a page, filled in.
struct Form {
    action: Url,
    pairs: Vec<(String, String)>,
}

impl Form {
    /// The first form of a page, with its hidden fields.
    fn of(page: &Answer) -> anyhow::Result<Self> {
        let start = page.text.find("<form").with_context(|| format!("no form: {}", page.summary()))?;
        let form = page.text.get(start..).unwrap_or_default();
        let (tag, inside) = form.split_once('>').unwrap_or((form, ""));
        let action = page.url.join(&attribute(tag, "action").unwrap_or_default())?;
        let inputs = inside.split("</form>").next().unwrap_or_default().split("<input").skip(1);
        let pairs = inputs.filter_map(|input| {
            let tag = input.split('>').next().unwrap_or_default();
            Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
        });
        Ok(Self { action, pairs: pairs.collect() })
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split_once(&format!(" {name}=\""))?.1.split('"').next()?;
    Some(unescape(value))
}

/// Character references, named and by number, each read once: `&amp;lt;` is the text `&lt;`.
fn unescape(text: &str) -> String {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(';').and_then(|(name, rest)| Some((reference(name)?, rest))) {
            Some((character, rest)) => {
                out.push(character);
                out.push_str(rest);
            }
            None => {
                out.push('&');
                out.push_str(part);
            }
        }
    }
    out
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "lt" => Some('<'),
        "gt" => Some('>'),
        _ => {
            let number = name.strip_prefix('#')?;
            let hex = number.strip_prefix(['x', 'X']).map(|digits| u32::from_str_radix(digits, 16));
            char::from_u32(hex.unwrap_or_else(|| number.parse()).ok()?)
        }
    }
}

/// A browser with cookies of its own.
#[derive(Default)]
pub(crate) struct Browser {
    /// Whom its person picks at the demo's provider; Alice, if nobody else.
    pub(crate) person: Option<&'static str>,
    jar: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    /// The names of the cookies for an address.
    pub(crate) fn cookies(&self, url: &Url) -> Vec<String> {
        self.jar.get(&origin(url)).map(|jar| jar.keys().cloned().collect()).unwrap_or_default()
    }

    async fn step(&mut self, method: Method, url: &Url, extra: &[(&str, &str)], body: String) -> anyhow::Result<Answer> {
        let cookies = self
            .jar
            .get(&origin(url))
            .map(|jar| jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; "));
        let mut headers = vec![(ACCEPT.as_str(), "text/html")];
        headers.extend(cookies.as_deref().filter(|line| !line.is_empty()).map(|line| (COOKIE.as_str(), line)));
        headers.extend_from_slice(extra);
        let answer = send(method, url, &headers, body).await?;
        for line in answer.headers.get_all(SET_COOKIE) {
            self.keep(url, line.to_str().unwrap_or_default());
        }
        Ok(answer)
    }

    fn keep(&mut self, url: &Url, line: &str) {
        let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else { return };
        let jar = self.jar.entry(origin(url)).or_default();
        if line.contains("Max-Age=0") {
            jar.remove(name);
        } else {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Opens an address; redirects are the caller's to follow.
    pub(crate) async fn open(&mut self, url: &Url) -> anyhow::Result<Answer> {
        self.step(Method::GET, url, &[], String::new()).await
    }

    /// Presses a button of the page's form.
    pub(crate) async fn press(&mut self, page: &Answer, name: &str, value: &str) -> anyhow::Result<Answer> {
        let form = Form::of(page)?;
        let mut pairs: Vec<(&str, &str)> = form.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.push((name, value));
        let own = origin(&page.url);
        let headers = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded"), (ORIGIN.as_str(), own.as_str())];
        self.step(Method::POST, &form.action, &headers, encode(&pairs)).await
    }

    /// Goes on from an answer: follows redirects and does what the demo's provider asks, until something else comes or a redirect leads to
    /// an address that begins with `stop`.
    pub(crate) async fn sign_in(&mut self, mut answer: Answer, provider: &str, stop: &str) -> anyhow::Result<Answer> {
        for _ in 0..12 {
            if let Some(next) = answer.location() {
                if next.as_str().starts_with(stop) {
                    return Ok(answer);
                }
                answer = self.open(&next).await?;
            } else if origin(&answer.url) == provider && answer.text.contains("name=\"person\"") {
                answer = self.press(&answer, "person", self.person.unwrap_or("alice")).await?;
            } else if origin(&answer.url) == provider && answer.text.contains("name=\"consent\"") {
                answer = self.press(&answer, "consent", "yes").await?;
            } else if answer.text.contains("action=\"/finish\"") {
                answer = self.press(&answer, "decision", "approve").await?;
            } else {
                return Ok(answer);
            }
        }
        bail!("redirects without end, at {}", answer.url)
    }
}

/// The origin of an address.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Answer {
        let url = Url::parse("http://localhost:1/x/page").expect("a URL");
        Answer { url, status: StatusCode::OK, headers: HeaderMap::new(), text: text.to_owned() }
    }

    #[test]
    fn a_form_is_read_with_its_hidden_fields() {
        let html = r#"<p><form method="post" action="/go?a=1&amp;b=2"><input type="hidden" name="t" value="&quot;x&#39;"><button></form><input name="no">"#;
        let form = Form::of(&page(html)).expect("a form");
        assert_eq!(form.action.as_str(), "http://localhost:1/go?a=1&b=2");
        assert_eq!(form.pairs, [("t".to_owned(), "\"x'".to_owned())]);
        assert!(Form::of(&page("<p>")).is_err());
    }

    #[test]
    fn character_references_are_read_once() {
        assert_eq!(unescape("a=1&amp;b=&#39;&#x3C;&gt;"), "a=1&b='<>");
        assert_eq!(unescape("&#38;lt; &amp;amp; &nope; & &#xffffffff;"), "&lt; &amp; &nope; & &#xffffffff;");
    }

    #[test]
    fn a_failed_check_shows_no_code_and_no_state() {
        let mut answer = page("");
        let location = http::HeaderValue::from_static("https://evil.example/cb?code=secret&state=secret");
        answer.headers.insert(LOCATION, location);
        assert_eq!(answer.summary(), "200 OK from /x/page to https://evil.example/cb with [code, state]");
    }

    #[test]
    fn a_browser_keeps_one_jar_per_origin_and_forgets_what_is_deleted() {
        let (mut browser, here) = (Browser::default(), Url::parse("http://localhost:1/").expect("a URL"));
        browser.keep(&here, "a=1; Path=/; HttpOnly");
        browser.keep(&here, "b=2");
        browser.keep(&here, "a=; Max-Age=0");
        assert_eq!(browser.cookies(&here), ["b"]);
        assert!(browser.cookies(&Url::parse("http://localhost:2/").expect("a URL")).is_empty());
    }

    #[test]
    fn the_answer_of_a_stream_is_its_last_event_with_an_id() {
        let stream = "data: {\"method\":\"progress\"}\n\ndata: {\"id\":1,\"result\":{}}\n\n: ping\n\n";
        assert_eq!(last_event(stream).expect("an event")["id"], 1);
        assert!(last_event(": ping\n").is_none());
    }
}
