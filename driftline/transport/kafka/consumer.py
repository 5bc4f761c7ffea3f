"""Reading from Kafka: partitions assigned, never balanced by a group."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata

from driftline.transport import messages
from driftline.transport.base import Partition, RecordBatch
from driftline.transport.kafka.connecting import reason_of, to_kafka, translated_errors

if TYPE_CHECKING:
    from driftline.transport.kafka.cluster import KafkaTransport

_QUERY_MS = 10_000
_CLOSE_MS = 5_000


_log = logging.getLogger(__name__)


class KafkaLogConsumer:
    """Reads committed records of assigned partitions."""

    def __init__(self, client: KafkaConsumer, transport: KafkaTransport, group: str | None) -> None:
        self._client = client
        self._transport = transport
        self._group = group
        self._positions: dict[Partition, int] = {}
        self._closed = False

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read exactly these partitions from these offsets on."""
        self._require_open()
        self._transport.require_partitions(positions)
        partitions = [to_kafka(partition) for partition in positions]
        with self._translated():
            self._client.assign(partitions)
            self._client.resume(*partitions)
        self._positions = dict.fromkeys(positions, 0)
        for partition, offset in positions.items():
            self.seek(partition, offset)

    def poll(self, timeout_seconds: float, max_records: int = 5_000) -> list[RecordBatch]:
        """Return what is there; wait up to the timeout while there is nothing."""
        self._require_open()
        with self._translated():
            polled = self._client.poll(timeout_ms=int(timeout_seconds * 1_000), max_records=max_records)
            batches = [self._batch(place, records) for place, records in polled.items()]
        self._positions.update({batch.partition: batch.next_offset for batch in batches})
        return batches

    def position(self, partition: Partition) -> int:
        """Return the offset that the next poll starts at; it passes over control records."""
        self._require_assigned(partition)
        with self._translated():
            return int(self._client.position(to_kafka(partition), timeout_ms=_QUERY_MS))

    def seek(self, partition: Partition, offset: int) -> None:
        """Start the next poll of an assigned partition at ``offset``."""
        self._require_assigned(partition)
        messages.require_offset(partition, offset)
        with self._translated():
            self._client.seek(to_kafka(partition), offset)
        self._positions[partition] = offset

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stop returning records of these partitions until ``resume``."""
        self._require_assigned(*partitions)
        self._client.pause(*map(to_kafka, partitions))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo ``pause``."""
        self._require_assigned(*partitions)
        self._client.resume(*map(to_kafka, partitions))

    def begin_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the first offset kept of each partition."""
        return self._offsets(self._client.beginning_offsets, partitions)

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the end of what is committed: the offset after the last readable record."""
        return self._offsets(self._client.end_offsets, partitions)

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Publish positions under the group that the address names, if any; failures are only logged."""
        if self._group is None or self._closed:
            return
        offsets = {to_kafka(partition): OffsetAndMetadata(offset, "", -1) for partition, offset in positions.items()}
        try:
            self._client.commit_async(offsets)
        except kafka_errors.KafkaError as error:
            _log.debug("positions of group %s were not committed: %s", self._group, reason_of(error))

    def close(self) -> None:
        """Release. Idempotent."""
        if not self._closed:
            self._closed = True
            self._client.close(autocommit=False, timeout_ms=_CLOSE_MS)

    def _batch(self, place: TopicPartition, records: Sequence[Any]) -> RecordBatch:
        return RecordBatch(
            Partition(place.topic, place.partition),
            [record.offset for record in records],
            [record.timestamp for record in records],
            [record.value for record in records],
            next_offset=self._client.position(place, timeout_ms=_QUERY_MS),
            headers={index: tuple(record.headers) for index, record in enumerate(records) if record.headers},
        )

    def _offsets(self, query: Any, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Ask brokers; a partition that does not exist would make the client wait for its time to run out."""
        self._require_open()
        if unassigned := [partition for partition in partitions if partition not in self._positions]:
            self._transport.require_partitions(unassigned)
        with self._translated():
            offsets = query([to_kafka(partition) for partition in partitions], timeout_ms=_QUERY_MS)
        return {Partition(place.topic, place.partition): offset for place, offset in offsets.items()}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated_errors(self._transport.url):
            try:
                yield
            except kafka_errors.LogTruncationError as error:
                lost = [Partition(place.topic, place.partition) for place in error.divergent_offsets]
                raise messages.offset_out_of_range({place: self._positions[place] for place in lost}) from error

    def _require_assigned(self, *partitions: Partition) -> None:
        self._require_open()
        for partition in partitions:
            if partition not in self._positions:
                raise messages.not_assigned(partition)

    def _require_open(self) -> None:
        if self._closed:
            raise messages.closed_error(self._transport.url, "consumer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
