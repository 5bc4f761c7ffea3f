"""The position in a script: sending its entries and markers, and counting them.

When to send is ``producers.replay``'s.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from driftline.clock import from_ms
from driftline.contract import Contract
from driftline.events import STREAMS, Marker, Stream, marker_headers
from driftline.transport.base import Partition, Producer
from driftline.transport.partitioning import partition_for
from driftline.windows import window_start_ms
from producers.schedule import Stretch
from producers.script import Script

_OUTAGE_SECONDS = 600.0
"""A broker's restart, or a disk that is made room on; after that somebody has to look."""


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is: events sent, how many make up the past, the event time reached, and whether it is live."""

    sent: int
    past: int
    event_time: datetime
    live: bool


class Sender:
    """The position in a script, and what was sent so far."""

    def __init__(
        self,
        script: Script,
        producer: Producer,
        topics: Mapping[Stream, Sequence[Partition]],
        stop: threading.Event,
        on_progress: Callable[[ReplayProgress], None],
    ) -> None:
        self.script = script
        self.stop = stop
        self.events: Counter[Stream] = Counter()
        self.markers: Counter[Stream] = Counter()
        self._producer = producer
        self._topics = topics
        self._on_progress = on_progress
        self._position = 0
        self._marked_ms: int | None = None
        self._keys = [id_.encode() for id_ in script.ids]
        self._streams = [script.stream_of(kind) for kind in range(len(script.versions) + 2)]
        self._targets = self._targets_by_kind()

    @property
    def is_done(self) -> bool:
        """Whether every entry was sent."""
        return self._position == len(self.script.schedule)

    @property
    def next_ms(self) -> int:
        """Time of the next entry; there is one."""
        return int(self.script.schedule.times_ms[self._position])

    @property
    def trips(self) -> int:
        """How many inputs were sent."""
        return self.events["inputs"]

    def send_until(self, end: int) -> None:
        """Send the entries before ``end``, stretch by stretch, unless told to stop."""
        for stretch in self.script.schedule.stretches(self._position, end):
            if self.stop.is_set():
                return
            if stretch.mark_ms is not None:
                self.mark(stretch.mark_ms)
            self._send(stretch)

    def mark(self, up_to_ms: int, *, live: bool = False) -> None:
        """Promise every partition that nothing older than ``up_to_ms`` follows, unless it was promised before."""
        if self._marked_ms is not None and up_to_ms <= self._marked_ms:
            return
        self._marked_ms = up_to_ms
        for stream in STREAMS:
            self._mark(stream, Marker(self.script.producer_id, up_to_ms))
        if live:
            self.flush()

    def send_end_markers(self, contract: Contract) -> None:
        """Say the last word on each topic: it completes all windows, labels' after their maximal delay."""
        largest = contract.windows.largest // timedelta(milliseconds=1)
        lateness = contract.windows.allowed_lateness // timedelta(milliseconds=1)
        delay = contract.label.delay.max // timedelta(milliseconds=1)
        last_event = window_start_ms(int(self.script.event_ms[-1]), largest) + largest + lateness
        last_label = window_start_ms(int(self.script.schedule.times_ms[-1]), largest) + largest + lateness + delay
        for stream in STREAMS:
            up_to = last_label if stream == "labels" else last_event
            self._mark(stream, Marker(self.script.producer_id, up_to, end=True))

    def flush(self) -> None:
        """Return once everything sent so far is durable; waits for a log that is away for a while."""
        self._producer.flush(_OUTAGE_SECONDS)

    def _send(self, stretch: Stretch) -> None:
        script, send = self.script, self._producer.send
        values = script.encode(stretch.start, stretch.stop)
        kinds = script.schedule.kinds[stretch.start : stretch.stop].tolist()
        rows = script.schedule.rows[stretch.start : stretch.stop].tolist()
        for kind, row, value in zip(kinds, rows, values, strict=True):
            send(self._targets[kind][row], key=self._keys[row], value=value)
        self.events.update(self._streams[kind] for kind in kinds)
        self._position = stretch.stop
        self._report()

    def _mark(self, stream: Stream, marker: Marker) -> None:
        headers = marker_headers(marker)
        for partition in self._topics[stream]:
            self._producer.send(partition, key=None, value=b"", headers=headers)
        self.markers[stream] += len(self._topics[stream])

    def _report(self) -> None:
        reached_ms = int(self.script.schedule.times_ms[self._position - 1])
        past = self.script.past_entries
        self._on_progress(ReplayProgress(self._position, past, from_ms(reached_ms), self._position > past))

    def _targets_by_kind(self) -> list[list[Partition]]:
        counts = {len(partitions) for partitions in self._topics.values()}
        indexes = {count: [partition_for(key, count) for key in self._keys] for count in counts}
        chosen = [self._topics[stream] for stream in self._streams]
        return [[partitions[index] for index in indexes[len(partitions)]] for partitions in chosen]
