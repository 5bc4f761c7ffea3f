"""The page in a real Chromium, on a store whose names and values are hostile to a page that trusts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftline.store import Store
from grafana.preview import packaged_dashboards
from tests.browser.reading import open_page, panel, served
from tests.grafana import monitored

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with monitored.opened_store(tmp_path_factory.mktemp("store"), filled=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with served(store) as address:
        yield address


def legend(page: Page, panel_id: int) -> dict[str, str]:
    buttons = panel(page, panel_id).locator(".legend button").all()
    return {button.locator(".name").inner_text(): button.locator(".value").inner_text() for button in buttons}


def cells(page: Page, panel_id: int) -> list[list[str]]:
    rows = panel(page, panel_id).locator("tbody tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def test_every_panel_shows_what_the_store_holds(page: Page, url: str) -> None:
    open_page(page, url)

    numbers = {number: panel(page, number).locator(".number").all_inner_texts() for number in (2, 4, 5, 6)}
    assert numbers == {2: ["1"], 4: ["33 %"], 5: ["3.25", "4.50"], 6: ["85.00 %"]}
    assert panel(page, 3).locator(".number").inner_text().endswith(("h", "min", "s", "ms"))

    lanes = panel(page, 7).locator(".lane").all()
    assert panel(page, 7).locator(".lane-name").all_inner_texts() == ["Traffic", "Data", "Drift", "Quality"]
    assert [[text for text in lane.locator("span").all_inner_texts() if text and text != "n/a"] for lane in lanes] == [
        ["ok"], ["ok", "fail"], ["ok", "warn"], ["ok", "too few"],
    ]  # fmt: skip

    assert set(legend(page, 9)) == {"inputs", "labels", "predictions gbm-1", "predictions linear's"}
    assert legend(page, 10)["fare_amount"] == "50 %"
    assert legend(page, 10)["limit 2 %"] == "2 %"
    assert legend(page, 11) == {"trip_distance p05": "0.5", "trip_distance p50": "2.9", "trip_distance p95": "9"}
    assert legend(page, 12)["input late"] == str((monitored.DAYS * 24 - 1) % 5)
    assert legend(page, 14)["trip_distance"] == "0.31"
    assert legend(page, 14)["threshold wasserstein"] == "0.1"
    assert legend(page, 15)["final gbm-1"] == "3.25"
    assert legend(page, 15)["provisional linear's"] == "4.5"
    assert legend(page, 16) == {"gbm-1": "25 %", "linear's": "25 %"}

    assert [row[:3] for row in cells(page, 18)] == [
        ["fail", "missing_share", "fare_amount"],
        ["warn", "drift_score", "trip_distance"],
    ]
    assert cells(page, 19)[0][:3] == [monitored.HOSTILE_REASON, str(monitored.DEAD_LETTERS), "trips"]
    assert {row[0] for row in cells(page, 20)} == {"profile", "drift", "quality"}
    assert page.locator(".message").count() == 0


def test_curves_are_drawn_where_the_values_are(page: Page, url: str) -> None:
    open_page(page, url)
    drawn = page.evaluate(
        "() => document.querySelector(\"[data-panel='14'] .plot\").data.map((t) => [t.name, t.line.dash, t.y.at(-1)])"
    )
    assert ["trip_distance", "solid", 0.31] in drawn
    assert ["threshold wasserstein", "6px,6px", 0.1] in drawn


def test_hostile_names_are_text(page: Page, url: str) -> None:
    open_page(page, url)
    assert monitored.HOSTILE_COLUMN in legend(page, 10)
    assert monitored.HOSTILE_COLUMN in legend(page, 14)
    assert page.locator("#grid img, #grid script").count() == 0


def test_a_version_with_a_quote_is_chosen_and_stays_in_the_address(page: Page, url: str) -> None:
    open_page(page, url)
    picker = page.locator(".field", has_text="Version").locator("details")
    picker.locator("summary").click()
    picker.get_by_text("linear's", exact=True).click()
    page.wait_for_function("() => document.querySelectorAll(\"[data-panel='16'] .legend button\").length === 1")
    assert legend(page, 16) == {"linear's": "25 %"}
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    assert legend(page, 16) == {"linear's": "25 %"}


def test_a_range_without_data_says_where_the_data_is(page: Page, url: str) -> None:
    open_page(page, f"{url}/?range=0-86400000")
    text = panel(page, 9).locator(".message").inner_text()
    assert "No data" in text
    assert "Nothing in this range: events run from" in text
    assert panel(page, 2).locator(".number").inner_text() == "n/a"


def test_the_strip_says_how_far_data_and_jobs_are(page: Page, url: str) -> None:
    open_page(page, url)
    text = page.locator("#status").inner_text()
    assert f"{monitored.DAYS * 24 - 1} complete, 1 open" in text
    assert "Jobs up to date" in text


def test_the_page_fits_a_narrow_screen(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    open_page(page, url)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 420


def test_a_failing_query_shows_its_error_in_its_panel(browser: Browser, store: Store, tmp_path: Path) -> None:
    text = (packaged_dashboards() / "overview.json").read_text(encoding="utf-8")
    (tmp_path / "overview.json").write_text(text.replace("FROM topic_progress", "FROM no_such_view"), encoding="utf-8")
    page = browser.new_page()
    with served(store, tmp_path) as url:
        open_page(page, url)
        failed = panel(page, 3).locator(".message.failed").inner_text()
        assert panel(page, 2).locator(".number").inner_text() == "1"
        page.close()
    assert "The query failed" in failed
    assert "no_such_view" in failed


def test_a_panel_of_an_unknown_type_says_where_to_look(page: Page, store: Store, tmp_path: Path) -> None:
    text = (packaged_dashboards() / "overview.json").read_text(encoding="utf-8")
    (tmp_path / "overview.json").write_text(
        text.replace('"type": "state-timeline"', '"type": "heatmap"'), encoding="utf-8"
    )
    with served(store, tmp_path) as url:
        open_page(page, url)
        assert panel(page, 7).locator(".message").inner_text().startswith("open in Grafana")
