"""When a due window is worth running now: the ladder of label coverage and age, a pause between re-runs, patience.

For ``watch`` and ``up`` only: labels trickle in for days, and judging a window at each would be waste. What is
due stays due, and ``jobs run --due`` takes no notice of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from batch.ledger.ledger import Candidate, Key, LastRun
from batch.ledger.snapshot import Snapshot
from driftline.clock import Clock

COVERAGE_STEPS = (0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
# How far the label stream must be past the window's end, in its own time.
AGE_STEPS = tuple(timedelta(hours=hours) for hours in (1, 6, 24, 72, 168))
FEWEST_FIRST_LABELS = 50
PAUSE = timedelta(minutes=5)
RETRY_AFTER = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
"""How long after its first, second and third failure a window is tried again."""

_MANY_NEW_SHARE = 0.05
_MANY_NEW_LABELS = 100
# Parts of a fingerprint that data change; any other part is the contract's, the reference's or the algorithm's.
_OF_DATA = frozenset({"rows", "labels", "is_final", "is_settled", "absent_means"})


def steps_passed(labelled: int, rows: int, age: timedelta) -> int:
    """Return how many steps of coverage and age a window has passed; the first of coverage needs 50 labels.

    >>> steps_passed(60, 100, timedelta(0)), steps_passed(40, 100, timedelta(0)), steps_passed(0, 9, timedelta(hours=7))
    (2, 0, 2)
    """
    coverage = labelled / rows if rows else 0.0
    covered = sum(coverage >= step for step in COVERAGE_STEPS)
    if covered == 1 and labelled < FEWEST_FIRST_LABELS:
        covered = 0
    return covered + sum(age >= step for step in AGE_STEPS)


@dataclass(slots=True)
class Ladder:
    """Remembers how far each window was when it last ran."""

    clock: Clock
    _steps: dict[Key, int] = field(default_factory=dict)
    _asked: dict[Key, int] = field(default_factory=dict)
    _ran_at: dict[Key, float] = field(default_factory=dict)

    def wants(self, candidate: Candidate, snapshot: Snapshot) -> bool:
        """Return whether ``candidate`` is due and should run now."""
        if not candidate.is_due or candidate.is_given_up:
            return False
        if candidate.attempts:
            return _may_be_tried_again(candidate, snapshot.as_of)
        if "labels" not in candidate.parts:
            return self._has_rested(candidate.key)
        steps = self._steps_now(candidate, snapshot.complete_to("labels"))
        if not self._has_climbed(candidate, steps):
            return False
        self._asked[candidate.key] = steps
        return True

    def ran(self, keys: tuple[Key, ...]) -> None:
        """Take note that these windows have been judged."""
        for key in keys:
            self._ran_at[key] = self.clock.monotonic()
            if key in self._asked:
                self._steps[key] = self._asked.pop(key)

    def _steps_now(self, candidate: Candidate, labels_complete_to: datetime) -> int:
        tally = candidate.tally
        return steps_passed(tally.n_labelled, tally.n, labels_complete_to - candidate.key.window.end)

    def _has_climbed(self, candidate: Candidate, steps: int) -> bool:
        last = candidate.last
        if candidate.is_final and (last is None or not last.is_final):
            return True
        if not self._has_rested(candidate.key):
            return False
        if candidate.is_final:
            return True
        if last is None:
            return steps > 0
        before: Mapping[str, Any] = msgspec.json.decode(last.parts) if last.parts else {}
        return (
            steps > self._steps_at_last_run(candidate)
            or _many_new_labels(candidate, before, last)
            or _was_judged_otherwise(candidate, before)
        )

    def _steps_at_last_run(self, candidate: Candidate) -> int:
        """Return the steps of the last run; one by another process is known by its coverage alone."""
        if candidate.key in self._steps or candidate.last is None:
            return self._steps.get(candidate.key, 0)
        return steps_passed(candidate.last.n_labels, candidate.last.n_predictions, timedelta(0))

    def _has_rested(self, key: Key) -> bool:
        ran_at = self._ran_at.get(key)
        return ran_at is None or self.clock.monotonic() - ran_at >= PAUSE.total_seconds()


def _may_be_tried_again(candidate: Candidate, now: datetime) -> bool:
    if candidate.failed is None:
        return True
    patience = RETRY_AFTER[min(candidate.attempts, len(RETRY_AFTER)) - 1]
    return now - candidate.failed.as_of >= patience


def _many_new_labels(candidate: Candidate, before: Mapping[str, Any], last: LastRun) -> bool:
    """Return whether many labels have come since, corrections among them."""
    known: int = before["labels"][0] if "labels" in before else last.n_labels
    return candidate.tally.n_labels - known >= max(_MANY_NEW_SHARE * candidate.tally.n, _MANY_NEW_LABELS)


def _was_judged_otherwise(candidate: Candidate, before: Mapping[str, Any]) -> bool:
    """Return whether a part of the contract, the reference or the algorithm has changed since the last run."""
    now: Mapping[str, Any] = msgspec.json.decode(msgspec.json.encode(candidate.parts))
    return bool(before) and any(now.get(name) != before.get(name) for name in {*now, *before} - _OF_DATA)
