"""Take the README's picture of the preview: ``python docs/screenshot.py http://127.0.0.1:8080 docs/overview.png``.

Needs playwright (extra ``dev``) and a Chromium, by default the one on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--hide-scrollbars",
)  # fmt: skip


def take(url: str, target: Path, width: int, height: int, *, dark: bool, chromium: str) -> None:
    """Write a picture of the top ``height`` pixels of the page at ``url`` once every panel is drawn."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", device_scale_factor=1
        )
        page.goto(url)
        page.wait_for_selector("body[data-ready=yes]", timeout=60_000)
        page.screenshot(path=target)
        browser.close()


def main() -> None:
    """Read the command line and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("target", type=Path)
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=1730)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome") or "chromium")
    chosen = parser.parse_args()
    take(chosen.url, chosen.target, chosen.width, chosen.height, dark=chosen.dark, chromium=chosen.chromium)


if __name__ == "__main__":
    main()
