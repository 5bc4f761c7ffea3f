"""Whether the counts of each window and the raw rows hold the same identities: number and hash sum of both.

The raw rows' hashes are computed anew by the engine. A window that differs is *unsettled*, and no
mismatch, while rows or counts of it lie beyond the commit records. One whose figures an audit has
corrected from these very raw rows is *healed*.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from consumers.auditing.segments import Committed, Place
from consumers.counting.identity import HOUR_MS
from consumers.writing.flushing import raw_table
from driftline.clock import from_ms
from driftline.contract import Contract
from driftline.events import Stream
from driftline.store import Store
from driftline.windows import to_window_ms

_HOURS_PER_STATEMENT = 1_000  # parameters travel in the address of the request
_HASHED = {"inputs": "xxHash64(id)", "predictions": "xxHash64(concat(id, '\\0', model_version))", "labels": "id_hash"}


class Key(NamedTuple):
    """One window (its start in epoch ms) of one model version (empty for inputs and labels)."""

    start_ms: int
    version: str

    def __str__(self) -> str:
        return f"window {from_ms(self.start_ms):%Y-%m-%dT%H:%MZ}" + (f" {self.version}" if self.version else "")


class Tally(NamedTuple):
    """A number of events and the sum of their identities' hashes modulo 2**64."""

    n: int = 0
    id_sum: int = 0

    def plus(self, other: Tally) -> Tally:
        """Return the tally of both."""
        return Tally(self.n + other.n, (self.id_sum + other.id_sum) % 2**64)


