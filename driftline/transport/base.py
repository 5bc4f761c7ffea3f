"""What a log must be able to do for driftline: topics, a producer, a consumer.

A log keeps records per partition in the order of their offsets, stamps each with its own
append time and never gives an offset twice. Two backends exist, ``local`` (SQLite, in
process) and ``kafka``; both pass ``tests/contracts/test_transport.py``. There are no
consumer groups here: a process is told which partitions are its own.

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
class TopicDescription:
    """What a topic is. ``topic_id`` is new whenever a topic is deleted and made again."""

    name: str
    topic_id: str
    partitions: int
    log_append_time: bool


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
    """Reads assigned partitions in offset order. Not thread-safe."""

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read exactly these partitions from these offsets on; replaces any earlier assignment, resumes all.

        Raises:
            TopicNotFound: a partition does not exist.
        """
        ...

    def poll(self, timeout_seconds: float, max_records: int = 5_000) -> list[RecordBatch]:
        """Return what is there, at most ``max_records`` in total and one batch a partition; wait up to the timeout.

        Returns an empty list when nothing arrived. Only durable records are returned.

        Raises:
            OffsetOutOfRange: a position lies outside what is kept; the other partitions lose nothing.
            TransportUnavailable: the log cannot be reached and the client gave up for now.
        """
        ...

    def position(self, partition: Partition) -> int:
        """Return the offset that the next poll starts at."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Start the next poll of an assigned partition at ``offset``."""
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

    def consumer(self) -> Consumer:
        """Return a new consumer without an assignment."""
        ...

    def close(self) -> None:
        """Release what all producers and consumers share. Idempotent."""
        ...
