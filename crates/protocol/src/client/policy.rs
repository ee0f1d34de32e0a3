//! What the operator says about clients: whether they may register themselves, where answers may go at all, and who is kept out.

use super::document::DocumentUrl;
use super::{Client, Proof, Registration};
use crate::error::Reason;
use crate::ids::ClientId;
use crate::redirect::{PrivateUse, RedirectRule, RedirectUri};

/// The operator's rules. By default every client may come.
#[derive(Clone, Debug, Default)]
pub struct ClientPolicy {
    /// Who may register.
    pub registration: RegistrationPolicy,
    /// Who may come with a metadata document.
    pub documents: DocumentPolicy,
    /// Where answers may go to clients that the operator did not register; `None` is anywhere. It comes on top of the match against the
    /// client's own redirect URIs, and never in its place.
    pub redirects: Option<Vec<RedirectRule>>,
    /// To which private-use addresses; by default those of known clients.
    pub private_use: PrivateUse,
    /// Who is kept out: ids, and hosts of metadata documents.
    pub blocked: Vec<String>,
}

/// Who may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationPolicy {
    /// Anybody: most clients need it.
    #[default]
    Open,
    /// Who shows an invitation of the operator's: an initial access token (RFC 7591 §3.1). Whoever registered without one is not known
    /// any more.
    Invited,
    /// Nobody, and whoever did before is not known any more (AS-21).
    Off,
}

/// Who may come with a metadata document (AS-37).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DocumentPolicy {
    /// Whoever has an https host.
    #[default]
    Open,
    /// These hosts, and no other.
    Hosts(Vec<String>),
    /// Nobody.
    Off,
}

impl ClientPolicy {
    /// Whether this client is kept out. Whoever registered itself can come back under another id; the host of a document cannot be changed.
    ///
    /// # Errors
    /// [`Reason::ClientBlocked`].
    pub fn not_blocked(&self, id: &ClientId) -> Result<(), Reason> {
        if self.blocked.is_empty() {
            return Ok(());
        }
        let document = DocumentUrl::parse(id.as_str()).ok();
        let host = document.as_ref().map(DocumentUrl::host);
        let is = |entry: &String| entry == id.as_str() || host.is_some_and(|host| host.eq_ignore_ascii_case(entry));
        if self.blocked.iter().any(is) { Err(Reason::ClientBlocked) } else { Ok(()) }
    }

    /// Whether clients can register at all.
    #[must_use]
    pub fn takes_registrations(&self) -> bool {
        self.registration != RegistrationPolicy::Off
    }

    /// Whether clients can come with metadata documents at all.
    #[must_use]
    pub fn takes_documents(&self) -> bool {
        self.documents != DocumentPolicy::Off
    }

    /// Whether a client may come with this document. Asked before anything is fetched.
    ///
    /// # Errors
    /// [`Reason::ClientNotAdmitted`].
    pub fn may_publish(&self, url: &DocumentUrl) -> Result<(), Reason> {
        let admitted = match &self.documents {
            DocumentPolicy::Open => true,
            DocumentPolicy::Hosts(hosts) => hosts.iter().any(|host| url.host().eq_ignore_ascii_case(host)),
            DocumentPolicy::Off => false,
        };
        if admitted { Ok(()) } else { Err(Reason::ClientNotAdmitted) }
    }

    /// Whether a client that registered itself is let in, with an invitation or without.
    ///
    /// # Errors
    /// [`Reason::ClientNotAdmitted`].
    pub fn admits(&self, invited: bool) -> Result<(), Reason> {
        let fine = match self.registration {
            RegistrationPolicy::Open => true,
            RegistrationPolicy::Invited => invited,
            RegistrationPolicy::Off => false,
        };
        if fine { Ok(()) } else { Err(Reason::ClientNotAdmitted) }
    }

    /// Whether this may be registered. A client that names several redirect URIs needs one that it can use.
    ///
    /// # Errors
    /// [`Reason::RedirectNotAllowed`].
    pub fn may_register(&self, registration: &Registration) -> Result<(), Reason> {
        let usable = registration.redirect_uris.iter().any(|uri| self.allows(uri));
        if usable { Ok(()) } else { Err(Reason::RedirectNotAllowed) }
    }

    /// Whether answers to this client may go where it wants them. What is no redirect URI is judged elsewhere.
    ///
    /// # Errors
    /// [`Reason::RedirectNotAllowed`].
    pub fn may_redirect(&self, client: &Client, presented: Option<&str>) -> Result<(), Reason> {
        let by_operator = client.proof == Proof::Operator;
        let wanted = presented.and_then(|raw| RedirectUri::of_operator(raw).ok());
        if by_operator || wanted.is_none_or(|uri| self.allows(&uri)) { Ok(()) } else { Err(Reason::RedirectNotAllowed) }
    }

