"""What a flush writes, and in which order: the commit record last.

One flush covers all partitions that moved, with one insert per table. Whatever a crash leaves behind
is a shorter prefix of what the next flush writes under the same keys.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumers.counting.counters import Key, WindowCounts
from consumers.counting.identity import SeenIds
from consumers.counting.rows import MOMENT, constant
from consumers.counting.segments import DeadRow, PartitionState, Segment
from consumers.counting.watermarks import encode_promises
from consumers.decoding.decoder import IntArray
from driftline.clock import Clock, from_ms
from driftline.contract import Contract
from driftline.events import Stream
from driftline.profiles import library
from driftline.store import Store
from driftline.transport import Partition

ALGORITHM_VERSION = "1"
PROFILE_EVERY_SECONDS = 60.0  # an open window's profile need not be fresher than this
RAW_BYTES_KEPT = 65_536
_FOR_EVER_SECONDS = 2**32 - 1  # the engine adds it to now and stops at the year 2106
_MONTHS_PER_INSERT = 90  # the engine refuses a block that touches more than 100 partitions
Rows: TypeAlias = pa.Table | list[dict[str, Any]]
_DueProfile = tuple[PartitionState, Segment, Key]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, under which contract."""

    name: str
    contract: Contract
    contract_seq: int

    def version_of(self, segment: Segment) -> int:
        """Return the version of a segment's rows: the longer prefix wins, then the newer contract."""
        return segment.hi << 16 | self.contract_seq


@dataclass(frozen=True, slots=True)
class Flush:
    """The rows of one flush, in the order in which they must be written; ``reached`` is each partition's offset."""

    inserts: tuple[tuple[str, Rows], ...]
    raw_rows: int
    reached: Mapping[Partition, int]
    seen: tuple[tuple[SeenIds, int], ...]

    def write(self, store: Store) -> None:
        """Write all of it; may be repeated from the start after any failure.

        Raises:
            StoreUnavailable: nothing is lost; call again.
        """
        for table, rows in self.inserts:
            if isinstance(rows, pa.Table):
                store.insert(table, rows)
            else:
                store.insert_rows(table, rows)

    def take_note(self) -> None:
        """Tell the partitions' memories that all of it is written."""
        for seen, offset in self.seen:
            seen.written(offset)


