"""What is due: for each job, version and window, a fingerprint of its inputs against that of its latest run.

The truth about what has been judged is ``job_runs``; triggers are hints. A fingerprint covers the data (counts
and id-hash sums), the labels joined to it where a job uses them, the job's algorithm version, the parts of the
contract that its figures depend on, and the reference resolved for the window. Bounds of checks are not among
them: a threshold edited later does not rewrite history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from driftline.clock import from_ms
from driftline.windows import Window, granularity, to_window_ms

_HASHES = 2**64

MOST_ATTEMPTS = 4
"""So often in all is a window tried on the same inputs; then it waits for ``driftline jobs retry``."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts that add up over windows: rows, the sum of their id hashes, and of their labels' identities."""

    n: int = 0
    id_sum: int = 0
    n_labelled: int = 0
    n_labels: int = 0
    label_sum: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.n + other.n,
            (self.id_sum + other.id_sum) % _HASHES,
            self.n_labelled + other.n_labelled,
            self.n_labels + other.n_labels,
            (self.label_sum + other.label_sum) % _HASHES,
        )


@dataclass(frozen=True, slots=True)
class Key:
    """What a run is about: a job, a version (``""`` for none) and a window."""

    job: str
    model_version: str
    size: timedelta
    start_ms: int

    @property
    def window(self) -> Window:
        """The period judged."""
        start = from_ms(self.start_ms)
        return Window(start, start + self.size)

    @property
    def granularity(self) -> str:
        """The short name of the window's size."""
        return granularity(self.size)


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run of a key that could judge it, and how many runs it had under each fingerprint.

    ``parts`` is what its fingerprint was made of, as JSON; kept only of jobs that use labels.
    """

    fingerprint: int
    as_of: datetime
    n_predictions: int
    n_labels: int
    is_final: bool
    fingerprints: Mapping[int, int]
    parts: str = ""
    contract_id: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The runs of a key that could not judge it: how many under each fingerprint, and what the newest had seen."""

    attempts: Mapping[int, int]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A window that a job can judge; ``parts`` are what its fingerprint is made of.

    ``waits_for`` says what it lacks to be judged, ``""`` when nothing.
    """

    key: Key
    parts: Mapping[str, Any]
    tally: Tally
    waits_for: str = ""
    is_final: bool = True
    is_settled: bool = True
    last: LastRun | None = None
    failed: Failed | None = None

    @property
    def fingerprint(self) -> int:
        """64 bits that change whenever one of ``parts`` does."""
        return digest(self.parts)

    @property
    def is_due(self) -> bool:
        """Whether nothing is lacking and the latest run saw other inputs, or there is none."""
        return not self.waits_for and (self.last is None or self.last.fingerprint != self.fingerprint)

    @property
    def attempts(self) -> int:
        """How many runs on these inputs have failed."""
        return 0 if self.failed is None else self.failed.attempts.get(self.fingerprint, 0)

    @property
    def is_given_up(self) -> bool:
        """Whether it is due and has failed too often on these inputs to be tried unasked."""
        return self.is_due and self.attempts >= MOST_ATTEMPTS

    @property
    def revision(self) -> int:
        """1, and one more for every earlier run on other inputs."""
        if self.last is None:
            return 1
        return 1 + sum(runs for found, runs in self.last.fingerprints.items() if found != self.fingerprint)

    def run_id(self, model: str) -> UUID:
        """Return the run's id: the same inputs give the same id, on any machine."""
        key = self.key
        name = f"{key.job}|{model}|{key.model_version}|{key.granularity}|{key.start_ms}|all|{self.fingerprint}"
        return uuid5(NAMESPACE_URL, f"driftline:{name}")

    def failed_run_id(self, model: str) -> UUID:
        """Return the id of a run that could not judge the window: its own, so that it replaces no good one."""
        return uuid5(self.run_id(model), f"failed:{self.attempts + 1}")


def summed(tallies: Mapping[int, Tally], size: timedelta) -> dict[int, Tally]:
    """Return ``tallies`` of small windows added up over windows of ``size``, oldest first."""
    size_ms = to_window_ms(size)
    total: dict[int, Tally] = {}
    for start_ms in sorted(tallies):
        start = start_ms - start_ms % size_ms
        total[start] = total.get(start, Tally()) + tallies[start_ms]
    return total


def digest(parts: object) -> int:
    """Return 64 bits of a hash over ``parts`` in canonical JSON."""
    body = msgspec.json.encode(parts, order="deterministic")
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest(), "big")
