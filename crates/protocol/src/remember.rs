//! Remembered decisions (decision 3; CON-32, CON-34, CON-39; ): the rules of an option that a deployment turns on.
//!
//! What this module guarantees:
//! - [`Memory`] is made by [`Memory::of`] only, from a sign-in whose person approved on our page and asked for it.
//! - A memory stands for the approval of the very same request, by the same browser, and for the account that made it: when another account
//!   comes back from the provider, the code leaves only after our last page ([`SignedIn::may_leave`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claims::Subject;
use crate::client::{Client, DisplayName, Proof};
use crate::consent::Approval;
use crate::hooks::{Guard, passes};
use crate::ids::ClientId;
use crate::redirect::{RedirectUri, TrustedRedirect};
use crate::resource::ResourceUri;
use crate::scope::Scopes;
use crate::secret::{BrowserKey, Digest};
use crate::time::Timestamp;
use crate::transaction::{Pending, SignedIn};
use crate::web::OwnBrowser;

/// How long a decision is remembered.
pub const MEMORY_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Proof that no web page sent the browser here: `Sec-Fetch-Site` says so, which scripts cannot set. Made by [`DirectEntry::read`] only.
#[derive(Clone, Copy, Debug)]
pub struct DirectEntry(());

impl DirectEntry {
    /// Reads `Sec-Fetch-Site`. A browser that sends none may have been sent from anywhere.
    #[must_use]
    pub fn read(sec_fetch_site: Option<&str>) -> Option<Self> {
        let direct = matches!(sec_fetch_site, Some("none" | "same-origin"));
        passes(Guard::RememberEntry, direct).then_some(Self(()))
    }
}

/// Whether decisions about a client may be remembered: only where somebody vouches for it, and where the answer goes to a web server.
/// Behind a loopback address is whatever program listens there, behind a private-use scheme whatever claimed it.
pub(crate) fn may_remember(client: &Client, redirect: &TrustedRedirect) -> bool {
    let proven = matches!(client.proof, Proof::Document { .. } | Proof::Operator) && redirect.uri().stays_on_the_web();
    passes(Guard::RememberClient, proven)
}

/// One decision of one person in one browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    subject: Subject,
    browser: Digest<BrowserKey>,
    client: ClientId,
    client_name: DisplayName,
    redirect: RedirectUri,
    resource: ResourceUri,
    scopes: Scopes,
    until: Timestamp,
}

/// Who is asked about a request.
#[derive(Debug)]
pub enum Asked {
    /// A person, on our page.
    Person(Pending),
    /// Nobody: it was decided before.
    Memory(Approval),
}

impl Memory {
    /// What to remember of a sign-in whose code may leave, under the key that its browser gets. Nothing, unless the person asked for it
    /// and the client may be remembered.
    #[must_use]
    pub fn of(signed_in: &SignedIn, _: &OwnBrowser, key: &BrowserKey, now: Timestamp) -> Option<Self> {
        let pending = signed_in.pending();
        (signed_in.remember() && pending.may_be_remembered()).then(|| Self {
            subject: signed_in.identity().subject().clone(),
            browser: key.digest(),
            client: pending.client().clone(),
            client_name: pending.client_name().clone(),
            redirect: pending.redirect().uri().clone(),
            resource: pending.resource().clone(),
            scopes: pending.scopes().clone(),
            until: now.after(MEMORY_LIFETIME),
        })
    }

    /// In whose browser it was made.
    #[must_use]
    pub fn browser(&self) -> &Digest<BrowserKey> {
        &self.browser
    }

    /// By which account.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// About which client.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// For which server.
    #[must_use]
    pub fn resource(&self) -> &ResourceUri {
        &self.resource
    }

    /// When it ends.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether it is about this very request. A changed name is another request: it may be another client by now.
    fn covers(&self, pending: &Pending) -> bool {
        let same = self.client == *pending.client()
            && self.client_name == *pending.client_name()
            && self.redirect == *pending.redirect().uri()
            && self.resource == *pending.resource()
            && self.scopes == *pending.scopes();
        passes(Guard::RememberKey, same)
    }

    /// The account would stop a decision of another browser too; but nobody should be spared a question by somebody else's answer.
    fn of_browser(&self, key: &BrowserKey) -> bool {
        self.browser == key.digest()
    }
}

/// What a browser brings when it comes to `/authorize`.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// That nobody sent it.
    pub entry: Option<DirectEntry>,
    /// That its cookies are ours ([`Origins::cookies_are_ours`](crate::web::Origins::cookies_are_ours)).
    pub own: Option<&'a OwnBrowser>,
    /// The key under which its decisions are remembered.
    pub key: Option<&'a BrowserKey>,
}

