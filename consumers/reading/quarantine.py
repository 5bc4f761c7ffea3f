"""Records that bring the process down: found by notes taken before each step, then never decoded again.

A consumer that stops in order says so; one that does not find that word where it starts begins with care, until its
first flush: before it absorbs a batch it writes down which offsets, and afterwards that it is done. What a note names
at the next start has killed a process. Its range is then taken in smaller pieces, in the end one record at a time,
and a record named alone after three deaths becomes a dead letter, reason ``quarantined``, for every writer: a
function of the log and of the table ``quarantine``, read at the start. Deaths at different places (kill -9, a machine
out of memory) never add up. A consumer that was stopped in order, or has flushed, writes nothing here.

Knows only what happens while a batch is absorbed; a death while flushing names no record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from driftline.store import Store
from driftline.transport import Partition, RecordBatch

DEATHS = 3  # one may be chance; three in nested ranges are not

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """Offsets ``[start, stop)`` that are being absorbed, or were when a process died; and after how many deaths."""

    start: int
    stop: int
    attempts: int


class Guard:
    """Takes the notes of one consumer. All methods but ``pieces`` may raise ``StoreError``; repeating any is safe."""

    def __init__(self, store: Store, writer: str) -> None:
        self._store = store
        self._writer = writer
        self._sources: dict[Partition, str] = {}
        self._careful: set[Partition] = set()
        self._suspects: dict[Partition, Note] = {}

    def open(self, sources: Mapping[Partition, str]) -> None:
        """Begin with these partitions (and their topics' identities); call before ``quarantined_offsets`` is asked.

        Those whose last reader did not stop in order are read with care; one record that has killed three times is
        quarantined now.
        """
        last = _notes(self._store, sources)
        for partition, note in last.items():
            self._careful.add(partition)
            self._suspects.pop(partition, None)
            if note.attempts >= DEATHS and note.stop - note.start == 1:
                self._quarantine(partition, sources[partition], note)
            elif note.attempts:
                self._suspects[partition] = note
        self._sources.update(sources)
        # A death before the first batch must not make the suspect forgotten.
        rows = [
            self._row(partition, "handling", self._suspects[partition])
            if partition in self._suspects
            else self._row(partition, "running")
            for partition in sources
        ]
        self._store.insert_rows("in_flight", rows)

    def close(self, partition: Partition) -> None:
        """Forget a partition that was given to another consumer."""
        self._sources.pop(partition, None)
        self._careful.discard(partition)
        self._suspects.pop(partition, None)

    def pieces(self, batch: RecordBatch) -> Iterator[RecordBatch]:
        """Yield the batch in the pieces that are to be absorbed one by one: all of it, unless a suspect lies in it."""
        suspect = self._suspects.get(batch.partition)
        if suspect is None or not len(batch):
            yield batch
            return
        step = math.isqrt(suspect.stop - suspect.start) if suspect.attempts == 1 else 1
        marks = [suspect.stop, *range(suspect.start, suspect.stop, max(1, step))]
        yield from _cut(batch, sorted(mark for mark in marks if batch.offsets[0] < mark < batch.next_offset))

    def before(self, piece: RecordBatch) -> None:
        """Take note that this piece is about to be absorbed."""
        if piece.partition in self._careful and len(piece):
            note = Note(piece.offsets[0], piece.next_offset, 1)
            suspect = self._suspects.get(piece.partition)
            if suspect and suspect.start <= note.start < suspect.stop:
                note = Note(note.start, note.stop, suspect.attempts + 1)
            self._store.insert_rows("in_flight", [self._row(piece.partition, "handling", note)])

    def after(self, piece: RecordBatch) -> None:
        """Take note that it was absorbed and the process is still there."""
        if piece.partition in self._careful and len(piece):
            suspect = self._suspects.get(piece.partition)
            if suspect and piece.next_offset >= suspect.stop:
                del self._suspects[piece.partition]
            self._store.insert_rows("in_flight", [self._row(piece.partition, "running")])

    def flushed(self) -> None:
        """Take note that everything absorbed is stored: care ends where no suspect lies ahead."""
        self._careful &= set(self._suspects)

    def stop(self) -> None:
        """Take note that this consumer ends in order; call after the last flush."""
        self._store.insert_rows("in_flight", [self._row(partition, "stopped") for partition in self._sources])

    def _quarantine(self, partition: Partition, source_id: str, note: Note) -> None:
        row = {"topic": partition.topic, "source_id": source_id, "p": partition.index, "o": note.start}
        self._store.insert_rows("quarantine", [{**row, "attempts": note.attempts, "reason": "killed the process"}])
        _log.error("record_quarantined", partition=str(partition), offset=note.start, deaths=note.attempts)

    def _row(self, partition: Partition, state: str, note: Note | None = None) -> dict[str, Any]:
        note = note or Note(0, 0, 0)
        return {
            "topic": partition.topic,
            "source_id": self._sources[partition],
            "p": partition.index,
            "state": state,
            "from_o": note.start,
            "to_o": note.stop,
            "attempts": note.attempts,
            "writer": self._writer,
        }


def quarantined_offsets(store: Store, source_id: str, partition: Partition) -> frozenset[int]:
    """Return the offsets of this partition that are never decoded."""
    rows = store.query(
        "SELECT o FROM quarantine FINAL "
        "WHERE topic = {topic:String} AND source_id = {source:String} AND p = {p:UInt16}",
        {"topic": partition.topic, "source": source_id, "p": partition.index},
    )
    return frozenset(row["o"] for row in rows)


def _notes(store: Store, sources: Mapping[Partition, str]) -> dict[Partition, Note]:
    """Return what the last readers of these partitions left, where they did not stop in order."""
    rows = store.query(
        "SELECT topic, source_id, p, from_o, to_o, if(state = 'handling', attempts, 0) AS deaths FROM in_flight FINAL "
        "WHERE state != 'stopped' AND has({topics:Array(String)}, topic)",
        {"topics": sorted({partition.topic for partition in sources})},
    )
    found = {(Partition(row["topic"], row["p"]), row["source_id"]): row for row in rows}
    return {
        partition: Note(row["from_o"], row["to_o"], row["deaths"])
        for partition, source_id in sources.items()
        if (row := found.get((partition, source_id)))
    }


def _cut(batch: RecordBatch, marks: list[int]) -> Iterator[RecordBatch]:
    first = 0
    for mark in [*marks, batch.next_offset]:
        stop = first
        while stop < len(batch) and batch.offsets[stop] < mark:
            stop += 1
        if stop > first or mark == batch.next_offset:
            headers = {index - first: found for index, found in batch.headers.items() if first <= index < stop}
            columns = (batch.offsets[first:stop], batch.append_times_ms[first:stop], batch.values[first:stop])
            yield RecordBatch(batch.partition, *columns, next_offset=mark, headers=headers)
        first = stop
