"""Fault drills: what can be broken on purpose in a replay, so that finding it can be shown.

An incident changes the features that are sent; the models answer what was sent, so they see it too.
New ones are registered in ``INCIDENTS``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self, TypeVar

import numpy as np
import pandas as pd

from driftline.clock import parse_moment, to_ms
from driftline.errors import UsageError
from driftline.windows import parse_granularity
from producers.moments import epoch_ms
from producers.taxi import FEATURES

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Period:
    """When an incident holds, in the event time that is sent: ``[start, end)``, or the ``last`` part of the past.

    An open side has no bound; ``last`` ends with the past, so that live events after it are sound.
    """

    start: datetime | None = None
    end: datetime | None = None
    last: timedelta | None = None

    def holds(self, event_ms: np.ndarray, past_end_ms: int) -> np.ndarray:
        """Return which of the event times lie in the period; ``past_end_ms`` is exclusive."""
        low, high = self._bounds_ms(past_end_ms)
        within: np.ndarray = (event_ms >= low) & (event_ms < high)
        return within

    def _bounds_ms(self, past_end_ms: int) -> tuple[float, float]:
        if self.last is not None:
            return past_end_ms - self.last / timedelta(milliseconds=1), past_end_ms
        low = -np.inf if self.start is None else to_ms(self.start)
        return low, np.inf if self.end is None else to_ms(self.end)


class Incident(Protocol):
    """One fault of the inputs."""

    @classmethod
    def parse(cls, values: Mapping[str, str], period: Period) -> Self:
        """Return the incident that these ``key=value`` pairs describe.

        Raises:
            UsageError: a key or value cannot be used.
        """
        ...

    def apply(self, trips: pd.DataFrame, past_end_ms: int, random: np.random.Generator) -> pd.DataFrame:
        """Return ``trips`` with the fault in them; the argument is left as it is."""
        ...


@dataclass(frozen=True, slots=True)
class NullColumn:
    """A feature is missing in ``share`` of the trips of the period."""

    column: str
    share: float = 1.0
    period: Period = Period()

    @classmethod
    def parse(cls, values: Mapping[str, str], period: Period) -> Self:
        """Return the incident; ``column`` is required, ``share`` is in (0, 1]."""
        column = values.get("column", "")
        if column not in FEATURES:
            msg = f"incident null_column: `column` must be one of {', '.join(FEATURES)}; got {column or 'nothing'}"
            raise UsageError(msg)
        return cls(column, _share(values.get("share", "1.0")), period)

    def apply(self, trips: pd.DataFrame, past_end_ms: int, random: np.random.Generator) -> pd.DataFrame:
        """Return ``trips`` with nulls in the column."""
        hit = self.period.holds(epoch_ms(trips["event_time"]), past_end_ms) & (random.random(len(trips)) < self.share)
        empty = None if trips[self.column].dtype == object else np.nan
        return trips.assign(**{self.column: trips[self.column].mask(hit, empty)})


INCIDENTS: Mapping[str, type[Incident]] = {"null_column": NullColumn}
_PERIOD_KEYS = ("start", "end", "last")


def parse_incident(text: str) -> Incident:
    """Return the incident that ``NAME[:key=value…]`` describes, such as ``null_column:column=trip_type:last=2d``.

    Raises:
        UsageError: there is no such incident, or a key or value cannot be used.
    """
    name, *parts = _split(text)
    kind = INCIDENTS.get(name)
    if kind is None:
        msg = f"incident {name or 'without a name'} is not known; use one of {', '.join(sorted(INCIDENTS))}"
        raise UsageError(msg)
    values = dict(_pair(name, part) for part in parts)
    own = [field.name for field in dataclasses.fields(kind) if field.name != "period"]  # type: ignore[arg-type]
    for key in values:
        if key not in (*own, *_PERIOD_KEYS):
            msg = f"incident {name} has no key {key}; use {', '.join((*own, *_PERIOD_KEYS))}"
            raise UsageError(msg)
    period = _period(name, {key: values.pop(key) for key in _PERIOD_KEYS if key in values})
    return kind.parse(values, period)


def _split(text: str) -> list[str]:
    """Split at colons, but not at those inside a time of day: a part without ``=`` belongs to the one before it."""
    name, *rest = text.split(":")
    parts: list[str] = []
    for part in rest:
        if "=" not in part and parts:
            parts[-1] += f":{part}"
        else:
            parts.append(part)
    return [name, *parts]


def _pair(name: str, part: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not (key and equals and value):
        msg = f"incident {name}: an option is key=value; got {part or 'nothing'}; separate options with a colon"
        raise UsageError(msg)
    return key, value


def _period(name: str, values: Mapping[str, str]) -> Period:
    if "last" in values and len(values) > 1:
        others = ", ".join(sorted(set(values) - {"last"}))
        msg = f"incident {name}: `last` stands alone; got also {others}; choose one form"
        raise UsageError(msg)
    period = Period(
        start=_read(name, "start", values, parse_moment),
        end=_read(name, "end", values, parse_moment),
        last=_read(name, "last", values, parse_granularity),
    )
    if period.start is not None and period.end is not None and period.start >= period.end:
        msg = f"incident {name}: `start` must be before `end`; got {values['start']} and {values['end']}"
        raise UsageError(msg)
    return period


def _read(name: str, key: str, values: Mapping[str, str], parse: Callable[[str], _T]) -> _T | None:
    if key not in values:
        return None
    try:
        return parse(values[key])
    except ValueError as error:
        msg = f"incident {name}: `{key}`: {error}"
        raise UsageError(msg) from error


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = np.nan
    if not 0 < share <= 1:
        msg = f"incident null_column: `share` must be a number above 0, at most 1; got {text}"
        raise UsageError(msg)
    return share
