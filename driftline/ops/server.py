"""``/metrics``, ``/healthz`` and ``/readyz`` of one process, from a thread of its own.

Answers from memory, so that a dead store or log cannot make it wait. No secrets: whoever reaches the
port may read it, hence loopback unless told otherwise.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Self

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from driftline.errors import UsageError
from driftline.ops.health import Health
from driftline.ops.meters import Meters

LOOPBACK = "127.0.0.1"


class OpsServer:
    """Serves from construction until ``close``; port 0 takes a free one."""

    def __init__(self, meters: Meters, health: Health, port: int, host: str = LOOPBACK) -> None:
        self._socket = _listen(host, port)
        config = uvicorn.Config(
            _application(meters, health, host),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="ops-server", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def close(self) -> None:
        """Stop answering. Idempotent."""
        self._server.should_exit = True
        self._thread.join(timeout=3)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
    except OSError as error:
        msg = f"--ops-host {host} is no address of this machine: {error.strerror}; use 127.0.0.1 or 0.0.0.0"
        raise UsageError(msg) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(16)
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        remedy = "choose another --ops-port, or 0 for a free one: each process needs its own"
        msg = f"port {port} of {host} cannot be served: {reason}; {remedy}"
        raise UsageError(msg) from error
    return listener


def _application(meters: Meters, health: Health, host: str) -> Starlette:
    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(meters.registry), headers={"Content-Type": content_type})

    def answer(reasons: Callable[[], list[str]]) -> Callable[[Request], Response]:
        def endpoint(_request: Request) -> Response:
            found = reasons()
            status = {"status": "unavailable" if found else "ok", "reasons": found}
            return JSONResponse(status, 503 if found else 200)

        return endpoint

    routes = [
        Route("/metrics", metrics),
        Route("/healthz", answer(health.against_alive)),
        Route("/readyz", answer(health.against_ready)),
    ]
    return Starlette(routes=routes, middleware=_guards(host))


def _guards(host: str) -> list[Middleware]:
    """On loopback, answer to loopback's names alone: a web page cannot get in by rebinding a name of its own."""
    names = [LOOPBACK, "localhost", "[::1]"]
    return [Middleware(TrustedHostMiddleware, allowed_hosts=names)] if host in names or host == "::1" else []
