"""The page's server on loopback: bound at once, run in this thread or another, stopped from any."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette

from driftline.errors import UsageError

_HOST = "127.0.0.1"


class PreviewServer:
    """A web server whose port is already taken; ``run`` answers requests until ``stop``."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        self._listener = listener
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{_HOST}:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        """Answer requests until ``stop`` is called or, in the main thread, until SIGINT or SIGTERM."""
        with self._listener:
            self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """Let ``run`` return soon; may be called from any thread."""
        self._server.should_exit = True


def serve(app: Starlette, port: int, address: str = _HOST) -> PreviewServer:
    """Bind ``port`` (0: any free one) of loopback and return the server, not yet running.

    Another ``address`` is for a container, whose loopback no published port reaches; requests must still name
    loopback as their host.

    Raises:
        UsageError: the port is taken or the address not this machine's.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        listener.close()
        msg = f"port {port} of {address} cannot be bound: {error.strerror}; choose another with --port"
        raise UsageError(msg) from error
    return PreviewServer(app, listener)
