"""The three topics of a contract on a log: made when absent, taken as they are otherwise."""

from __future__ import annotations

from driftline.contract import Contract
from driftline.errors import TopicNotFound
from driftline.events import STREAMS, Stream
from driftline.transport.base import Partition, Transport
from driftline.transport.topic_check import default_partitions


def topic_of(contract: Contract, stream: Stream) -> str:
    """Return the name of the topic that carries ``stream``."""
    name: str = getattr(contract.topics, stream)
    return name


def ensure_topics(
    transport: Transport, contract: Contract, partitions: int | None
) -> dict[Stream, tuple[Partition, ...]]:
    """Return the partitions of each stream's topic, after creating the topics that are absent.

    With ``partitions`` given, a topic must have exactly as many. Without, new ones get 4 on Kafka and 1 on the
    local log, and existing ones keep theirs.

    Raises:
        TopicMismatch: a topic exists with another number of partitions than asked for.
    """
    return {stream: _ensure(transport, topic_of(contract, stream), partitions) for stream in STREAMS}


def _ensure(transport: Transport, name: str, partitions: int | None) -> tuple[Partition, ...]:
    try:
        count = transport.describe_topic(name).partitions
    except TopicNotFound:
        count = transport.create_topic(name, partitions or default_partitions(transport)).partitions
    if partitions is not None and count != partitions:
        count = transport.create_topic(name, partitions).partitions
    return tuple(Partition(name, index) for index in range(count))
