"""Moments as people type them."""

from __future__ import annotations

from datetime import UTC, datetime

from driftline.errors import UsageError


def parse_moment(text: str) -> datetime:
    """Return the moment that ISO 8601 ``text`` names; without an offset it is UTC.

    Raises:
        UsageError: the text is not a moment.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"a moment is ISO 8601 such as 2023-02-03 or 2023-02-03T14:00Z; got {text!r}"
        raise UsageError(msg) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
