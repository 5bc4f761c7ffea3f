"""The commit records of one topic, and whether counts, dead letters and offsets agree with them.

The records are read once, before anything else: whatever lies beyond them is a consumer's flush under
way, or what a crash has left, and says nothing yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from driftline.store import Store


class Place(NamedTuple):
    """One partition of one incarnation of the topic."""

    source_id: str
    p: int

    def __str__(self) -> str:
        return f"partition {self.p}"


@dataclass(frozen=True, slots=True)
class Segment:
    """One commit record."""

    place: Place
    lo: int
    hi: int
    version: int
    contract_id: str
    n_records: int
    n_ok: int
    n_duplicate: int
    n_dead: int
    n_marker: int
    n_control: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and the offsets ``[lo, hi)`` that would have to be read again to mend it."""

    text: str
    place: Place | None = None
    lo: int = 0
    hi: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """All commit records of a topic at one moment, by partition and offset, and the segment size of each incarnation.

    ``columns`` is how many columns each contract counts in this topic; more than one contract may have read a segment.
    """

    topic: str
    segments: tuple[Segment, ...]
    sizes: Mapping[str, int]
    columns: Mapping[str, int]

    @property
    def recounted(self) -> bool:
        """Whether the model has had several contracts, so that a segment may have been read under two."""
        return len(self.columns) > 1

    @property
    def reached(self) -> dict[Place, int]:
        """The first offset of each partition that no record covers."""
        return {segment.place: segment.hi for segment in self.segments}

    def block(self, segment: Segment) -> tuple[Place, int]:
        """Return which aligned block of offsets the segment lies in; after a gap there may be two in one."""
        return segment.place, segment.lo // self.sizes[segment.place.source_id]


def read_committed(store: Store, model: str, topic: str) -> Committed:
    """Return the commit records of ``topic`` as they are now."""
    rows = store.query(
        "SELECT source_id, p, lo, hi, seg_version AS version, contract_id, n_records, n_ok, n_duplicate, n_dead, "
        "n_marker, n_control FROM segments FINAL WHERE topic = {topic:String} ORDER BY source_id, p, lo",
        {"topic": topic},
    )
    sizes = store.query(
        "SELECT source_id, segment_size FROM sources FINAL WHERE topic = {topic:String}", {"topic": topic}
    )
    contracts = store.query(
        "SELECT contract_id, if((SELECT any(stream) FROM sources WHERE topic = {topic:String}) = 'inputs', "
        "length(JSONExtractKeys(body, 'columns')), 1) AS columns FROM contracts FINAL WHERE model = {model:String}",
        {"model": model, "topic": topic},
    )
    return Committed(
        topic,
        tuple(Segment(Place(row.pop("source_id"), row.pop("p")), **row) for row in rows),
        {row["source_id"]: row["segment_size"] for row in sizes},
        {row["contract_id"]: row["columns"] for row in contracts},
    )


def count_findings(store: Store, committed: Committed) -> tuple[list[Finding], int]:
    """Return the segments whose counts are not their commit record's, and how many await the consumer's next flush."""
    rows = store.query(
        "SELECT source_id, p, lo, contract_id, sumIf(c.n, column = '') AS events, sum(c.n) AS cells, "
        "max(seg_version) AS version FROM segment_counts AS c FINAL "
        "WHERE topic = {topic:String} GROUP BY source_id, p, lo, contract_id",
        {"topic": committed.topic},
    )
    counted = {(Place(row["source_id"], row["p"]), row["lo"], row["contract_id"]): row for row in rows}
    found, unsettled = [], 0
    for segment in committed.segments:
        count = counted.get((segment.place, segment.lo, segment.contract_id))
        n, cells = (count["events"], count["cells"]) if count else (0, 0)
        if count and count["version"] > segment.version:
            unsettled += 1
        elif n != segment.n_ok:
            text = f"{segment.place}, segment {segment.lo}: {segment.n_ok} events committed, {n} counted"
            found.append(Finding(text, segment.place, segment.lo, segment.hi))
        elif cells != n * (1 + committed.columns.get(segment.contract_id, 0)):
            text = f"{segment.place}, segment {segment.lo}: counts of some columns are lost"
            found.append(Finding(text, segment.place, segment.lo, segment.hi))
    return found, unsettled


def dead_findings(store: Store, committed: Committed) -> list[Finding]:
    """Return where dead letters were counted that are not kept, whatever has been done about them since."""
    rows = store.query(
        "SELECT source_id, p, o FROM counted_dead_letters WHERE topic = {topic:String}", {"topic": committed.topic}
    )
    reached, kept = committed.reached, dict[tuple[Place, int], int]()
    for row in rows:
        place = Place(row["source_id"], row["p"])
        if row["o"] < reached.get(place, 0):
            block = (place, row["o"] // committed.sizes[place.source_id])
            kept[block] = kept.get(block, 0) + 1
    found = []
    for block, segments in _by_block(committed):
        counted = sum(segment.n_dead for segment in segments)
        if counted != kept.get(block, 0):
            place, lo, hi = block[0], segments[0].lo, segments[-1].hi
            text = f"{place}, segment {lo}: {counted} dead letters counted, {kept.get(block, 0)} kept"
            found.append(Finding(text, place, lo, hi))
    return found


def covering_findings(committed: Committed, gaps: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return commit records that contradict themselves, overlap, or leave out offsets that no gap explains."""
    found: list[Finding] = []
    reached: dict[Place, int] = {}
    for segment in committed.segments:
        place, before = segment.place, reached.get(segment.place, 0)
        classified = segment.n_ok + segment.n_duplicate + segment.n_dead + segment.n_marker
        if classified != segment.n_records or segment.hi - segment.lo != segment.n_records + segment.n_control:
            text = f"{place}, segment {segment.lo}: {segment.n_records} records, {classified} classified"
            found.append(Finding(text, place, segment.lo, segment.hi))
        if segment.lo < before:
            found.append(Finding(f"{place}: segments overlap between offsets {segment.lo} and {before}"))
        for start, stop in uncovered(before, segment.lo, place, gaps):
            found.append(Finding(f"{place}: offsets {start} to {stop} are in no segment", place, start, stop))
        reached[place] = segment.hi
    return found


def uncovered(start: int, stop: int, place: Place, gaps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of ``[start, stop)`` of one partition that no gap covers; ``gaps`` are ordered by ``from_o``."""
    for gap in gaps:
        if (gap["source_id"], gap["p"]) == place and gap["to_o"] > start and gap["from_o"] < stop:
            if gap["from_o"] > start:
                yield start, gap["from_o"]
            start = gap["to_o"]
    if start < stop:
        yield start, stop


def _by_block(committed: Committed) -> Iterator[tuple[tuple[Place, int], list[Segment]]]:
    blocks: dict[tuple[Place, int], list[Segment]] = {}
    for segment in committed.segments:
        blocks.setdefault(committed.block(segment), []).append(segment)
    yield from blocks.items()
