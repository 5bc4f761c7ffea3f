"""Where one consumer stands in the log, every few seconds: for whoever watches it, and to notice silent partitions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from consumers.counting.idleness import Idleness, Moment
from consumers.observing import Observer, Standing
from consumers.reading.holdings import Holdings
from driftline.clock import Clock
from driftline.transport import Consumer, Partition

_EVERY_SECONDS = 10.0  # end offsets cost a request, and a consumer that waits for records must wait for its answer


@dataclass(slots=True)
class Lookout:
    """Compares what has been read with the log's ends; all of it may be asked as often as the loop likes."""

    consumer: Consumer
    holdings: Holdings
    idleness: Idleness
    observer: Observer
    clock: Clock
    _assigned: frozenset[Partition] = frozenset()
    _looked_at: float = field(default=-math.inf)

    def look(self) -> None:
        """Tell lag and watermarks and mark silent partitions, unless that was done a moment ago.

        Raises:
            TransportUnavailable: the log cannot say where it ends.
        """
        if self.clock.monotonic() - self._looked_at < _EVERY_SECONDS:
            return
        states = {partition: self.holdings.states[partition] for partition in self.holdings.ours}
        asked = Moment.of(self.clock)
        ends = self.consumer.end_offsets(list(states))
        self.idleness.look(states.values(), ends, asked)
        lag = {partition: max(0, ends[partition] - state.next_offset) for partition, state in states.items()}
        watermarks = {partition: state.watermark.watermark_ms for partition, state in states.items()}
        self.observer.progress(Standing(lag, watermarks, self.holdings.waiting_rows))
        self._looked_at = self.clock.monotonic()

    def show_assignment(self) -> None:
        """Tell which partitions are read, where that has changed."""
        now = frozenset(self.holdings.states)
        if now != self._assigned:
            self._assigned = now
            self.observer.assigned(now)
