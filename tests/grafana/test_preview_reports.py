"""Reports as the preview serves them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from batch.reports.files import Drawn, ReportKey, save
from driftline.store import Store
from driftline.windows import Window
from grafana.preview import create_app, packaged_dashboards, serve
from tests.grafana import monitored

START = datetime(2023, 2, 1, tzinfo=UTC)
PAGE = "<html><body>‹page›</body></html>"
VERSION = "<img src=x onerror=alert(1)>"
KEY = ReportKey("taxi", VERSION, Window(START, START + timedelta(days=1)))
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with monitored.opened_store(tmp_path_factory.mktemp("store"), filled=False) as opened:
        yield opened


@contextmanager
def asking(store: Store, reports: Path | None) -> Iterator[httpx.Client]:
    server = serve(create_app(store, packaged_dashboards(), reports), 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client
    server.stop()
    thread.join()


def test_the_list_without_reports_says_how_to_get_one(store: Store, tmp_path: Path) -> None:
    with asking(store, tmp_path) as client:
        assert "<code>driftline report 2023-02-14</code> draws one" in client.get("/reports/").text


def test_reports_are_listed_escaped_and_served_in_a_sandbox(store: Store, tmp_path: Path) -> None:
    file = save(store, tmp_path, Drawn(KEY, gzip.compress(PAGE.encode()), {"<b>": "</td>"}, 7, "", "c"), "person")
    with asking(store, tmp_path) as client:
        listed = client.get("/reports/")
        assert "&lt;img src=x onerror=alert(1)&gt;" in listed.text
        assert "&lt;b&gt;: &lt;/td&gt;" in listed.text
        assert VERSION not in listed.text
        assert "script-src 'self'" in listed.headers["Content-Security-Policy"]
        assert f'<a href="/reports/{KEY.path}">2023-02-01 00:00</a>' in listed.text

        for encoding in ("gzip", "identity"):
            page = client.get(f"/reports/{KEY.path}", headers={"Accept-Encoding": encoding})
            assert (page.status_code, page.text) == (200, PAGE)
            assert page.headers["Content-Security-Policy"] == SANDBOX
            assert page.headers["X-Content-Type-Options"] == "nosniff"

        file.write_bytes(b"something else")
        answer = client.get(f"/reports/{KEY.path}")
        assert answer.status_code == 404
        assert answer.text == "this report's file is not the one that was written; draw it again\n"


def test_only_reports_that_the_store_knows_are_served(store: Store, tmp_path: Path) -> None:
    (tmp_path / "taxi").mkdir()
    (tmp_path / "taxi" / "other.html.gz").write_bytes(b"x")
    with asking(store, tmp_path) as client:
        for path in ("taxi/other.html", "..%2f..%2fetc%2fpasswd", "taxi/..%2fother.html"):
            answer = client.get(f"/reports/{path}")
            assert (answer.status_code, answer.text) == (404, "there is no report of this name; see /reports/\n")


def test_a_report_of_another_machine_says_so(store: Store, tmp_path: Path) -> None:
    save(store, tmp_path, Drawn(KEY, gzip.compress(b"x"), {}, 7, "", "c"), "person")
    with asking(store, tmp_path / "elsewhere") as client:
        answer = client.get(f"/reports/{KEY.path}")
    assert answer.text == "this report's file is not on this machine; draw it again with `driftline report WINDOW`\n"
