"""npm `mcp-remote`, as a desktop application runs it: a local stdio server that signs in for it through $BROWSER."""

import asyncio
import json
import os
import sys
from pathlib import Path

from common import drive
from mcp import Client, StdioServerParameters


async def main(url: str) -> None:
    state = Path(os.environ["HOME"], ".mcp-auth")
    command = StdioServerParameters(
        command=os.environ["NODE"],
        args=["node_modules/mcp-remote/dist/proxy.js", url, "--transport", "http-only"],
        env=dict(os.environ),
    )

    def token_now() -> str:
        (stored,) = state.rglob("*_tokens.json")
        return json.loads(stored.read_text())["access_token"]

    async with Client(command, read_timeout_seconds=60) as client:
        await drive(url, client, token_now)


asyncio.run(main(sys.argv[1]))
