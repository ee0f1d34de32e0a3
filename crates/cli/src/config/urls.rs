//! URLs in the configuration. Plain http is for loopback hosts only, in every one of them.

use deputy_protocol::Issuer;
use deputy_protocol::resource::is_loopback_host;
use url::Url;

use super::Problem;
use super::place::Located;

/// An absolute http(s) URL without user, password and fragment.
fn web_url(key: &str, raw: &Located<String>) -> Result<Url, Problem> {
    let problem = |text: String| Problem::new(&raw.place, text);
    let url = Url::parse(&raw.value).map_err(|error| {
        problem(format!("{key} is no URL ({error}). Write it in full, for example \"https://mcp.example.com\"."))
    })?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" if !host.is_empty() => {}
        "http" if is_loopback_host(host) => {}
        "http" => {
            let text = format!(
                "{key} is plain http to {host}. That is accepted for localhost, 127.0.0.1 and [::1] only, as anyone on the way could read \
                 tokens. Use https."
            );
            return Err(problem(text));
        }
        scheme => return Err(problem(format!("{key} has the scheme {scheme}. Use https (http for loopback hosts only)."))),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(problem(format!("{key} must not have a user name, password or fragment.")));
    }
    Ok(url)
}

/// Our own origin: no path and no trailing slash, as it is the issuer and is compared to the letter.
pub(super) fn public_url(raw: &Located<String>) -> Result<(Issuer, Url), Problem> {
    let url = web_url("public_url", raw)?;
    let origin = url.origin().ascii_serialization();
    if url.path() != "/" || url.query().is_some() {
        let text = format!(
            "public_url has a path. deputy needs an origin of its own, as clients look for its metadata at the root and its cookies cover \
             the whole host. Write \"{origin}\", and put the path into [[server]]."
        );
        return Err(Problem::new(&raw.place, text));
    }
    let not_canonical = || {
        let text = format!("public_url must be written \"{origin}\": clients compare it letter by letter.");
        Problem::new(&raw.place, text)
    };
    if raw.value != origin {
        return Err(not_canonical());
    }
    Ok((Issuer::parse(&raw.value).map_err(|_| not_canonical())?, url))
}

/// The origin of somebody else: no path and no trailing slash.
pub(super) fn origin(key: &str, raw: &Located<String>) -> Result<(Issuer, Url), Problem> {
    let url = web_url(key, raw)?;
    let origin = url.origin().ascii_serialization();
    let wrong = || Problem::new(&raw.place, format!("{key} must be written \"{origin}\", without a path."));
    if raw.value != origin { Err(wrong()) } else { Issuer::parse(&raw.value).map(|issuer| (issuer, url)).map_err(|_| wrong()) }
}

/// The identity provider's issuer, kept to the letter.
pub(super) fn idp_issuer(raw: &Located<String>) -> Result<Issuer, Problem> {
    web_url("issuer", raw)?;
    if raw.value.ends_with("/.well-known/openid-configuration") {
        let text =
            "issuer is the provider's issuer, not its discovery document. Leave \"/.well-known/openid-configuration\" away.";
        return Err(Problem::new(&raw.place, text));
    }
    Issuer::parse(&raw.value).map_err(|_| Problem::new(&raw.place, "issuer must be a URL without a query."))
}

/// An address at a provider, as it is asked.
pub(super) fn endpoint(key: &str, raw: &Located<String>) -> Result<Issuer, Problem> {
    web_url(key, raw)?;
    Issuer::parse(&raw.value).map_err(|_| Problem::new(&raw.place, format!("{key} must be a URL without a query.")))
}

/// Where a backend listens.
pub(super) fn backend(raw: &Located<String>) -> Result<Url, Problem> {
    web_url("url", raw)
}
