//! The peer: FastMCP's `OAuthProxy` with its default store on disk, driven by the same code on the same machine.
//!
//! What a reader should know: each of its refreshes also asks the provider (a stub that answers at once), and its store writes a file for
//! each thing that it keeps, with fsync. Its consent page is switched off, which only shortens the preparation.

use std::process::Command;
use std::time::Duration;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::figure::Figure;
use crate::parts::{self, Bench, CONNECTIONS};
use crate::process::{Process, free_port};

impl Bench {
    /// The peer's refreshes and redemptions.
    pub(crate) async fn peer(&self, arguments: &Arguments) -> Outcome<Vec<Figure>> {
        let version = Command::new(&arguments.python).args(["-c", "import fastmcp; print(fastmcp.__version__)"]).output()?;
        let version = String::from_utf8(version.stdout)?;
        let home = self.folder.join("fastmcp");
        std::fs::create_dir_all(&home)?;
        let port = free_port().await?;
        let mut command = Command::new(&arguments.python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peer/server.py"))
            .args([&port.to_string(), &self.provider.issuer])
            .env("FASTMCP_HOME", &home)
            .env("HOME", &home);
        let server = Process::start(command, &self.folder, port, port, "/.well-known/oauth-authorization-server").await?;
        let lasts = self.lasts.min(Duration::from_secs(10));
        let refresh = parts::refreshes(&server, lasts).await?;
        let redeem = parts::redemptions(&server, lasts).await?;
        let name = |what: &str| format!("peer fastmcp {} {what} {CONNECTIONS} conns", version.trim());
        Ok(vec![Figure::rate(&name("refresh"), &refresh, None), Figure::rate(&name("redeem"), &redeem, None)])
    }
}
