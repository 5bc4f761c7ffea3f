"""The log between producers and consumers: one interface, an embedded backend and Kafka."""

from __future__ import annotations

from urllib.parse import urlsplit

from driftline.errors import UsageError
from driftline.transport.base import (
    Changes,
    Consumer,
    Durability,
    Headers,
    Partition,
    Producer,
    RecordBatch,
    TopicDescription,
    Transport,
)

__all__ = [
    "Changes",
    "Consumer",
    "Durability",
    "Headers",
    "Partition",
    "Producer",
    "RecordBatch",
    "TopicDescription",
    "Transport",
    "open_transport",
]


def open_transport(url: str) -> Transport:
    """Open the log at ``url``: ``local:///path/to/folder`` or ``kafka://host:9092[,host:9092]``.

    Raises:
        UsageError: the scheme is unknown.
        TransportUnavailable: the log cannot be reached.
    """
    scheme = urlsplit(url).scheme
    if scheme == "local":
        from driftline.transport.local import LocalTransport

        return LocalTransport.open(url)
    if scheme == "kafka":
        from driftline.transport.kafka import KafkaTransport

        return KafkaTransport.open(url)
    msg = f"transport must be local:///path or kafka://host:port; got {url!r}"
    raise UsageError(msg)
