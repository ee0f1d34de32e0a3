//! Who takes part: two people with a browser each, and three clients.

use serde::Serialize;

/// A person and the browser in their hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Person {
    /// Uses the honest client, approves only what the page says is hers, and opens any link.
    Victim,
    /// Opens, keeps, replays and sends around whatever he ever saw.
    Attacker,
}

impl Person {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Victim, Self::Attacker];

    /// The name in stories.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Victim => "the victim",
            Self::Attacker => "the attacker",
        }
    }

    /// The provider's name for the account.
    #[must_use]
    pub(crate) const fn sub(self) -> &'static str {
        match self {
            Self::Victim => "victim",
            Self::Attacker => "attacker",
        }
    }
}

/// A registered client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum App {
    /// The client that the victim uses.
    Honest,
    /// A client that the attacker made.
    Evil,
    /// Another client of the victim's: a program on her machine, which listens on a loopback port.
    Native,
}

impl App {
    /// The name in stories.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Honest => "the honest client",
            Self::Evil => "the attacker's client",
            Self::Native => "the honest program",
        }
    }

    /// The one redirect URI that it registered.
    #[must_use]
    pub(crate) const fn redirect(self) -> &'static str {
        match self {
            Self::Honest => "https://app.test/cb",
            Self::Evil => "https://evil.test/cb",
            Self::Native => "http://127.0.0.1:5000/cb",
        }
    }

    /// Where its metadata document lives.
    #[must_use]
    pub(crate) const fn document(self) -> &'static str {
        match self {
            Self::Honest => "https://app.test/client.json",
            Self::Evil => "https://evil.test/client.json",
            Self::Native => "https://program.test/client.json",
        }
    }
}
