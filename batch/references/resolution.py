"""What a window is compared with: the promoted set, or the window's own past where the contract says so.

Resolving reads the snapshot alone, so every candidate of a survey can be resolved; rows and facts are read when a
job runs. The id of the past is the hash of what lies in it, so a late event or a corrected label makes another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from batch.ledger.finality import is_settled
from batch.ledger.history import DAY, Days, Period, period_before
from batch.ledger.ledger import Tally, digest
from batch.ledger.snapshot import Snapshot
from batch.references.sets import FACTS_VERSION
from batch.rows.outcomes import outcome_parts, valid_range
from driftline.clock import to_ms
from driftline.contract.model import Contract
from driftline.windows import Window

NO_REFERENCE = "a reference; run `driftline reference build`"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A window's reference: an id, or why there is none.

    ``waits_for`` says what will come, so that the window is judged later; ``lacks`` why it is judged
    ``insufficient``. ``period`` is the window's past, None for the promoted set; its labels are part of it
    ``with_labels``.
    """

    reference_id: str
    waits_for: str = ""
    lacks: str = ""
    period: Period | None = None
    with_labels: bool = False

    @property
    def is_there(self) -> bool:
        """Whether there is something to compare with."""
        return not self.waits_for and not self.lacks

    @property
    def parts(self) -> Mapping[str, Any]:
        """What a fingerprint holds of it."""
        return {"reference": self.reference_id, **({"reference_lacks": self.lacks} if self.lacks else {})}


def versions_of(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the versions that have predicted anything, in order."""
    return tuple(sorted(version for stream, version in snapshot.counts if stream == "predictions"))


class Resolver:
    """Resolves the windows of one snapshot, each period once."""

    def __init__(self, contract: Contract, snapshot: Snapshot, promoted_id: str, promoted_rows: int) -> None:
        self._contract = contract
        self._snapshot = snapshot
        self._promoted = Resolved(promoted_id, waits_for="" if promoted_id else NO_REFERENCE)
        if promoted_id and promoted_rows < contract.drift.min_rows:
            found = f"too few rows in its reference {promoted_id}: {promoted_rows:,}"
            self._promoted = replace(self._promoted, lacks=f"{found}; it takes {contract.drift.min_rows:,}")
        self._found: dict[tuple[Period, bool], Resolved] = {}

    def resolved(self, window: Window, version: str = "", *, with_labels: bool = False) -> Resolved:
        """Return what ``window`` is compared with; ``version`` needs predictions in its past, too."""
        kind = self._contract.reference.kind
        if kind == "fixed":
            return self._promoted
        period = period_before(window, self._contract.reference.length, kind, self._zone)
        if (period, with_labels) not in self._found:
            self._found[period, with_labels] = self.of_past(period, with_labels=with_labels)
        found = self._found[period, with_labels]
        if not version or found.waits_for or found.lacks:
            return found
        lacks = self._too_few(self._counts("predictions", version).total(period), f"predictions of {version}")
        return replace(found, reference_id="", lacks=lacks) if lacks else found

    def vocabulary(self, window: Window) -> Resolved:
        """Return the past that categories are learned from: all its hours, whatever the season."""
        if self._contract.reference.kind == "fixed":
            return replace(self._promoted, lacks="")
        period = period_before(window, self._contract.reference.length, "trailing", self._zone)
        lacks = self._too_short(period)
        total = self._counts("inputs", "").total(period)
        return Resolved("" if lacks else self._id(period, {"inputs": total}), lacks=lacks, period=period)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self._contract.event_time.timezone)

    def of_past(self, period: Period, *, with_labels: bool) -> Resolved:
        """Return what ``period`` amounts to now."""
        if lacks := self._too_short(period) or self._too_few(self._counts("inputs", "").total(period), "rows"):
            return Resolved("", lacks=lacks, period=period, with_labels=with_labels)
        versions = versions_of(self._snapshot)
        waits_for = self._snapshot.lacks(period.window, "inputs", *(["predictions"] if versions else []))
        if with_labels and not waits_for:
            waits_for = self._unsettled(period)
        held = {"inputs": self._counts("inputs", "").total(period)}
        held |= {f"predictions.{version}": self._counts("predictions", version).total(period) for version in versions}
        if with_labels:
            held["labels"] = self._labelled.total(period)
        reference_id = "" if waits_for else self._id(period, held)
        return Resolved(reference_id, waits_for, period=period, with_labels=with_labels)

    def _too_short(self, period: Period) -> str:
        first = self._counts("inputs", "").first
        if first is not None and first < period.start + DAY:
            return ""
        days = max(0, (period.end - first) // DAY) if first else 0
        return f"its reference takes {period.days} days before {period.end:%Y-%m-%d}; {days} have been recorded"

    def _too_few(self, tally: Tally, what: str) -> str:
        fewest = self._contract.drift.min_rows
        return "" if tally.n >= fewest else f"too few {what} in its reference: {tally.n:,}; it takes {fewest:,}"

    def _unsettled(self, period: Period) -> str:
        missing = "nearly all" if self._contract.label.absent_means is None else "the last"
        day = period.start
        while day < period.end:
            one = Period(day, day + DAY, period.seasons)
            tally = self._labelled.total(one)
            if tally.n and not is_settled(one.window, tally, self._snapshot, self._contract):
                return f"{missing} labels of {day:%Y-%m-%d}, which its reference holds"
            day += DAY
        return ""

    def _id(self, period: Period, held: Mapping[str, Tally]) -> str:
        content: list[Any] = [
            [to_ms(period.start), to_ms(period.end), period.seasons],
            [FACTS_VERSION, outcome_parts(self._contract), *map(str, valid_range(self._contract))],
            [[name, column.type] for name, column in self._contract.columns.items()],
            {name: astuple(tally) for name, tally in held.items()},
        ]
        if "labels" in held and self._contract.label.absent_means is not None:
            content.append(self._contract.label.absent_means)
        return f"{digest(content):016x}"

    def _counts(self, stream: str, version: str) -> Days:
        place = (stream, version)
        if place not in self._days:
            self._days[place] = self._of(self._snapshot.counts.get(place, {}))
        return self._days[place]

    @cached_property
    def _days(self) -> dict[tuple[str, str], Days]:
        return {}

    @cached_property
    def _labelled(self) -> Days:
        return self._of(self._snapshot.labelled_inputs)

    def _of(self, tallies: Mapping[int, Tally]) -> Days:
        return Days(tallies, self._contract.windows.stream, self._zone)
