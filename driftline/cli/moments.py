"""Moments as people type them."""

from __future__ import annotations

from datetime import datetime

from driftline.clock import parse_moment
from driftline.errors import UsageError


def moment_of(text: str) -> datetime:
    """Return the moment that ``text`` names (``driftline.clock.parse_moment``).

    Raises:
        UsageError: it names none.
    """
    try:
        return parse_moment(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
