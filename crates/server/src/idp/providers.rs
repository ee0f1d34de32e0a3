//! The identity providers of this deployment.

use std::collections::BTreeSet;
use std::sync::Arc;

use deputy_fetch::Client as FetchClient;
use deputy_protocol::{IdpName, Issuer};

use super::Provider;
use crate::clock::Clock;
use crate::config::IdpConfig;

/// Where the one provider sends people back. Each of several has an address of its own below it, so that an answer of one is never taken for
/// another's (OC-04, RFC 9700 §4.4.2.2).
pub(crate) const CALLBACK: &str = "/callback";

/// All identity providers, in the order of the configuration.
#[derive(Debug)]
pub struct Providers(Vec<Provider>);

impl Providers {
    /// The providers of a deployment at `origin`, whose rules name the `groups` of people of these issuers.
    ///
    /// # Errors
    /// What is wrong: there is none, two have one name, or two vouch for the same people.
    pub fn new(
        configs: Vec<IdpConfig>,
        origin: &str,
        groups: impl Fn(&[Issuer]) -> BTreeSet<String>,
        fetch: &FetchClient,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let alone = configs.len() == 1;
        let mut providers: Vec<Provider> = Vec::with_capacity(configs.len());
        for config in configs {
            let issuers = config.kind.authority().issuers();
            if let Some(twin) = providers.iter().find(|known| *known.name() == config.name) {
                return Err(format!(
                    "two identity providers are called \"{}\"; give each [[idp]] a name of its own",
                    twin.name()
                ));
            }
            if let Some(twin) = providers.iter().find(|known| issuers.iter().any(|issuer| known.vouches_for(issuer))) {
                return Err(format!(
                    "\"{}\" and \"{}\" vouch for the same people; nobody could say which of the two signed somebody in",
                    twin.name(),
                    config.name
                ));
            }
            let redirect_uri = redirect_uri(origin, &config.name, alone);
            let provider = Provider::new(config, redirect_uri, fetch.clone(), Arc::clone(clock));
            providers.push(provider.with_groups(groups(&issuers)));
        }
        if providers.is_empty() { Err("there is no identity provider: add [idp]".to_owned()) } else { Ok(Self(providers)) }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }

    /// The only one, if there is one only.
    pub(crate) fn only(&self) -> Option<&Provider> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The one with this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.name().as_str() == name)
    }

    /// The one that vouches for people of this issuer.
    pub(crate) fn of(&self, issuer: &Issuer) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.vouches_for(issuer))
    }

    /// The one that sends people back to this path.
    pub(crate) fn at(&self, path: &str) -> Option<&Provider> {
        match path.trim_end_matches('/').strip_prefix(CALLBACK)? {
            "" => self.only(),
            below => self.named(below.strip_prefix('/')?).filter(|_| self.0.len() > 1),
        }
    }
}

/// What is to be registered at a provider: where it sends people back.
#[must_use]
pub fn redirect_uri(origin: &str, name: &IdpName, alone: bool) -> String {
    if alone { format!("{origin}{CALLBACK}") } else { format!("{origin}{CALLBACK}/{name}") }
}
