"""FastMCP's OAuthProxy with its default store, for comparison: server.py PORT ISSUER."""

import sys

from fastmcp import FastMCP
from fastmcp.server.auth import OAuthProxy
from fastmcp.server.auth.providers.debug import DebugTokenVerifier

port, issuer = int(sys.argv[1]), sys.argv[2]
auth = OAuthProxy(
    upstream_authorization_endpoint=f"{issuer}/authorize",
    upstream_token_endpoint=f"{issuer}/token",
    upstream_client_id="deputy-at-idp",
    upstream_client_secret="the one static secret",
    token_verifier=DebugTokenVerifier(),
    base_url=f"http://localhost:{port}",
    # Only the preparation has consent in it; what is measured has not.
    require_authorization_consent="external",
)
FastMCP("peer", auth=auth).run(
    transport="http",
    host="127.0.0.1",
    port=port,
    show_banner=False,
    uvicorn_config={"log_level": "error", "access_log": False},
)
