//! The binary: command line, configuration, wiring.
#![forbid(unsafe_code)]

mod check;
mod cli;
mod clients;
mod config;
mod demo;
mod devidp;
mod explain;
mod grants;
mod init;
mod keys;
mod logging;
mod output;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use cli::{
    CheckArgs, Cli, ClientsArgs, ClientsCommand, Command, ConfigOptions, DemoArgs, GrantsArgs, GrantsCommand, KeysArgs,
    KeysCommand,
};
use config::{ConfigError, Settings};

/// What ended the program, with its exit code; 2 is clap's.
enum Failure {
    /// What `check` found, and has said.
    Found,
    Run(String),
    Config(ConfigError),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

fn main() -> ExitCode {
    let (text, code) = match run(Cli::parse()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Found) => return ExitCode::FAILURE,
        Err(Failure::Run(text)) => (text, 1),
        Err(Failure::Config(error)) => (error.to_string(), 3),
    };
    output::failure(&text);
    ExitCode::from(code)
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Init(options) => {
            let done = init::run(&options, std::io::stdin().lock(), std::io::stderr());
            output::result(&done.map_err(Failure::Run)?);
            Ok(())
        }
        Command::Check(args) => check(&args),
        Command::Serve(options) => {
            logging::start(&cli.log).map_err(Failure::Run)?;
            let settings = settings(&options)?;
            block_on(serve::run(settings))
        }
        Command::Keys(KeysArgs { command }) => {
            let said = match command {
                KeysCommand::List(options) => block_on(keys::list(&settings(&options)?))?,
                KeysCommand::Rotate(args) => block_on(keys::rotate(&settings(&args.options)?, &args))?,
            };
            output::result(&said);
            Ok(())
        }
        Command::Grants(GrantsArgs { command: GrantsCommand::List(args) }) => {
            let settings = settings(&args.options)?;
            block_on(async move { grants::list(&settings, &args).await })
        }
        Command::Grants(GrantsArgs { command: GrantsCommand::Revoke(args) }) => {
            let settings = settings(&args.options)?;
            output::result(&block_on(async move { grants::revoke(&settings, &args).await })?);
            Ok(())
        }
        Command::Clients(ClientsArgs { command: ClientsCommand::Invite(args) }) => {
            output::result(&clients::invite(&settings(&args.options)?, args.expires).map_err(Failure::Run)?);
            Ok(())
        }
        Command::Migrate(options) => {
            let settings = settings(&options)?;
            block_on(async move { deputy_server::migrate(&settings.server.store).await.map_err(|error| error.to_string()) })?;
            output::result("The tables are up to date.");
            Ok(())
        }
        Command::Devidp(options) => block_on(async move { devidp::run(options).await.map_err(|error| format!("{error:#}")) }),
        Command::Demo(DemoArgs { port, call }) => {
            // A driven sign-in tells its own story.
            if !call {
                logging::start(&cli.log).map_err(Failure::Run)?;
            }
            block_on(async move { demo::run(demo::DemoOptions { port, call }).await.map_err(|error| format!("{error:#}")) })
        }
    }
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let settings = match settings(&args.options) {
        Err(error) if args.json => {
            output::result(&check::json(&check::refused(&error)).map_err(Failure::Run)?);
            return Err(error.into());
        }
        settings => settings?,
    };
    let findings = if args.offline {
        check::offline(&settings)
    } else {
        let settings = &settings;
        block_on(async move { check::online(settings).await })?
    };
    if args.json {
        output::result(&check::json(&findings).map_err(Failure::Run)?);
    } else {
        output::result(&format!("{}\n\n{}", explain::settings(&settings), check::human(&findings, output::has_colour())));
    }
    if findings.iter().any(|finding| finding.level == check::Level::Error) { Err(Failure::Found) } else { Ok(()) }
}

fn settings(options: &ConfigOptions) -> Result<Settings, ConfigError> {
    config::load(&options.config, &|name| std::env::var(name).ok())
}

/// Runs something to its end.
fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Run(format!("cannot start: {error}")))?;
    runtime.block_on(work).map_err(Failure::Run)
}
