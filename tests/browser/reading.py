"""How the tests open the preview and read what it shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftline.store import Store
from grafana.preview import create_app, packaged_dashboards, serve

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from playwright.sync_api import Page


@contextmanager
def served(store: Store, dashboards: Path | Traversable | None = None, reports: Path | None = None) -> Iterator[str]:
    """Yield the address of a preview of ``store``."""
    server = serve(create_app(store, dashboards or packaged_dashboards(), reports), 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("body[data-ready=yes]", timeout=60_000)


def panel(page: Page, panel_id: int) -> Any:
    return page.locator(f"[data-panel='{panel_id}']")
