"""The confused deputy, played: two browsers, a provider that waves everybody through, and an attacker who listens.

Each attack returns what reached the attacker's listener. Against deputy that is nothing; against a build with one guard taken
out (the feature `test-hooks`, which a release build cannot have) the matching attack must succeed, or it proves nothing.
"""

import http.server
import threading
from urllib.parse import urljoin

from person import Browser, ConsentPage
from harness import World, world

VERIFIER = "the-attacker-knows-this-one-" + "x" * 40


class Listener:
    """The attacker's redirect URI on loopback."""

    def __enter__(self) -> "Listener":
        heard = self.heard = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                heard.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/cb"
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()

    def link(self, w: World) -> str:
        """What the attacker sends around: /authorize for a client that was registered a moment ago."""
        return w.authorize_url(w.register("Nice Tool", self.url), self.url, VERIFIER, "state-of-the-attacker")


def victim(w: World) -> Browser:
    """A browser that signed in once with an honest client, so that the provider has a session and remembers."""
    redirect = "http://127.0.0.1/callback"
    browser = Browser("alice", stop=redirect)
    end = browser.open(w.authorize_url(w.register("Honest Client", redirect), redirect, VERIFIER))
    if not end.url.startswith(redirect):  # only a build without the consent page is there already
        end = browser.decide(end)
    assert "code=" in end.url, f"the honest sign-in ended at {end.status} {end.url}"
    return browser


def fresh_client(w: World, listener: Listener) -> None:
    """A-001, GHSA-c2jp-c369-7pvx: the victim opens the link of a fresh client, and clicks nothing."""
    browser, before = victim(w), w.asked()
    end = browser.open(listener.link(w))
    if listener.heard:
        return
    page = ConsentPage(end.body)
    assert w.asked() == before, "the provider was asked before anybody consented"
    assert end.status == 200 and page.is_consent and end.url.startswith(w.url), f"no consent page: {end.status} {end.url}"
    assert "Nice Tool" in page.text, "the consent page does not name the client"


def shared_provider_url(w: World, listener: Listener) -> None:
    """A-031, GHSA-rww4-4w9c-7733: the attacker consents, and sends the victim the provider's URL that came of it."""
    attacker = Browser("bob", stop=f"{w.idp}/auth")
    provider_url = attacker.sign_in(listener.link(w), "Nice Tool").url
    assert provider_url.startswith(w.idp), f"consent leads to {provider_url}"
    end = victim(w).open(provider_url)
    if listener.heard:
        return
    assert end.url.startswith(f"{w.url}/stopped?") and 400 <= end.status < 500, f"ended at {end.status} {end.url}"


def posted_form(w: World, listener: Listener) -> None:
    """The other half of A-031 (CON-31): the attacker's own consent form, posted by the victim's browser."""
    shown = Browser("bob").open(listener.link(w))
    page = ConsentPage(shown.body)
    form = {**page.fields, "decision": "approve"}
    before, target = w.asked(), urljoin(shown.url, page.action)
    browser = victim(w)
    before += 1  # the victim's honest sign-in
    foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    own = {"origin": w.url, "sec-fetch-site": "same-origin"}  # as if the origin could be forged: the cookie must hold alone
    for headers in (foreign, own):
        end = browser.open(target, method="POST", data=form, headers=headers)
        if listener.heard:
            return
        assert 400 <= end.status < 500, f"ended at {end.status} {end.url}"
        assert w.asked() == before, "the provider was asked"


# the guard that stops it → the attack
ATTACKS = {"consent_page": fresh_client, "state_cookie": shared_provider_url, "ownership_cookie": posted_form}


def guarded(options, folder) -> str:
    """No attack gets anything from the binary that we ship."""
    with world(options.deputy, folder) as w:
        for attack in ATTACKS.values():
            with Listener() as listener:
                attack(w, listener)
                assert not listener.heard, f"{attack.__name__}: the attacker received {listener.heard}"
    return f"{len(ATTACKS)} attacks, the attacker received nothing"


def unguarded(guard: str):
    """The same attack, against a build without this guard, gets the victim's code: the test can tell the difference."""

    def play(options, folder) -> str:
        assert options.unguarded, "needs --unguarded: a debug build with the feature test-hooks"
        with world(options.unguarded, folder, env={"DEPUTY_TEST_REMOVE_GUARD": f"{guard},last_page"}) as w, Listener() as listener:
            ATTACKS[guard](w, listener)
            stolen = [path for path in listener.heard if "code=" in path]
            assert stolen, f"without {guard}, {ATTACKS[guard].__name__} should have succeeded: the attacker heard {listener.heard}"
        return "the attacker received a code, as it must without this guard"

    return play
