"""The one global order of a replay: which event of which trip goes out when, and where the markers stand.

Pure arithmetic on arrays; what the events say is ``producers.script``'s, sending is ``producers.replay``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from driftline.windows import window_start_ms

# Bounds the memory of one encoded stretch (about 300 bytes an entry).
_LARGEST_STRETCH = 20_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries ``[start, stop)`` that go out together; ``mark_ms`` is the boundary to mark before them, or None."""

    start: int
    stop: int
    mark_ms: int | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Entries in the order they are sent, as arrays of equal length.

    ``times_ms`` is the event time of inputs and predictions and the label time of labels. ``kinds`` is 0 for the
    input, 1, 2, … for the versions' predictions, the greatest for the label. ``rows`` is the trip.
    """

    times_ms: np.ndarray
    kinds: np.ndarray
    rows: np.ndarray
    window_ms: int

    def __len__(self) -> int:
        return len(self.times_ms)

    def due(self, horizon_ms: int) -> int:
        """Return how many entries are due at ``horizon_ms`` (inclusive)."""
        return int(np.searchsorted(self.times_ms, horizon_ms, side="right"))

    def stretches(self, start: int, stop: int) -> Iterator[Stretch]:
        """Yield ``[start, stop)`` in pieces that lie in one stream window each.

        A boundary is marked before the first entry behind it, once: a gap of years is one marker.
        """
        if start >= stop:
            return
        windows = self.times_ms[start:stop] // self.window_ms
        cuts = start + np.flatnonzero(np.diff(windows, prepend=self._window_before(start)))
        edges = [start, *cuts[cuts > start].tolist(), stop]
        crossed = set(cuts.tolist())
        for low, high in pairwise(edges):
            mark = window_start_ms(int(self.times_ms[low]), self.window_ms) if low in crossed else None
            for first in range(low, high, _LARGEST_STRETCH):
                yield Stretch(first, min(first + _LARGEST_STRETCH, high), mark if first == low else None)

    def _window_before(self, start: int) -> int:
        if start == 0:
            return int(self.times_ms[0] // self.window_ms) - 1
        return int(self.times_ms[start - 1] // self.window_ms)


def schedule(
    event_ms: np.ndarray, label_ms: np.ndarray, has_label: np.ndarray, versions: int, window_ms: int
) -> Schedule:
    """Return the order of all events: by time, then input, predictions, label, then trip.

    ``event_ms`` ascends; ``label_ms`` is read only where ``has_label``.
    """
    trips = np.arange(len(event_ms), dtype=np.int64)
    labelled = trips[has_label]
    times = np.concatenate([*[event_ms] * (1 + versions), label_ms[labelled]])
    rows = np.concatenate([*[trips] * (1 + versions), labelled])
    sizes = [len(trips)] * (1 + versions) + [len(labelled)]
    kinds = np.repeat(np.arange(2 + versions, dtype=np.int8), sizes)
    order = np.lexsort((rows, kinds, times))
    return Schedule(times[order], kinds[order], rows[order], window_ms)
