"""What every Python client does besides being itself."""

import asyncio
import hashlib
import json
import os
import ssl
import sys

import httpx2

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {"accept": "application/json, text/event-stream"}


def trust() -> ssl.SSLContext:
    """Whom the environment trusts: no proxy of it, but its authority."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))


def fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:12]


async def refused(url: str, token: str) -> None:
    """Returns once the gateway refuses this access token, because its lifetime is over."""
    async with httpx2.AsyncClient(trust_env=False, verify=trust(), headers={**ACCEPT, "authorization": f"Bearer {token}"}) as http:
        async with asyncio.timeout(120):
            while (await http.post(url, json=LIST)).status_code != 401:
                await asyncio.sleep(0.2)


async def drive(url: str, client, token_now) -> None:
    """List, call, outlive the access token, call again; tell the runner what was seen."""
    tools = await client.list_tools()
    first = json.loads((await client.call_tool("whoami", {})).content[0].text)
    token = token_now()
    await refused(url, token)
    again = json.loads((await client.call_tool("whoami", {})).content[0].text)
    names = [tool.name for tool in getattr(tools, "tools", tools)]
    print(json.dumps({"tools": names, "whoami": [first, again], "tokens": [fingerprint(token), fingerprint(token_now())]}))
    sys.stdout.flush()