/// Looks for a decision that was made before. Without every proof, and whenever in doubt, a person is asked.
#[must_use]
pub fn recall(pending: Pending, visit: Visit<'_>, memories: &[Memory], now: Timestamp) -> Asked {
    let Visit { entry: Some(_), own: Some(_), key: Some(key) } = visit else { return Asked::Person(pending) };
    if !pending.may_be_remembered() {
        return Asked::Person(pending);
    }
    let known = memories.iter().find(|memory| memory.of_browser(key) && memory.covers(&pending) && now < memory.until);
    match known {
        Some(memory) => Asked::Memory(Approval::remembered(pending, memory.subject.clone())),
        None => Asked::Person(pending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Rules;
    use crate::authorization::begin;
    use crate::claims::{Authority, ExpectedIdToken, SignedClaims, check_id_token};
    use crate::client::document::{DocumentUrl, read};
    use crate::consent::{Decision, Ticket, decide};
    use crate::ids::Issuer;
    use crate::mcp::rules::CallRules;
    use crate::params::Params;
    use crate::pkce::Verifier;
    use crate::resource::{Catalog, ProtectedResource};
    use crate::samples::{idp_name, idp_request};
    use crate::secret::IdpState;
    use crate::web::Origins;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_seconds(1000);
    const CLIENT: &str = "https://app.test/client.json";

    /// A request, with everything that a memory hangs on.
    #[derive(Clone, Copy)]
    struct Request {
        name: &'static str,
        redirect: &'static str,
        resource: &'static str,
        scope: &'static str,
        proven: bool,
    }

    const USUAL: Request =
        Request { name: "App", redirect: "https://app.test/cb", resource: "https://mcp.test/a", scope: "read", proven: true };

    fn catalog() -> Catalog {
        let protected = ["a", "b"].map(|name| ProtectedResource {
            uri: ResourceUri::parse(&format!("https://mcp.test/{name}")).unwrap(),
            path: format!("/{name}"),
            name: name.to_owned(),
            scopes: Scopes::parse("read write").unwrap(),
            calls: CallRules::default(),
        });
        Catalog::new(protected.to_vec())
    }

    fn pending(request: Request) -> Pending {
        let document = json!({
            "client_id": CLIENT, "client_name": request.name,
            "redirect_uris": ["https://app.test/cb", "https://app.test/other", "http://127.0.0.1/cb"],
        });
        let url = DocumentUrl::parse(CLIENT).unwrap();
        let mut client = read(&url, document.to_string().as_bytes(), NOW).unwrap().client;
        if !request.proven {
            client.proof = Proof::None;
        }
        let query = format!(
            "response_type=code&client_id={CLIENT}&redirect_uri={}&code_challenge={}&code_challenge_method=S256&resource={}&scope={}",
            request.redirect,
            Verifier::new(&[1; 32]).challenge().as_str(),
            request.resource,
            request.scope
        );
        let (params, issuer) = (Params::parse(query.as_bytes()).unwrap(), Issuer::parse("https://mcp.test").unwrap());
        begin(&params, &client, &issuer, &catalog(), NOW, [1; 16]).unwrap()
    }

    fn comes_back(approval: Approval, account: &str) -> SignedIn {
        let asked = idp_request();
        let claims = json!({
            "iss": "https://idp.test", "sub": account, "aud": "us", "nonce": asked.nonce.expose(), "iat": 1000, "exp": 1060
        });
        let authority = Authority::from(Issuer::parse("https://idp.test").unwrap());
        let expected = ExpectedIdToken { authority: &authority, client_id: "us", nonce: &asked.nonce, now: NOW };
        let who = check_id_token(SignedClaims::assume_verified(serde_json::from_value(claims).unwrap()), expected).unwrap();
        let admitted = Rules::parse(&["*"]).unwrap().admit(who).unwrap();
        approval
            .ask_idp(idp_request())
            .answered(&IdpState::new(&[1; 32]), &idp_name(), NOW)
            .unwrap()
            .signed_in(admitted, &catalog())
            .unwrap()
    }

    fn origins() -> Origins {
        Origins::new("https://mcp.test", &[]).unwrap()
    }

    fn approved(request: Request, form: &str) -> Approval {
        let (key, page) = (BrowserKey::new(&[1; 32]), origins().own_page(Some("https://mcp.test"), None).unwrap());
        let form = Params::parse(form.as_bytes()).unwrap();
        match decide(Ticket::new(pending(request), &key), page, Some(&key), &form, NOW).unwrap() {
            Decision::Approved(approval) => *approval,
            Decision::Denied(..) => panic!("denied"),
        }
    }

    fn memory(request: Request, form: &str) -> Option<Memory> {
        let signed_in = comes_back(approved(request, form), "alice");
        let ours = signed_in.may_leave(&origins()).unwrap();
        Memory::of(&signed_in, &ours, &BrowserKey::new(&[7; 32]), NOW)
    }

    /// Whether somebody is asked.
    fn asks(request: Request, site: Option<&str>, key: u8, now: Timestamp) -> bool {
        let (own, key) = (origins().cookies_are_ours(), BrowserKey::new(&[key; 32]));
        let memories = [memory(USUAL, "decision=approve&remember=yes").unwrap()];
        let visit = Visit { entry: DirectEntry::read(site), own: own.as_ref(), key: Some(&key) };
        matches!(recall(pending(request), visit, &memories, now), Asked::Person(_))
    }

    #[test]
    fn a_007_a_172_a_decision_is_about_the_very_same_request() {
        assert!(!asks(USUAL, Some("none"), 7, NOW));
        for other in [
            Request { name: "Other", ..USUAL },
            Request { redirect: "https://app.test/other", ..USUAL },
            Request { resource: "https://mcp.test/b", ..USUAL },
            Request { scope: "read+write", ..USUAL },
            Request { scope: "write", ..USUAL },
            Request { proven: false, ..USUAL },
            Request { redirect: "http://127.0.0.1:5000/cb", ..USUAL },
        ] {
            assert!(asks(other, Some("none"), 7, NOW), "{} {} {}", other.redirect, other.resource, other.scope);
        }
        assert!(asks(USUAL, Some("none"), 8, NOW), "another browser");
    }

    #[test]
    fn a_005_whoever_is_sent_by_another_site_is_asked() {
        for (site, asked) in [
            (Some("none"), false),
            (Some("same-origin"), false),
            (Some("same-site"), true),
            (Some("cross-site"), true),
            (Some(""), true),
            (None, true),
        ] {
            assert_eq!(asks(USUAL, site, 7, NOW), asked, "{site:?}");
        }
        let (entry, memories) = (DirectEntry::read(Some("none")), [memory(USUAL, "decision=approve&remember=yes").unwrap()]);
        let (key, own) = (BrowserKey::new(&[7; 32]), origins().cookies_are_ours());
        let whole = Visit { entry, own: own.as_ref(), key: Some(&key) };
        let asks = |visit: Visit<'_>| matches!(recall(pending(USUAL), visit, &memories, NOW), Asked::Person(_));
        assert!(!asks(whole));
        assert!(asks(Visit { own: None, ..whole }), "plain http");
        assert!(asks(Visit { key: None, ..whole }), "no cookie");
    }

    #[test]
    fn a_memory_ends() {
        let last = NOW.after(MEMORY_LIFETIME);
        assert!(!asks(USUAL, Some("none"), 7, last.before(Duration::from_secs(1))));
        assert!(asks(USUAL, Some("none"), 7, last));
    }

    #[test]
    fn only_who_asks_for_it_is_remembered_and_only_where_it_may_be() {
        assert!(memory(USUAL, "decision=approve&remember=yes").is_some());
        assert!(memory(USUAL, "decision=approve").is_none());
        assert!(memory(USUAL, "decision=approve&remember=no").is_none());
        assert!(memory(Request { proven: false, ..USUAL }, "decision=approve&remember=yes").is_none());
        assert!(memory(Request { redirect: "http://127.0.0.1:5000/cb", ..USUAL }, "decision=approve&remember=yes").is_none());
    }

    #[test]
    fn con_39_another_account_gets_the_last_page() {
        let recalled = |account: &str| {
            let memories = [memory(USUAL, "decision=approve&remember=yes").unwrap()];
            let (own, key) = (origins().cookies_are_ours(), BrowserKey::new(&[7; 32]));
            let visit = Visit { entry: DirectEntry::read(Some("none")), own: own.as_ref(), key: Some(&key) };
            match recall(pending(USUAL), visit, &memories, NOW) {
                Asked::Memory(approval) => comes_back(approval, account),
                Asked::Person(_) => panic!("asked"),
            }
        };
        assert!(recalled("alice").may_leave(&origins()).is_some());
        assert!(recalled("bob").may_leave(&origins()).is_none());
        assert!(!recalled("alice").remember(), "a memory does not renew itself");
        let plain = Origins::new("http://localhost:8000", &[]).unwrap();
        assert!(recalled("alice").may_leave(&plain).is_none());
    }

    #[test]
    fn a_memory_lasts_thirty_days() {
        assert_eq!(MEMORY_LIFETIME.as_secs(), 2_592_000);
    }
}
