"""What the page shows at first: everything of an old replay, and plain words where there is nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.reading import open_page, panel, served
from tests.grafana import monitored

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_a_replay_of_an_old_month_is_shown_whole_and_says_so(page: Page, tmp_path: Path) -> None:
    with monitored.opened_store(tmp_path, filled=False) as store, served(store) as url:
        monitored.fill(store, datetime(2023, 3, 1, tzinfo=UTC))
        open_page(page, url)
        assert page.locator("#range").input_value() == "all"
        assert page.locator("#notice").inner_text() == (
            "The newest event is older than 14 days, so the whole data is shown: "
            "2023-02-19 00:00 to 2023-03-01 00:00 UTC."
        )
        assert panel(page, 6).locator(".number").inner_text() == "85.00 %"
        assert panel(page, 3).locator(".number").inner_text().endswith("years")


def test_an_empty_store_says_what_to_do(page: Page, tmp_path: Path) -> None:
    with monitored.opened_store(tmp_path, filled=False) as store, served(store) as url:
        open_page(page, url)
        assert page.locator("#notice").inner_text() == (
            "No events yet. Replay data or send events, and this page fills by itself."
        )
        assert panel(page, 9).locator(".message").inner_text().split("\n") == [
            "No data",
            "The store holds no events of this model yet.",
        ]
        assert panel(page, 2).locator(".number").inner_text() == "n/a"