@dataclass(frozen=True, slots=True)
class Difference:
    """A window whose counts and raw rows are not the same events."""

    key: Key
    counted: Tally
    raw: Tally

    def __str__(self) -> str:
        return f"{self.key}: {self.counted.n} counted, {self.raw.n} raw rows"

    @property
    def size(self) -> int:
        """By how many events they differ: at least one."""
        return max(1, abs(self.counted.n - self.raw.n))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the windows looked at."""

    compared: frozenset[Key]
    differing: tuple[Difference, ...]
    healed: tuple[Difference, ...]
    unsettled: frozenset[Key]


@dataclass(frozen=True, slots=True)
class StreamRows:
    """Where one stream's raw rows are, and how they are told apart."""

    store: Store
    contract: Contract
    stream: Stream

    @property
    def topic(self) -> str:
        """The stream's topic."""
        name: str = getattr(self.contract.topics, self.stream)
        return name

    @property
    def window_ms(self) -> int:
        """Length of the windows."""
        return to_window_ms(self.contract.windows.stream)

    @property
    def moment(self) -> str:
        """The column that says which window a row is in."""
        return "label_time" if self.stream == "labels" else "event_time"

    @property
    def version(self) -> str:
        """The expression of a row's model version."""
        return "r.model_version" if self.stream == "predictions" else "''"

    @property
    def only_model(self) -> str:
        """The condition that leaves out other models' rows."""
        return "" if self.stream == "inputs" else "AND model = {model:String}"

    def parameters(self, **more: object) -> dict[str, Any]:
        """Return what statements over these rows have in common."""
        return {"topic": self.topic, "model": self.contract.model, "window_ms": self.window_ms, **more}

    def rows(self, hours: bool, *, final: bool = True) -> str:
        """Return the raw rows as a subquery, those of ``{hours}`` or all; whole hours, since one identity is in one."""
        some = f"AND toStartOfHour({self.moment}) IN {{hours:Array(DateTime('UTC'))}}" if hours else ""
        table = raw_table(self.contract, self.stream)
        return f"SELECT * FROM {table} {'FINAL' if final else ''} WHERE true {self.only_model} {some}"  # noqa: S608

    @property
    def start(self) -> str:
        """The expression of a row's window start in epoch ms."""
        return f"intDiv(toUnixTimestamp64Milli(r.{self.moment}), {{window_ms:Int64}}) * {{window_ms:Int64}}"

    @property
    def hashed(self) -> str:
        """The expression of a row's identity."""
        return _HASHED[self.stream]

    def hours_of(self, starts: Iterable[int]) -> Iterator[list[datetime]]:
        """Yield the hours that the windows touch, in portions that fit a statement; a window is in one portion."""
        ordered = sorted(set(starts))
        portion = max(1, _HOURS_PER_STATEMENT // (self.window_ms // HOUR_MS + 2))
        for first in range(0, len(ordered), portion):
            hours = {
                hour
                for start in ordered[first : first + portion]
                for hour in range(start - start % HOUR_MS, start + self.window_ms, HOUR_MS)
            }
            yield [from_ms(hour) for hour in sorted(hours)]


def counted_tallies(rows: StreamRows, starts: Collection[int] | None = None) -> dict[Key, Tally]:
    """Return what the segments count per window; of ``starts``, or of all."""
    found = rows.store.query(
        "SELECT toUnixTimestamp64Milli(window_start) AS start_ms, model_version, n, id_sum "  # noqa: S608
        "FROM segment_window_counts "
        f"WHERE model = {{model:String}} AND topic = {{topic:String}} AND column = '' {_chosen(starts)}",
        rows.parameters(**_starts(starts)),
    )
    return _summed(found)


def raw_tallies(rows: StreamRows, committed: Committed, starts: Collection[int] | None = None) -> dict[Key, Tally]:
    """Return what the raw rows below the commit records hold per window."""
    found: list[dict[str, Any]] = []
    for hours in [None] if starts is None else rows.hours_of(starts):
        found += rows.store.query(
            f"SELECT {rows.start} AS start_ms, {rows.version} AS model_version, count() AS n, sum({rows.hashed}) AS "  # noqa: S608
            f"id_sum FROM ({rows.rows(hours is not None)}) AS r INNER JOIN ({REACHED}) AS s "
            f"ON s.source_id = r.source_id AND s.p = r.p WHERE r.o < s.hi {not_dead(committed)} "
            "GROUP BY start_ms, model_version",
            rows.parameters(**({"hours": hours} if hours else {})),
        )
    wanted = None if starts is None else set(starts)
    return _summed(row for row in found if wanted is None or row["start_ms"] in wanted)


REACHED = "SELECT source_id, p, max(hi) AS hi FROM segments FINAL WHERE topic = {topic:String} GROUP BY source_id, p"


def not_dead(committed: Committed) -> str:
    """Return the condition that leaves out rows of records that a later contract calls dead letters."""
    if not committed.recounted:
        return ""
    dead = "SELECT source_id, p, o FROM counted_dead_letters WHERE topic = {topic:String}"
    return f"AND (r.source_id, r.p, r.o) NOT IN ({dead})"


def compare_windows(rows: StreamRows, committed: Committed, starts: Collection[int] | None = None) -> Comparison:
    """Compare the windows that begin at ``starts``, or all of them."""
    counted, raw = counted_tallies(rows, starts), raw_tallies(rows, committed, starts)
    keys = frozenset(counted.keys() | raw.keys())
    differing = [
        Difference(key, counted.get(key, Tally()), raw.get(key, Tally()))
        for key in sorted(keys)
        if counted.get(key, Tally()) != raw.get(key, Tally())
    ]
    unsettled = _unsettled(rows, committed, differing)
    corrected = _corrected(rows, differing)
    healed = [one for one in differing if corrected.get(one.key) == (one.counted, one.raw)]
    return Comparison(
        keys,
        tuple(one for one in differing if one.key not in unsettled and one not in healed),
        tuple(healed),
        frozenset(unsettled - {one.key for one in healed}),
    )


def _unsettled(rows: StreamRows, committed: Committed, differing: Sequence[Difference]) -> frozenset[Key]:
    """Return which of these windows have counts or rows beyond the commit records."""
    if not differing:
        return frozenset()
    starts = {one.key.start_ms for one in differing}
    seen = rows.store.query(
        "SELECT toUnixTimestamp64Milli(window_start) AS start_ms, model_version, source_id, p, "  # noqa: S608
        "max(bitShiftRight(seg_version, 16)) AS hi FROM segment_counts FINAL WHERE model = {model:String} "
        f"AND topic = {{topic:String}} AND column = '' {_chosen(starts)} "
        "GROUP BY start_ms, model_version, source_id, p",
        rows.parameters(**_starts(starts)),
    )
    for hours in rows.hours_of(starts):
        seen += rows.store.query(
            f"SELECT {rows.start} AS start_ms, {rows.version} AS model_version, r.source_id AS source_id, r.p AS p, "  # noqa: S608
            f"max(r.o) + 1 AS hi FROM ({rows.rows(hours=True, final=False)}) AS r "
            "WHERE r.source_id IN (SELECT source_id FROM sources WHERE topic = {topic:String}) "
            "GROUP BY start_ms, model_version, source_id, p",
            rows.parameters(hours=hours),
        )
    reached = committed.reached
    ahead = {
        Key(row["start_ms"], row["model_version"])
        for row in seen
        if row["hi"] > reached.get(Place(row["source_id"], row["p"]), 0)
    }
    # An uncommitted copy may hide a row of any version's window in the same hour.
    hours_ahead = {key.start_ms // HOUR_MS for key in ahead}
    return frozenset(one.key for one in differing if one.key in ahead or one.key.start_ms // HOUR_MS in hours_ahead)


def _corrected(rows: StreamRows, differing: Sequence[Difference]) -> dict[Key, tuple[Tally, Tally]]:
    if not differing:
        return {}
    found = rows.store.query(
        "SELECT toUnixTimestamp64Milli(window_start) AS start_ms, model_version, counted_n, counted_id_sum, n, id_sum "
        "FROM window_corrections FINAL WHERE model = {model:String} AND topic = {topic:String} AND column = ''",
        rows.parameters(),
    )
    return {
        Key(row["start_ms"], row["model_version"]): (
            Tally(row["counted_n"], row["counted_id_sum"]),
            Tally(row["n"], row["id_sum"]),
        )
        for row in found
    }


def _summed(rows: Iterable[Mapping[str, Any]]) -> dict[Key, Tally]:
    found: dict[Key, Tally] = {}
    for row in rows:
        key = Key(row["start_ms"], row["model_version"])
        found[key] = found.get(key, Tally()).plus(Tally(row["n"], row["id_sum"]))
    return found


def _chosen(starts: Collection[int] | None) -> str:
    return "" if starts is None else "AND window_start IN {starts:Array(DateTime64(3, 'UTC'))}"


def _starts(starts: Collection[int] | None) -> dict[str, Any]:
    return {} if starts is None else {"starts": [from_ms(start) for start in sorted(starts)]}
