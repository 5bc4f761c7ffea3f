"""What to replay and how: the options of one replay, as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from driftline.clock import parse_moment
from driftline.errors import UsageError
from driftline.windows import parse_granularity
from producers.incidents import Incident, parse_incident


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """Options of a replay; ``speed`` is the multiple of real time, None as fast as the log takes it.

    ``align="now"`` moves the trips by whole weeks so that the past ends now, sends that past as fast as possible
    and goes on live. ``since``, ``until`` (half-open) and ``past`` choose trips by the event time that is sent.
    """

    files: tuple[Path, ...]
    speed: float | None = None
    align: Literal["none", "now"] = "none"
    since: datetime | None = None
    until: datetime | None = None
    past: timedelta | None = None
    limit: int | None = None
    seed: int = 0
    label_delay: timedelta = timedelta(0)
    incidents: tuple[Incident, ...] = ()
    partitions: int | None = None

    def __post_init__(self) -> None:
        for complaint in _complaints(self):
            raise UsageError(complaint)

    def producer_id(self, hashes: Sequence[str], shift_weeks: int) -> str:
        """Return the name that this replay's markers carry: equal content, equal name, at any speed."""
        content = (
            tuple(hashes),
            shift_weeks,
            self.since,
            self.until,
            self.past,
            self.limit,
            self.seed,
            self.label_delay,
            self.incidents,
        )
        return f"replay-{hashlib.sha256(repr(content).encode()).hexdigest()[:12]}"


def _complaints(plan: ReplayPlan) -> list[str]:
    found = []
    if not plan.files:
        found.append("a replay needs at least one file; name a parquet month")
    if plan.speed is not None and not 0 < plan.speed < float("inf"):
        found.append(f"`--speed` must be max or a number above 0; got {plan.speed:g}")
    if plan.align == "now" and plan.speed is not None:
        found.append("`--align now` sends the past at full speed and then goes on live; leave `--speed` out")
    if plan.since and plan.until and plan.since >= plan.until:
        found.append(f"`--since` must be before `--until`; got {plan.since.isoformat()} and {plan.until.isoformat()}")
    if plan.past is not None and plan.since is not None:
        found.append("`--past` and `--since` both choose where to start; use one")
    if plan.limit is not None and plan.limit < 1:
        found.append(f"`--limit` must be at least 1; got {plan.limit}")
    if plan.seed < 0:
        found.append(f"`--seed` must be 0 or more; got {plan.seed}")
    if plan.partitions is not None and plan.partitions < 1:
        found.append(f"`--partitions` must be at least 1; got {plan.partitions}")
    return found


def parse_speed(text: str) -> float | None:
    """Return the multiple of real time; ``max`` is None.

    Raises:
        UsageError: ``text`` is neither.
    """
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError as error:
        msg = f"`--speed` must be max or a number above 0; got {text}"
        raise UsageError(msg) from error


def parse_delay(option: str, text: str) -> timedelta:
    """Return the duration that ``text`` names, such as 30m or 14d; ``0`` is none.

    Raises:
        UsageError: it is no duration.
    """
    try:
        return timedelta(0) if text in {"0", "0s"} else parse_granularity(text)
    except ValueError as error:
        msg = f"`{option}`: {error}"
        raise UsageError(msg) from error


def parse_incidents(texts: Sequence[str]) -> tuple[Incident, ...]:
    """Return the incidents in the order they were given; see ``producers.incidents.parse_incident``."""
    return tuple(parse_incident(text) for text in texts)


def parse_bound(option: str, text: str | None) -> datetime | None:
    """Return the moment of ``--since`` or ``--until``.

    Raises:
        UsageError: ``text`` is no moment.
    """
    try:
        return None if text is None else parse_moment(text)
    except ValueError as error:
        msg = f"`{option}`: {error}"
        raise UsageError(msg) from error
