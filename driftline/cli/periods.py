"""Windows as people type them: a day or an hour."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from driftline.cli.moments import moment_of

if TYPE_CHECKING:
    from driftline.windows import Window


def period_of(option: str, text: str) -> Window:
    """Return the day (2023-02-03) or the hour (2023-02-03T14:00) that ``text``, the value of ``option``, names.

    Raises:
        UsageError: it names none.
    """
    from driftline.windows import window_of

    names_a_day = len(text.strip()) <= len("2023-02-03")
    return window_of(moment_of(option, text), timedelta(days=1) if names_a_day else timedelta(hours=1))
