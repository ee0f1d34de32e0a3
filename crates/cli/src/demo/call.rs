//! `deputy demo --call`: one complete sign-in, driven as an MCP client without an SDK would, each step with what protects it; then the two
//! halves of the published attack, refused.

pub(crate) mod browser;
mod narrator;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_protocol::pkce::Verifier;
use deputy_server::random;
use http::Method;
use serde_json::{Value, json};
use url::Url;

use browser::{Answer, Browser, encode, origin, parameter, send, shape};
use narrator::Narrator;

/// Where the driven client gets its answer. Nobody needs to listen there: the driver stops before it.
const REDIRECT: &str = "http://127.0.0.1:47113/callback";
const EVIL: &str = "https://evil.example/cb";
/// How the gateway's two cookies of a transaction begin on plain http.
const OWNERSHIP: &str = "deputy-own-";
const STATE: &str = "deputy-state-";

/// What discovery found.
struct Found {
    resource: String,
    issuer: String,
    endpoints: Value,
}

impl Found {
    fn endpoint(&self, name: &str) -> anyhow::Result<Url> {
        let url = self.endpoints.get(name).and_then(Value::as_str).with_context(|| format!("no {name} in the metadata"))?;
        Ok(Url::parse(url)?)
    }
}

struct Tokens {
    access: String,
    refresh: String,
}

/// One run through everything.
struct Story {
    tell: Narrator,
    gateway: Url,
    found: Found,
    /// The person's browser.
    victim: Browser,
    /// The provider's origin, learned when the browser is sent there.
    provider: String,
    /// The MCP session, when the server gave one.
    session: Option<String>,
}

/// Drives the sign-in against a demo gateway at this origin.
///
/// # Errors
/// The first check that does not hold, with what was found.
pub(super) async fn drive(gateway: &str) -> anyhow::Result<()> {
    let mut tell = Narrator::new();
    let gateway = Url::parse(gateway)?;
    let found = discover(&mut tell, &gateway).await?;
    let mut story = Story { tell, gateway, found, victim: Browser::default(), provider: String::new(), session: None };
    let client = story.register("Demo caller", REDIRECT).await?;
    let (code, verifier) = story.sign_in(&client).await?;
    let first = story.redeem(&client, &code, &verifier).await?;
    story.call_tools(&first).await?;
    let second = story.refresh(&client, &first).await?;
    let evil = story.register("Claude", EVIL).await?;
    story.fresh_client_is_asked(&evil).await?;
    story.approval_stays_in_its_browser(&evil).await?;
    story.code_replay_ends_everything(&client, &code, &verifier, [&first, &second]).await?;
    story.tell.end();
    Ok(())
}

