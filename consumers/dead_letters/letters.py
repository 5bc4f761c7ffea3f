"""Dead letters as people handle them: which there are, how they stand, what is done about them.

Reads the view ``dead_letter_status``. What is done is a new row under the letter's key with a greater ``rev``; the
consumer writes ``rev`` 0 only, so that counting a segment again never undoes it. Sending letters again is
``redriving``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from driftline.clock import to_ms
from driftline.store import Store

Status = Literal["new", "redriven", "failed", "discarded", "copy"]
STATUSES: tuple[Status, ...] = ("new", "redriven", "failed", "discarded", "copy")
PAGE_LETTERS = 500
_EVERY_BYTE = 2**32


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters of a model: empty means any; ``since`` is by append time, inclusive."""

    model: str
    topics: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    statuses: tuple[Status, ...] = ()
    since: datetime | None = None


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record stands in a log."""

    topic: str
    source_id: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}] offset {self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. ``raw`` holds what the store keeps of its ``raw_bytes`` bytes, or the part that was asked for.

    ``redrives`` counts the copies sent of it; of a copy it is the how many-eth it is, of the place ``redrive_of``.
    """

    place: Place
    status: Status
    reason: str
    error: str
    raw: bytes
    raw_sha256: str
    raw_bytes: int
    append_time: datetime
    contract_id: str
    redrive_of: str
    redrives: int
    acted_at: datetime | None
    acted_by: str
    note: str


@dataclass(frozen=True, slots=True)
class Group:
    """How many letters of a topic share reason and status, and the append times of the first and the last."""

    topic: str
    reason: str
    status: Status
    letters: int
    first: datetime
    last: datetime


def grouped(store: Store, choice: Choice) -> list[Group]:
    """Return the chosen letters counted by topic, reason and status; the most frequent first."""
    rows = store.query(
        f"SELECT topic, reason, status, count() AS letters, min(append_time) AS first, max(append_time) AS last "  # noqa: S608
        f"FROM dead_letter_status WHERE {_CHOSEN} GROUP BY topic, reason, status "
        "ORDER BY letters DESC, topic, reason, status",
        _bound(choice),
    )
    return [Group(**row) for row in rows]


def newest(store: Store, choice: Choice, limit: int, raw_bytes: int) -> list[Letter]:
    """Return the chosen letters appended last, newest first, each with its first ``raw_bytes`` bytes."""
    return _letters(store, choice, _NEWEST, {"limit": limit}, raw_bytes)


def letters_at(store: Store, choice: Choice, partition: int, offset: int) -> list[Letter]:
    """Return the chosen letters at this offset: of one topic there is at most one, unless it was made again."""
    tail = "AND p = {p:UInt16} AND o = {o:UInt64} ORDER BY topic"
    return _letters(store, choice, tail, {"p": partition, "o": offset})


def in_order(store: Store, choice: Choice) -> Iterator[list[Letter]]:
    """Yield all chosen letters in the order of the log, a page at a time; each once, whatever is done meanwhile."""
    after = Place("", "", 0, 0)
    while True:
        key = {"t": after.topic, "s": after.source_id, "p": after.partition, "o": after.offset, "limit": PAGE_LETTERS}
        found = _letters(store, choice, _NEXT_PAGE, key)
        if found:
            yield found
        if len(found) < PAGE_LETTERS:
            return
        after = found[-1].place


def act(
    store: Store,
    places: Sequence[Place],
    status: Literal["redriven", "discarded"],
    actor: str,
    note: str = "",
    redrives: int = 0,
) -> None:
    """Write down what was done about these letters and by whom; ``redrives`` is how often they were sent by now."""
    for (topic, source_id), group in groupby(sorted(places), key=lambda place: (place.topic, place.source_id)):
        at = [(place.partition, place.offset) for place in group]
        store.execute(
            _ACT,
            {
                "topic": topic,
                "source": source_id,
                "p": [p for p, _ in at],
                "o": [o for _, o in at],
                "status": status,
                "actor": actor[:200],
                "note": note[:1_000],
                "redrives": redrives,
            },
        )


def discard(store: Store, choice: Choice, actor: str, note: str) -> int:
    """Mark the chosen letters as looked at and given up; return how many. Their rows stay."""
    done = 0
    for page in in_order(store, choice):
        places = [letter.place for letter in page if letter.status not in ("discarded", "copy")]
        if places:
            act(store, places, "discarded", actor, note)
        done += len(places)
    return done


def _letters(store: Store, choice: Choice, tail: str, more: Mapping[str, Any], kept: int = _EVERY_BYTE) -> list[Letter]:
    rows = store.query(
        "SELECT topic, source_id, p, o, status, reason, error, hex(substring(raw, 1, {kept:UInt64})) AS raw, "  # noqa: S608
        "raw_sha256, raw_bytes, append_time, contract_id, redrive_of, redrives, acted_at, acted_by, note "
        f"FROM dead_letter_status WHERE {_CHOSEN} {tail}",
        {**_bound(choice), "kept": kept, **more},
    )
    return [_letter(row) for row in rows]


def _letter(row: dict[str, Any]) -> Letter:
    place = Place(row.pop("topic"), row.pop("source_id"), row.pop("p"), row.pop("o"))
    return Letter(place, raw=bytes.fromhex(row.pop("raw")), **row)


def _bound(choice: Choice) -> dict[str, Any]:
    return {
        "model": choice.model,
        "topics": list(choice.topics),
        "reasons": list(choice.reasons),
        "statuses": list(choice.statuses),
        "since": to_ms(choice.since) if choice.since else 0,
    }


_CHOSEN = """
    model = {model:String} AND append_time >= fromUnixTimestamp64Milli({since:Int64})
    AND (empty({topics:Array(String)}) OR has({topics:Array(String)}, topic))
    AND (empty({reasons:Array(String)}) OR has({reasons:Array(String)}, reason))
    AND (empty({statuses:Array(String)}) OR has({statuses:Array(String)}, status))
"""
_NEWEST = "ORDER BY append_time DESC, topic, p, o DESC LIMIT {limit:UInt32}"
_NEXT_PAGE = (
    "AND (topic, source_id, p, o) > ({t:String}, {s:String}, {p:UInt16}, {o:UInt64}) "
    "ORDER BY topic, source_id, p, o LIMIT {limit:UInt32}"
)
# The bytes never leave the engine: they may be no text. Rows of other contracts get the same rev.
_ACT = """
    INSERT INTO dead_letters (model, topic, source_id, p, o, contract_id, rev, status, reason, error, raw, raw_sha256,
        raw_bytes, append_time, redrive_of, redrives, written, keep_seconds, acted_at, acted_by, note)
    SELECT model, topic, source_id, p, o, contract_id, max(rev) OVER (PARTITION BY topic, source_id, p, o) + 1,
        {status:String}, reason, error, raw, raw_sha256, raw_bytes, append_time, redrive_of,
        greatest(redrives, {redrives:UInt16}), written, keep_seconds, now64(3), {actor:String}, {note:String}
    FROM dead_letters FINAL
    WHERE topic = {topic:String} AND source_id = {source:String}
        AND (p, o) IN (SELECT arrayJoin(arrayZip({p:Array(UInt16)}, {o:Array(UInt64)})))
"""
