"""Real clients: each registers, signs in once, lists and calls tools, refreshes, and calls again."""

import json
import sys
from urllib.parse import unquote

from harness import NODE, browser_for, run, visits, world

# name → the command, and the name under which the client registers itself, which the consent page has to show
CLIENTS = {
    "fastmcp": ([sys.executable, "clients/fastmcp_client.py"], "FastMCP Client"),
    "mcp": ([sys.executable, "clients/mcp_client.py"], "MCP Python SDK"),
    "sdk": ([NODE, "clients/sdk_client.mjs"], "MCP TypeScript SDK"),
    "mcp-remote": ([sys.executable, "clients/mcp_remote.py"], "MCP CLI Proxy"),
}
LIFETIME = "10s"  # of an access token: the shortest that the configuration allows, and we outlive it


def part(name: str):
    def play(options, folder) -> str:
        command, called = CLIENTS[name]
        with world(options.deputy, folder, lifetime=LIFETIME) as w:
            try:
                told = run([*command, w.mcp], 120, browser_for(folder, expects=called))
            except AssertionError as error:
                raise AssertionError(f"{error}\nthe browser: {visits(folder)}") from None
            check(json.loads(told.splitlines()[-1]), called)
            seen = visits(folder)
            assert [visit["consents"] for visit in seen] == [1], f"one sign-in with one consent, not {seen}"
            assert w.asked() == 1, f"the provider was asked {w.asked()} times"
        return "signed in once, called, refreshed, called again"

    return play


def check(told: dict, called: str) -> None:
    assert "whoami" in told["tools"] and len(told["tools"]) > 20, f"tools: {told['tools']}"
    before, after = told["tokens"]
    assert before != after, "the access token did not change: nothing was refreshed"
    for seen in told["whoami"]:
        person = {key: unquote(seen.get(f"x-deputy-{key}", "(absent)")) for key in ("email", "name", "client-name")}
        assert person == {"email": "alice@example.com", "name": "Alice Archer", "client-name": called}, f"the backend saw {seen}"
        assert seen.get("x-deputy-subject") and seen.get("x-deputy-client") and "mcp" in seen.get("x-deputy-scope", ""), seen
        leaked = {"authorization", "cookie", "origin"} & set(seen)
        assert not leaked, f"reached the backend: {leaked}"