async fn discover(tell: &mut Narrator, gateway: &Url) -> anyhow::Result<Found> {
    tell.step("The client calls the MCP server without a token");
    let mcp = gateway.join("/mcp")?;
    let refused = send(Method::POST, &mcp, &[("content-type", "application/json")], "{}".to_owned()).await?;
    tell.check(refused.status == 401, "401: nothing reached the MCP server", || refused.summary())?;
    let challenge = refused.header("www-authenticate").to_owned();
    let metadata = challenge.split_once("resource_metadata=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
    let metadata = Url::parse(metadata).with_context(|| format!("no resource_metadata in {challenge:?}"))?;
    tell.check(origin(&metadata) == origin(gateway), "the challenge says where to look, on the same origin", || {
        challenge.clone()
    })?;

    tell.step("It reads what the server says about itself");
    let resource = send(Method::GET, &metadata, &[], String::new()).await?.json()?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let issuer = text(resource.pointer("/authorization_servers/0"));
    tell.check(text(resource.get("resource")) == mcp.as_str(), "the resource is the address that was called", || {
        resource.to_string()
    })?;
    let well_known = gateway.join("/.well-known/oauth-authorization-server")?;
    let endpoints = send(Method::GET, &well_known, &[], String::new()).await?.json()?;
    tell.check(!issuer.is_empty() && text(endpoints.get("issuer")) == issuer, "the issuer is the same to the letter", || {
        endpoints.to_string()
    })?;
    let pkce = endpoints.get("code_challenge_methods_supported") == Some(&json!(["S256"]));
    tell.check(pkce, "PKCE with S256, and nothing weaker", || endpoints.to_string())?;
    let found = Found { resource: text(resource.get("resource")), issuer, endpoints };
    let names = ["authorization_endpoint", "token_endpoint", "registration_endpoint"];
    let near = names.iter().all(|name| found.endpoint(name).is_ok_and(|url| origin(&url) == origin(gateway)));
    tell.check(near, "every endpoint is on that origin too", || found.endpoints.to_string())?;
    Ok(found)
}

impl Story {
    async fn register(&mut self, name: &str, redirect: &str) -> anyhow::Result<String> {
        self.tell.step(&format!("A client registers itself as {name:?}"));
        let metadata = json!({"client_name": name, "redirect_uris": [redirect], "token_endpoint_auth_method": "none"});
        let endpoint = self.found.endpoint("registration_endpoint")?;
        let answer = send(Method::POST, &endpoint, &[("content-type", "application/json")], metadata.to_string()).await?;
        let body = answer.json()?;
        let id = body.get("client_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.tell.check(
            answer.status == 201 && !id.is_empty() && id.len() < 512,
            "its id is its sealed registration: nothing was stored",
            || answer.summary(),
        )?;
        Ok(id)
    }

    fn authorize_url(&self, client: &str, redirect: &str, verifier: &Verifier, state: &str) -> anyhow::Result<Url> {
        let mut url = self.found.endpoint("authorization_endpoint")?;
        let challenge = verifier.challenge();
        url.set_query(Some(&encode(&[
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", redirect),
            ("scope", "mcp"),
            ("state", state),
            ("resource", &self.found.resource),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ])));
        Ok(url)
    }

    async fn sign_in(&mut self, client: &str) -> anyhow::Result<(String, Verifier)> {
        let (verifier, state) = (Verifier::new(&random::bytes()?), URL_SAFE_NO_PAD.encode(random::bytes::<16>()?));
        self.tell.step("The person's browser opens the authorization page");
        let page = self.victim.open(&self.authorize_url(client, REDIRECT, &verifier, &state)?).await?;
        let named = ["Demo caller", "Demo tools", "127.0.0.1"].iter().all(|part| page.text.contains(part));
        self.tell
            .check(page.status == 200 && named, "deputy's own page names client, server and destination", || page.summary())?;
        let cookies = self.victim.cookies(&self.gateway);
        let owned = holds(&cookies, OWNERSHIP) && !holds(&cookies, STATE);
        self.tell.check(
            owned,
            "this browser is marked as the one that was shown it; no state for the provider exists yet",
            || cookies.join(" "),
        )?;

        self.tell.step("The person presses Allow");
        let approved = self.victim.press(&page, "decision", "approve").await?;
        self.provider = approved.location().map(|url| origin(&url)).unwrap_or_default();
        let elsewhere = approved.location().is_some_and(|url| !url.as_str().starts_with(REDIRECT));
        let leaves = approved.status == 303 && elsewhere && self.provider != origin(&self.gateway);
        self.tell.check(leaves, "only now does the browser leave for the identity provider", || approved.summary())?;
        let cookies = self.victim.cookies(&self.gateway);
        self.tell.check(holds(&cookies, STATE), "the approval is tied to this browser", || cookies.join(" "))?;

        self.tell.step("Alice signs in at the provider, which asks once and remembers");
        let end = self.victim.sign_in(approved, &self.provider.clone(), REDIRECT).await?;
        let back = end
            .location()
            .filter(|url| url.as_str().starts_with(REDIRECT))
            .with_context(|| format!("no way back to the client: {}", end.summary()))?;
        self.tell
            .check(parameter(&back, "state").as_deref() == Some(&state), "the client gets its own state back", || shape(&back))?;
        self.tell.check(
            parameter(&back, "iss").as_ref() == Some(&self.found.issuer),
            "and the issuer, so that answers cannot be mixed up",
            || shape(&back),
        )?;
        let code = parameter(&back, "code").unwrap_or_default();
        let only = !code.is_empty() && back.query_pairs().count() == 3;
        self.tell.check(only, "and a code, and nothing else: no token passes through the browser", || shape(&back))?;
        Ok((code, verifier))
    }

    async fn token(&self, pairs: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        send(Method::POST, &self.found.endpoint("token_endpoint")?, &headers, encode(pairs)).await
    }

    async fn redeem(&mut self, client: &str, code: &str, verifier: &Verifier) -> anyhow::Result<Tokens> {
        self.tell.step("The client redeems the code with its PKCE verifier");
        let base = [("grant_type", "authorization_code"), ("client_id", client), ("code", code), ("redirect_uri", REDIRECT)];
        let wrong = "x".repeat(43);
        let refused = self.token(&[&base[..], &[("code_verifier", &wrong)]].concat()).await?;
        let worthless = refused.status == 400 && refused.error() == "invalid_grant";
        self.tell.check(worthless, "a stolen code without the verifier is worth nothing", || refused.text.clone())?;
        let answer = self.token(&[&base[..], &[("code_verifier", verifier.expose())]].concat()).await?;
        self.tell.check(
            answer.status == 200,
            "with it there is an access token for this one server, and a refresh token",
            || answer.text.clone(),
        )?;
        tokens(&answer)
    }

    async fn rpc(&self, token: &str, message: &Value) -> anyhow::Result<Answer> {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2025-11-25"),
        ];
        headers.extend(self.session.as_deref().map(|session| ("mcp-session-id", session)));
        send(Method::POST, &self.gateway.join("/mcp")?, &headers, message.to_string()).await
    }

    async fn call_tools(&mut self, tokens: &Tokens) -> anyhow::Result<()> {
        self.tell.step("It initializes, lists the tools and calls whoami");
        let about =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "demo-caller", "version": "1"}});
        let hello =
            self.rpc(&tokens.access, &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about})).await?;
        self.tell.check(
            hello.status == 200 && hello.rpc()?.get("result").is_some(),
            "the MCP server answers through the gateway",
            || hello.text.clone(),
        )?;
        self.session = Some(hello.header("mcp-session-id").to_owned()).filter(|session| !session.is_empty());
        let ready = self.rpc(&tokens.access, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        self.tell.check(ready.status == 202, "and takes the notification that the client is ready", || ready.summary())?;
        let list = self.rpc(&tokens.access, &json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})).await?;
        let listed = list.rpc()?.pointer("/result/tools").and_then(Value::as_array).map_or(0, Vec::len);
        self.tell.check(listed > 0, &format!("{listed} tools"), || list.text.clone())?;
        self.whoami(&tokens.access).await
    }

    async fn whoami(&mut self, token: &str) -> anyhow::Result<()> {
        let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}});
        let answer = self.rpc(token, &call).await?;
        let body = answer.rpc()?;
        let said = body.pointer("/result/content/0/text").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.tell.check(said.contains("Alice"), &format!("whoami: {}", said.replace('\n', " · ")), || answer.text.clone())
    }

    async fn refresh(&mut self, client: &str, old: &Tokens) -> anyhow::Result<Tokens> {
        self.tell.step("It refreshes, and the first answer is lost on the way");
        let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", old.refresh.as_str())];
        let (lost, again) = (tokens(&self.token(&form).await?)?, tokens(&self.token(&form).await?)?);
        self.tell.check(lost.refresh != old.refresh, "the refresh token was replaced", || "the same one".to_owned())?;
        self.tell.check(lost.refresh == again.refresh, "asking again gives the same successor: nobody is logged out", || {
            "another one".to_owned()
        })?;
        self.whoami(&again.access).await?;
        Ok(again)
    }

    /// What a call with each of these is answered.
    async fn pings(&self, issued: [&Tokens; 2]) -> anyhow::Result<Vec<u16>> {
        let mut statuses = Vec::new();
        for tokens in issued {
            let call = self.rpc(&tokens.access, &json!({"jsonrpc": "2.0", "id": 4, "method": "ping"})).await?;
            statuses.push(call.status.as_u16());
        }
        Ok(statuses)
    }

    /// GHSA-c2jp-c369-7pvx.
    async fn fresh_client_is_asked(&mut self, evil: &str) -> anyhow::Result<()> {
        self.tell.step("THE ATTACK: Alice opens a link of that client, which would send her code to evil.example");
        let verifier = Verifier::new(&random::bytes()?);
        let page = self.victim.open(&self.authorize_url(evil, EVIL, &verifier, "s")?).await?;
        self.tell.check(
            page.status == 200 && page.location().is_none(),
            "she stays at deputy: nobody asks the provider, which would not ask her again",
            || page.summary(),
        )?;
        let named = ["Claude", "evil.example"].iter().all(|part| page.text.contains(part));
        self.tell.check(named, "the page shows who asks, and where her code would go", || page.summary())?;
        self.tell.check(page.text.contains("Unverified"), "and says that anyone can call himself Claude", || page.summary())
    }

    /// GHSA-rww4-4w9c-7733.
    async fn approval_stays_in_its_browser(&mut self, evil: &str) -> anyhow::Result<()> {
        self.tell.step("ITS OTHER HALF: the attacker approves in his own browser and sends Alice the provider's address");
        let mut attacker = Browser::default();
        let page = attacker.open(&self.authorize_url(evil, EVIL, &Verifier::new(&random::bytes()?), "s")?).await?;
        let approved = attacker.press(&page, "decision", "approve").await?;
        let address = approved.location().context("no address of the provider")?;
        let first = self.victim.open(&address).await?;
        let callback = first.location().filter(|url| origin(url) == origin(&self.gateway));
        self.tell.check(callback.is_some(), "the provider remembers her and lets her through without a question", || {
            first.summary()
        })?;
        let end = self.victim.sign_in(first, &self.provider.clone(), EVIL).await?;
        let refused = end.status == 403 && end.location().is_none();
        self.tell.check(refused, "deputy does not: this browser did not approve", || end.summary())
    }

    async fn code_replay_ends_everything(
        &mut self,
        client: &str,
        code: &str,
        verifier: &Verifier,
        issued: [&Tokens; 2],
    ) -> anyhow::Result<()> {
        self.tell.step("Last, somebody uses the first code again");
        let form =
            [("grant_type", "authorization_code"), ("client_id", client), ("code", code), ("code_verifier", verifier.expose())];
        let before = self.pings(issued).await?;
        self.tell.check(before == [200, 200], "until now, both access tokens work", || format!("{before:?}"))?;
        let answer = self.token(&form).await?;
        let refused = answer.status == 400 && answer.error() == "invalid_grant";
        self.tell.check(refused, "a code works once", || answer.summary())?;
        let after = self.pings(issued).await?;
        self.tell.check(after == [401, 401], "and as a second use is theft, both end at once", || format!("{after:?}"))?;
        let [_, last] = issued;
        let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", last.refresh.as_str())];
        let answer = self.token(&form).await?;
        let refused = answer.status == 400 && answer.error() == "invalid_grant";
        self.tell.check(refused, "and no refresh token brings it back", || answer.summary())
    }
}

/// Whether there is a cookie of this kind.
fn holds(cookies: &[String], kind: &str) -> bool {
    cookies.iter().any(|name| name.starts_with(kind))
}

fn tokens(answer: &Answer) -> anyhow::Result<Tokens> {
    let body = answer.json()?;
    let text = |name: &str| {
        body.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {name}: {}", answer.summary()))
    };
    Ok(Tokens { access: text("access_token")?, refresh: text("refresh_token")? })
}

/// Posts one JSON-RPC message, for the tests of the demo's MCP server.
#[cfg(test)]
pub(super) async fn post(url: &Url, headers: &[(&str, &str)], message: String) -> anyhow::Result<Value> {
    send(Method::POST, url, headers, message).await?.rpc()
}
