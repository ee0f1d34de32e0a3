//! `deputy devidp`: the provider by itself, on this machine only, until it is ended.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use deputy_protocol::secret::ClientSecret;
use tokio::net::TcpListener;

use super::entra::credential::{self, Certificate};
use super::entra::{AccessTokens, Registration};
use super::{CLIENT_ID, Idp, Manners, TENANT};
use crate::{output, signals};

/// Whose manners the provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum As {
    /// Microsoft Entra ID
    Entra,
    /// A plain OpenID provider
    Oidc,
    /// Google
    Google,
    /// GitHub: an OAuth app
    Github,
    /// GitHub: a GitHub App, whose tokens end
    GithubApp,
}

/// What `deputy devidp` is to be.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Whose manners it has
    #[arg(long = "as", value_name = "PROVIDER", default_value = "oidc")]
    pub(crate) manners: As,
    /// Where it listens: an address of this machine alone
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    pub(crate) listen: SocketAddr,
    /// The id of the one application that it knows
    #[arg(long, value_name = "ID", default_value = CLIENT_ID)]
    pub(crate) client_id: String,
    /// A file with the application's secret
    #[arg(long, value_name = "FILE")]
    pub(crate) client_secret_file: PathBuf,
    /// Entra: the application's certificate, in PEM, with an RSA key
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Entra: where to write the token of a workload that the application trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) workload_token_file: Option<PathBuf>,
    /// Entra: the version of access tokens for the application's own API
    #[arg(long, value_name = "VERSION", value_enum, default_value = "2")]
    pub(crate) access_tokens: AccessTokens,
    /// Where the application is called back
    #[arg(long, value_name = "URL", default_value = "http://localhost:8000/callback")]
    pub(crate) redirect_uri: String,
}

/// Runs the provider until Ctrl-C or SIGTERM.
///
/// # Errors
/// Says what is in the way.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    // It signs in anybody as anybody.
    ensure!(
        options.listen.ip().is_loopback(),
        "devidp has no passwords: it listens on a loopback address only, such as 127.0.0.1:8001"
    );
    let file = options.client_secret_file.display();
    let secret = std::fs::read_to_string(&options.client_secret_file).with_context(|| format!("cannot read {file}"))?;
    let secret = secret.trim();
    ensure!(!secret.is_empty(), "{file} is empty");
    let listener = TcpListener::bind(options.listen).await.with_context(|| format!("cannot listen on {}", options.listen))?;
    let origin = format!("http://{}", listener.local_addr()?);
    let ended = signals::shutdown().map_err(anyhow::Error::msg)?;
    let secret = ClientSecret::from_text(secret.to_owned());
    let manners = match options.manners {
        As::Oidc => Manners::Plain,
        As::Google => Manners::Google,
        As::Github => Manners::GitHub { app: false },
        As::GithubApp => Manners::GitHub { app: true },
        As::Entra => Manners::Entra(Box::new(Registration {
            certificate: options.certificate.as_deref().map(Certificate::read).transpose()?,
            access_tokens: options.access_tokens,
        })),
    };
    let idp = Arc::new(Idp::with(&origin, options.redirect_uri, options.client_id, secret, manners)?);
    if let Some(path) = &options.workload_token_file {
        std::fs::write(path, credential::of_the_workload(&idp)?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    output::result(&lines(&idp, &origin, &file.to_string()));
    deputy_server::serve(listener, idp.router(), ended).await.context("cannot go on")
}

/// What to write into deputy.toml.
pub(super) fn lines(idp: &Idp, origin: &str, secret: &str) -> String {
    let who = match idp.manners {
        Manners::Entra(_) => format!("provider = \"entra\"\nauthority = \"{origin}\"\ntenant = \"{TENANT}\""),
        Manners::GitHub { .. } => format!("provider = \"github\"\nurl = \"{origin}\""),
        // As the preset google says it of the real one.
        Manners::Google => format!(
            "issuer = \"{origin}\"\nscopes = [\"openid\", \"profile\", \"email\"]\nparameters = {{ access_type = \"offline\", prompt = \"consent\" }}"
        ),
        Manners::Plain => format!("issuer = \"{}\"", idp.issuer),
    };
    let id = &idp.client_id;
    format!(
        "The provider is at {}. In deputy.toml:\n\n[idp]\n{who}\nclient_id = {id:?}\nclient_secret = {{ file = {secret:?} }}\n",
        idp.issuer
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_listens_on_loopback_only() {
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let options = Options {
                manners: As::Entra,
                listen: listen.parse().expect("an address"),
                client_id: CLIENT_ID.to_owned(),
                client_secret_file: PathBuf::from("no such file"),
                certificate: None,
                workload_token_file: None,
                access_tokens: AccessTokens::V2,
                redirect_uri: "http://localhost:8000/callback".to_owned(),
            };
            let error = run(options).await.expect_err("refused").to_string();
            assert!(error.contains("loopback"), "{error}");
        }
    }
}
