//! The world of a sign-in: from a link to a code, with two people, two browsers, their clients and a provider that asks nobody twice.
//!
//! A state holds what each browser, the provider and the store hold, by small numbers; what they stand for (tickets, cookies, states, ID
//! tokens) is made anew from the numbers at each step, and judged by production's functions. No step reads what a process keeps in memory:
//! which replica serves it makes no difference.

mod endpoints;
mod judge;
mod steps;
mod tell;
mod things;

use std::collections::BTreeSet;

use deputy_protocol::Timestamp;
use serde::Serialize;

use crate::people::{App, Person};

/// How far the search goes, and where deputy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    /// Most transactions.
    pub(crate) transactions: usize,
    /// Most approvals and most answers of the provider.
    pub(crate) answers: usize,
    /// Where deputy stands, and what is turned on.
    pub(crate) place: Place,
    /// Whether a guard is missing: then nobody asks whether a fresh sign-in can be finished.
    pub(crate) mutant: bool,
}

/// Where deputy stands, and what is turned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// On https. Clients registered themselves.
    Https,
    /// On plain-http loopback, where the attacker has a page on another port.
    Loopback,
    /// On https, at a provider that ignores PKCE.
    WeakProvider,
    /// On https, decisions are remembered, and clients are known by their metadata documents.
    Remembers,
}

/// How a browser came to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// It was opened: by a program, from a mail, typed.
    Direct,
    /// Another site sent it: a page of the attacker's, or the authorization server of a hostile MCP server.
    Sent,
}

/// What a link asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct Link {
    /// For which client.
    pub(crate) app: App,
    /// With whose redirect URI.
    pub(crate) redirect: App,
    /// How the browser came to it.
    pub(crate) entry: Entry,
    /// Whether it asks for more scopes than usual.
    pub(crate) more: bool,
    /// Whether it asks for a resource that is not ours.
    pub(crate) foreign: bool,
}

/// A transaction that was opened somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Opened {
    link: Link,
    browser: Person,
    late: bool,
}

/// An approval that the server took: the provider may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Approved {
    transaction: usize,
    browser: Person,
    by: By,
}

/// What an approval rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum By {
    /// The person at that browser pressed the button on our page.
    Person,
    /// A form that another page sent.
    OtherPage,
    /// What was decided before.
    Memory(Remembered),
}

/// A code of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Answer {
    approval: usize,
    browser: Person,
    account: Person,
    spent: bool,
    /// A page that refused stands at the address that holds it.
    shown: bool,
}

/// A last page that is shown somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct LastPage {
    approval: usize,
    account: Person,
    browser: Person,
}

/// A decision that is remembered: in whose browser, by which account, at which transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Remembered {
    browser: Person,
    account: Person,
    transaction: usize,
}

/// One browser's cookies of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Jar {
    ownership: BTreeSet<usize>,
    states: BTreeSet<usize>,
}

/// The world of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SignIn {
    bounds: Bounds,
    opened: Vec<Opened>,
    approved: Vec<Approved>,
    answers: Vec<Answer>,
    last_pages: Vec<LastPage>,
    jars: [Jar; 2],
    ended: BTreeSet<usize>,
    memories: BTreeSet<Remembered>,
    late: bool,
}

/// One step. Transactions, approvals, answers and last pages are named by the order in which they came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// A browser opens a link to `/authorize`.
    Open { browser: Person, link: Link },
    /// A browser posts a consent form.
    Decide { browser: Person, transaction: usize, own_page: bool },
    /// A browser visits the provider with an approval's request, signed in there to an account.
    SignIn { browser: Person, approval: usize, account: Person },
    /// A browser visits `/callback`.
    Callback { browser: Person, approval: usize, answer: usize },
    /// As before, but the process dies: before or after the store's write, and before the answer.
    CallbackDies { browser: Person, approval: usize, answer: usize, written: bool },
    /// A browser posts the form of a last page.
    Finish { browser: Person, page: usize, own_page: bool },
    /// A page on another port puts the attacker's cookies into the victim's browser.
    Plant,
    /// Time passes: longer than a transaction may take.
    #[serde(rename = "wait_long")]
    Wait,
}

/// A code on its way into a browser.
#[derive(Debug)]
struct Delivery {
    browser: Person,
    approval: usize,
    account: Person,
    address: String,
    /// What the code is for: client, resource, scopes and the client's challenge.
    of: [String; 4],
    /// Whether the person approved on the last page, in this browser.
    last: bool,
}

impl SignIn {
    /// The world before anything happened.
    #[must_use]
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            opened: Vec::new(),
            approved: Vec::new(),
            answers: Vec::new(),
            last_pages: Vec::new(),
            jars: [Jar::default(), Jar::default()],
            ended: BTreeSet::new(),
            memories: BTreeSet::new(),
            late: false,
        }
    }

    fn now(&self) -> Timestamp {
        things::time(self.late)
    }

    fn remembers(&self) -> bool {
        self.bounds.place == Place::Remembers
    }

    fn loopback(&self) -> bool {
        self.bounds.place == Place::Loopback
    }

    fn jar(&mut self, browser: Person) -> &mut Jar {
        let [victim, attacker] = &mut self.jars;
        match browser {
            Person::Victim => victim,
            Person::Attacker => attacker,
        }
    }

    fn jar_of(&self, browser: Person) -> &Jar {
        let [victim, attacker] = &self.jars;
        match browser {
            Person::Victim => victim,
            Person::Attacker => attacker,
        }
    }

    fn transaction_of(&self, approval: usize) -> Option<usize> {
        self.approved.get(approval).map(|approved| approved.transaction)
    }

    fn opened_by(&self, approval: usize) -> Option<&Opened> {
        self.opened.get(self.transaction_of(approval)?)
    }

    /// What the victim takes for her own doing, as far as a page tells her: a client of hers, for the server that she wanted.
    fn looks_hers(&self, transaction: usize) -> bool {
        self.opened.get(transaction).is_some_and(|opened| {
            opened.link.app != App::Evil && opened.link.app == opened.link.redirect && opened.link.entry == Entry::Direct
        })
    }
}
