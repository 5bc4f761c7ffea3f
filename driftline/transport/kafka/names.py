"""The client's names of partitions and records, and ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import TopicPartition

from driftline.transport.base import Partition, RecordBatch


def to_kafka(partition: Partition) -> TopicPartition:
    """Return the client's name of ``partition``."""
    return TopicPartition(partition.topic, partition.index)


def from_kafka(offsets: Mapping[TopicPartition, int]) -> dict[Partition, int]:
    """Return offsets by our name of each partition."""
    return {Partition(place.topic, place.partition): offset for place, offset in offsets.items()}


def batch_of(place: TopicPartition, records: Sequence[Any], next_offset: int) -> RecordBatch:
    """Return the client's records of one partition as columns."""
    return RecordBatch(
        Partition(place.topic, place.partition),
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.value for record in records],
        next_offset=next_offset,
        headers={index: tuple(record.headers) for index, record in enumerate(records) if record.headers},
    )
