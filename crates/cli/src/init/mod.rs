//! `deputy init`: from nothing to a `deputy.toml` that loads, with what to do in the provider's console on the way.
//!
//! What this module guarantees:
//! - Each answer is judged by the loader itself, at once. A file that it would refuse is not written.
//! - No file is replaced, and no secret is asked for or written.

mod ask;
mod draft;
pub(crate) mod guide;

#[cfg(test)]
mod pages;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config;
use ask::Asker;
use draft::{Draft, Proof};
use guide::Guide;

/// The answers that are known already.
#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    /// The identity provider: entra, google, github, okta, … , oidc, oauth2
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Where people and clients reach deputy: `https://mcp.example.com`
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// What the provider needs beside, such as tenant=… or domain=…
    #[arg(long = "idp", value_name = "KEY=VALUE")]
    pub(crate) idp: Vec<String>,
    /// The client id, from the provider's console
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// A file with the client secret; it need not be there yet
    #[arg(long, value_name = "FILE", group = "proof")]
    pub(crate) client_secret_file: Option<String>,
    /// An environment variable with the client secret
    #[arg(long, value_name = "VARIABLE", group = "proof")]
    pub(crate) client_secret_env: Option<String>,
    /// A private key in PEM, in place of a secret; with --certificate
    #[arg(long, value_name = "FILE", group = "proof", requires = "certificate")]
    pub(crate) private_key: Option<String>,
    /// Its certificate in PEM
    #[arg(long, value_name = "FILE", requires = "private_key")]
    pub(crate) certificate: Option<String>,
    /// A file with a token that somebody renews, in place of a secret
    #[arg(long, value_name = "FILE", group = "proof")]
    pub(crate) assertion: Option<String>,
    /// The client id of a managed identity of Azure, in place of a secret
    #[arg(long, value_name = "ID", group = "proof")]
    pub(crate) managed_identity: Option<String>,
    /// The MCP server: http://127.0.0.1:9000/mcp
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Its path at the public URL
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Who may come in: domain:example.com, group:…, "*"; several with commas
    #[arg(long, value_name = "RULES")]
    pub(crate) allow: Option<String>,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "deputy.toml")]
    pub(crate) output: PathBuf,
    /// Print the file instead
    #[arg(long, conflicts_with = "output")]
    pub(crate) print: bool,
}

/// Asks what is not given, and writes the file. What comes back is the file to print, or what to do next.
///
/// # Errors
/// What is in the way, in one line.
pub(crate) fn run(options: &Options, lines: impl BufRead, out: impl Write) -> Result<String, String> {
    let shown = options.output.display();
    if !options.print && options.output.exists() {
        return Err(format!(
            "{shown} is there already, and init replaces no file. Name another with --output, or see what it would be with --print."
        ));
    }
    let draft = Interview { options, asker: Asker::new(lines, out) }.draft()?;
    if let Some(why) = draft.refusal() {
        return Err(format!("the answers do not fit together: {why}"));
    }
    let text = draft.file();
    if options.print {
        return Ok(text.trim_end().to_owned());
    }
    write_new(&options.output, &text).map_err(|error| format!("cannot write {shown}: {error}"))?;
    Ok(next_steps(&draft, &options.output))
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

/// What to do with the file.
fn next_steps(draft: &Draft, path: &Path) -> String {
    let shown = path.display();
    let secret = match &draft.proof {
        Some(Proof::SecretFile(file)) => {
            format!("  (umask 077; cat > {file})                 paste the client secret, Enter, Ctrl-D\n")
        }
        Some(Proof::SecretVariable(name)) => format!("  export {name}=…                            the client secret\n"),
        Some(Proof::Certificate { .. } | Proof::Assertion(_) | Proof::ManagedIdentity(_)) | None => String::new(),
    };
    format!(
        "\nWrote {shown}. Next:\n\n{secret}  deputy check -c {shown}                 says what it means, and tries it out\n  deputy serve -c {shown}                 \
         runs the gateway\n\nThen give {}{} to an MCP client.",
        draft.public_url, draft.server_path
    )
}

struct Interview<'a, R, W> {
    options: &'a Options,
    asker: Asker<R, W>,
}

