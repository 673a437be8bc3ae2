"""Servers that go wrong on purpose: each fault of a tracking server as an address to be used in a ``with``."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, late by ``delay``, or breaks off: before or after the server did its work.

    Args:
        behind: address of the server.
        allowed: whether a request passes, by how many there were before.
        lost: whether its answer is lost on the way back.
        delay: seconds until a request is passed on.
    """

    daemon_threads = True

    def __init__(
        self,
        behind: str,
        allowed: Callable[[int], bool] = lambda count: True,
        lost: Callable[[int], bool] = lambda count: False,
        delay: float = 0.0,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Pass)
        self.behind = urlparse(behind)
        self.allowed, self.lost, self.delay, self.count = allowed, lost, delay, 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections that break off are what this is for."""


class _Pass(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        with self.server.lock:
            count = self.server.count
            self.server.count += 1
        time.sleep(self.server.delay)
        if not self.server.allowed(count):
            reset(self.connection)
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        onward = http.client.HTTPConnection(self.server.behind.hostname or "", self.server.behind.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        onward.request(self.command, self.path, body, headers)
        answer = onward.getresponse()
        said = answer.read()
        onward.close()
        if self.server.lost(count):
            reset(self.connection)
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def reset(connection: socket.socket) -> None:
    """Break a connection off, as a machine that goes down does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def unknown_host() -> Iterator[str]:
    yield "http://no-such-host.invalid:5000"


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def answering(status: int, body: bytes = b"no") -> Iterator[str]:
    """A server that says the same to everything."""

    class Same(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Same)) as address:
        yield address


@contextmanager
def resetting() -> Iterator[str]:
    """A server that breaks every call off."""
    with serving(Proxy("http://127.0.0.1:1", lambda count: False)) as address:
        yield address


@contextmanager
def distrusted(folder: Path) -> Iterator[str]:
    """A server with a certificate that nobody vouches for."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(made.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Proxy("http://127.0.0.1:1", lambda count: False)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as address:
        yield address.replace("http:", "https:")
