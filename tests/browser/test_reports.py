"""A report in a real Chromium: it draws, and what came in an event does not run."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batch.reports.files import Drawn, ReportKey, save
from batch.results import DriftSpec
from batch.rows.frames import to_arrow_bytes
from batch.workers.pool import Workers
from batch.workers.process import Task
from driftline.store import Store
from driftline.windows import Window
from tests.browser.reading import served
from tests.grafana import monitored

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SCRIPT = "document.title = 'owned'; window.owned = 1"
HOSTILE = f'</script><script>{SCRIPT}</script><img src=x onerror="{SCRIPT}">'
START = datetime(2023, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with monitored.opened_store(tmp_path_factory.mktemp("store"), filled=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def url(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("reports")
    key = ReportKey("taxi", HOSTILE, Window(START, START + timedelta(days=1)))
    save(store, folder, Drawn(key, drawn_page(), {"fare": HOSTILE}, 60, "", "c"), "person")
    with served(store, reports=folder) as address:
        yield address


def drawn_page() -> bytes:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"zone": rng.choice([HOSTILE, "74"], 60), "label": rng.normal(size=60)})
    rows["prediction.v"] = rows["label"] + 1
    specs = [DriftSpec("zone", "category", "jensenshannon", 0.1, 20)]
    specs += [DriftSpec(name, "number", "wasserstein", 0.1, 20) for name in ("label", "prediction.v")]
    options = {"title": HOSTILE, "task": "regression", "positive_class": None, "left_out": {"fare": HOSTILE}}
    table = pa.Table.from_pandas(rows, preserve_index=False)
    with Workers() as workers:
        [answer] = workers.answers([Task("report", to_arrow_bytes(table), tuple(specs), options=options)])
    assert answer.failures == ()
    return bytes(answer.values["html"])


def test_a_report_is_found_in_the_list_and_draws_without_running_what_it_shows(page: Page, url: str) -> None:
    page.goto(f"{url}/reports/")
    assert HOSTILE in page.locator("tbody").inner_text()

    page.locator("tbody a").click()

    page.wait_for_selector(".js-plotly-plot", timeout=60_000)
    assert "‹script›document.title" in page.locator("body").inner_text()
    assert page.evaluate("[typeof window.owned, window.origin]") == ["undefined", "null"]
    assert "owned" not in page.title()


def test_a_page_that_holds_a_script_gets_no_origin_and_no_network(
    browser: Browser, store: Store, tmp_path: Path
) -> None:
    script = "fetch('/api/dashboards').then(() => document.title = 'reached', () => document.title = 'alone')"
    key = ReportKey("taxi", "raw", Window(START, START + timedelta(days=1)))
    page_bytes = gzip.compress(f"<script>{script}</script>".encode())
    save(store, tmp_path, Drawn(key, page_bytes, {}, 1, "", "c"), "person")
    page = browser.new_page()  # the refusal that is wanted here is a complaint in the console
    with served(store, reports=tmp_path) as address:
        page.goto(f"{address}/reports/{key.path}")
        page.wait_for_function("document.title != ''")
        assert page.title() == "alone"
        assert page.evaluate("window.origin") == "null"
    page.close()
