"""Runs sides in turn and compares them: A B A B, each in a process of its own, ratios round by round.

Figures of two rounds are never divided by each other: on a shared machine only neighbours in time compare.
Nothing here fails for being slow; a round fails when its sides disagree on what they computed.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one side: ``units`` of work, and the wall-clock and CPU seconds (all threads) they took.

    ``facts`` are further figures worth keeping; ``answer`` is what the sides must agree on.
    """

    units: int
    seconds: float
    cpu_seconds: float
    facts: Mapping[str, float] = field(default_factory=dict)
    answer: Any = None

    @property
    def rate(self) -> float:
        """Units per second of wall clock."""
        return self.units / self.seconds


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison; the first of ``sides`` is ours. ``agree`` raises when the sides' answers differ.

    ``cpu_units`` is the number of units that CPU seconds are stated for.
    """

    name: str
    unit: str
    sides: Mapping[str, Callable[[], Measured]]
    agree: Callable[[Mapping[str, Measured]], None]
    cpu_units: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return median, least and greatest of ``values``."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        digits = 0 if self.median >= 1_000 else 2
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


@dataclass(frozen=True, slots=True)
class Compared:
    """All rounds of one trial."""

    trial: Trial
    rounds: tuple[Mapping[str, Measured], ...]

    def rate(self, side: str) -> Spread:
        """Return the units per second of ``side``."""
        return Spread.of([one[side].rate for one in self.rounds])

    def cpu_seconds(self, side: str) -> Spread:
        """Return the CPU seconds of ``side`` per ``cpu_units``."""
        return Spread.of([one[side].cpu_seconds / one[side].units * self.trial.cpu_units for one in self.rounds])

    def ratio(self, side: str) -> Spread:
        """Return how many times as quick as ``side`` ours is, each round on its own."""
        ours = next(iter(self.trial.sides))
        return Spread.of([one[ours].rate / one[side].rate for one in self.rounds])

    def facts(self, side: str) -> dict[str, Spread]:
        """Return the further figures of ``side``."""
        return {name: Spread.of([one[side].facts[name] for one in self.rounds]) for name in self.rounds[0][side].facts}


class Stopwatch:
    """Wall clock and CPU of one block."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._began = time.perf_counter()

    @property
    def seconds_so_far(self) -> float:
        """Wall clock since the block began."""
        return time.perf_counter() - self._began

    def measured(self, units: int, answer: Any = None, **facts: float) -> Measured:
        """Return what the block took for ``units`` of work."""
        return Measured(units, self.seconds, self.cpu_seconds, facts, answer)


@contextmanager
def stopwatch(*process_ids: int) -> Iterator[Stopwatch]:
    """Measure the block; CPU is that of this process and, on Linux, of ``process_ids``."""
    watch = Stopwatch()
    began, cpu_began = time.perf_counter(), _cpu_seconds(process_ids)
    yield watch
    watch.seconds, watch.cpu_seconds = time.perf_counter() - began, _cpu_seconds(process_ids) - cpu_began


def _cpu_seconds(process_ids: Sequence[int]) -> float:
    seconds = time.process_time()
    for status in (Path(f"/proc/{pid}/stat") for pid in process_ids):
        if status.exists():
            # After the name in brackets: user and system time are the 12th and 13th field, in clock ticks.
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def compare(trial: Trial, pairs: int, say: Callable[[str], None]) -> Compared:
    """Run every side of ``trial`` in turn, ``pairs`` times over."""
    rounds = []
    for _ in range(pairs):
        one = {}
        for name, side in trial.sides.items():
            one[name] = in_fresh_process(side)
            say(f"{trial.name}: {name} {one[name].rate:,.1f} {trial.unit}/s, {one[name].cpu_seconds:.2f} s of CPU")
        trial.agree(one)
        rounds.append(one)
    return Compared(trial, tuple(rounds))


def in_fresh_process(call: Callable[..., _Result], *arguments: Any) -> _Result:
    """Return ``call(*arguments)``, computed by a new process, so that no side inherits another's memory or caches."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()
