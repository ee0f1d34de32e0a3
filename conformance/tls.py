"""https on loopback, with an authority of its own: what a reverse proxy does for deputy, and a host of metadata documents.

As a program: `tls.py proxy PORT CERTIFICATE KEY TARGET_PORT` ends TLS in front of a port, `tls.py files PORT CERTIFICATE KEY FOLDER` serves
the JSON files of a folder and writes each request into FOLDER/requests.log.
"""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Authority:
    """A certificate authority and a certificate for `localhost` by it."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, name: str) -> "Authority":
        def openssl(*arguments: str) -> None:
            done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
            assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"

        place = folder / name
        place.mkdir()
        ca, ca_key, request, key, certificate, names = (
            place / part for part in ("ca.pem", "ca.key", "request.pem", "key.pem", "certificate.pem", "names")
        )
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *curve, "-keyout", str(ca_key), "-out", str(ca), "-days", "2", "-subj", f"/CN=Test authority {name}")
        openssl("req", *curve, "-keyout", str(key), "-out", str(request), "-subj", "/CN=localhost")
        by = ("-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial", "-days", "2", "-extfile", str(names))
        openssl("x509", "-req", "-in", str(request), *by, "-out", str(certificate))
        return cls(ca, certificate, key)

    def trusted(self) -> dict[str, str]:
        """The environment in which Python and Node trust it."""
        return {"SSL_CERT_FILE": str(self.ca), "NODE_EXTRA_CA_CERTS": str(self.ca)}


def context(certificate: str, key: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


async def proxy(port: int, certificate: str, key: str, target: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, behind[1]), pump(behind[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context(certificate, key))
    await server.serve_forever()


class Files(SimpleHTTPRequestHandler):
    def log_message(self, form: str, *arguments) -> None:
        with Path(self.directory, "requests.log").open("a") as log:
            log.write(form % arguments + "\n")


def files(port: int, certificate: str, key: str, folder: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(Files, directory=folder))
    server.socket = context(certificate, key).wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    kind, port, certificate, key, what = sys.argv[1:]
    if kind == "proxy":
        asyncio.run(proxy(int(port), certificate, key, int(what)))
    else:
        files(int(port), certificate, key, what)