    fn allows(&self, uri: &RedirectUri) -> bool {
        self.private_use.allows(uri) && self.redirects.as_ref().is_none_or(|allowed| allowed.iter().any(|rule| rule.allows(uri)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::RawMetadata;
    use crate::time::Timestamp;

    const DOCUMENT: &str = "https://app.test:8443/client.json";

    fn client(id: &str, proof: Proof, redirects: &[&str]) -> Client {
        let json = serde_json::json!({ "redirect_uris": redirects }).to_string();
        let registration = RawMetadata::parse(json.as_bytes()).unwrap().check(Timestamp::from_seconds(1)).unwrap();
        Client { id: ClientId::parse(id).unwrap(), registration, proof }
    }

    fn policy(redirects: &[&str], blocked: &[&str]) -> ClientPolicy {
        let redirects = redirects.iter().map(|raw| RedirectRule::parse(raw).unwrap()).collect();
        let blocked = blocked.iter().map(|&entry| entry.to_owned()).collect();
        ClientPolicy { redirects: Some(redirects), blocked, ..ClientPolicy::default() }
    }

    #[test]
    fn as_37_documents_come_from_the_hosts_that_the_operator_names() {
        let judge = |documents: DocumentPolicy, id: &str| {
            let policy = ClientPolicy { documents, ..ClientPolicy::default() };
            policy.may_publish(&DocumentUrl::parse(id).unwrap()).is_ok()
        };
        let hosts = || DocumentPolicy::Hosts(vec!["App.test".to_owned(), "other.test".to_owned()]);
        assert!(judge(DocumentPolicy::Open, DOCUMENT) && judge(hosts(), DOCUMENT) && !judge(DocumentPolicy::Off, DOCUMENT));
        for stranger in ["https://x.app.test/c", "https://app.test.evil.test/c", "https://pp.test/c", "https://test/c"] {
            assert!(!judge(hosts(), stranger), "{stranger}");
        }
        assert!(!judge(DocumentPolicy::Hosts(Vec::new()), DOCUMENT));
    }

    #[test]
    fn a_blocked_id_or_host_is_kept_out_and_nobody_else() {
        let blocked = |entry: &str, id: &str| policy(&[], &[entry]).not_blocked(&ClientId::parse(id).unwrap()).is_err();
        for (entry, id) in
            [("tool", "tool"), ("dc_x", "dc_x"), (DOCUMENT, DOCUMENT), ("app.test", DOCUMENT), ("APP.test", DOCUMENT)]
        {
            assert!(blocked(entry, id), "{entry} {id}");
        }
        for (entry, id) in [
            ("tool", "tool2"),
            ("tool", "Tool"),
            ("pp.test", DOCUMENT),
            ("test", DOCUMENT),
            ("app.test", "https://app.test.evil.test/c"),
            ("app.test", "app.test.x"),
            ("", "tool"),
        ] {
            assert!(!blocked(entry, id), "{entry} {id}");
        }
        assert_eq!(ClientPolicy::default().not_blocked(&ClientId::parse("tool").unwrap()), Ok(()));
    }

    #[test]
    fn as_21_who_registered_is_let_in_by_todays_policy() {
        let admits = |registration, invited| ClientPolicy { registration, ..ClientPolicy::default() }.admits(invited).is_ok();
        for (registration, with, without) in [
            (RegistrationPolicy::Open, true, true),
            (RegistrationPolicy::Invited, true, false),
            (RegistrationPolicy::Off, false, false),
        ] {
            assert_eq!((admits(registration, true), admits(registration, false)), (with, without), "{registration:?}");
        }
    }

    #[test]
    fn as_41_the_list_of_redirect_uris_is_exact_but_for_loopback_ports() {
        let policy = policy(&["https://a.test/cb", "http://127.0.0.1/cb"], &[]);
        let own = client("dc_x", Proof::None, &["https://a.test/cb"]);
        for good in ["https://a.test/cb", "http://127.0.0.1:5000/cb"] {
            assert_eq!(policy.may_redirect(&own, Some(good)), Ok(()), "{good}");
        }
        for bad in [
            "https://a.test/cb2",
            "https://a.test/cb?x=1",
            "https://b.test/cb",
            "http://localhost:5000/cb",
            "https://a.test:8443/cb",
        ] {
            assert_eq!(policy.may_redirect(&own, Some(bad)), Err(Reason::RedirectNotAllowed), "{bad}");
            let registered = client("known", Proof::Operator, &["https://a.test/cb"]);
            assert_eq!(policy.may_redirect(&registered, Some(bad)), Ok(()), "{bad}");
        }
        // The match against the client's own list says no to these.
        assert_eq!(policy.may_redirect(&own, None), Ok(()));
        assert_eq!(policy.may_redirect(&own, Some("javascript:x")), Ok(()));
    }

    #[test]
    fn one_usable_redirect_uri_is_enough_to_register() {
        let policy = policy(&["https://a.test/cb"], &[]);
        let judge = |redirects: &[&str]| policy.may_register(&client("x", Proof::None, redirects).registration);
        assert_eq!(judge(&["https://b.test/cb", "https://a.test/cb"]), Ok(()));
        assert_eq!(judge(&["https://b.test/cb"]), Err(Reason::RedirectNotAllowed));
        assert_eq!(ClientPolicy::default().may_register(&client("x", Proof::None, &["https://b.test/cb"]).registration), Ok(()));
    }
}
