"""Mending what an audit has found: lost rows and counts from the log, windows of repeated identities from raw rows.

A window that counts more events than it has raw rows has either lost rows or counts an identity twice that lies in
two partitions. The log tells which: its segments are read again, and what is then still missing stands in the raw
table under another offset. Only then is the window corrected. What the log no longer has stays a finding, unless the
segments that cannot be read again count exactly the identities that the raw rows hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog

from consumers.auditing.audit import Examined
from consumers.auditing.corrections import correct
from consumers.auditing.rereading import Rereader
from consumers.auditing.segments import Committed, Place, Segment, read_committed
from consumers.auditing.windows import Difference, Key, StreamRows, Tally, compare_windows, not_dead
from driftline.clock import from_ms
from driftline.errors import ContractError, TransportUnavailable

_log = structlog.get_logger(__name__)

REREADS_PER_RUN = 20  # a hundred thousand records: a second or two
_Block = tuple[Place, int]  # a partition and the number of an aligned stretch of its offsets
_Held = dict[tuple[_Block, Key], Tally]


@dataclass(slots=True)
class Healer:
    """Heals topics, one run after the other; remembers which segments it has read again, to do so once."""

    rereader: Rereader
    budget: int = REREADS_PER_RUN
    _proven: set[tuple[str, _Block, int]] = field(default_factory=set)
    _tried: set[tuple[str, str]] = field(default_factory=set)
    _left: int = 0

    def heal(self, found: Examined) -> bool:
        """Mend what can be mended of one topic's audit; return whether anything was, so that it is audited again."""
        self._left = self.budget
        wanted = dict.fromkeys([*self._broken(found), *self._suspects(found)])
        reread = [block for block in wanted if self._reread(found, block)]
        if reread:
            rows = found.rows
            found = replace(found, committed=read_committed(rows.store, rows.contract.model, rows.topic))
        differing = compare_windows(found.rows, found.committed, _starts(found.comparison.differing)).differing
        held = _Holdings.of(found, differing)
        explained = [one for one in differing if self._explained(found, held, one)]
        at: datetime = self.rereader.store.scalar("SELECT now64(6, 'UTC')")
        correct(found.rows, explained, at)
        _note_corrections(found.rows, explained, at)
        return bool(reread or explained)

    def _broken(self, found: Examined) -> Iterator[_Block]:
        """Yield the blocks whose counts, dead letters or commit records are not what they should be.

        What reading them again has not mended is not tried a second time.
        """
        topic, sizes = found.rows.topic, found.committed.sizes
        self._tried = {one for one in self._tried if one[0] != topic} | (
            self._tried & {(topic, finding.text) for finding in found.findings}
        )
        for finding in found.findings:
            if finding.place and (topic, finding.text) not in self._tried:
                self._tried.add((topic, finding.text))
                size = sizes[finding.place.source_id]
                for number in range(finding.lo // size, -(-finding.hi // size)):
                    yield finding.place, number

    def _suspects(self, found: Examined) -> list[_Block]:
        """Return the blocks whose raw rows are not what they count, in a window that differs."""
        held = _Holdings.of(found, found.comparison.differing)
        blocks = {block for one in found.comparison.differing for block in held.lacking(one.key)}
        return sorted(block for block in blocks if not self._is_proven(found, block))

    def _explained(self, found: Examined, held: _Holdings, one: Difference) -> bool:
        """Return whether every event counted in the window is known to be among its raw rows."""
        unread: dict[str, Tally] = {}
        for block in held.lacking(one.key):
            if not self._is_proven(found, block):
                source = block[0].source_id
                unread[source] = held.counted_of(source, one.key)
        return all(tally == one.raw for tally in unread.values())

    def _is_proven(self, found: Examined, block: _Block) -> bool:
        return (found.rows.topic, block, _end_of(found.committed, block)) in self._proven

    def _reread(self, found: Examined, block: _Block) -> bool:
        """Read a block of offsets again, if the log has all of it; return whether it was read."""
        place, _ = block
        size = found.committed.sizes[place.source_id]
        lo, hi = _begin_of(found.committed, block), _end_of(found.committed, block)
        kept = (found.begin or {}).get(place)
        if kept is None or kept > lo or self._left == 0 or hi <= lo:
            return False
        self._left -= 1
        try:
            self.rereader.reread(found.rows.stream, place, lo, hi, size)
        except (TransportUnavailable, ContractError) as error:
            _log.warning("segment_not_read_again", topic=found.rows.topic, partition=place.p, lo=lo, error=str(error))
            return False
        self._proven.add((found.rows.topic, block, hi))
        self._note_reread(found.rows, place, lo, hi)
        return True

    def _note_reread(self, rows: StreamRows, place: Place, lo: int, hi: int) -> None:
        row = {
            **_healing_row(rows, self.rereader.store.scalar("SELECT now64(6, 'UTC')"), "read again"),
            "source_id": place.source_id,
            "p": place.p,
            "from_o": lo,
            "to_o": hi,
        }
        self.rereader.store.insert_rows("healings", [row])
        _log.info("segment_read_again", topic=rows.topic, partition=place.p, lo=lo, hi=hi)


@dataclass(frozen=True, slots=True)
class _Holdings:
    """What each block counts, and what raw rows it has, in each of some windows."""

    counted: _Held
    raw: _Held

    @classmethod
    def of(cls, found: Examined, differing: Sequence[Difference]) -> _Holdings:
        """Read both for the windows that differ."""
        if not differing:
            return cls({}, {})
        starts = _starts(differing)
        return cls(_counted(found.rows, found.committed, starts), _raw(found.rows, found.committed, starts))

    def lacking(self, key: Key) -> list[_Block]:
        """Return the blocks whose raw rows in this window are not what they count."""
        blocks = {block for block, other in self.counted.keys() | self.raw.keys() if other == key}
        return sorted(b for b in blocks if self.counted.get((b, key), Tally()) != self.raw.get((b, key), Tally()))

    def counted_of(self, source_id: str, key: Key) -> Tally:
        """Return what one incarnation of the topic counts in the window."""
        total = Tally()
        for (block, other), tally in self.counted.items():
            if other == key and block[0].source_id == source_id:
                total = total.plus(tally)
        return total


def _counted(rows: StreamRows, committed: Committed, starts: Sequence[int]) -> _Held:
    contracts = {(segment.place, segment.lo): segment for segment in committed.segments}
    held: _Held = {}
    for row in rows.store.query(
        "SELECT source_id, p, lo, contract_id, toUnixTimestamp64Milli(window_start) AS start_ms, model_version, n, "
        "id_sum FROM segment_counts FINAL WHERE model = {model:String} AND topic = {topic:String} AND column = '' "
        "AND window_start IN {starts:Array(DateTime64(3, 'UTC'))}",
        rows.parameters(starts=[from_ms(start) for start in starts]),
    ):
        segment = contracts.get((Place(row["source_id"], row["p"]), row["lo"]))
        if segment and segment.contract_id == row["contract_id"]:
            where = (committed.block(segment), Key(row["start_ms"], row["model_version"]))
            held[where] = held.get(where, Tally()).plus(Tally(row["n"], row["id_sum"]))
    return held


def _raw(rows: StreamRows, committed: Committed, starts: Sequence[int]) -> _Held:
    held: _Held = {}
    for hours in rows.hours_of(starts):
        for row in rows.store.query(
            "SELECT r.source_id AS source_id, r.p AS p, intDiv(r.o, s.segment_size) AS block, "  # noqa: S608
            f"{rows.start} AS start_ms, {rows.version} AS model_version, count() AS n, sum({rows.hashed}) AS id_sum "
            f"FROM ({rows.rows(hours=True)}) AS r INNER JOIN ("
            "  SELECT source_id, segment_size FROM sources FINAL WHERE topic = {topic:String}"
            f") AS s ON s.source_id = r.source_id WHERE true {not_dead(committed)} GROUP BY ALL",
            rows.parameters(hours=hours),
        ):
            place = Place(row["source_id"], row["p"])
            where = ((place, row["block"]), Key(row["start_ms"], row["model_version"]))
            held[where] = held.get(where, Tally()).plus(Tally(row["n"], row["id_sum"]))
    return held


def _segments_of(committed: Committed, block: _Block) -> list[Segment]:
    return [segment for segment in committed.segments if committed.block(segment) == block]


def _begin_of(committed: Committed, block: _Block) -> int:
    """Return where the block's first segment starts; where its commit record is lost, the start of the block."""
    segments = _segments_of(committed, block)
    return segments[0].lo if segments else block[1] * committed.sizes[block[0].source_id]


def _end_of(committed: Committed, block: _Block) -> int:
    """Return the offset that the block is counted up to."""
    segments = _segments_of(committed, block)
    return segments[-1].hi if segments else (block[1] + 1) * committed.sizes[block[0].source_id]


def _starts(differing: Sequence[Difference]) -> list[int]:
    return sorted({one.key.start_ms for one in differing})


def _note_corrections(rows: StreamRows, differences: Sequence[Difference], at: datetime) -> None:
    found = [
        {
            **_healing_row(rows, at, "corrected"),
            "window_start": from_ms(one.key.start_ms),
            "model_version": one.key.version,
            "n_before": one.counted.n,
            "n_after": one.raw.n,
            "id_sum_before": one.counted.id_sum,
            "id_sum_after": one.raw.id_sum,
        }
        for one in differences
    ]
    rows.store.insert_rows("healings", found)
    for one in differences:
        _log.info("window_corrected", topic=rows.topic, window=str(one.key), counted=one.counted.n, raw=one.raw.n)


def _healing_row(rows: StreamRows, at: datetime, action: str) -> Mapping[str, Any]:
    return {"model": rows.contract.model, "topic": rows.topic, "stream": rows.stream, "at": at, "action": action}
