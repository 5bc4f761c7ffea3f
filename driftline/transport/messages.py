"""The errors that every backend raises in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from driftline.errors import OffsetOutOfRange, TopicMismatch, TopicNotFound, TransportError
from driftline.transport.base import Partition, TopicDescription

_RESTORE = "restore a copy of the file, or replay into a new log"


def topic_not_found(name: str, url: str) -> TopicNotFound:
    """Return the error for a topic that does not exist."""
    return TopicNotFound(f"topic {name!r} does not exist in {url}; create it with `driftline topics create`")


def partition_not_found(partition: Partition, topic: TopicDescription, url: str) -> TopicNotFound:
    """Return the error for a partition that its topic does not have."""
    return TopicNotFound(
        f"topic {topic.name!r} in {url} has {topic.partitions} partitions, counted from 0; got {partition.index}"
    )


def offset_out_of_range(positions: Mapping[Partition, int]) -> OffsetOutOfRange:
    """Return the error for positions outside what is kept."""
    places = ", ".join(f"{partition} at offset {offset}" for partition, offset in sorted(positions.items()))
    return OffsetOutOfRange(
        f"the position must lie between the first offset kept and the end; got {places}; seek to a kept offset",
        {(partition.topic, partition.index): offset for partition, offset in positions.items()},
    )


def record_damaged(path: Path, partition: str, offset: int) -> TransportError:
    """Return the error for a record that is not the one that was appended."""
    return TransportError(f"{path}: the record at offset {offset} of {partition} is damaged; {_RESTORE}")


def record_gone(path: Path, partition: str, offset: int) -> TransportError:
    """Return the error for a record that was appended and is not there."""
    return TransportError(f"{path}: the record at offset {offset} of {partition} is gone; {_RESTORE}")


def require_offset(partition: Partition, offset: int) -> None:
    """Check that ``offset`` can be one at all.

    Raises:
        OffsetOutOfRange: it is negative.
    """
    if offset < 0:
        raise offset_out_of_range({partition: offset})


def not_assigned(partition: Partition) -> TransportError:
    """Return the error for asking a consumer about a partition that is not its own."""
    return TransportError(f"{partition} is not assigned to this consumer; assign it first")


def closed_error(url: str, what: Literal["transport", "producer", "consumer"]) -> TransportError:
    """Return the error for using a closed producer or consumer."""
    return TransportError(f"this {what} of {url} is closed; open another")


def require_match(topic: TopicDescription, partitions: int, *, accepts_create_time: bool = False) -> None:
    """Check that an existing topic is as it must be.

    Raises:
        TopicMismatch: it has another number of partitions, or keeps its producers' times and that is not accepted.
    """
    if topic.partitions != partitions:
        msg = (
            f"topic {topic.name!r} must have {partitions} partitions; it has {topic.partitions}; "
            f"ask for {topic.partitions}"
        )
        raise TopicMismatch(msg)
    if not topic.log_append_time and not accepts_create_time:
        msg = (
            f"topic {topic.name!r} must have message.timestamp.type=LogAppendTime; it has CreateTime; "
            "alter the topic before anything is consumed"
        )
        raise TopicMismatch(msg)
