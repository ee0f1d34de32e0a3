"""Clients with metadata documents, over https from end to end: deputy behind a proxy that ends TLS, the document at an https host, both by an
authority of the test. Each client decides by itself for the document, and registers nothing."""

import json
import sys

import httpx2
from harness import NODE, Service, browser_for, free_port, run, visits, world
from person import Browser
from tls import Authority

from parts.clients import LIFETIME, check

CLIENTS = {
    "fastmcp": [sys.executable, "clients/fastmcp_client.py"],
    "mcp": [sys.executable, "clients/mcp_client.py"],
    "sdk": [NODE, "clients/sdk_client.mjs"],
}
CALLED = "A published client"
POLICY = '\n[clients]\ndocuments_ca = "{ca}"\n'


def publish(folder, url: str) -> None:
    """The document, with a loopback address without a port: what listens there takes another each time."""
    document = {
        "client_id": url,
        "client_name": CALLED,
        "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    }
    (folder / "client.json").write_text(json.dumps(document))


def played(options, folder, play) -> str:
    """`play` with a deployment, the document's URL, the folder of its host, and the environment of those who trust the authority."""
    folder.mkdir(parents=True)
    ours, other = (Authority.make(folder, name) for name in ("ours", "other"))
    pages = folder / "pages"
    pages.mkdir()
    services = []
    try:
        for authority in (ours, other):
            port = free_port()
            command = [sys.executable, "tls.py", "files", str(port), str(authority.certificate), str(authority.key), str(pages)]
            services.append((port, Service(command, folder / f"files-{port}.log")))
        good, bad = (f"https://localhost:{port}/client.json" for port, _ in services)
        publish(pages, good)
        with world(options.deputy, folder / "world", lifetime=LIFETIME, tls=ours, more=POLICY.format(ca=ours.ca)) as w:
            return play(w, good, bad, pages, ours.trusted())
    finally:
        for _, service in services:
            service.stop()


def part(name: str):
    def play(w, good, bad, pages, trusted) -> str:
        env = {**browser_for(w.folder, expects=CALLED), **trusted, "CLIENT_METADATA_URL": good}
        try:
            told = run([*CLIENTS[name], w.mcp], 120, env)
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe browser: {visits(w.folder)}") from None
        check(json.loads(told.splitlines()[-1]), CALLED)
        seen = visits(w.folder)
        assert [visit["consents"] for visit in seen] == [1], f"one sign-in with one consent, not {seen}"
        registered = "client_registered" in w.gateway.log.read_text()
        assert not registered, "the client registered although its document was offered"
        fetched = (pages / "requests.log").read_text().count("GET /client.json")
        assert fetched == 1, f"the document was fetched {fetched} times"
        return "came with its document over https, signed in once, called, refreshed, called again"

    return lambda options, folder: played(options, folder, play)


def refused(w, good, bad, pages, trusted) -> str:
    """The host of a document whose certificate somebody else signed is not believed."""
    browser = Browser()
    page = browser.open(w.authorize_url(good, "http://127.0.0.1:5000/callback", "a" * 43))
    assert CALLED in page.body and "<strong>localhost</strong>" in page.body, page.body[:2000]
    publish(pages, bad)
    page = browser.open(w.authorize_url(bad, "http://127.0.0.1:5000/callback", "a" * 43))
    assert page.status == 503 and len(page.hops) == 1 and CALLED not in page.body, f"{page.status} {page.hops}"
    answer = httpx2.get(bad, trust_env=True, verify=False)  # it is there: only its certificate is wrong
    assert answer.status_code == 200
    return "a document behind another authority's certificate is not taken"


PARTS = {f"documents:{name}": part(name) for name in CLIENTS} | {"documents:refused": lambda options, folder: played(options, folder, refused)}
