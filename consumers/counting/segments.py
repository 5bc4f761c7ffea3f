"""Segments: the unit in which the log is counted, so that repeating work changes nothing.

A segment is ``size`` consecutive offsets of one partition, aligned at multiples of ``size``. Its
state is cumulative, a function of the log between its start ``lo`` and the offset reached ``hi``, and
is stored under a key without ``hi``: the greatest ``hi`` wins. A retry, a zombie, a second owner or a
rewind writes the same rows again or a shorter prefix of them. Four rules carry this; each has a test:
the version is ``hi``; reading restarts at ``lo``; the commit record is written last; duplicates are
decided by lower offsets of the same partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from consumers.counting.counters import WindowCounts
from consumers.counting.identity import SeenIds, identity_hashes
from consumers.counting.rows import raw_rows
from consumers.counting.rules import StreamRules
from consumers.counting.sketches import WindowProfiles
from consumers.counting.watermarks import Basis, Watermark, late_events
from consumers.decoding.decoder import FUTURE_TOLERANCE_MS, DeadLetter, Decoded, IntArray
from consumers.decoding.envelopes import Reason
from consumers.decoding.lineage import Origin, find_origin
from driftline.events import Marker, find_marker
from driftline.transport import Partition, RecordBatch

DEFAULT_SEGMENT_SIZE = 5_000
_NO_LIMIT_MS = 2**62
_LATEST_MS = 9_000_000_000_000  # in 2255; a producer's stamp may be anything, the store's type ends in 2299


@dataclass(slots=True)
class Segment:
    """What has been read of offsets ``[lo, end)``: everything below ``hi``."""

    lo: int
    end: int
    counts: WindowCounts
    profiles: WindowProfiles
    watermark: Watermark
    hi: int
    records: int = 0
    ok: int = 0
    duplicates: int = 0
    dead: int = 0
    markers: int = 0
    dirty: bool = False

    @property
    def closed(self) -> bool:
        """Whether every offset of the segment has been read."""
        return self.hi >= self.end

    @property
    def control_records(self) -> int:
        """Offsets that hold no record: transaction markers, compaction."""
        return self.hi - self.lo - self.records


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What a batch turned out to be: ``records`` without those read before; ``duplicates`` are among ``events``.

    The first ``recounted`` of the records were counted before, by a consumer that has ended.
    """

    events: Decoded
    records: int
    duplicates: int
    late: int
    recounted: int


