"""The set-up of every part: identity provider, backend and gateway on free loopback ports, with a configuration of its own.

The gateway is `localhost` and the provider `127.0.0.1`: cookies do not know ports, so on one name they would see each other's.
"""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from person import Browser
from tls import Authority

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
NODE = str(MODULES / ".bin" / "node")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CANAILLE = HERE / ".cache" / "canaille" / "bin" / "python"  # an environment of its own
PASSWORD = "correct horse battery staple"  # of Alice, at the second provider
OUT = HERE / "out"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def trust() -> ssl.SSLContext:
    """Whom the environment trusts: no proxy of it, but its authority."""
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))


class Service:
    """A child in a process group of its own, which ends with the part that started it, and all its children with it."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.command, self.log = command, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                cwd=HERE, env={**os.environ, **(env or {})}, start_new_session=True,
            )  # fmt: skip

    def ready(self, url: str, seconds: float = 30) -> "Service":
        deadline = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command[0]} ended at once:\n{self.tail()}")
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(url, trust_env=False, verify=trust(), timeout=2).status_code < 500:
                    return self
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.command[0]} is not ready after {seconds} s:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        for sign, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@dataclass
class World:
    """What a part is given: where everything is, and a folder of its own."""

    url: str  # of the gateway, which is also the issuer
    idp: str
    backend: str
    folder: Path
    gateway: Service

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    def asked(self) -> int:
        """How often the provider's authorization endpoint was asked."""
        return httpx2.get(f"{self.idp}/test/count", trust_env=False).json()["authorize"]

    def arrived(self) -> int:
        """How many requests reached the backend."""
        return httpx2.get(f"{self.backend}/test/count", trust_env=False).json()["arrived"]

    def register(self, name: str, *redirect_uris: str) -> str:
        """A public client's id, from the front door."""
        metadata = {
            "client_name": name,
            "redirect_uris": list(redirect_uris),
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
        answer = httpx2.post(f"{self.url}/register", json=metadata, trust_env=False)
        assert answer.status_code == 201, f"/register: {answer.status_code} {answer.text}"
        return answer.json()["client_id"]


    def authorize_url(self, client: str, redirect: str, verifier: str, state: str = "a-state-of-the-client") -> str:
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": redirect,
            "state": state,
            "resource": self.mcp,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{self.url}/authorize?{urlencode(query)}"

    def token(self, person: str = "alice") -> str:
        """An access token, by the front door, in a browser of its own."""
        redirect, verifier = "http://127.0.0.1/callback", secrets.token_urlsafe(48)
        client = self.register("Token", redirect)
        end = Browser(person, stop=redirect).sign_in(self.authorize_url(client, redirect, verifier), "Token")
        code = parse_qs(urlsplit(end.url).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "client_id": client, "code_verifier": verifier}
        answer = httpx2.post(f"{self.url}/token", data=form, trust_env=False)
        assert answer.status_code == 200, f"/token: {answer.status_code} {answer.text}"
        return answer.json()["access_token"]


IDP = """\
provider = "oidc"
issuer = "{idp}"
client_id = "deputy"
client_secret = {{ file = "{folder}/idp-secret" }}
"""

CONFIGURATION = """\
public_url = "{url}"
listen = "127.0.0.1:{port}"
data_dir = "{folder}/data"

{idps}
[access]
allow = [{allow}]

[[server]]
path = "/mcp"
url = "{backend}/mcp"
name = "Everything"

[tokens]
access_token_lifetime = "{lifetime}"
"""


@contextlib.contextmanager
def world(
    deputy: str,
    folder: Path,
    lifetime: str = "5m",
    env: dict[str, str] | None = None,
    tls: Authority | None = None,
    more: str = "",
    second: bool = False,
):
    """Starts the services, yields a World, and ends them whatever happens. With `tls`, the gateway is known by the https address of a proxy
    in front of it; `more` follows in its configuration. With `second`, there are two providers, `first` and `canaille`."""
    folder.mkdir(parents=True)
    gateway_port, idp_port, backend_port = free_port(), free_port(), free_port()
    inside, idp, backend = (f"http://{at}" for at in (f"localhost:{gateway_port}", f"127.0.0.1:{idp_port}", f"127.0.0.1:{backend_port}"))
    tls_port = free_port() if tls else None
    url = f"https://localhost:{tls_port}" if tls else inside
    secret = folder / "idp-secret"
    secret.write_text("not-a-secret-but-long-enough-for-a-test")
    secret.chmod(0o600)
    config = folder / "deputy.toml"
    other = f"http://127.0.0.1:{free_port()}" if second else None
    idps = f"[idp]\n{IDP.format(idp=idp, folder=folder)}"
    if second:
        named = {"first": idp, "canaille": other}
        idps = "\n".join(f'[[idp]]\nname = "{name}"\n{IDP.format(idp=issuer, folder=folder)}' for name, issuer in named.items())
    allow = '"*"' if second else '"domain:example.com"'
    here = {"url": url, "port": gateway_port, "folder": folder, "backend": backend, "lifetime": lifetime}
    config.write_text(CONFIGURATION.format(idps=idps, allow=allow, **here) + more)
    with contextlib.ExitStack() as stack:

        def start(name: str, *command: str, **more) -> Service:
            service = Service(list(command), folder / f"{name}.log", **more)
            stack.callback(service.stop)
            return service

        callback = f"{url}/callback/first" if second else f"{url}/callback"
        provider = start("idp", NODE, "idp.mjs", str(idp_port), secret.read_text(), callback)
        if second:
            command = [str(CANAILLE), "canaille_idp.py", str(urlsplit(other).port), secret.read_text(), f"{url}/callback/canaille", PASSWORD]
            start("canaille", *command).ready(f"{other}/.well-known/openid-configuration")
        server = start("backend", sys.executable, "backend.py", str(backend_port))
        provider.ready(f"{idp}/.well-known/openid-configuration")
        server.ready(f"{backend}/test/count")
        gateway = start("deputy", deputy, "serve", "-c", str(config), env=env).ready(f"{inside}/healthz")
        if tls:
            os.environ.update(tls.trusted())
            stack.callback(lambda: [os.environ.pop(name, None) for name in tls.trusted()])
            start("tls", sys.executable, "tls.py", "proxy", str(tls_port), str(tls.certificate), str(tls.key), str(gateway_port)).ready(
                f"{url}/healthz"
            )
        yield World(url, idp, backend, folder, gateway)


def run(command: list[str], seconds: float, env: dict[str, str] | None = None, codes: tuple[int, ...] = (0,)) -> str:
    """A child's output; its whole group ends at the limit, and a failure carries its last words."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        cwd=HERE, env={**os.environ, **(env or {})}, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        raise AssertionError(f"no end after {seconds} s\n{(out + err)[-3000:]}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode in codes, f"exit {child.returncode}\n{(out + err)[-3000:]}"
    return out


def browser_for(folder: Path, expects: str | None = None) -> dict[str, str]:
    """The environment in which a client finds the person: $BROWSER, and where the person's visits are written down."""
    shim = folder / "browser"
    shim.write_text(f'#!/bin/sh\n"{sys.executable}" "{HERE / "person.py"}" "$@" >>"{folder}/browser.err" 2>&1 &\n')
    shim.chmod(0o755)
    env = {"BROWSER": str(shim), "BROWSER_LOG": str(folder / "visits.jsonl"), "HOME": str(folder), "NODE": NODE}
    return {**env, "BROWSER_EXPECTS": expects} if expects else env


def visits(folder: Path) -> list[dict]:
    log = folder / "visits.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
