"""What needs a real browser: MCP Inspector's page, and deputy's own pages."""

from harness import NODE, OUT, Service, free_port, run, world

# line → what serves the page
INSPECTORS = {
    "direct": ["node_modules/inspector-v1/client/bin/client.js"],
    "current": ["node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js", "--web", "--protocol-era", "auto",
                "--transport", "http", "--server-url"],
}  # fmt: skip


def inspector(line: str):
    def play(options, folder) -> str:
        with world(options.deputy, folder) as w:
            port = free_port()
            env = {
                "CLIENT_PORT": str(port),
                "MCP_SANDBOX_PORT": str(free_port()),
                "HOST": "localhost",
                "HOME": str(folder),
                "MCP_AUTO_OPEN_ENABLED": "false",
                "MCP_INSPECTOR_SECRET_STORE": "memory",
                "DANGEROUSLY_OMIT_AUTH": "true",  # of the Inspector's own page, on loopback
            }
            page = f"http://localhost:{port}"
            command = [NODE, *INSPECTORS[line], *([w.mcp] if line == "current" else [])]
            service = Service(command, folder / "inspector.log", env)
            try:
                service.ready(page)
                return run([NODE, "chromium/inspector.mjs", line, page, w.mcp], 90).strip()
            finally:
                service.stop()

    return play


def pages(options, folder) -> str:
    with world(options.deputy, folder) as w:
        return run([NODE, "chromium/pages.mjs", w.url, w.idp, str(OUT)], 180).strip()
