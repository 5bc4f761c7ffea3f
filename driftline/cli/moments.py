"""Moments as people type them."""

from __future__ import annotations

from datetime import datetime

from driftline.clock import parse_moment
from driftline.errors import UsageError


def moment_of(option: str, text: str) -> datetime:
    """Return the moment that ``text``, the value of ``option``, names (``driftline.clock.parse_moment``).

    Raises:
        UsageError: it names none.
    """
    try:
        return parse_moment(text)
    except ValueError as error:
        msg = f"`{option}`: {error}"
        raise UsageError(msg) from error
