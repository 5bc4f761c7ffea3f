"""Partitions that have fallen silent: up to where they are taken as complete, where the contract opts in.

For live topics whose producers send no markers. A partition is silent as long as the log's end offset stays what has
been read: a partition that is merely not read, because it is paused or the store is away, never is. What is late
remains a function of the log, and knows nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from consumers.counting.segments import PartitionState
from driftline.clock import Clock, to_ms
from driftline.transport import Partition

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks: where the time line is, and what a set clock cannot change."""

    wall_ms: int
    monotonic: float

    @classmethod
    def of(cls, clock: Clock) -> Moment:
        """Return this moment."""
        return cls(to_ms(clock.now()), clock.monotonic())


@dataclass(frozen=True, slots=True)
class _Silence:
    source_id: str
    offset: int
    since: Moment


@dataclass(slots=True)
class Idleness:
    """How long each partition has been silent; ``idle_after`` None means that silence says nothing."""

    idle_after: timedelta | None
    _silent: dict[Partition, _Silence] = field(default_factory=dict)

    def look(self, states: Iterable[PartitionState], ends: Mapping[Partition, int], asked: Moment) -> None:
        """Move every partition that has been silent for ``idle_after`` to as long ago as that.

        ``ends`` are the end offsets that the log gave after ``asked``. A partition whose producers send markers is
        theirs to complete.
        """
        if self.idle_after is None:
            return
        for state in states:
            if state.watermark.basis == "marker" or state.next_offset < ends[state.partition]:
                self._silent.pop(state.partition, None)
                continue
            before = self._silent.get(state.partition)
            if before is None or (before.source_id, before.offset) != (state.start.source_id, state.next_offset):
                self._silent[state.partition] = _Silence(state.start.source_id, state.next_offset, asked)
                continue
            lasted = timedelta(seconds=asked.monotonic - before.since.monotonic)
            if lasted >= self.idle_after:
                horizon_ms = before.since.wall_ms + (lasted - self.idle_after) // timedelta(milliseconds=1)
                was_idle = state.basis == "idle"
                if state.idle_until(horizon_ms) and not was_idle:
                    _log.info("partition_idle", partition=str(state.partition), silent_seconds=lasted.total_seconds())
