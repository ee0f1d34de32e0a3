//! Where deputy listens, and whom it believes on the way there.

use std::net::{IpAddr, SocketAddr};

use deputy_protocol::Issuer;
use deputy_protocol::web::Origins;
use ipnet::IpNet;
use url::Url;

use super::Problem;
use super::place::Located;

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8000);

/// plain http stays on this machine.
pub(super) fn listen(raw: Option<&Located<String>>, public_url: &Url) -> Result<SocketAddr, Problem> {
    let Some(raw) = raw else { return Ok(LISTEN) };
    let problem = |text: &str| Problem::new(&raw.place, text);
    let address: SocketAddr = raw.value.parse().map_err(|_| {
        problem(
            "listen is an IP address and a port: \"127.0.0.1:8000\", \"[::1]:8000\", or \"0.0.0.0:8000\" for every interface.",
        )
    })?;
    if public_url.scheme() == "http" && !address.ip().is_loopback() {
        return Err(problem(
            "with a public_url of plain http, listen must stay on this machine (\"127.0.0.1:8000\"): others could read tokens on the way. For \
             the network, give public_url as https.",
        ));
    }
    Ok(address)
}

pub(super) fn hosts(raw: &[Located<String>]) -> Result<Vec<String>, Problem> {
    let host = |raw: &Located<String>| {
        // A host with an optional port: what remains of a URL that consists of nothing else.
        let url = Url::parse(&format!("https://{}", raw.value)).ok();
        let bare = url.is_some_and(|url| {
            url.path() == "/" && url.username().is_empty() && url.query().is_none() && url.fragment().is_none()
        });
        if bare && !raw.value.contains(['/', '*', '@', '?', '#']) {
            Ok(raw.value.clone())
        } else {
            Err(Problem::new(
                &raw.place,
                "allowed_hosts takes host names with an optional port, without wildcards: \"mcp.internal:8443\".",
            ))
        }
    };
    raw.iter().map(host).collect()
}

pub(super) fn proxies(raw: &[Located<String>]) -> Result<Vec<IpNet>, Problem> {
    let proxy = |raw: &Located<String>| {
        let net = raw.value.parse().ok().or_else(|| raw.value.parse::<IpAddr>().ok().map(IpNet::from));
        let every = |net: &IpNet| net.prefix_len() == 0;
        net.filter(|net| !every(net)).ok_or_else(|| {
            let text =
                "trusted_proxies takes addresses and networks: \"127.0.0.1\", \"10.0.0.0/8\". Everybody cannot be trusted.";
            Problem::new(&raw.place, text)
        })
    };
    raw.iter().map(proxy).collect()
}

pub(super) fn origins(raw: &[Located<String>], public_url: &Issuer) -> Result<Vec<String>, Problem> {
    let origin = |raw: &Located<String>| {
        let one = std::slice::from_ref(&raw.value);
        Origins::new(public_url.as_str(), one).map(|_| raw.value.clone()).map_err(|_| {
            Problem::new(
                &raw.place,
                "allowed_origins takes web origins as browsers send them: \"https://app.example.com\", without path or wildcard.",
            )
        })
    };
    raw.iter().map(origin).collect()
}
