"""PyPI `mcp`: the SDK's OAuth provider with the smallest application around it."""

import asyncio
import os
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from common import drive, trust
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata


class Memory:
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Callback:
    """The application's loopback listener: takes one GET, keeps its query."""

    async def listen(self) -> str:
        self.query = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"

    async def _serve(self, reader, writer):
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone")
        await writer.drain()
        writer.close()
        self.query.set_result({key: values[0] for key, values in parse_qs(urlsplit(target).query).items()})

    async def result(self) -> AuthorizationCodeResult:
        query = await self.query
        return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))


async def main(url: str) -> None:
    async def open_browser(address: str) -> None:
        await asyncio.create_subprocess_exec(os.environ["BROWSER"], address)

    callback, memory = Callback(), Memory()
    metadata = OAuthClientMetadata(client_name="MCP Python SDK", redirect_uris=[await callback.listen()])
    document = os.environ.get("CLIENT_METADATA_URL")
    auth = OAuthClientProvider(url, metadata, memory, open_browser, callback.result, client_metadata_url=document)
    async with httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False, verify=trust()) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            await drive(url, client, lambda: memory.tokens.access_token)


asyncio.run(main(sys.argv[1]))
