"""The long drill: a steady load for minutes or hours, a consumer killed at a random moment of each minute."""

from __future__ import annotations

import random
import re
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from consumers.drill.faults import Outcome, outcome_of
from consumers.drill.load import Load
from consumers.drill.rig import Rig, end
from driftline.events import STREAMS

KILL_EVERY_SECONDS = 60.0
_GLANCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SoakOutcome:
    """What a soak was found to be: the row of the results, and what the consumers' memory did.

    ``rss_mb`` are the greatest resident sizes of each consumer, in order; ``slope_mb_per_minute`` is the least-squares
    slope through them, one consumer a minute.
    """

    outcome: Outcome
    records_per_second: float
    rss_mb: tuple[float, ...]
    slope_mb_per_minute: float


@dataclass(slots=True)
class Soak:
    """A soak on a rig, for so many minutes."""

    rig: Rig
    minutes: float
    rng: random.Random = field(init=False)
    rss_mb: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.rig.load.seed)  # noqa: S311 - replayable, nothing secret

    def run(self) -> SoakOutcome:
        """Send, kill, consume the rest, compare."""
        begun, kills = self.rig.clock.monotonic(), 0
        rate = self.rig.load.events * len(STREAMS) / (self.minutes * 60)
        with self.rig.filling(rate) as sent:
            while not sent.is_set():
                kills += self._one_life(sent)
        sending = self.rig.clock.monotonic() - begun
        self.rig.finish()
        done = f"{rate:,.0f} records/s for {self.minutes:g} minutes, a kill -9 at a random moment of each"
        seconds = self.rig.clock.monotonic() - begun
        outcome = outcome_of("F29", done, self.rig, kills, self.rig.judge(), seconds)
        return SoakOutcome(outcome, self.rig.truth.records / sending, tuple(self.rss_mb), slope(self.rss_mb))

    def _one_life(self, sent: threading.Event) -> int:
        """Run a consumer and kill it at a moment about a minute later; return 1, or 0 where it ended by itself."""
        lives_until = self.rig.clock.monotonic() + KILL_EVERY_SECONDS * (0.5 + self.rng.random())
        consumer = self.rig.start("consume")
        greatest = 0.0
        try:
            while consumer.poll() is None and self.rig.clock.monotonic() < lives_until and not sent.is_set():
                greatest = max(greatest, resident_mb(consumer))
                self.rig.clock.sleep(_GLANCE_SECONDS)
            killed = consumer.poll() is None
        finally:
            end(consumer)
        if killed and not sent.is_set():  # the last one's life was cut short
            self.rss_mb.append(round(greatest, 1))
        return int(killed)


def soak(folder: Path, seed: int, minutes: float, records_per_second: float) -> SoakOutcome:
    """Run a soak in ``folder`` on the embedded log and store."""
    events = max(1, round(records_per_second * minutes * 60 / len(STREAMS)))
    return Soak(Rig(folder, Load(seed, events, hours=max(24, round(minutes * 8)))), minutes).run()


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    """Return the resident size of a process, 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def slope(values: list[float]) -> float:
    """Return the least-squares slope of values one apart.

    >>> slope([1.0, 3.0, 5.0])
    2.0
    """
    size = len(values)
    if size < 2:
        return 0.0
    middle, mean = (size - 1) / 2, sum(values) / size
    square = sum((index - middle) ** 2 for index in range(size))
    return sum((index - middle) * (value - mean) for index, value in enumerate(values)) / square