@dataclass(slots=True)
class Flusher:
    """Takes what partitions have collected and makes the rows of a flush of it."""

    writer: Writer
    clock: Clock
    _profiled_at: dict[Partition, float] = field(default_factory=dict)

    def prepare(self, states: Iterable[PartitionState], *, final: bool = False) -> Flush | None:
        """Take over everything absorbed, and return it as rows; ``final`` also takes every profile.

        What is returned must be written before anything that is prepared later.
        """
        states = list(states)
        moved = [state for state in states if _has_moved(state)]
        due = [(state, *profile) for state in states for profile in self._due_profiles(state, final)]
        idle = [state for state in states if state.idle_is_news and not _has_moved(state)]
        if not moved and not due and not idle:
            return None
        raw = list(self._raw_inserts(moved))
        inserts: list[tuple[str, Rows]] = [
            *raw,
            *self._profile_inserts([self._profile_row(*profile) for profile in due]),
            *self._count_inserts(moved),
            ("dead_letters", [self._dead_row(state, row) for state in moved for row in state.dead]),
            ("segments", [self._segment_row(state, s) for state in moved for s in state.segments if s.dirty]),
            ("watermarks", [self._watermark_row(state) for state in (*moved, *idle)]),
        ]
        self._hand_over([*moved, *idle], due)
        reached = {state.partition: state.next_offset for state in moved}
        seen = tuple((state.start.seen, state.next_offset) for state in moved)
        return Flush(tuple(inserts), sum(rows.num_rows for _, rows in raw), reached, seen)

    def _hand_over(self, moved: list[PartitionState], profiled: list[_DueProfile]) -> None:
        for state, segment, key in profiled:
            segment.profiles.dirty.discard(key)
            self._profiled_at[state.partition] = self.clock.monotonic()
        for state in moved:
            state.hand_over()

    def _raw_inserts(self, states: list[PartitionState]) -> Iterator[tuple[str, pa.Table]]:
        tables: dict[str, list[pa.Table]] = {}
        for state in states:
            tables.setdefault(raw_table(self.writer.contract, state.rules.stream), []).extend(state.raw)
        for name, parts in tables.items():
            if parts:
                time_column = "label_time" if name == "labels" else "event_time"
                for block in _by_months(pa.concat_tables(parts), time_column):
                    yield name, block

    def _count_inserts(self, states: list[PartitionState]) -> Iterator[tuple[str, pa.Table]]:
        parts = [self._count_rows(state, segment) for state in states for segment in state.segments if segment.dirty]
        if parts:
            for block in _by_months(pa.concat_tables(parts), "window_start"):
                yield "segment_counts", block

    def _count_rows(self, state: PartitionState, segment: Segment) -> pa.Table:
        counts, keys = segment.counts, sorted(segment.counts.dirty)
        rows = np.array([counts.row(key) for key in keys], dtype=np.int64)
        names = ["", *counts.columns]
        blocks = [_event_figures(counts, rows), *(_column_figures(counts, name, rows) for name in counts.columns)]
        size = len(keys) * len(names)
        starts = np.array([key[0] for key in keys], dtype=np.int64)
        figures = {field_name: pa.concat_arrays([block[field_name] for block in blocks]) for field_name in blocks[0]}
        return pa.table(
            {
                **self._segment_key(state, segment, size),
                "stream": constant(state.rules.stream, size),
                "window_start": pa.array(np.tile(starts, len(names)), MOMENT),
                "window_seconds": pa.array(np.full(size, state.rules.window_ms // 1000, dtype=np.uint32)),
                "model_version": pa.array([key[1] for _ in names for key in keys], pa.string()),
                "column": pa.array([name for name in names for _ in keys], pa.string()),
                "writer": constant(self.writer.name, size),
                **figures,
            }
        )

    def _segment_key(self, state: PartitionState, segment: Segment, size: int) -> dict[str, pa.Array]:
        contract = self.writer.contract
        return {
            "model": constant(contract.model, size),
            "topic": constant(state.partition.topic, size),
            "source_id": constant(state.start.source_id, size),
            "contract_id": constant(contract.id, size),
            "p": pa.array(np.full(size, state.partition.index, dtype=np.uint16)),
            "lo": pa.array(np.full(size, segment.lo, dtype=np.uint64)),
            "seg_version": pa.array(np.full(size, self.writer.version_of(segment), dtype=np.uint64)),
        }

    def _due_profiles(self, state: PartitionState, final: bool) -> Iterator[tuple[Segment, Key]]:
        complete_to = state.complete_to_ms
        since = self.clock.monotonic() - self._profiled_at.setdefault(state.partition, self.clock.monotonic())
        for segment in state.segments:
            for key in sorted(segment.profiles.dirty):
                closed = key[0] + state.rules.profile_ms <= complete_to
                if final or segment.closed or closed or since >= PROFILE_EVERY_SECONDS:
                    yield segment, key

    def _profile_inserts(self, rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        by_month: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for row in rows:
            by_month.setdefault((row["window_start"].year, row["window_start"].month), []).append(row)
        months = sorted(by_month)
        for first in range(0, len(months), _MONTHS_PER_INSERT):
            chosen = months[first : first + _MONTHS_PER_INSERT]
            yield "segment_profiles", [row for month in chosen for row in by_month[month]]

    def _profile_row(self, state: PartitionState, segment: Segment, key: Key) -> dict[str, Any]:
        blob = segment.profiles.profiles[key].to_bytes()
        return {
            **self._row_key(state, segment),
            "stream": state.rules.stream,
            "window_start": from_ms(key[0]),
            "window_seconds": state.rules.profile_ms // 1000,
            "model_version": key[1],
            "n": segment.profiles.rows[key],
            "blob": blob,
            "blob_crc32": zlib.crc32(blob),
            "library": library(),
        }

    def _row_key(self, state: PartitionState, segment: Segment) -> dict[str, Any]:
        contract = self.writer.contract
        return {
            "model": contract.model,
            "topic": state.partition.topic,
            "source_id": state.start.source_id,
            "p": state.partition.index,
            "lo": segment.lo,
            "contract_id": contract.id,
            "seg_version": self.writer.version_of(segment),
        }

    def _dead_row(self, state: PartitionState, row: DeadRow) -> dict[str, Any]:
        return {
            "model": self.writer.contract.model,
            "topic": state.partition.topic,
            "source_id": state.start.source_id,
            "p": state.partition.index,
            "o": row.offset,
            "contract_id": self.writer.contract.id,
            "rev": 0,
            "status": "copy" if row.origin else "new",
            "redrive_of": row.origin.text if row.origin else "",
            "redrives": row.origin.number if row.origin else 0,
            "reason": row.letter.reason,
            "error": row.letter.error[:500],
            "raw": row.raw[:RAW_BYTES_KEPT],
            "raw_sha256": hashlib.sha256(row.raw).hexdigest(),
            "raw_bytes": len(row.raw),
            "keep_seconds": _kept_seconds(self.writer.contract.retention.dead_letters),
            "append_time": from_ms(row.append_ms),
        }

    def _segment_row(self, state: PartitionState, segment: Segment) -> dict[str, Any]:
        lateness = self.writer.contract.windows.allowed_lateness
        return {
            **self._row_key(state, segment),
            "hi": segment.hi,
            "n_records": segment.records,
            "n_ok": segment.ok,
            "n_duplicate": segment.duplicates,
            "n_dead": segment.dead,
            "n_marker": segment.markers,
            "n_control": segment.control_records,
            "watermark": from_ms(segment.watermark.watermark_ms),
            "complete_to": from_ms(segment.watermark.complete_to_ms(lateness)),
            "producers": encode_promises(segment.watermark),
            "writer": self.writer.name,
            "algorithm_version": ALGORITHM_VERSION,
        }

    def _watermark_row(self, state: PartitionState) -> dict[str, Any]:
        return {
            "topic": state.partition.topic,
            "source_id": state.start.source_id,
            "p": state.partition.index,
            "watermark": from_ms(state.watermark.watermark_ms),
            "complete_to": from_ms(state.complete_to_ms),
            "basis": state.basis,
            "hi": state.next_offset,
        }


def _has_moved(state: PartitionState) -> bool:
    return state.segments[-1].dirty or len(state.segments) > 1 or state.pending_rows > 0


def raw_table(contract: Contract, stream: Stream) -> str:
    """Return the name of the table that holds the stream's events."""
    return contract.raw_inputs_table if stream == "inputs" else stream


def _kept_seconds(retention: timedelta | None) -> int:
    return _FOR_EVER_SECONDS if retention is None else min(int(retention.total_seconds()), _FOR_EVER_SECONDS)


def _by_months(rows: pa.Table, time_column: str) -> Iterator[pa.Table]:
    months = pc.floor_temporal(rows[time_column], unit="month")
    distinct = pc.unique(months).sort()
    if len(distinct) <= _MONTHS_PER_INSERT:
        yield rows
        return
    for first in range(0, len(distinct), _MONTHS_PER_INSERT):
        yield rows.filter(pc.is_in(months, value_set=distinct[first : first + _MONTHS_PER_INSERT]))


def _event_figures(counts: WindowCounts, rows: IntArray) -> dict[str, pa.Array]:
    size = len(rows)
    zeros = pa.array(np.zeros(size, dtype=np.uint64))
    nothing = pa.nulls(size, pa.float64())
    return {
        "n": pa.array(counts.events[rows].astype(np.uint64)),
        "n_duplicate": pa.array(counts.duplicates[rows].astype(np.uint64)),
        "n_late": pa.array(counts.late[rows].astype(np.uint64)),
        "id_sum": pa.array(counts.id_sum[rows]),
        **dict.fromkeys(("n_missing", "n_type", "n_nonfinite", "n_number"), zeros),
        **dict.fromkeys(("n_range", "n_unseen"), pa.nulls(size, pa.uint64())),
        **dict.fromkeys(("total", "total_sq"), pa.array(np.zeros(size))),
        **dict.fromkeys(("low", "high"), nothing),
    }


def _column_figures(counts: WindowCounts, name: str, rows: IntArray) -> dict[str, pa.Array]:
    column, size, bounds = counts.columns[name], len(rows), counts.bounds[name]
    empty = column.numbers[rows] == 0
    zeros = pa.array(np.zeros(size, dtype=np.uint64))

    def whole(values: IntArray) -> pa.Array:
        return pa.array(values[rows].astype(np.uint64))

    return {
        "n": whole(counts.events),
        **dict.fromkeys(("n_duplicate", "n_late", "id_sum"), zeros),
        "n_missing": whole(column.missing),
        "n_type": whole(column.wrong_type),
        "n_nonfinite": whole(column.nonfinite),
        "n_number": whole(column.numbers),
        "n_range": whole(column.out_of_range) if bounds.has_range else pa.nulls(size, pa.uint64()),
        "n_unseen": whole(column.unseen) if bounds.known is not None else pa.nulls(size, pa.uint64()),
        "total": pa.array(column.total[rows]),
        "total_sq": pa.array(column.total_sq[rows]),
        "low": pa.array(column.low[rows], mask=empty),
        "high": pa.array(column.high[rows], mask=empty),
    }
