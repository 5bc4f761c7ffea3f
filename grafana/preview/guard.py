"""Who may talk to the page and what the browser may do with it.

The page serves a person at this machine. A foreign ``Host`` is another site's name pointed at
loopback, a foreign ``Origin`` another site's script: both are turned away.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Plotly sets style attributes and writes a style sheet; scripts come from this server alone.
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware: refuses foreign hosts and origins, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)  # a report brings a policy of its own
            await send(message)

        headers = Headers(scope=scope)
        if _is_foreign(f"//{headers.get('host', '')}") or ("origin" in headers and _is_foreign(headers["origin"])):
            refusal = PlainTextResponse("this page answers on loopback only; open http://127.0.0.1 instead\n", 403)
            await refusal(scope, receive, guarded_send)
            return
        await self._app(scope, receive, guarded_send)


def _is_foreign(address: str) -> bool:
    try:
        return urlsplit(address).hostname not in _LOOPBACK
    except ValueError:
        return True