impl<R: BufRead, W: Write> Interview<'_, R, W> {
    fn draft(mut self) -> Result<Draft, String> {
        let guides = Guide::all()?;
        let (provider, guide) = self.provider(&guides)?;
        // Where anybody has an account, "*" would be a door that stands open; whoever wants that says it.
        let company = provider != "entra" && !config::open_to_everybody(&provider);
        let stand_in: &[&str] = if provider == "entra" { &[] } else { &["domain:example.com"] };
        let mut draft = Draft::new(&provider, &guide, stand_in);
        let options = self.options;
        let public_url = ("--public-url", options.public_url.as_deref());
        self.ask(
            public_url,
            "Where will people and clients reach deputy",
            Some("http://localhost:8000"),
            &mut draft,
            |draft, answer| {
                draft.public_url = answer.trim_end_matches('/').to_owned();
            },
        )?;
        self.asker.tell(&format!("\nIn the console of {} ({}):\n", guide.title, guide.console));
        for (number, step) in guide.steps(&draft.public_url).enumerate() {
            self.asker.tell(&format!("  {}. {step}", number + 1));
        }
        self.asker.tell("");
        for (at, blank) in guide.asks.iter().enumerate() {
            let flag = format!("--idp {}=…", blank.key);
            let given = options.idp.iter().find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == blank.key));
            let question = format!("{} (such as {})", blank.question, blank.example);
            self.ask((&flag, given.map(|(_, value)| value)), &question, None, &mut draft, |draft, answer| {
                if let Some((_, value)) = draft.blanks.get_mut(at) {
                    answer.clone_into(value);
                }
            })?;
        }
        if let Some(other) =
            options.idp.iter().find(|pair| !guide.asks.iter().any(|blank| pair.split('=').next() == Some(&blank.key)))
        {
            let known: Vec<&str> = guide.asks.iter().map(|blank| blank.key.as_str()).collect();
            return Err(format!(
                "--idp {other}: {provider} needs {}",
                if known.is_empty() { "nothing of the kind".to_owned() } else { known.join(", ") }
            ));
        }
        self.ask(("--client-id", options.client_id.as_deref()), "Client id", None, &mut draft, |draft, answer| {
            answer.clone_into(&mut draft.client_id);
        })?;
        draft.proof = Some(self.proof(&guide, &draft)?);
        let server = ("--server", options.server.as_deref());
        self.ask(server, "Where does the MCP server listen", Some("http://127.0.0.1:9000/mcp"), &mut draft, |draft, answer| {
            answer.clone_into(&mut draft.server_url);
        })?;
        self.ask(
            ("--path", options.path.as_deref()),
            "Its path at the public URL",
            Some("/mcp"),
            &mut draft,
            |draft, answer| {
                answer.clone_into(&mut draft.server_path);
            },
        )?;
        self.ask(
            ("--name", options.name.as_deref()),
            "What do people call it",
            Some("MCP tools"),
            &mut draft,
            |draft, answer| {
                answer.clone_into(&mut draft.server_name);
            },
        )?;
        let (question, default) = match (provider.as_str(), company) {
            ("entra", _) => ("Who may come in, such as group:ID, role:NAME; nothing is everybody of the tenant", Some("")),
            (_, true) => {
                ("Who may come in, such as domain:example.com, group:NAME; \"*\" is whoever the provider signs in", Some("*"))
            }
            (_, false) => ("Who may come in, such as domain:example.com, email:a@example.com, group:NAME", None),
        };
        self.ask(("--allow", options.allow.as_deref()), question, default, &mut draft, |draft, answer| {
            draft.allow = answer.split(',').map(|rule| rule.trim().to_owned()).filter(|rule| !rule.is_empty()).collect();
        })?;
        Ok(draft)
    }

    /// One answer, put into the draft; the loader says whether it fits.
    fn ask(
        &mut self,
        flag: (&str, Option<&str>),
        question: &str,
        default: Option<&str>,
        draft: &mut Draft,
        put: impl Fn(&mut Draft, &str),
    ) -> Result<(), String> {
        let before = draft.clone();
        let taken = self.asker.answer(flag, question, default, |answer| {
            let mut with = before.clone();
            put(&mut with, answer);
            with.refusal().map_or(Ok(with), Err)
        })?;
        *draft = taken;
        Ok(())
    }

    fn provider(&mut self, guides: &std::collections::BTreeMap<String, Guide>) -> Result<(String, Guide), String> {
        let names: Vec<&str> = config::provider_names().collect();
        if self.options.provider.is_none() {
            self.asker.tell("Which identity provider do people sign in at?\n");
            for (number, name) in names.iter().enumerate() {
                let title = guides.get(*name).map_or("", |guide| guide.title.as_str());
                self.asker.tell(&format!("  {:>2}  {name:<10} {title}", number + 1));
            }
            self.asker.tell("");
        }
        self.asker.answer(("--provider", self.options.provider.as_deref()), "Number or name", None, |answer| {
            let numbered = answer.parse::<usize>().ok().and_then(|number| names.get(number.checked_sub(1)?).copied());
            let name = numbered.unwrap_or(answer);
            config::known_provider(name)?;
            guides.get(name).map(|guide| (name.to_owned(), guide.clone())).ok_or_else(|| format!("{name} has no guide"))
        })
    }

    fn proof(&mut self, guide: &Guide, draft: &Draft) -> Result<Proof, String> {
        let options = self.options;
        let given = [
            options.client_secret_file.clone().map(Proof::SecretFile),
            options.client_secret_env.clone().map(Proof::SecretVariable),
            options
                .private_key
                .clone()
                .zip(options.certificate.clone())
                .map(|(key, certificate)| Proof::Certificate { key, certificate }),
            options.assertion.clone().map(Proof::Assertion),
            options.managed_identity.clone().map(Proof::ManagedIdentity),
        ];
        if let Some(proof) = given.into_iter().flatten().next() {
            return Ok(proof);
        }
        let way = match guide.credentials.as_slice() {
            [only] => only.clone(),
            several => {
                let question = format!("How does deputy prove who it is: {}", several.join(", "));
                self.asker.answer(("--client-secret-file", None), &question, several.first().map(String::as_str), |answer| {
                    let known = several.iter().find(|way| *way == answer);
                    known.cloned().ok_or_else(|| format!("It is one of {}.", several.join(", ")))
                })?
            }
        };
        let mut file = |flag: &str, question: &str, default: Option<&str>| {
            self.asker.answer((flag, None), question, default, |answer| Ok::<_, String>(answer.to_owned()))
        };
        match way.as_str() {
            "certificate" => Ok(Proof::Certificate {
                key: file("--private-key", "File with the private key, in PEM", Some("deputy.key"))?,
                certificate: file("--certificate", "File with its certificate, in PEM", Some("deputy.pem"))?,
            }),
            "assertion" => file(
                "--assertion",
                "File with the token that somebody renews",
                Some("/var/run/secrets/azure/tokens/azure-identity-token"),
            )
            .map(Proof::Assertion),
            "managed-identity" => {
                let question = "Client id of the user-assigned managed identity";
                self.asker.answer(("--managed-identity", None), question, None, |answer| {
                    let proof = Proof::ManagedIdentity(answer.to_owned());
                    let with = Draft { proof: Some(proof.clone()), ..draft.clone() };
                    with.refusal().map_or(Ok(proof), Err)
                })
            }
            _ => file("--client-secret-file", "File that will hold the client secret, or $VARIABLE", Some("client-secret")).map(
                |answer| {
                    answer
                        .strip_prefix('$')
                        .map(|name| Proof::SecretVariable(name.to_owned()))
                        .unwrap_or(Proof::SecretFile(answer))
                },
            ),
        }
    }
}
