"""Watching a client that fails in silence: partitions that return none of their records, a dead thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from driftline.clock import Clock
from driftline.errors import TransportError
from driftline.transport.base import Partition

_CHECKS = 4
"""Looks at the log while patience lasts."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may do nothing before it is taken to be broken."""

    stuck_seconds: float = 60.0
    join_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class _Lag:
    position: int
    since: float


class StuckPartitions:
    """Finds partitions whose position has not moved for so long although the log goes beyond it.

    Silence alone says nothing, so the log's end is asked for a few times while patience lasts; only a partition that
    was behind all that time counts.
    """

    def __init__(self, clock: Clock, patience_seconds: float) -> None:
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._checked_at = clock.monotonic()
        self._lags: dict[Partition, _Lag] = {}
        self._blamed: set[Partition] = set()

    def is_due(self) -> bool:
        """Return whether it is time to look at the log again."""
        now = self._clock.monotonic()
        due = now - self._checked_at >= self._patience_seconds / _CHECKS
        if due:
            self._checked_at = now
        return due

    def find(self, positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> frozenset[Partition]:
        """Return the stuck ones of the partitions that are read, given where they and the log are now."""
        now = self._clock.monotonic()
        self._lags = {part: lag for part, lag in self._lags.items() if positions.get(part) == lag.position}
        for partition, position in positions.items():
            if ends[partition] > position:
                self._lags.setdefault(partition, _Lag(position, now))
        return frozenset(part for part, lag in self._lags.items() if now - lag.since >= self._patience_seconds)

    def reset(self) -> None:
        """Start over: for a while the log did not answer, or another client reads."""
        self._lags.clear()

    def blame(self, stuck: Iterable[Partition]) -> bool:
        """Note that a new client was made because of these; return whether one was made before, in vain."""
        in_vain = not self._blamed.isdisjoint(stuck)
        self._blamed.update(stuck)
        self.reset()
        return in_vain

    def moved(self, partition: Partition) -> None:
        """Note that a partition returned records."""
        self._blamed.discard(partition)


class IoThread:
    """The thread on which a client talks to brokers; without it every call would wait for ever."""

    def __init__(self, client_id: str) -> None:
        name = f"kafka-io-{client_id}"
        # The client starts it when it is made; a version that names it otherwise is not watched.
        self._thread = next((thread for thread in threading.enumerate() if thread.name == name), None)

    @property
    def is_alive(self) -> bool:
        """Whether the thread lives, as far as is known."""
        return self._thread is None or self._thread.is_alive()

    def require_alive(self, url: str) -> None:
        """Check that the thread lives.

        Raises:
            TransportError: it has died; only a new process goes on.
        """
        if not self.is_alive:
            msg = f"the client of {url} has broken down: its thread has ended; see the log above, then start again"
            raise TransportError(msg)
