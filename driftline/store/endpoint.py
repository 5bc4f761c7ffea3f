"""The embedded store behind ClickHouse's HTTP protocol, on loopback, for the machine's other processes.

Two users: ``driftline`` reads and writes, ``reader`` (Grafana) only reads; each has its own token and
every request but ``/ping`` needs one. Requests for a host name that is not loopback are refused, so
that a web page cannot reach the store by rebinding a name of its own.
"""

from __future__ import annotations

import hmac
import json
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from driftline.errors import StoreNotWritable
from driftline.store.engine import Engine
from driftline.store.protocol import Refused, credentials, handshake, parse_statement

HOST = "127.0.0.1"
OWNER = "driftline"
READER = "reader"
_HOST_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
# One flush of a consumer is a few MB; reference frames, the largest rows, stay well below.
_MAX_BODY_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tokens:
    """The passwords of the two users."""

    owner: str
    reader: str


class Endpoint:
    """Serves one embedded store from a thread of this process, from construction until ``close``."""

    def __init__(self, path: Path, tokens: Tokens, port: int = 0) -> None:
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        self._engine = Engine(path)
        config = uvicorn.Config(
            _application(self._engine, tokens),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="store-endpoint", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def close(self) -> None:
        """Finish the requests in flight and stop. Idempotent."""
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
        self._engine.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        msg = f"port {port} of {HOST} cannot be served: {error.strerror}; choose another --port, or 0 for a free one"
        raise StoreNotWritable(msg) from error
    listener.listen(128)
    return listener


def _application(engine: Engine, tokens: Tokens) -> Starlette:
    async def ping(request: Request) -> Response:
        try:
            _refuse_foreign_host(request)
        except Refused as refused:
            return PlainTextResponse(f"{refused}\n", refused.status)
        return PlainTextResponse("Ok.\n")

    async def statement(request: Request) -> Response:
        query_id = request.query_params.get("query_id") or str(uuid4())
        try:
            return await _answer(request, engine, tokens, query_id)
        except Refused as refused:
            headers = {"X-ClickHouse-Exception-Code": str(refused.code), "Connection": "close"}
            return PlainTextResponse(f"{refused}\n", refused.status, headers)
        except ClientDisconnect:
            return Response(status_code=499)

    return Starlette(routes=[Route("/ping", ping), Route("/", statement, methods=["GET", "POST"])])


async def _answer(request: Request, engine: Engine, tokens: Tokens, query_id: str) -> Response:
    _refuse_foreign_host(request)
    url = dict(request.query_params)
    user = _authenticated(request, url, tokens)
    wanted = parse_statement(dict(request.headers), url, await _body(request))
    headers = {
        "X-ClickHouse-Query-Id": "".join(char for char in query_id if char.isascii() and char.isprintable())[:100],
        "X-ClickHouse-Timezone": engine.timezone,
        "X-ClickHouse-Server-Display-Name": "driftline",
    }
    if wanted.is_handshake:
        body = handshake("driftline", engine.version, engine.timezone)
        return Response(
            body, headers={**headers, "X-ClickHouse-Format": "Native"}, media_type="application/octet-stream"
        )
    answer = await run_in_threadpool(engine.run, wanted, read_only=user == READER)
    headers["X-ClickHouse-Summary"] = json.dumps(answer.summary)
    if answer.output_format:
        headers["X-ClickHouse-Format"] = answer.output_format
    return Response(answer.body, headers=headers, media_type="text/plain; charset=UTF-8")


def _refuse_foreign_host(request: Request) -> None:
    name = request.headers.get("host", "").rsplit(":", 1)[0].lower()
    if name not in _HOST_NAMES:
        msg = f"Code: 516. DB::Exception: the endpoint answers to 127.0.0.1 and localhost; got host {name[:100]!r}."
        raise Refused(516, msg)


def _authenticated(request: Request, url: dict[str, str], tokens: Tokens) -> str:
    user, password = credentials(request.headers, url)
    for name, token in ((OWNER, tokens.owner), (READER, tokens.reader)):
        matches = hmac.compare_digest(password.encode("utf-8", "surrogatepass"), token.encode())
        if matches and user == name:
            return name
    msg = f"Code: 516. DB::Exception: {user[:50]}: Authentication failed: wrong user or token. (AUTHENTICATION_FAILED)"
    raise Refused(516, msg)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise Refused(307, f"Code: 307. DB::Exception: the body is larger than {_MAX_BODY_BYTES} bytes.", 413)
    return bytes(body)
