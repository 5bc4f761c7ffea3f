"""What a flush writes, and in which order: the commit record last.

One flush covers all partitions that moved, with one insert per table. Whatever a crash leaves behind
is a shorter prefix of what the next flush writes under the same keys.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumers.counters import Key, WindowCounts
from consumers.decoding import IntArray
from consumers.rows import MOMENT, constant
from consumers.segments import DeadRow, PartitionState, Segment
from consumers.watermarks import encode_promises
from driftline.clock import Clock, from_ms
from driftline.contract import Contract
from driftline.events import Stream
from driftline.profiles import library
from driftline.store import Store

ALGORITHM_VERSION = "1"
PROFILE_EVERY_SECONDS = 60.0  # an open window's profile need not be fresher than this
RAW_BYTES_KEPT = 65_536
_MONTHS_PER_INSERT = 90  # the engine refuses a block that touches more than 100 partitions
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


@dataclass(slots=True)
class Flusher:
    """Writes partitions' states to the store."""

    store: Store
    writer: Writer
    clock: Clock
    _profiled_at: dict[int, float] = field(default_factory=dict)

    def flush(self, states: Iterable[PartitionState], *, final: bool = False) -> int:
        """Store everything absorbed and return the number of raw rows; ``final`` also stores every profile.

        Raises:
            StoreUnavailable: nothing is lost; call again.
        """
        states = list(states)
        moved = [state for state in states if state.segments[-1].dirty or len(state.segments) > 1 or state.pending_rows]
        due = [(state, *profile) for state in states for profile in self._due_profiles(state, final)]
        if not moved and not due:
            return 0
        written = self._insert_raw(moved)
        self._insert_profiles([self._profile_row(*profile) for profile in due])
        self._insert_counts(moved)
        self._insert("dead_letters", [self._dead_row(state, row) for state in moved for row in state.dead])
        self._insert("segments", [self._segment_row(state, s) for state in moved for s in state.segments if s.dirty])
        self._insert("watermarks", [self._watermark_row(state) for state in moved])
        self._take_note(moved, due)
        return written

    def _take_note(self, moved: list[PartitionState], profiled: list[_DueProfile]) -> None:
        for state, segment, key in profiled:
            segment.profiles.dirty.discard(key)
            self._profiled_at[id(state)] = self.clock.monotonic()
        for state in moved:
            state.stored()

    def _insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.store.insert_rows(table, rows)

    def _insert_raw(self, states: list[PartitionState]) -> int:
        tables: dict[str, list[pa.Table]] = {}
        for state in states:
            tables.setdefault(raw_table(self.writer.contract, state.rules.stream), []).extend(state.raw)
        for name, parts in tables.items():
            if parts:
                time_column = "label_time" if name == "labels" else "event_time"
                for block in _by_months(pa.concat_tables(parts), time_column):
                    self.store.insert(name, block)
        return sum(part.num_rows for parts in tables.values() for part in parts)

    def _insert_counts(self, states: list[PartitionState]) -> None:
        parts = [self._count_rows(state, segment) for state in states for segment in state.segments if segment.dirty]
        if parts:
            for block in _by_months(pa.concat_tables(parts), "window_start"):
                self.store.insert("segment_counts", block)

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
        lateness = self.writer.contract.windows.allowed_lateness
        complete_to = state.watermark.complete_to_ms(lateness)
        since = self.clock.monotonic() - self._profiled_at.setdefault(id(state), self.clock.monotonic())
        for segment in state.segments:
            for key in sorted(segment.profiles.dirty):
                closed = key[0] + state.rules.profile_ms <= complete_to
                if final or segment.closed or closed or since >= PROFILE_EVERY_SECONDS:
                    yield segment, key

    def _insert_profiles(self, rows: list[dict[str, Any]]) -> None:
        by_month: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for row in rows:
            by_month.setdefault((row["window_start"].year, row["window_start"].month), []).append(row)
        months = sorted(by_month)
        for first in range(0, len(months), _MONTHS_PER_INSERT):
            chosen = months[first : first + _MONTHS_PER_INSERT]
            self._insert("segment_profiles", [row for month in chosen for row in by_month[month]])

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
            "rev": 0,
            "status": "new",
            "reason": row.letter.reason,
            "error": row.letter.error[:500],
            "raw": row.raw[:RAW_BYTES_KEPT],
            "raw_sha256": hashlib.sha256(row.raw).hexdigest(),
            "raw_bytes": len(row.raw),
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
        lateness = self.writer.contract.windows.allowed_lateness
        return {
            "topic": state.partition.topic,
            "source_id": state.start.source_id,
            "p": state.partition.index,
            "watermark": from_ms(state.watermark.watermark_ms),
            "complete_to": from_ms(state.watermark.complete_to_ms(lateness)),
            "basis": state.watermark.basis,
            "hi": state.next_offset,
        }


def raw_table(contract: Contract, stream: Stream) -> str:
    """Return the name of the table that holds the stream's events."""
    return contract.raw_inputs_table if stream == "inputs" else stream


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
