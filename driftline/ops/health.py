"""Whether a process lives, is ready to work, and really moves events: three questions, each with its reasons.

Pure bookkeeping on a clock that never goes back: the parts of the process report, the server and the
heartbeat ask. Each answer is a list of reasons against it; an empty list is yes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from driftline.clock import Clock

# The longest silence of a healthy part: one call to the store may wait two minutes for its answer.
ALIVE_SECONDS = 300.0
# Three rests between attempts at the store (30 s at most each), or two heartbeats.
FRESH_SECONDS = 120.0


class Health:
    """What a process knows of itself. Thread-safe.

    ``parts`` are the loops that must report at least every ``ALIVE_SECONDS``; a process that ``reads_log``
    needs partitions and an answering log to be ready.
    """

    def __init__(self, clock: Clock, parts: Iterable[str] = (), *, reads_log: bool = False) -> None:
        self._clock = clock
        self._reads_log = reads_log
        self._lock = threading.Lock()
        self._seen = dict.fromkeys(parts, clock.monotonic())
        self._answered: dict[str, float] = {}
        self._trouble: dict[str, str] = {}
        self._paused: dict[str, str] = {}
        self._partitions = 0

    def ticked(self, part: str) -> None:
        """Take note that the loop ``part`` has made a turn."""
        with self._lock:
            self._seen[part] = self._clock.monotonic()

    def answered(self, what: str) -> None:
        """Take note that ``store`` or ``log`` has answered, or that a ``flush`` has succeeded."""
        with self._lock:
            self._answered[what] = self._clock.monotonic()
            self._trouble.pop(what, None)

    def failed(self, what: str, error: str) -> None:
        """Take note that ``store`` or ``log`` did not answer at the last try."""
        with self._lock:
            self._trouble[what] = error

    def assigned(self, partitions: int) -> None:
        """Take note of how many partitions the process reads from now on."""
        with self._lock:
            self._partitions = partitions

    def paused(self, topic: str, reason: str) -> None:
        """Take note that a topic is not read any more; an empty ``reason`` says that it is again."""
        with self._lock:
            self._paused.pop(topic, None)
            if reason:
                self._paused[topic] = reason

    def against_alive(self) -> list[str]:
        """Return which parts have been silent for too long."""
        now = self._clock.monotonic()
        with self._lock:
            silent = {part: now - seen for part, seen in self._seen.items() if now - seen > ALIVE_SECONDS}
        return [f"the {part} has not moved for {seconds:.0f} s" for part, seconds in silent.items()]

    def against_ready(self) -> list[str]:
        """Return what keeps the process from its work at this moment."""
        needed = ("store", "log") if self._reads_log else ("store",)
        with self._lock:
            reasons = [self._trouble.get(what) or self._unasked(what) for what in needed]
            if self._reads_log and not self._partitions:
                reasons.append("no partition is assigned to this process")
        return [reason for reason in reasons if reason]

    def against_flowing(self) -> list[str]:
        """Return what shows that events do not reach the store: also silence, which readiness does not look at."""
        reasons = self.against_alive() + self.against_ready()
        now = self._clock.monotonic()
        with self._lock:
            for what in ("flush", "store", "log"):
                age = now - self._answered[what] if what in self._answered else None
                if age is None or age > FRESH_SECONDS:
                    reasons.append(f"no {what} has succeeded {'yet' if age is None else f'for {age:.0f} s'}")
            reasons += self._paused.values()
        return reasons

    def _unasked(self, what: str) -> str:
        return "" if what in self._answered else f"the {what} has not answered yet"
