//! The public URL, as clients find it.

use deputy_fetch::{Answer, Client as FetchClient, Credentials, Endpoint};
use deputy_server::Config;
use serde::Deserialize;

use super::{Code, Finding, Level};

/// What both documents are read for.
#[derive(Deserialize)]
struct Document {
    issuer: Option<String>,
    resource: Option<String>,
}

pub(super) async fn tried(config: &Config, fetch: &FetchClient) -> Vec<Finding> {
    let origin = config.public_url.as_str();
    let server = get(fetch, &format!("{origin}/.well-known/oauth-authorization-server")).await;
    let (first, goes_on) = server_metadata(origin, server);
    let mut findings = vec![first];
    if goes_on {
        for server in &config.servers {
            let resource = format!("{origin}{}", server.path);
            let answer = get(fetch, &format!("{origin}/.well-known/oauth-protected-resource{}", server.path)).await;
            findings.push(resource_metadata(&resource, answer));
        }
    }
    findings
}

async fn get(fetch: &FetchClient, url: &str) -> Result<Answer, String> {
    let endpoint = Endpoint::parse(url).map_err(|error| error.to_string())?;
    fetch.get(&endpoint, Credentials::None).await.map_err(|error| error.to_string())
}

/// Whether our own metadata is there, and whether it is worth looking further.
fn server_metadata(origin: &str, answer: Result<Answer, String>) -> (Finding, bool) {
    let found = |level, text: String| Finding::new(Code::PublicUrl, level, origin, text);
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => {
            let finding = found(Level::Warning, format!("nothing answers there, seen from this machine: {why}."))
                .so("Before the first start that is as it should be. Else: does the name lead to the proxy in front, and that to listen?");
            return (finding, false);
        }
    };
    let document = answer.json::<Document>().ok().filter(|_| answer.status.is_success());
    match document.and_then(|document| document.issuer) {
        Some(issuer) if issuer == origin => (found(Level::Ok, "deputy answers there with its own metadata.".to_owned()), true),
        Some(_) => {
            let finding = found(Level::Error, "an authorization server answers there under another issuer.".to_owned()).so(
                "Is public_url the address that people use, and does the proxy in front lead here and not to another deployment?",
            );
            (finding, false)
        }
        None => {
            let text = format!(
                "something else answers there: status {} for /.well-known/oauth-authorization-server.",
                answer.status.as_u16()
            );
            let finding = found(Level::Error, text)
                .so("The proxy in front must pass every path on as it is, /.well-known/ included, with the original Host.");
            (finding, false)
        }
    }
}

fn resource_metadata(resource: &str, answer: Result<Answer, String>) -> Finding {
    let read = answer.and_then(|answer| answer.json::<Document>());
    match read {
        Ok(Document { resource: Some(named), .. }) if named == resource => {
            Finding::new(Code::PublicUrl, Level::Ok, resource, "clients find what they need to sign in.")
        }
        Ok(_) | Err(_) => Finding::new(Code::PublicUrl, Level::Error, resource, "clients do not find the metadata of this server there.")
            .so("Restart deputy with this configuration; if it runs with it, the proxy in front must pass /.well-known/ paths on as they are."),
    }
}
