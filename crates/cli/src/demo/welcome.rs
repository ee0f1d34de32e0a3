//! What the demo tells a person.

use crate::output;

use crate::devidp::PEOPLE;

/// What runs, what to paste where, and what to try.
pub(super) fn print(origin: &str, issuer: &str) {
    let url = format!("{origin}/mcp");
    let people = PEOPLE.iter().map(|person| person.name).collect::<Vec<_>>().join(", ");
    let sign_out = format!("{}/oauth2/v2.0/logout", issuer.trim_end_matches("/v2.0"));
    output::tell(&format!(
        r#"
This is a demo: everything runs on this machine, anyone here can sign in as anyone, and nothing is kept. Not for production.

  MCP server for your client   {url}
  identity provider            {issuer}
                               signs in {people}; no passwords

Connect a client

  Claude Code      claude mcp add --transport http deputy-demo {url}
                   then /mcp in Claude Code, and Authenticate

  VS Code          code --add-mcp '{{"name":"deputy-demo","type":"http","url":"{url}"}}'

  Cursor           in ~/.cursor/mcp.json:
                   {{"mcpServers": {{"deputy-demo": {{"url": "{url}"}}}}}}

  MCP Inspector    npx @modelcontextprotocol/inspector
                   transport Streamable HTTP, URL {url}

What to try

  1. Sign in and call the tool whoami: the MCP server knows who you are, and never saw a token.
  2. Connect a second client. The provider would not ask you again; deputy does, and names the client.
     Without that page, a stranger's client would now have your code.
  3. Be somebody else: sign out of the provider at
     {sign_out}
  4. See all of it at once, each step with what protects it: deputy demo --call

Ctrl-C ends everything."#
    ));
}

/// The end.
pub(super) fn goodbye() {
    output::tell("\nThe demo has ended; nothing of it is left.");
}
