"""A second real provider beside the first, chosen by the person at deputy's page: it asks for a name, a password and a consent of its own."""

import base64
import json
import secrets
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from harness import PASSWORD, World, world
from person import Browser, ConsentPage, Visit

REDIRECT = "http://127.0.0.1/callback"
# What a person types and presses at canaille: fields by name, and the button that lets the application know.
TYPED = {"login": "alice", "password": PASSWORD}
AGREED = ("answer", "accept")
# The words of the gateway are old at once: a refresh asks the provider.
LIFETIME = 'recheck_after = "0s"\n'


class Form(HTMLParser):
    """The first form of a page that somebody can fill in: where it goes, what is in it, what its buttons say."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action, self.fields, self.buttons, self.inside = "", {}, [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "form" and not self.fields and values.get("method", "").lower() == "post":
            self.inside, self.action = True, values.get("action") or ""
        if self.inside and tag == "input" and values.get("name"):
            self.fields[values["name"]] = values.get("value") or ""
        if self.inside and tag == "button" and values.get("name"):
            self.buttons.append((values["name"], values.get("value") or ""))

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False


def at_canaille(browser: Browser, page: Visit) -> Visit:
    """Fills in one page after the other until one is not canaille's, or nothing is left to do."""
    for _ in range(6):
        form = Form(page.body)
        known = {name: value for name, value in TYPED.items() if name in form.fields}
        pressed = dict([AGREED]) if AGREED in form.buttons else {}
        if page.status != 200 or not (known or pressed):
            return page
        page = browser.open(urljoin(page.url, form.action), method="POST", data={**form.fields, **known, **pressed})
    return page


def asked(w: World, browser: Browser, idp: str, name: str) -> tuple[str, str, Visit]:
    """A fresh client, whose request this person allows with the provider of this name."""
    verifier = secrets.token_urlsafe(48)
    client = w.register(name, REDIRECT)
    shown = browser.open(w.authorize_url(client, REDIRECT, verifier))
    assert all(choice in shown.body for choice in ("approve:first", "approve:canaille")), "the page does not offer both providers"
    return client, verifier, browser.decide(shown, f"approve:{idp}")


def signed_in(w: World, browser: Browser, idp: str) -> tuple[str, dict]:
    client, verifier, end = asked(w, browser, idp, f"At {idp}")
    if idp == "canaille" and not end.url.startswith(REDIRECT):
        end = at_canaille(browser, end)
        last = ConsentPage(end.body)
        if last.is_consent and last.action == "/finish":
            end = browser.decide(end)
    assert end.url.startswith(REDIRECT), f"{idp}: {end.status} {end.url}\n{end.body[:800]}"
    code = parse_qs(urlsplit(end.url).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "client_id": client, "code_verifier": verifier}
    answer = httpx2.post(f"{w.url}/token", data=form, trust_env=False)
    assert answer.status_code == 200, f"/token: {answer.status_code} {answer.text}"
    return client, answer.json()


def said(token: str) -> dict:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def called(w: World, token: str) -> int:
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    return httpx2.post(w.mcp, json=hello, headers=headers, trust_env=False).status_code


def provider(options, folder) -> str:
    with world(options.deputy, folder, more=LIFETIME, second=True) as w:
        browser = Browser("alice", stop=REDIRECT)
        client, tokens = signed_in(w, browser, "canaille")
        theirs = said(tokens["access_token"])
        assert theirs["idp_sub"] == "alice" and theirs["name"] == "Alice Archer", theirs
        assert "email" not in theirs, f"an address that nobody verified: {theirs}"
        assert called(w, tokens["access_token"]) not in (401, 403, 502), "the call did not get through"
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": client}
        again = httpx2.post(f"{w.url}/token", data=form, trust_env=False)
        assert again.status_code == 200, f"refresh: {again.status_code} {again.text}"
        # The same name at the other provider is another person.
        _, others = signed_in(w, Browser("alice", stop=REDIRECT), "first")
        ours = said(others["access_token"])
        assert ours["idp_sub"] == "alice" and ours["sub"] != theirs["sub"], (ours, theirs)
        assert ours["idp"] != theirs["idp"], (ours, theirs)
        return "canaille: password, consent, call, refresh; alice there is not alice at the first"


def mix_up(options, folder) -> str:
    """What one provider answers never counts as the other's (RFC 9700 §4.4): not its code, not its error, whichever path it is sent to."""
    changes = {
        "the other's path": lambda back: back.replace("/callback/canaille", "/callback/first"),
        "another issuer": lambda back: back.replace("iss=", "iss=http%3A%2F%2F127.0.0.1%3A1&x="),
        "no issuer, although promised": lambda back: back.replace("iss=", "x="),
        "an error without issuer": lambda back: back.replace("canaille?code=", "canaille?error=access_denied&x=").replace("iss=", "y="),
    }
    folder.mkdir(parents=True)
    # Each with providers of its own: codes that nobody redeemed confuse canaille's memory.
    for number, (name, change) in enumerate({**changes, "as it was": lambda back: back}.items()):
        with world(options.deputy, folder / str(number), second=True) as w:
            browser = Browser("alice", stop=f"{w.url}/callback/")
            _, _, end = asked(w, browser, "canaille", "Mixed up")
            back = at_canaille(browser, end).url
            assert back.startswith(f"{w.url}/callback/canaille?code="), back
            assert "iss" in parse_qs(urlsplit(back).query), "canaille promises iss in its answers (RFC 9207)"
            assert name == "as it was" or change(back) != back, name
            browser.stop = REDIRECT
            end = browser.open(change(back))
            last = ConsentPage(end.body)
            if last.is_consent and last.action == "/finish":
                end = browser.decide(end)
            came = end.url.startswith(REDIRECT) and "code" in parse_qs(urlsplit(end.url).query)
            assert came == (name == "as it was"), f"{name}: {end.status} {end.url}\n{end.body[:500]}"
    return f"refused: {', '.join(changes)}; the answer as it was signs in"