@dataclass(frozen=True, slots=True)
class DeadRow:
    """A dead letter with what is kept of its record, and which dead letter that is a copy of."""

    offset: int
    append_ms: int
    letter: DeadLetter
    raw: bytes
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading of a partition begins, and what its log says before that offset."""

    source_id: str
    offset: int
    watermark: Watermark
    seen: SeenIds
    quarantined: frozenset[int] = frozenset()  # offsets whose records are never decoded
    stamped_by_log: bool = True  # append times are the log's; a producer's say nothing about the future
    counted: int = 0  # offsets below are in the store already, and counted again


@dataclass(slots=True)
class PartitionState:
    """One partition being read: its segments not yet stored for good, and the rows waiting to be stored."""

    partition: Partition
    rules: StreamRules
    start: Start
    segment_size: int = DEFAULT_SEGMENT_SIZE
    segments: list[Segment] = field(default_factory=list)
    raw: list[pa.Table] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)
    idle_to_ms: int = 0  # silence, not the log, says that the partition is complete up to here
    idle_is_news: bool = False  # it is not stored yet

    def __post_init__(self) -> None:
        self._open_segment(self.start.offset, self.start.watermark)

    @property
    def next_offset(self) -> int:
        """The first offset not read yet."""
        return self.segments[-1].hi

    @property
    def watermark(self) -> Watermark:
        """How far this partition has got in event time."""
        return self.segments[-1].watermark

    @property
    def complete_to_ms(self) -> int:
        """The moment up to which windows are complete in this partition: those that end at it or before."""
        return max(self.watermark.complete_to_ms(self.rules.contract.windows.allowed_lateness), self.idle_to_ms)

    @property
    def basis(self) -> Basis:
        """What ``complete_to_ms`` rests on."""
        return "idle" if self.complete_to_ms == self.idle_to_ms > 0 else self.watermark.basis

    def idle_until(self, horizon_ms: int) -> bool:
        """Take the partition as silent up to ``horizon_ms``; return whether that completes a window more."""
        lateness_ms = self.rules.contract.windows.allowed_lateness // timedelta(milliseconds=1)
        reached = horizon_ms - lateness_ms
        reached -= reached % self.rules.window_ms
        if reached <= self.complete_to_ms:
            return False
        self.idle_to_ms, self.idle_is_news = reached, True
        return True

    @property
    def pending_rows(self) -> int:
        """Records read and not stored yet."""
        return sum(int(table.num_rows) for table in self.raw) + len(self.dead)

    def absorb(self, batch: RecordBatch) -> Absorbed:
        """Count a batch that starts at or before ``next_offset``; offsets read already are passed over."""
        batch = _unread(batch, self.next_offset)
        markers, bad = _markers_of(batch)
        bad |= self._quarantined(batch)
        markers = {index: marker for index, marker in markers.items() if index not in bad}
        limits = batch.append_times_ms if self.start.stamped_by_log else [_NO_LIMIT_MS] * len(batch)
        events = self.rules.decoder.decode(batch.values, limits, {*markers, *bad})
        events.dead.extend(bad.values())
        events.dead.sort(key=lambda letter: letter.index)
        hashes = identity_hashes(self.rules.stream, events)
        duplicate = self.start.seen.mark(events.times_ms, hashes)
        offsets = np.array(batch.offsets, dtype=np.int64)
        appended = np.clip(np.array(batch.append_times_ms, dtype=np.int64), 0, _LATEST_MS)
        late = 0
        for segment, stop in self._segments_up_to(batch.next_offset):
            reached = _Reached(batch, offsets, appended, markers, segment.hi, stop)
            late += self._count(segment, reached, events, hashes, duplicate)
        fresh = np.flatnonzero(~duplicate)
        if len(fresh):
            where = (offsets[events.rows[fresh]], appended[events.rows[fresh]])
            self.raw.append(
                raw_rows(self.rules, self.start.source_id, self.partition.index, events, fresh, hashes, where)
            )
        for letter in events.dead:
            value = batch.values[letter.index] or b""
            origin = find_origin(batch.headers.get(letter.index, ()))
            self.dead.append(DeadRow(int(offsets[letter.index]), int(appended[letter.index]), letter, value, origin))
        recounted = int(np.searchsorted(offsets, self.start.counted))
        return Absorbed(events, len(batch), int(duplicate.sum()), late, recounted)

    def hand_over(self) -> None:
        """Take note that everything absorbed so far is on its way to the store, and begin to collect anew."""
        self.idle_is_news = False
        self.raw.clear()
        self.dead.clear()
        for segment in self.segments:
            segment.dirty = False
            segment.counts.dirty.clear()
        self.segments = [segment for segment in self.segments if not segment.closed] or self.segments[-1:]
        if self.segments[-1].closed:
            last = self.segments.pop()
            self._open_segment(last.end, last.watermark)
        self.start.seen.handed_over()

    def _quarantined(self, batch: RecordBatch) -> dict[int, DeadLetter]:
        if not self.start.quarantined:
            return {}
        return {
            index: DeadLetter(index, Reason.QUARANTINED, "the record ended the process that read it, several times")
            for index, offset in enumerate(batch.offsets)
            if offset in self.start.quarantined
        }

    def _segments_up_to(self, next_offset: int) -> Iterator[tuple[Segment, int]]:
        """Yield each segment that ``[self.next_offset, next_offset)`` touches, and how far to read in it."""
        while self.next_offset < next_offset:
            if self.segments[-1].closed:
                self._open_segment(self.segments[-1].end, self.segments[-1].watermark)
            segment = self.segments[-1]
            yield segment, min(segment.end, next_offset)

    def _open_segment(self, lo: int, watermark: Watermark) -> None:
        end = (lo // self.segment_size + 1) * self.segment_size
        counts = WindowCounts(self.rules.bounds)
        profiles = WindowProfiles(self.rules.decoder.kinds)
        self.segments.append(Segment(lo, end, counts, profiles, watermark, hi=lo))

    def _count(self, segment: Segment, reached: _Reached, events: Decoded, hashes: Any, duplicate: Any) -> int:
        """Count a stretch of a batch and return how many of its new events are late."""
        first, last = reached.records
        begin, stop = np.searchsorted(events.rows, [first, last]).tolist()
        part, duplicate = events.part(begin, stop), duplicate[begin:stop]
        horizons, late = reached.advance(segment, part), 0
        if len(part):
            late = self._count_events(segment, part, hashes[begin:stop], duplicate, horizons[part.rows - first])
        segment.records += last - first
        segment.markers += sum(first <= index < last for index in reached.markers)
        segment.dead += sum(first <= letter.index < last for letter in events.dead)
        segment.duplicates += int(duplicate.sum())
        segment.ok += len(part) - int(duplicate.sum())
        segment.hi = reached.stop
        segment.dirty = True
        return late

    def _count_events(self, segment: Segment, part: Decoded, hashes: Any, duplicate: Any, horizons: IntArray) -> int:
        rules, windows = self.rules, self.rules.contract.windows
        starts = part.times_ms - part.times_ms % rules.window_ms
        versions = part.envelope.get("model_version")
        names = np.array(versions, dtype=object) if versions is not None else None
        late = late_events(part.times_ms, horizons, rules.window_ms, windows.allowed_lateness)
        segment.counts.add(part, segment.counts.rows_of(starts, names), hashes, duplicate, late)
        profile_starts = part.times_ms - part.times_ms % rules.profile_ms
        segment.profiles.add(part, profile_starts, list(versions) if versions is not None else None, ~duplicate)
        return int((late & ~duplicate).sum())


@dataclass(frozen=True, slots=True)
class _Reached:
    """The stretch ``[start, stop)`` of offsets of one batch that falls into one segment."""

    batch: RecordBatch
    offsets: IntArray
    appended: IntArray
    markers: dict[int, Marker]
    start: int
    stop: int

    @property
    def records(self) -> tuple[int, int]:
        """Indices ``[first, last)`` of the batch's records in the stretch."""
        first, last = np.searchsorted(self.offsets, [self.start, self.stop]).tolist()
        return first, last

    def advance(self, segment: Segment, events: Decoded) -> IntArray:
        """Move the segment's watermark past the stretch; return the watermark just before each of its records."""
        first, last = self.records
        steps = np.full(last - first, -1, dtype=np.int64)
        limits = self.appended[events.rows] + FUTURE_TOLERANCE_MS
        steps[events.rows - first] = np.minimum(events.times_ms, limits)
        state = segment.watermark
        for index in sorted(at for at in self.markers if first <= at < last):
            before = state.watermark_ms
            state = state.after_marker(self.markers[index], int(self.appended[index]))
            if state.watermark_ms > before:
                steps[index - first] = state.watermark_ms
        horizons = np.maximum.accumulate(np.concatenate([[segment.watermark.watermark_ms], steps]))
        if last > first:
            newest = int(self.appended[first:last].max())
            state = state.after_events(int(horizons[-1]), newest)
        segment.watermark = state
        return horizons[:-1]


def _unread(batch: RecordBatch, next_offset: int) -> RecordBatch:
    known = int(np.searchsorted(np.array(batch.offsets, dtype=np.int64), next_offset))
    if known == 0:
        return batch
    headers = {index - known: found for index, found in batch.headers.items() if index >= known}
    return RecordBatch(
        batch.partition,
        batch.offsets[known:],
        batch.append_times_ms[known:],
        batch.values[known:],
        batch.next_offset,
        headers,
    )


def _markers_of(batch: RecordBatch) -> tuple[dict[int, Marker], dict[int, DeadLetter]]:
    """Return the batch's markers by index, and those that cannot be read."""
    markers: dict[int, Marker] = {}
    bad: dict[int, DeadLetter] = {}
    for index, headers in batch.headers.items():
        try:
            marker = find_marker(headers)
        except ValueError as error:
            bad[index] = DeadLetter(index, Reason.MARKER, str(error))
        else:
            if marker is not None:
                markers[index] = marker
    return markers, bad
