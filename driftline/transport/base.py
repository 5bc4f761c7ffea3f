"""What a log must be able to do for driftline: topics, a producer, a consumer.

A log keeps records per partition in the order of their offsets, stamps each with its own
append time and never gives an offset twice. Two backends exist, ``local`` (SQLite, in
process) and ``kafka``; both pass ``tests/contracts/test_transport.py``. A consumer is told
which partitions are its own (``assign``), or shares a topic with its group (``subscribe``).

Errors are those of :mod:`driftline.errors`; only ``TransportUnavailable`` is retriable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one topic."""

    topic: str
    index: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.index}]"


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Consecutive records of one partition, as columns of equal length.

    ``offsets`` ascend and may have gaps (control records, compaction). ``next_offset`` is the
    consumer's position after this batch; it may lie beyond the last offset + 1. ``headers``
    is sparse: it holds only the records that have any, by their index in the batch.
    """

    partition: Partition
    offsets: Sequence[int]
    append_times_ms: Sequence[int]
    values: Sequence[bytes | None]
    next_offset: int
    headers: Mapping[int, Headers] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a group gave to and took from a consumer since it was last asked."""

    gained: frozenset[Partition] = frozenset()
    lost: frozenset[Partition] = frozenset()


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """What a topic is. ``topic_id`` is new whenever a topic is deleted and made again.

    ``log_append_time``: the log stamps records, not their producers. ``keyed_by_id``: whoever runs driftline has not
    said otherwise (``accept=foreign_keys``); where it is false one id may lie in several partitions. ``durability`` is
    None where the log is a file.
    """

    name: str
    topic_id: str
    partitions: int
    log_append_time: bool
    keyed_by_id: bool = True
    durability: Durability | None = None


@dataclass(frozen=True, slots=True)
class Durability:
    """What a replicated log does with a topic's records when brokers are lost.

    ``replication`` is the smallest number of replicas of any partition, ``min_isr`` how many have a record before it is
    acknowledged; ``wanted_…`` is what the address asks for, or else what the size of the cluster allows.
    """

    replication: int
    min_isr: int
    wanted_replication: int
    wanted_min_isr: int
    compacted: bool
    unclean_election: bool


class Producer(Protocol):
    """Appends records. Not thread-safe. ``send`` may buffer; only ``flush`` promises."""

    def send(self, partition: Partition, *, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Queue one record with a key or a value; blocks while too many are unacknowledged.

        Raises:
            TopicNotFound: there is no such topic or partition.
            DeliveryFailed: this record is too large (``limits``), or an earlier one was refused.
            TransportUnavailable: the log cannot be written for now; the record stays queued.
        """
        ...

    def flush(self, timeout_seconds: float = 60.0) -> None:
        """Return once every record sent so far is durable in the log.

        Raises:
            DeliveryFailed: some were refused, or not acknowledged within ``timeout_seconds``.
            TransportUnavailable: the log cannot be written for now; the next flush tries again.
        """
        ...

    @property
    def acknowledged(self) -> Mapping[str, int]:
        """Records that the log has acknowledged so far, by topic."""
        ...

    def close(self) -> None:
        """Flush and release. Idempotent."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Consumer(Protocol):
    """Reads its partitions in offset order: those assigned, or those that its group gives it. Not thread-safe."""

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read exactly these partitions from these offsets on; replaces any earlier assignment, resumes all.

        Raises:
            TopicNotFound: a partition does not exist.
        """
        ...

    def subscribe(self, topics: Sequence[str]) -> None:
        """Share all partitions of these topics with the other members of the consumer group, instead of ``assign``.

        A partition gained returns no records until ``seek``; one retained over a rebalance goes on where it was.
        Partitions come and go only while ``poll`` runs. Subscribing again leaves the group and joins it anew.

        Raises:
            UsageError: the log has no groups, or none was named (``Transport.consumer``).
            TopicNotFound: a topic does not exist.
        """
        ...

    def changes(self) -> Changes:
        """Return which partitions polls have gained and lost since the last call; nothing after ``assign``.

        A partition lost and gained again between two calls is in both: forget it, then start it.
        """
        ...

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions that are this consumer's now, gained ones among them before they are sought."""
        ...

    def poll(self, timeout_seconds: float, max_records: int = 5_000) -> list[RecordBatch]:
        """Return what is there, at most ``max_records`` in total and one batch a partition; wait up to the timeout.

        Returns an empty list when nothing arrived. Only durable records are returned.

        Raises:
            OffsetOutOfRange: a position lies outside what is kept, or the log was cut below it (its topic made again,
                its newest records lost); the other partitions lose nothing. Raised again until ``seek`` or ``pause``.
            TransportUnavailable: the log cannot be reached and the client gave up for now.
            TransportError: the client is broken and a new process has to go on.
        """
        ...

    def position(self, partition: Partition) -> int:
        """Return the offset that the next poll starts at."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Start the next poll of a partition held at ``offset``; starts one that was gained.

        A client may have buffered records of the topic's former incarnation: after a topic was made again, ``assign``
        or ``subscribe`` again.
        """
        ...

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stop returning records of these partitions until ``resume``; positions stay."""
        ...

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo ``pause``."""
        ...

    def begin_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the first offset kept of each partition (its end offset where it is empty)."""
        ...

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the offset that the next record appended to each partition will get."""
        ...

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell lag tools where this consumer is. Best effort: driftline never reads it back, and it never raises."""
        ...

    def close(self) -> None:
        """Release. Idempotent."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Transport(Protocol):
    """A log, addressed by a URL; hands out producers and consumers."""

    @property
    def url(self) -> str:
        """Address without secrets, for messages."""
        ...

    @property
    def accepts(self) -> frozenset[str]:
        """Rules of ``topic_rules`` that topics may break, because whoever gave the address said so."""
        ...

    def create_topic(self, name: str, partitions: int) -> TopicDescription:
        """Create a topic stamped with append time, or return the existing one if it has as many partitions.

        Raises:
            TopicMismatch: it exists with another number of partitions or without append time.
        """
        ...

    def describe_topic(self, name: str) -> TopicDescription:
        """Return what the topic is now.

        Raises:
            TopicNotFound: there is none of that name.
        """
        ...

    def producer(self) -> Producer:
        """Return a new producer."""
        ...

    def consumer(self, group: str | None = None) -> Consumer:
        """Return a new consumer without an assignment; ``group`` (default: the address's) is what it may subscribe as.

        Lag tools find its committed positions under the group. A local log has none.
        """
        ...

    def close(self) -> None:
        """Release what all producers and consumers share. Idempotent."""
        ...
