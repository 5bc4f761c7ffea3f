"""Whether every event of the log stands in the store exactly once: the claim, recomputed from scratch.

Three legs. Per topic: produced = ok + duplicate + dead + pending, where produced is what the log holds
without markers and control records. Per segment: the commit record equals the sum of its counts, and the
segments cover the offsets without gap or overlap. Per window: number and hash sum of the identities
are equal between the counts and the raw rows, whose hashes are computed anew by the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consumers.flushing import raw_table
from driftline.contract import Contract
from driftline.errors import TopicNotFound
from driftline.events import STREAMS, Stream
from driftline.store import Store
from driftline.transport import Partition, TopicDescription, Transport
from driftline.windows import to_window_ms

_HASHED = {"inputs": "xxHash64(id)", "predictions": "xxHash64(concat(id, '\\0', model_version))", "labels": "id_hash"}


@dataclass(frozen=True, slots=True)
class TopicAudit:
    """The account of one topic; counts of records. ``mismatches`` are sentences, none when all is well."""

    topic: str
    stream: Stream
    produced: int
    ok: int
    duplicate: int
    dead: int
    pending: int
    markers: int
    windows: int
    mismatches: tuple[str, ...]


def audit(store: Store, transport: Transport, contract: Contract) -> list[TopicAudit]:
    """Return the account of each of the contract's topics; a topic that does not exist yet is empty."""
    return [_audit_topic(store, transport, contract, stream) for stream in STREAMS]


def pending_records(store: Store, transport: Transport, contract: Contract) -> int:
    """Return how many records of the contract's topics the store has not counted yet."""
    return sum(_pending(store, transport, getattr(contract.topics, stream)) for stream in STREAMS)


def _pending(store: Store, transport: Transport, topic: str) -> int:
    description = transport.describe_topic(topic)
    begin, end = _kept_offsets(transport, description)
    segments = _segments(store, {"topic": topic, "source": description.topic_id})
    return sum(_uncounted(segments, part, begin[part], end[part]) for part in end)


def _kept_offsets(transport: Transport, topic: TopicDescription) -> tuple[dict[Partition, int], dict[Partition, int]]:
    partitions = [Partition(topic.name, index) for index in range(topic.partitions)]
    with transport.consumer() as consumer:
        consumer.assign(dict.fromkeys(partitions, 0))
        return consumer.begin_offsets(partitions), consumer.end_offsets(partitions)


def _uncounted(segments: Sequence[dict[str, Any]], partition: Partition, begin: int, end: int) -> int:
    reached: int = max([begin, *(row["hi"] for row in segments if row["p"] == partition.index)])
    return end - reached


def _audit_topic(store: Store, transport: Transport, contract: Contract, stream: Stream) -> TopicAudit:
    topic: str = getattr(contract.topics, stream)
    try:
        description = transport.describe_topic(topic)
    except TopicNotFound:
        return TopicAudit(topic, stream, 0, 0, 0, 0, 0, 0, 0, ())
    begin, end = _kept_offsets(transport, description)
    source = {"topic": topic, "source": description.topic_id}
    segments = _segments(store, source)
    pending = sum(_uncounted(segments, part, begin[part], end[part]) for part in end)
    totals = {
        name: sum(row[name] for row in segments) for name in ("n_ok", "n_duplicate", "n_dead", "n_marker", "n_control")
    }
    lost = store.scalar(
        "SELECT sum(to_o - from_o) FROM data_gaps FINAL WHERE topic = {topic:String} AND source_id = {source:String}",
        source,
    )
    kept = sum(end[part] - begin[part] for part in end)
    expired = sum(begin.values()) - (lost or 0)
    produced = kept + expired - totals["n_marker"] - totals["n_control"]
    windows, wrong = _compare_windows(store, contract, stream, source)
    account = totals["n_ok"] + totals["n_duplicate"] + totals["n_dead"] + pending
    complaints = [
        *([f"{produced} records produced, {account} accounted for"] if produced != account else []),
        *_segment_complaints(segments, begin),
        *_count_complaints(store, source),
        *_dead_complaints(store, source, totals["n_dead"]),
        *wrong,
    ]
    return TopicAudit(
        topic,
        stream,
        produced,
        totals["n_ok"],
        totals["n_duplicate"],
        totals["n_dead"],
        pending,
        totals["n_marker"],
        windows,
        tuple(complaints),
    )


def _segments(store: Store, source: dict[str, Any]) -> list[dict[str, Any]]:
    return store.query(
        "SELECT p, lo, hi, n_records, n_ok, n_duplicate, n_dead, n_marker, n_control FROM segments FINAL "
        "WHERE topic = {topic:String} AND source_id = {source:String} ORDER BY p, lo",
        source,
    )


