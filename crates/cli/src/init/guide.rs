//! What a person does in each provider's console: data, in `guides.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

const GUIDES: &str = include_str!("guides.toml");

/// One provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guide {
    /// What people call it.
    pub(crate) title: String,
    /// Where its console is.
    pub(crate) console: String,
    /// What to do there.
    pub(crate) steps: Vec<String>,
    /// What deputy has to know of it, beside the client id and the credential.
    pub(crate) asks: Vec<Blank>,
    /// The ways to prove who we are; the first is the usual one.
    #[serde(default = "secret")]
    pub(crate) credentials: Vec<String>,
}

/// One thing to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blank {
    /// Its key in `[idp]`.
    pub(crate) key: String,
    pub(crate) question: String,
    pub(crate) example: String,
    /// How it is written, if not as `key = "…"`; `{}` stands for the answer in quotes.
    pub(crate) line: Option<String>,
}

fn secret() -> Vec<String> {
    vec!["secret".to_owned()]
}

impl Guide {
    /// Every provider's, by name.
    ///
    /// # Errors
    /// When the file cannot be read; it is part of the program, and a test reads it.
    pub(crate) fn all() -> Result<BTreeMap<String, Self>, String> {
        toml::from_str(GUIDES).map_err(|error| format!("the guides cannot be read: {}", error.message()))
    }

    /// The steps for a deployment.
    pub(crate) fn steps(&self, public_url: &str) -> impl Iterator<Item = String> {
        let redirect_uri = format!("{public_url}/callback");
        self.steps.iter().map(move |step| step.replace("{redirect_uri}", &redirect_uri).replace("{public_url}", public_url))
    }
}
