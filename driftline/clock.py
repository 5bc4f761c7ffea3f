"""The one source of wall-clock time, so that a test can own it.

Nothing that classifies an event may use a clock (see ``consumers``); clocks pace
replays, name the moment a job ran and bound waits.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Current time and the right to wait."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` have passed on this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread for ``seconds``."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told; ``sleep`` moves it and returns at once."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._start = start

    def now(self) -> datetime:
        """Return the time set so far."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        return (self._now - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Move the clock forward by ``seconds``."""
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Move the clock forward."""
        self._now += by

    def set_ahead(self, by: timedelta) -> None:
        """Set the time as somebody who corrects a clock does: it is later, and no time has passed."""
        self._now += by
        self._start += by


def to_ms(moment: datetime) -> int:
    """Return epoch milliseconds of an aware ``moment``, rounded down.

    Raises:
        ValueError: ``moment`` is naive.
    """
    if moment.tzinfo is None:
        msg = f"a naive datetime has no place on the time line; got {moment!r}; attach a timezone"
        raise ValueError(msg)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_ms(epoch_ms: int) -> datetime:
    """Return the aware UTC moment of ``epoch_ms``."""
    return _EPOCH + timedelta(milliseconds=epoch_ms)


def parse_moment(text: str) -> datetime:
    """Return the moment of an ISO 8601 date or time; UTC unless it says otherwise.

    >>> parse_moment("2023-02-20").isoformat()
    '2023-02-20T00:00:00+00:00'

    Raises:
        ValueError: ``text`` is none, or outside the years 1970 to 2099, which windows and the store can hold.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"a moment is a date or time such as 2023-02-20 or 2023-02-20T06:30:00; got {text!r}"
        raise ValueError(msg) from error
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if not _EPOCH <= aware < _END:
        msg = f"a moment lies between 1970-01-01 and 2100-01-01; got {text!r}"
        raise ValueError(msg)
    return aware.astimezone(UTC)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(2100, 1, 1, tzinfo=UTC)  # the engine's DateTime ends in 2106
