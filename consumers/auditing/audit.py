"""Whether every event of the log stands in the store exactly once: the claim, recomputed from scratch.

Three legs. Per topic: produced = ok + duplicate + dead + pending, where produced is what the log has taken
without markers, control records and what it lost before it was read. Per segment: the commit record equals the
sum of its counts and its dead letters, and the segments cover the offsets without gap or overlap. Per window:
number and hash sum of the identities are equal between the counts and the raw rows.

Exact while consumers run: the commit records are read first, and what lies beyond them is not compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.auditing.segments import (
    Committed,
    Finding,
    Place,
    count_findings,
    covering_findings,
    dead_findings,
    read_committed,
    uncovered,
)
from consumers.auditing.windows import Comparison, StreamRows, compare_windows
from driftline.contract import Contract
from driftline.errors import TopicNotFound
from driftline.events import STREAMS, Stream
from driftline.store import Store
from driftline.transport import Partition, TopicDescription, Transport

_SUMS = ("n_ok", "n_duplicate", "n_dead", "n_marker", "n_control")


@dataclass(frozen=True, slots=True)
class TopicAudit:
    """The account of one topic; counts of records of its present incarnation.

    ``mismatches`` are sentences, none when all is well. ``healed`` names windows whose figures are corrected from the
    raw rows; ``unsettled`` counts windows and segments that await the next flush of a consumer, running or dead.
    """

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
    healed: tuple[str, ...] = ()
    unsettled: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Examined:
    """A topic's account and what it rests on, for healing."""

    account: TopicAudit
    rows: StreamRows
    committed: Committed
    findings: tuple[Finding, ...]
    comparison: Comparison
    source_id: str = ""
    begin: Mapping[Place, int] | None = None


def audit(store: Store, transport: Transport, contract: Contract) -> list[TopicAudit]:
    """Return the account of each of the contract's topics; a topic that does not exist yet is empty."""
    return [examine(store, transport, contract, stream).account for stream in STREAMS]


def pending_records(store: Store, transport: Transport, contract: Contract) -> int:
    """Return how many records of the contract's topics the store has not counted yet."""
    return sum(_pending(store, transport, contract, getattr(contract.topics, stream)) for stream in STREAMS)


def _pending(store: Store, transport: Transport, contract: Contract, topic: str) -> int:
    description = transport.describe_topic(topic)
    reached = read_committed(store, contract.model, topic).reached
    begin, end = _kept_offsets(transport, description)
    return sum(end[place] - max(begin[place], reached.get(place, 0)) for place in end)


def examine(
    store: Store, transport: Transport, contract: Contract, stream: Stream, starts: Collection[int] | None = None
) -> Examined:
    """Return the account of one topic, with the windows that begin at ``starts`` (epoch ms) compared, or with all."""
    rows = StreamRows(store, contract, stream)
    committed = read_committed(store, contract.model, rows.topic)
    try:
        description = transport.describe_topic(rows.topic)
    except TopicNotFound:
        account = TopicAudit(rows.topic, stream, 0, 0, 0, 0, 0, 0, 0, ())
        return Examined(account, rows, committed, (), Comparison(frozenset(), (), (), frozenset()))
    begin, end = _kept_offsets(transport, description)
    comparison = compare_windows(rows, committed, starts)
    counts, unsettled = count_findings(store, committed)
    gaps = store.query(
        "SELECT source_id, p, from_o, to_o FROM data_gaps FINAL "
        "WHERE topic = {topic:String} AND reason = 'retention' ORDER BY p, from_o",
        {"topic": rows.topic},
    )
    log = _Log(description.topic_id, begin, end, gaps)
    findings = (
        *log.findings(committed),
        *covering_findings(committed, gaps),
        *counts,
        *dead_findings(store, committed),
    )
    account = _account(rows, committed, log, comparison, findings, unsettled)
    return Examined(account, rows, committed, findings, comparison, description.topic_id, begin)


def _account(
    rows: StreamRows,
    committed: Committed,
    log: _Log,
    comparison: Comparison,
    findings: Sequence[Finding],
    unsettled: int,
) -> TopicAudit:
    current = [segment for segment in committed.segments if segment.place.source_id == log.source_id]
    totals = {name: sum(getattr(segment, name) for segment in current) for name in _SUMS}
    pending, lost = log.pending(committed), log.lost()
    produced = sum(log.end.values()) - lost - totals["n_marker"] - totals["n_control"]
    accounted = totals["n_ok"] + totals["n_duplicate"] + totals["n_dead"] + pending
    return TopicAudit(
        topic=rows.topic,
        stream=rows.stream,
        produced=produced,
        ok=totals["n_ok"],
        duplicate=totals["n_duplicate"],
        dead=totals["n_dead"],
        pending=pending,
        markers=totals["n_marker"],
        windows=len(comparison.compared),
        mismatches=(
            *([f"{produced} records produced, {accounted} accounted for"] if produced != accounted else []),
            *(finding.text for finding in findings),
            *map(str, comparison.differing),
        ),
        healed=tuple(map(str, comparison.healed)),
        unsettled=unsettled + len(comparison.unsettled),
        lost=lost,
    )


@dataclass(frozen=True, slots=True)
class _Log:
    """The offsets that the log keeps of the topic's present incarnation, and those noted as lost."""

    source_id: str
    begin: Mapping[Place, int]
    end: Mapping[Place, int]
    gaps: Sequence[Mapping[str, Any]]

    def lost(self) -> int:
        """Return how many records left the log before they were read, as far as a consumer has noted it."""
        return sum(gap["to_o"] - gap["from_o"] for gap in self.gaps if gap["source_id"] == self.source_id)

    def pending(self, committed: Committed) -> int:
        """Return how many records are in the log and not counted."""
        return sum(
            max(0, self.end[place] - max(self.begin[place], self._known(committed, place))) for place in self.end
        )

    def findings(self, committed: Committed) -> list[Finding]:
        """Return what left the log before it was read and is not noted, and where the log ends before the counts."""
        found = []
        for place, end in self.end.items():
            reached = committed.reached.get(place, 0)
            if reached > end:
                text = f"{place}: the log ends at offset {end}, the store has counted up to {reached}"
                found.append(Finding(text))
            for start, stop in uncovered(reached, self.begin[place], place, self.gaps):
                text = f"{place}: offsets {start} to {stop} have left the log and were never counted"
                found.append(Finding(text))
        return found

    def _known(self, committed: Committed, place: Place) -> int:
        noted: list[int] = [gap["to_o"] for gap in self.gaps if (gap["source_id"], gap["p"]) == place]
        return max([committed.reached.get(place, 0), *noted])


def _kept_offsets(transport: Transport, topic: TopicDescription) -> tuple[dict[Place, int], dict[Place, int]]:
    partitions = [Partition(topic.name, index) for index in range(topic.partitions)]
    with transport.consumer() as consumer:
        consumer.assign(dict.fromkeys(partitions, 0))
        begin, end = consumer.begin_offsets(partitions), consumer.end_offsets(partitions)
    places = {partition: Place(topic.topic_id, partition.index) for partition in partitions}
    return {places[part]: begin[part] for part in partitions}, {places[part]: end[part] for part in partitions}
