"""PyPI `fastmcp`: its own OAuth helper, untouched; it opens $BROWSER."""

import asyncio
import os
import sys

from common import drive
from fastmcp import Client
from fastmcp.client.auth import OAuth


async def main(url: str) -> None:
    oauth = OAuth(client_metadata_url=os.environ.get("CLIENT_METADATA_URL"))
    async with Client(url, auth=oauth) as client:
        await drive(url, client, lambda: oauth.context.current_tokens.access_token)


asyncio.run(main(sys.argv[1]))