def _segment_complaints(segments: Sequence[dict[str, Any]], begin: dict[Partition, int]) -> list[str]:
    complaints = []
    reached: dict[int, int] = {}
    begins = {part.index: offset for part, offset in begin.items()}
    for row in segments:
        p, lo, before = row["p"], row["lo"], reached.get(row["p"], 0)
        parts = row["n_ok"] + row["n_duplicate"] + row["n_dead"] + row["n_marker"]
        if parts != row["n_records"] or row["hi"] - lo != row["n_records"] + row["n_control"]:
            complaints.append(f"partition {p}, segment {lo}: {row['n_records']} records, {parts} classified")
        if lo < before:
            complaints.append(f"partition {p}: segments overlap between offsets {lo} and {before}")
        if lo > before and begins.get(p, 0) < lo:
            complaints.append(f"partition {p}: offsets {before} to {lo} are in no segment")
        reached[p] = row["hi"]
    return complaints


def _count_complaints(store: Store, source: dict[str, Any]) -> list[str]:
    rows = store.query(
        "SELECT s.p AS p, s.lo AS lo, s.n_ok AS n_ok, c.n AS n FROM segments AS s FINAL LEFT JOIN ("
        "  SELECT p, lo, contract_id, sum(n) AS n FROM segment_counts FINAL WHERE topic = {topic:String}"
        "  AND source_id = {source:String} AND column = '' GROUP BY p, lo, contract_id"
        ") AS c ON c.p = s.p AND c.lo = s.lo AND c.contract_id = s.contract_id "
        "WHERE s.topic = {topic:String} AND s.source_id = {source:String} AND c.n != s.n_ok",
        source,
    )
    return [f"partition {r['p']}, segment {r['lo']}: {r['n_ok']} events committed, {r['n']} counted" for r in rows]


def _dead_complaints(store: Store, source: dict[str, Any], counted: int) -> list[str]:
    kept = store.scalar(
        "SELECT count() FROM dead_letters AS d FINAL INNER JOIN ("
        "  SELECT p, max(hi) AS hi FROM segments FINAL"
        "  WHERE topic = {topic:String} AND source_id = {source:String} GROUP BY p"
        ") AS s ON s.p = d.p WHERE d.topic = {topic:String} AND d.source_id = {source:String} AND d.o < s.hi",
        source,
    )
    return [f"{counted} dead letters counted, {kept} kept"] if kept != counted else []


def _compare_windows(store: Store, contract: Contract, stream: Stream, source: dict[str, Any]) -> tuple[int, list[str]]:
    """Return how many windows were compared, and what differs between the counts and the raw rows."""
    moment = "label_time" if stream == "labels" else "event_time"
    version = "model_version" if stream == "predictions" else "''"
    model = "" if stream == "inputs" else "AND r.model = {model:String} "
    rows = store.query(
        "SELECT if(c.n > 0, c.window_start, r.window_start) AS window_start, "  # noqa: S608
        "if(c.n > 0, c.model_version, r.model_version) AS model_version, c.n AS n, r.n AS raw_n, "
        "c.id_sum AS id_sum, r.id_sum AS raw_id_sum FROM ("
        "  SELECT window_start, model_version, sum(n) AS n, sum(id_sum) AS id_sum FROM window_counts"
        "  WHERE topic = {topic:String} AND column = '' GROUP BY window_start, model_version"
        ") AS c FULL OUTER JOIN ("
        f"  SELECT toStartOfInterval(r.{moment}, toIntervalMillisecond({{window_ms:UInt64}}), 'UTC') AS window_start,"
        f"  {version} AS model_version, count() AS n, sum({_HASHED[stream]}) AS id_sum"
        f"  FROM {raw_table(contract, stream)} AS r FINAL INNER JOIN ("
        "    SELECT source_id, p, max(hi) AS hi FROM segments FINAL WHERE topic = {topic:String} GROUP BY source_id, p"
        f"  ) AS s ON s.source_id = r.source_id AND s.p = r.p WHERE r.o < s.hi {model}"
        "  GROUP BY window_start, model_version"
        ") AS r ON r.window_start = c.window_start AND r.model_version = c.model_version",
        {**source, "model": contract.model, "window_ms": to_window_ms(contract.windows.stream)},
    )
    wrong = [
        f"window {row['window_start']:%Y-%m-%dT%H:%MZ} {row['model_version']}: "
        f"{row['n']} counted, {row['raw_n']} raw rows"
        for row in rows
        if row["n"] != row["raw_n"] or row["id_sum"] != row["raw_id_sum"]
    ]
    return len(rows), wrong
