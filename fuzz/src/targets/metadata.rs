//! Documents that others publish: the provider's discovery document and its keys.

use deputy_protocol::Issuer;
use deputy_protocol::resource::is_loopback_host;
use deputy_server::probes;
use url::Url;

const ISSUER: &str = "https://idp.test/tenant";

pub fn run(json: &[u8]) {
    discovery(json);
    if let Some(keys) = probes::key_set(json) {
        let Some(said) = super::second_reading(json) else { return };
        assert!(keys.keys.len() <= said["keys"].as_array().unwrap().len());
    }
}

fn discovery(json: &[u8]) {
    let Some(endpoints) = probes::discovery(json, &Issuer::parse(ISSUER).unwrap()) else { return };
    let Some(said) = super::second_reading(json) else { return };
    assert_eq!(said["issuer"], ISSUER);
    let names = ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"];
    for (name, endpoint) in names.iter().zip(&endpoints) {
        let url = Url::parse(said[*name].as_str().unwrap()).unwrap();
        assert_eq!(*endpoint.url(), url);
        let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback_host(url.host_str().unwrap()));
        assert!(safe && url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{url}");
    }
    assert_eq!(endpoints.len(), if said["userinfo_endpoint"].is_string() { 4 } else { 3 });
}
