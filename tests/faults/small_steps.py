"""The ``driftline`` command with small polls and segments, so that little data makes many flushes and segments."""

from __future__ import annotations

from functools import partial

from consumers import loop
from consumers.reading import recovery
from driftline.cli.main import run

if __name__ == "__main__":
    recovery.DEFAULT_SEGMENT_SIZE = 500
    loop.Pace = partial(loop.Pace, poll_records=250)  # type: ignore[misc,assignment]
    run()
