//! One thing that was found.

use serde::Serialize;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Works, and should be looked at.
    Warning,
    /// Does not work.
    Error,
}

/// Declares the codes once: their names stay, for those who read `--json`.
macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        /// What was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub(crate) enum Code {
            $(#[doc = $meaning] #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// All of them, with what they mean.
            #[cfg(test)]
            pub(crate) const ALL: &[(&str, &str)] = &[$(($code, $meaning)),*];
        }
    };
}

codes! {
    Config = "config", "The configuration cannot be read; nothing else was looked at.";
    Setting = "setting", "A setting is allowed and deserves a second look.";
    Discovery = "discovery", "The provider's metadata: it is there, and its issuer is the configured one to the letter.";
    Keys = "keys", "The keys with which the provider signs ID tokens.";
    Scopes = "scopes", "The scopes that the provider is asked for, against those that it lists.";
    RefreshTokens = "refresh_tokens", "Whether the provider gives refresh tokens, so that nobody signs in again each day.";
    Credential = "credential", "The provider's token endpoint was sent the credential.";
    Clock = "clock", "This machine's clock against the provider's.";
    Backend = "backend", "The MCP server behind the gateway was greeted.";
    PublicUrl = "public_url", "What answers at the public URL, seen from this machine.";
    MasterKey = "master_key", "The master key and the directory that it lies in.";
    Store = "store", "The database.";
}

/// One thing that was found, about something, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) code: Code,
    pub(crate) level: Level,
    /// What it is about: `provider entra`, `server /mcp`.
    pub(crate) about: String,
    /// What was found.
    pub(crate) text: String,
    /// What to do about it.
    #[serde(rename = "what_to_do")]
    pub(crate) advice: Option<String>,
}

impl Finding {
    pub(crate) fn new(code: Code, level: Level, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code, level, about: about.into(), text: text.into(), advice: None }
    }

    /// With what to do.
    #[must_use]
    pub(crate) fn so(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}
