"""The web application: routes, their input and what an error becomes. Draws nothing; the page's scripts do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import resources
from importlib.metadata import version
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from driftline.errors import DriftlineError, UsageError
from driftline.store import Store
from grafana.macros import TimeRange
from grafana.preview.guard import Guard
from grafana.preview.progress import extent, status
from grafana.preview.queries import Dashboards, PanelRequest, run_panel, variable_options
from grafana.preview.reports import index as report_index
from grafana.preview.reports import page as report_page

# Two queries at a time keep an embedded engine responsive to its writers.
_QUERY_THREADS = 2
_MAX_BODY_BYTES = 1_000_000
_FOR_EVER = "public, max-age=31536000, immutable"
_STATIC = Path(__file__).parent / "static"

T = TypeVar("T")


def packaged_dashboards() -> Traversable:
    """Return the folder of the dashboards that driftline ships."""
    return resources.files("grafana") / "dashboards"


def create_app(store: Store, dashboards: Path | Traversable, reports: Path | None = None) -> Starlette:
    """Return the application that draws the dashboards of a folder on ``store``; the caller closes the store.

    ``reports`` is the folder of this machine's reports.
    """
    return _Preview(store, Dashboards.load(dashboards), reports).application()


class _Preview:
    def __init__(self, store: Store, dashboards: Dashboards, reports: Path | None) -> None:
        self._store = store
        self._dashboards = dashboards
        self._reports = reports
        self._threads = ThreadPoolExecutor(_QUERY_THREADS, thread_name_prefix="preview-query")

    def application(self) -> Starlette:
        @asynccontextmanager
        async def lifespan(_app: Starlette) -> Any:
            yield
            self._threads.shutdown(wait=True, cancel_futures=True)

        routes = [
            Route("/", self._page),
            Route("/d/{uid}", self._page),
            Route("/healthz", self._health),
            Route("/api/dashboards", self._list),
            Route("/api/dashboards/{uid}", self._dashboard),
            Route("/api/variables/{uid}", self._variables),
            Route("/api/extent", self._extent),
            Route("/api/status", self._status),
            Route("/api/panel", self._panel, methods=["POST"]),
            Route("/reports/", self._report_index),
            Route("/reports/{path:path}", self._report),
            Route("/plotly/{version}.js", self._plotly),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]
        answers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {DriftlineError: _refused}
        return Starlette(routes=routes, middleware=[Middleware(Guard)], exception_handlers=answers, lifespan=lifespan)

    async def _page(self, _request: Request) -> Response:
        html = (_STATIC / "index.html").read_text(encoding="utf-8")
        return HTMLResponse(html.replace("PLOTLY_VERSION", version("plotly")), headers={"Cache-Control": "no-cache"})

    async def _health(self, _request: Request) -> Response:
        await self._in_thread(lambda: self._store.scalar("SELECT 1"))
        return _json({"status": "ok"})

    async def _list(self, _request: Request) -> Response:
        return _json([{"uid": uid, "title": item["title"]} for uid, item in self._dashboards.by_uid.items()])

    async def _dashboard(self, request: Request) -> Response:
        return _json(self._dashboards.get(request.path_params["uid"]))

    async def _variables(self, request: Request) -> Response:
        dashboard = self._dashboards.get(request.path_params["uid"])
        query = request.query_params
        chosen = {key[4:]: query.getlist(key) for key in query if key.startswith("var-")}
        time_range = TimeRange(_milliseconds(query.get("from", "0")), _milliseconds(query.get("to", "0")))
        return _json(await self._in_thread(lambda: variable_options(self._store, dashboard, chosen, time_range)))

    async def _extent(self, request: Request) -> Response:
        model = request.query_params.get("model", "")
        return _json(await self._in_thread(lambda: extent(self._store, model)))

    async def _status(self, request: Request) -> Response:
        model = request.query_params.get("model", "")
        return _json(await self._in_thread(lambda: status(self._store, model)))

    async def _panel(self, request: Request) -> Response:
        asked = _decoded(await _body(request))
        return _json(await self._in_thread(lambda: run_panel(self._store, self._dashboards, asked)))

    async def _report_index(self, _request: Request) -> Response:
        return await self._in_thread(lambda: report_index(self._store))

    async def _report(self, request: Request) -> Response:
        path, zipped = request.path_params["path"], "gzip" in request.headers.get("accept-encoding", "")
        return await self._in_thread(lambda: report_page(self._store, self._reports, path, zipped=zipped))

    async def _plotly(self, _request: Request) -> Response:
        bundle = resources.files("plotly") / "package_data" / "plotly.min.js"
        return FileResponse(str(bundle), media_type="text/javascript", headers={"Cache-Control": _FOR_EVER})

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _refused(_request: Request, error: DriftlineError) -> Response:
    return _json({"error": str(error)}, 400 if isinstance(error, UsageError) else 503 if error.retriable else 500)


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        msg = "a panel is asked for with content type application/json"
        raise UsageError(msg)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            msg = f"a request is at most {_MAX_BODY_BYTES} bytes"
            raise UsageError(msg)
    return body


def _decoded(body: bytes) -> PanelRequest:
    try:
        asked = msgspec.json.decode(body, type=PanelRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"the request cannot be read: {error}"
        raise UsageError(msg) from error
    _milliseconds(str(asked.from_ms)), _milliseconds(str(asked.to_ms))
    return asked


def _milliseconds(text: str) -> int:
    # 2100 in epoch milliseconds: the engine's DateTime ends soon after.
    if not text.isascii() or not text.isdigit() or len(text) > 13 or int(text) > 4_102_444_800_000:
        msg = f"a time is in epoch milliseconds between 1970 and 2100; got {text[:40]}"
        raise UsageError(msg)
    return int(text)


def _json(value: Any, status_code: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(value), status_code, headers, media_type="application/json")
