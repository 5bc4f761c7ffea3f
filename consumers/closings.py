"""Which windows have become complete since the last flush, for log lines and counters only.

What is complete for everybody is the view ``topic_progress``'s; this is what one consumer sees of its
own partitions, and it forgets everything when it ends.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from consumers.counting.segments import PartitionState
from consumers.observing import ClosedWindow
from driftline.clock import from_ms
from driftline.events import Stream

_Counted = dict[tuple[str, int, int, str], int]  # (topic, partition, segment start, model version) → events


@dataclass(slots=True)
class Closings:
    """Remembers the open windows of one consumer: what it has counted in each, and how far each stream has got."""

    _open: dict[tuple[Stream, int], _Counted] = field(default_factory=dict)
    _complete_to_ms: dict[Stream, int] = field(default_factory=dict)

    def take(self, states: Collection[PartitionState]) -> list[ClosedWindow]:
        """Return the windows that the flush about to be prepared completes in all of ``states``, oldest first.

        Call it right before, as preparing forgets which windows moved; tell of the windows once the flush is written.
        Late events of a window that was complete before are no news here: they are counted as late.
        """
        for state in states:
            self._note(state)
        least = dict[Stream, int]()
        sizes_ms = {state.rules.stream: state.rules.window_ms for state in states}
        for state in states:
            stream, reached = state.rules.stream, state.complete_to_ms
            least[stream] = min(reached, least.get(stream, reached))
        found = [window for stream in least for window in self._close(stream, least[stream], sizes_ms[stream])]
        return sorted(found, key=lambda window: (window.window_start, window.stream))

    def _note(self, state: PartitionState) -> None:
        for segment in state.segments:
            for window_ms, version in segment.counts.dirty:
                key = (state.partition.topic, state.partition.index, segment.lo, version)
                events = int(segment.counts.events[segment.counts.row((window_ms, version))])
                self._open.setdefault((state.rules.stream, window_ms), {})[key] = events

    def _close(self, stream: Stream, complete_to_ms: int, size_ms: int) -> list[ClosedWindow]:
        before, closed = self._complete_to_ms.get(stream, 0), []
        for key in [key for key in self._open if key[0] == stream and key[1] + size_ms <= complete_to_ms]:
            counted = self._open.pop(key)
            if key[1] + size_ms > before:
                start = from_ms(key[1])
                end = start + timedelta(milliseconds=size_ms)
                closed.append(ClosedWindow(stream, start, end, sum(counted.values())))
        self._complete_to_ms[stream] = max(before, complete_to_ms)
        return closed
