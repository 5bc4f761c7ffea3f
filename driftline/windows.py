"""Half-open event-time windows ``[start, end)``, aligned to the UTC epoch, and when they are complete.

Owns the arithmetic only. What a watermark is made of is ``consumers.counting.watermarks``'s business;
which windows a job runs on is ``batch.ledger.ledger``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from driftline.clock import from_ms, to_ms

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION_DIGITS = 8  # more would be longer than a timedelta can be


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """One period ``[start, end)`` of event time; both ends aware, UTC."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    @property
    def size(self) -> timedelta:
        """Length of the window."""
        return self.end - self.start


def window_of(moment: datetime, size: timedelta) -> Window:
    """Return the window of ``size`` that holds ``moment``; windows are multiples of ``size`` since the epoch."""
    start_ms = window_start_ms(to_ms(moment), to_window_ms(size))
    start = from_ms(start_ms)
    return Window(start, start + size)


def window_start_ms(moment_ms: int, size_ms: int) -> int:
    """Return the start, in epoch milliseconds, of the window that holds ``moment_ms``."""
    return moment_ms - moment_ms % size_ms


def windows_between(start: datetime, end: datetime, size: timedelta) -> Iterator[Window]:
    """Yield the windows of ``size`` that overlap ``[start, end)``, oldest first."""
    window = window_of(start, size)
    while window.start < end:
        yield window
        window = Window(window.end, window.end + size)


def is_complete(window: Window, watermark: datetime, allowed_lateness: timedelta) -> bool:
    """Return whether ``watermark`` has passed the window's end plus ``allowed_lateness`` (equality counts)."""
    return watermark >= window.end + allowed_lateness


def to_window_ms(size: timedelta) -> int:
    """Return ``size`` in whole milliseconds."""
    return size // timedelta(milliseconds=1)


def granularity(size: timedelta) -> str:
    """Return the short name of a window size: ``1d``, ``6h``, ``15m``, ``30s`` (the largest unit that divides it).

    Raises:
        ValueError: ``size`` is not a positive whole number of seconds.
    """
    seconds, rest = divmod(size, timedelta(seconds=1))
    if rest or seconds <= 0:
        msg = f"a window is a positive whole number of seconds; got {size.total_seconds():g} s"
        raise ValueError(msg)
    unit, factor = next((unit, factor) for unit, factor in _UNITS.items() if seconds % factor == 0)
    return f"{seconds // factor}{unit}"


def parse_granularity(text: str) -> timedelta:
    """Return the window size that ``text`` names, such as ``1h`` or ``15m``.

    Raises:
        ValueError: ``text`` is not a positive whole number followed by d, h, m or s.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or int(number) == 0:
        msg = f"a duration is a positive whole number and d, h, m or s, such as 1h; got {text!r}"
        raise ValueError(msg)
    if len(number) > _DURATION_DIGITS:
        msg = f"a duration has at most {_DURATION_DIGITS} digits; got {text!r}"
        raise ValueError(msg)
    return timedelta(seconds=int(number) * _UNITS[unit])
