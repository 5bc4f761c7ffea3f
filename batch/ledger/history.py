"""The past of a window as it is counted in the snapshot: which days and hours, how many rows, and their identity.

A past is whole UTC days before the day in which the window starts, so all hours of a day share one. A seasonal past
keeps the hours that the window covers, on days of the same class (weekday, Saturday, Sunday), in the contract's zone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Literal
from zoneinfo import ZoneInfo

from batch.ledger.ledger import Tally, summed
from driftline.clock import from_ms, to_ms
from driftline.windows import Window

DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_DAY_MS = 86_400_000
_HOURS_OF_ALL_CLASSES = 72
_EVERY = -1
# Of the day that the typical row lies in. That one stays whatever the strays do, which may be on more days than the
# others, and whatever one hour does, while the busiest would make strays of the days before a replay or a rollout.
_STRAY_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Period:
    """Half-open days of the past; ``seasons`` are the hours kept of them, all when empty (see ``season_of``)."""

    start: datetime
    end: datetime
    seasons: tuple[int, ...] = ()

    @property
    def window(self) -> Window:
        """The days."""
        return Window(self.start, self.end)

    @property
    def days(self) -> int:
        """How many days."""
        return (self.end - self.start) // DAY


def season_of(moment: datetime) -> int:
    """Return the hour of its class of day, of 72: weekdays 0 to 23, Saturdays 24 to 47, Sundays 48 to 71.

    >>> from datetime import UTC
    >>> [season_of(datetime(2023, 2, day, 14, 30, tzinfo=UTC)) for day in (3, 4, 5)]
    [14, 38, 62]
    """
    return 24 * max(0, moment.weekday() - 4) + moment.hour


def seasons_of(window: Window, zone: ZoneInfo) -> tuple[int, ...]:
    """Return the seasons that ``window`` touches, ``()`` for all 72."""
    moment, found = window.start, set[int]()
    while moment < window.end and len(found) < _HOURS_OF_ALL_CLASSES:
        found.add(season_of(moment.astimezone(zone)))
        moment += _HOUR
    found.add(season_of((window.end - timedelta(milliseconds=1)).astimezone(zone)))
    return () if len(found) == _HOURS_OF_ALL_CLASSES else tuple(sorted(found))


def period_before(window: Window, days: int, kind: Literal["trailing", "seasonal"], zone: ZoneInfo) -> Period:
    """Return the ``days`` whole days before the day in which ``window`` starts."""
    end = from_ms(to_ms(window.start) // _DAY_MS * _DAY_MS)
    return Period(end - days * DAY, end, seasons_of(window, zone) if kind == "seasonal" else ())


def first_seen(tallies: Mapping[int, Tally]) -> int:
    """Return the start of the first of ``tallies`` that no stray event made; there is at least one.

    A day with hardly any rows holds strays, with wrong times or out of a test: one dated 2009 makes no model old.
    """
    days = summed(tallies, DAY)
    fewest = _STRAY_SHARE * _typical(sorted(tally.n for tally in days.values()))
    first_day = next(start_ms for start_ms, tally in days.items() if tally.n >= fewest)
    return min(start_ms for start_ms in tallies if start_ms >= first_day)


def _typical(counts: list[int]) -> int:
    """Return the rows of the day in which the middle one of all rows lies; ``counts`` are in order."""
    up_to = list(accumulate(counts))
    return counts[bisect_left(up_to, up_to[-1] / 2)]


class Days:
    """Tallies of one stream by day and season, so that a period is a few additions."""

    def __init__(self, tallies: Mapping[int, Tally], size: timedelta, zone: ZoneInfo) -> None:
        self._tallies: dict[tuple[int, int], Tally] = {}
        for start_ms, tally in tallies.items():
            window = Window(from_ms(start_ms), from_ms(start_ms) + size)
            for season in (_EVERY, *(seasons_of(window, zone) or range(_HOURS_OF_ALL_CLASSES))):
                for day in range(start_ms // _DAY_MS, 1 + (to_ms(window.end) - 1) // _DAY_MS):
                    self._tallies[season, day] = self._tallies.get((season, day), Tally()) + tally
        self.first = from_ms(first_seen(tallies)) if tallies else None

    def total(self, period: Period) -> Tally:
        """Return the rows of ``period``; a counted window that touches one of its seasons belongs to it."""
        return sum((tally for tally in self._found(period)), start=Tally())

    def _found(self, period: Period) -> Iterator[Tally]:
        for day in range(to_ms(period.start) // _DAY_MS, to_ms(period.end) // _DAY_MS):
            for season in period.seasons or (_EVERY,):
                tally = self._tallies.get((season, day))
                if tally is not None:
                    yield tally
