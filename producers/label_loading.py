"""A file of labels into the topic of labels, where they are counted like any other.

A label is known by its id, time and value, so a file may be loaded again, whole or after it was stopped half-way:
what is there already adds nothing.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from driftline.clock import from_ms, to_ms
from driftline.contract import Contract
from driftline.errors import InputDataError
from driftline.events import Marker, marker_headers
from driftline.transport.base import Partition, Producer, Transport
from driftline.transport.partitioning import partition_for
from producers.label_files import LabelFile, RawLabel
from producers.label_rows import BadLabel, LabelReader
from producers.topics import ensure_topics

PRODUCER = "driftline-labels-load"
"""Who marks the topic: a later load's promise replaces an earlier one's."""

_ROWS_PER_FLUSH = 10_000
_OUTAGE_SECONDS = 600.0

Reject = Callable[[RawLabel, str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LabelLoad:
    """What a load did. ``loaded`` labels are durable in the log; ``complete_to`` is what was promised of the topic."""

    file: str
    topic: str
    rows: int
    loaded: int
    bad: int
    stopped: bool
    first_label_time: datetime | None
    last_label_time: datetime | None
    complete_to: datetime | None


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    loaded: int = 0
    bad: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def took(self, at_ms: int) -> None:
        self.loaded += 1
        self.first_ms = at_ms if self.first_ms is None else min(self.first_ms, at_ms)
        self.last_ms = at_ms if self.last_ms is None else max(self.last_ms, at_ms)


class LabelLoader:
    """Sends labels of one contract."""

    def __init__(self, contract: Contract, transport: Transport, reader: LabelReader) -> None:
        self._contract = contract
        self._transport = transport
        self._reader = reader

    def load(
        self,
        file: LabelFile,
        complete_to: datetime | None,
        stop: threading.Event,
        reject: Reject,
        progress: Progress = lambda _done, _total: None,
    ) -> LabelLoad:
        """Send every good row and tell ``reject`` of every bad one, in the file's order.

        The topic is marked as complete to ``complete_to`` only when all rows were good and none was left out.

        Raises:
            InputDataError: there is no row.
            TransportError: the log refused labels or does not answer.
        """
        partitions = ensure_topics(self._transport, self._contract, None)["labels"]
        tally, total = _Tally(), file.row_count
        with self._transport.producer() as producer:
            for row in file.rows():
                if stop.is_set():
                    break
                self._take(row, producer, partitions, tally, reject)
                if tally.rows % _ROWS_PER_FLUSH == 0:
                    producer.flush(_OUTAGE_SECONDS)
                    progress(tally.rows, total)
            producer.flush(_OUTAGE_SECONDS)
            _refuse_nothing(file, tally, stop)
            marks = complete_to is not None and not tally.bad and not stop.is_set()
            if marks and complete_to is not None:
                _mark(producer, partitions, complete_to)
        return LabelLoad(
            file=str(file.path),
            topic=self._contract.topics.labels,
            rows=tally.rows,
            loaded=tally.loaded,
            bad=tally.bad,
            stopped=stop.is_set(),
            first_label_time=None if tally.first_ms is None else from_ms(tally.first_ms),
            last_label_time=None if tally.last_ms is None else from_ms(tally.last_ms),
            complete_to=complete_to if marks else None,
        )

    def _take(
        self, row: RawLabel, producer: Producer, partitions: Sequence[Partition], tally: _Tally, reject: Reject
    ) -> None:
        tally.rows += 1
        try:
            event = self._reader.event(row)
        except BadLabel as error:
            tally.bad += 1
            reject(row, str(error))
            return
        producer.send(partitions[partition_for(event.key, len(partitions))], key=event.key, value=event.value)
        tally.took(event.label_time_ms)


@contextmanager
def rejects_file(path: Path | None) -> Iterator[Reject]:
    """Write bad rows to ``path`` as CSV, with their place and reason before them; nowhere when there is no path.

    Raises:
        InputDataError: the file cannot be written.
    """
    if path is None:
        yield lambda _row, _reason: None
        return
    try:
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        msg = f"{path} cannot be written: {(error.strerror or str(error)).lower()}"
        raise InputDataError(msg) from error
    with file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["place", "reason", "id", "label", "label_time"])
        yield lambda row, reason: writer.writerow([row.place, reason, row.id, row.label, row.label_time])


def _refuse_nothing(file: LabelFile, tally: _Tally, stop: threading.Event) -> None:
    if not tally.rows and not stop.is_set():
        msg = f"{file.path} has a header and no rows; a file of labels has a row for each label"
        raise InputDataError(msg)


def _mark(producer: Producer, partitions: Sequence[Partition], complete_to: datetime) -> None:
    """Promise every partition that no label older than ``complete_to`` follows; it holds back no other producer."""
    headers = marker_headers(Marker(PRODUCER, to_ms(complete_to), end=True))
    for partition in partitions:
        producer.send(partition, key=None, value=b"", headers=headers)
    producer.flush(_OUTAGE_SECONDS)
