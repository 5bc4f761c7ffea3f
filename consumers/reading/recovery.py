"""Where reading of a partition resumes: decided by the store's commit records, never by Kafka's offsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from consumers.counting.identity import HOUR_MS, SeenIds
from consumers.counting.rules import StreamRules
from consumers.counting.segments import DEFAULT_SEGMENT_SIZE, Start
from consumers.counting.watermarks import Watermark, decode_promises
from consumers.reading.quarantine import quarantined_offsets
from consumers.writing.flushing import raw_table
from driftline.clock import from_ms, to_ms
from driftline.contract import Contract
from driftline.errors import ContractError, LogRegressed
from driftline.events import STREAMS, Stream
from driftline.store import Store
from driftline.store.registry import other_windows
from driftline.transport import Partition, TopicDescription, Transport

EXPIRED, REGRESSED = (
    "retention",
    "log_regressed",
)  # reasons of a gap: records deleted unread, records lost after reading


@dataclass(frozen=True, slots=True)
class Kept:
    """The offsets ``[begin, end)`` that the log keeps of a partition."""

    begin: int
    end: int


def require_own_topics(store: Store, transport: Transport, contract: Contract) -> None:
    """Check, before anything is written for ``contract``, that no topic of its is another model's.

    Raises:
        TopicNotFound: a topic does not exist yet.
        ContractError: another model owns a topic.
    """
    for stream in STREAMS:
        _known_source(store, contract, stream, transport.describe_topic(getattr(contract.topics, stream)))


def register_source(store: Store, rules: StreamRules, topic: TopicDescription) -> int:
    """Note the topic's incarnation and its number of partitions; return its segment size, fixed at first sight.

    Raises:
        ContractError: another model owns the topic; two would take each other's segments.
    """
    known = _known_source(store, rules.contract, rules.stream, topic)
    if known and known["partitions"] == topic.partitions:
        return int(known["segment_size"])
    size = int(known["segment_size"]) if known else DEFAULT_SEGMENT_SIZE
    row: dict[str, Any] = {
        "topic": topic.name,
        "source_id": topic.topic_id,
        "stream": rules.stream,
        "model": rules.contract.model,
        "segment_size": size,
        "partitions": topic.partitions,
    }
    if known:
        row["created"] = known["created"]
    store.insert_rows("sources", [row])
    return size


def _known_source(store: Store, contract: Contract, stream: Stream, topic: TopicDescription) -> dict[str, Any] | None:
    known = store.query(
        "SELECT segment_size, partitions, model, created FROM sources FINAL "
        "WHERE topic = {topic:String} AND source_id = {id:String}",
        {"topic": topic.name, "id": topic.topic_id},
    )
    if known and known[0]["model"] != contract.model:
        msg = (
            f"`topics.{stream}` must be a topic of this model's own; {topic.name} is counted for model "
            f"{known[0]['model']}; give {contract.model} other topics, or another --home or --store"
        )
        raise ContractError(msg)
    return known[0] if known else None


def start_of(store: Store, rules: StreamRules, source_id: str, partition: Partition, kept: Kept) -> Start:
    """Return where to begin: the start of the segment reached last, or of an earlier one whose rows are incomplete.

    Records that the log no longer keeps are written down as a gap.

    Raises:
        LogRegressed: the store has counted offsets that the log does not have: it was truncated.
        ContractError: segments that stay as they are have counted in windows of another size.
    """
    segments = _segments(store, source_id, partition)
    reached = max((segment["hi"] for segment in segments), default=0)
    if reached > kept.end:
        _note_gap(store, source_id, partition, kept.end, reached, REGRESSED)
    if regressed := _regressions(store, source_id, partition):
        msg = (
            f"{partition} ended at offset {regressed[0]['from_o']} when the store had counted up to "
            f"{regressed[0]['to_o']}: the log has lost records, and others may have taken their offsets; delete and "
            "recreate the topic so that it gets a new identity, or restore the log and delete the row of data_gaps"
        )
        raise LogRegressed(msg)
    broken = [*_incomplete(store, source_id, partition), *_uncovered(segments, kept.begin)]
    offset = min(max((segment["lo"] for segment in segments), default=0), *broken, reached)
    if kept.begin > offset:
        offset = max(kept.begin, reached)
        if kept.begin > reached:
            _note_gap(store, source_id, partition, reached, kept.begin, EXPIRED)
    return begin_at(store, rules, source_id, partition, offset)


def begin_at(store: Store, rules: StreamRules, source_id: str, partition: Partition, offset: int) -> Start:
    """Return what reading from ``offset``, the start of a segment, has to know of the partition's offsets below it.

    Raises:
        ContractError: segments that stay as they are have counted in windows of another size.
    """
    segments = _segments(store, source_id, partition)
    before = [segment for segment in segments if segment["lo"] < offset]
    counted = max((segment["hi"] for segment in segments), default=0)
    _require_same_windows(store, rules, source_id, partition, offset)
    hours = _stored_hours(store, source_id, partition, offset)
    seen = SeenIds(hours, HourReader(store, rules, source_id, partition), offset)
    quarantined = quarantined_offsets(store, source_id, partition)
    return Start(source_id, offset, _watermark_after(before), seen, quarantined, counted=counted)


def _segments(store: Store, source_id: str, partition: Partition) -> list[dict[str, Any]]:
    return store.query(
        "SELECT lo, hi, watermark, producers FROM segments FINAL "
        "WHERE topic = {topic:String} AND source_id = {source:String} AND p = {p:UInt16} ORDER BY lo",
        _key(source_id, partition),
    )


def _incomplete(store: Store, source_id: str, partition: Partition) -> list[int]:
    """Return the starts of segments whose counts disagree with their commit record (a store that lost writes)."""
    rows = store.query(
        "SELECT s.lo AS lo FROM segments AS s FINAL LEFT JOIN ("
        "  SELECT lo, contract_id, sum(n) AS n FROM segment_counts FINAL WHERE topic = {topic:String}"
        "  AND source_id = {source:String} AND p = {p:UInt16} AND column = '' GROUP BY lo, contract_id"
        ") AS c ON c.lo = s.lo AND c.contract_id = s.contract_id "
        "WHERE s.topic = {topic:String} AND s.source_id = {source:String} AND s.p = {p:UInt16} AND c.n < s.n_ok",
        _key(source_id, partition),
    )
    return [row["lo"] for row in rows]


def _uncovered(segments: Sequence[Mapping[str, Any]], begin: int) -> list[int]:
    """Return where offsets still kept by the log are in no segment (a store that lost a commit record)."""
    found = []
    lo = reached = min(begin, segments[0]["lo"]) if segments else 0
    for segment in segments:
        if segment["lo"] > max(reached, begin):
            found.append(lo)
        lo, reached = segment["lo"], max(reached, segment["hi"])
    return found


def _watermark_after(segments: Sequence[Mapping[str, Any]]) -> Watermark:
    if not segments:
        return Watermark()
    promises = decode_promises(segments[-1]["producers"])
    return Watermark(
        watermark_ms=max(to_ms(segment["watermark"]) for segment in segments),
        promises=promises,
        last_append_ms=max((promise.append_ms for _, promise in promises), default=0),
    )


def _require_same_windows(store: Store, rules: StreamRules, source_id: str, partition: Partition, offset: int) -> None:
    """Ask the registry's question once more where reading begins: the log may have lost the last segment's start."""
    wanted = rules.contract.windows.stream
    other = store.query(
        "SELECT window_seconds FROM segment_counts FINAL "
        "WHERE topic = {topic:String} AND source_id = {source:String} AND p = {p:UInt16} AND lo < {lo:UInt64} "
        "AND window_seconds != {seconds:UInt32} AND (lo, contract_id) IN ("
        "  SELECT lo, contract_id FROM segments FINAL"
        "  WHERE topic = {topic:String} AND source_id = {source:String} AND p = {p:UInt16}) LIMIT 1",
        {**_key(source_id, partition), "lo": offset, "seconds": int(wanted.total_seconds())},
    )
    if other:
        counted = timedelta(seconds=other[0]["window_seconds"])
        raise other_windows(str(partition), "stream", counted, wanted)


def _stored_hours(store: Store, source_id: str, partition: Partition, offset: int) -> Iterable[int]:
    rows = store.query(
        "SELECT DISTINCT window_start, window_seconds FROM segment_counts FINAL "
        "WHERE topic = {topic:String} AND source_id = {source:String} AND p = {p:UInt16} AND lo < {lo:UInt64} "
        "AND column = ''",
        {**_key(source_id, partition), "lo": offset},
    )
    for row in rows:
        first = to_ms(row["window_start"])
        first -= first % HOUR_MS
        yield from range(first, to_ms(row["window_start"]) + row["window_seconds"] * 1000, HOUR_MS)


@dataclass(frozen=True, slots=True)
class HourReader:
    """Reads the identities that the raw table holds of one partition."""

    store: Store
    rules: StreamRules
    source_id: str
    partition: Partition

    def __call__(self, hours: Sequence[int], below: int) -> dict[int, list[int]]:
        """Return the identities of each of these hours (epoch ms) from offsets under ``below``."""
        model = self.rules.contract.model
        moment = "label_time" if self.rules.stream == "labels" else "event_time"
        only_model = "" if self.rules.stream == "inputs" else "AND model = {model:String} "
        table = raw_table(self.rules.contract, self.rules.stream)
        rows = self.store.query(
            f"SELECT toStartOfHour({moment}) AS hour, groupArray(id_hash) AS hashes FROM {table} FINAL "  # noqa: S608
            f"WHERE toStartOfHour({moment}) IN {{hours:Array(DateTime('UTC'))}} {only_model}"
            "AND source_id = {source:String} AND p = {p:UInt16} AND o < {below:UInt64} GROUP BY hour",
            {
                **_key(self.source_id, self.partition),
                "model": model,
                "hours": [from_ms(hour) for hour in hours],
                "below": below,
            },
        )
        return {to_ms(row["hour"]): row["hashes"] for row in rows}


def _regressions(store: Store, source_id: str, partition: Partition) -> list[dict[str, Any]]:
    return store.query(
        "SELECT from_o, to_o FROM data_gaps FINAL WHERE topic = {topic:String} AND source_id = {source:String} "
        "AND p = {p:UInt16} AND reason = {reason:String} ORDER BY from_o",
        {**_key(source_id, partition), "reason": REGRESSED},
    )


def _note_gap(store: Store, source_id: str, partition: Partition, first: int, stop: int, reason: str) -> None:
    row = {
        "topic": partition.topic,
        "source_id": source_id,
        "p": partition.index,
        "from_o": first,
        "to_o": stop,
        "reason": reason,
    }
    store.insert_rows("data_gaps", [row])


def _key(source_id: str, partition: Partition) -> dict[str, Any]:
    return {"topic": partition.topic, "source": source_id, "p": partition.index}
