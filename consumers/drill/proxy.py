"""A bad line between a consumer and its store: a proxy that loses answers and tears requests, by a seeded dice.

Only inserts suffer; statements that read pass. What the client sees is what a broken network makes: an
answer that never comes though the rows were written, a request of which half arrived, an error page, silence.
"""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TIMEOUT_SECONDS = 60.0
_SILENCE_SECONDS = 1.5
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


class Damage(StrEnum):
    """What may happen to a request."""

    LOST_ANSWER = "the request is carried out, its answer lost"
    TORN_REQUEST = "half of the request arrives"
    ERROR_PAGE = "503 instead of an answer"
    SILENCE = "carried out, then silence until the connection ends"


SHARES: Mapping[Damage, float] = {
    Damage.LOST_ANSWER: 0.05,
    Damage.TORN_REQUEST: 0.02,
    Damage.ERROR_PAGE: 0.02,
    Damage.SILENCE: 0.01,
}


@dataclass
class Line:
    """The way to the store's endpoint, and what has been done to the requests on it."""

    upstream: tuple[str, int]
    rng: random.Random
    shares: Mapping[Damage, float] = field(default_factory=lambda: dict(SHARES))
    damaged: Counter[Damage] = field(default_factory=Counter)
    inserts: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def damage_to(self, path: str, body: bytes) -> Damage | None:
        """Throw the dice for one request."""
        if b"INSERT INTO" not in body[:200].upper() and "INSERT" not in path.upper():
            return None
        with self._lock:
            self.inserts += 1
            dice = self.rng.random()
            for damage, share in self.shares.items():
                if dice < share:
                    self.damaged[damage] += 1
                    return damage
                dice -= share
        return None


@contextmanager
def bad_line(line: Line) -> Iterator[int]:
    """Serve ``line`` on a free port of loopback, which is yielded."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.line = line
    thread = threading.Thread(target=server.serve_forever, name="bad-line", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    line: Line

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections break on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Pass a request on."""
        self._pass_on(b"")

    def do_POST(self) -> None:
        """Pass a request on, perhaps not all of it."""
        body = self._body()
        damage = self.server.line.damage_to(self.path, body)
        if damage is Damage.ERROR_PAGE:
            self._answer(503, {}, b"the drill says no")
        elif damage is Damage.TORN_REQUEST:
            self._tear(body)
        elif damage is None:
            self._pass_on(body)
        else:
            self._forward(body)
            if damage is Damage.SILENCE:
                threading.Event().wait(_SILENCE_SECONDS)
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def _pass_on(self, body: bytes) -> None:
        self._answer(*self._forward(body))

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection(*self.server.line.upstream, timeout=_TIMEOUT_SECONDS)) as connection:
            connection.request(self.command, self.path, body, self._headers())
            answer = connection.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
            return answer.status, headers, answer.read()

    def _tear(self, body: bytes) -> None:
        with closing(http.client.HTTPConnection(*self.server.line.upstream, timeout=_TIMEOUT_SECONDS)) as connection:
            connection.putrequest(self.command, self.path, skip_host=True)
            for name, value in self._headers().items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            connection.send(body[: len(body) // 2])
        self.close_connection = True

    def _headers(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
