"""The person with a browser: opens the authorization URL, reads deputy's consent page, decides, and lands at the client.

As a module: `Browser().sign_in(url)`. As a program it is what the clients start as `$BROWSER URL`; it then appends what it
did as one JSON line to $BROWSER_LOG, where the runner counts the consents.
"""

import json
import os
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx2


class ConsentPage(HTMLParser):
    """The one form with a hidden `ticket`, and the page's text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "form":
            self.action = values.get("action", "")
        if tag == "input" and values.get("type") == "hidden":
            self.fields[values["name"]] = values.get("value") or ""

    def handle_data(self, data):
        self.text += data

    @property
    def is_consent(self) -> bool:
        return self.action is not None and bool(self.fields.get("ticket"))


@dataclass
class Visit:
    """Where one run of redirects ended, and how it came there."""

    url: str
    status: int
    body: str
    hops: list[str] = field(default_factory=list)
    consents: int = 0


class Browser:
    """A cookie jar that follows links as a browser does; two of them are two browsers.

    `person` is who the provider signs in; a redirect to what starts with `stop` is where the visit ends, unvisited.
    """

    def __init__(self, person: str | None = None, stop: str | None = None) -> None:
        self.stop = stop
        trusted = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
        self.http = httpx2.Client(follow_redirects=False, timeout=20, trust_env=False, verify=trusted, headers={"accept": "text/html"})
        if person:
            self.http.cookies.set("person", person, domain="127.0.0.1")

    def open(self, url: str, **request) -> Visit:
        """GET (or what `request` says), then every redirect."""
        hops = [url]
        response = self._send(request.pop("method", "GET"), url, **request)
        while response.is_redirect:
            hops.append(urljoin(hops[-1], response.headers["location"]))
            if len(hops) > 20:
                raise AssertionError(f"redirects without end: {hops[-3:]}")
            foreign = not hops[-1].startswith("http")  # an app's own scheme: the browser hands it over and stays
            if foreign or (self.stop and hops[-1].startswith(self.stop)):
                return Visit(hops[-1], response.status_code, response.text, hops)
            response = self._send("GET", hops[-1])
        return Visit(hops[-1], response.status_code, response.text, hops)

    def _send(self, method: str, url: str, **request) -> httpx2.Response:
        """One request. Some clients open the browser before their own listener: a person is slower than that, so wait for it."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.http.request(method, url, **request)
            except httpx2.ConnectError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def decide(self, shown: Visit, decision: str = "approve") -> Visit:
        """Posts the form of a consent page, as the page's own origin, and follows where that leads."""
        page = ConsentPage(shown.body)
        assert page.is_consent, f"not a consent page: {shown.status} {shown.url}\n{shown.body[:400]}"
        parts = urlsplit(shown.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        form = {**page.fields, "decision": decision}
        end = self.open(urljoin(shown.url, page.action), method="POST", data=form, headers=headers)
        last = ConsentPage(end.body)
        if last.is_consent and last.action == "/finish":
            end = self.open(urljoin(end.url, last.action), method="POST", data={**last.fields, "decision": "approve"}, headers=headers)
        end.consents = 1
        return end

    def sign_in(self, url: str, name: str | None = None, decision: str = "approve") -> Visit:
        """The whole of it. `name` is the client's, which the consent page has to show."""
        shown = self.open(url)
        if name is not None:
            assert name in ConsentPage(shown.body).text, f"the consent page does not name {name!r}:\n{shown.body[:2000]}"
        return self.decide(shown, decision)


def main(url: str) -> None:
    try:
        told = asdict(Browser().sign_in(url, os.environ.get("BROWSER_EXPECTS")))
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}", "url": url, "consents": 0}
    told.pop("body", None)
    with open(os.environ["BROWSER_LOG"], "a") as log:
        log.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[-1])
