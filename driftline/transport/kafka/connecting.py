"""Connections to a cluster, and the client's errors as driftline's."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from kafka import KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.cluster import ClusterMetadata
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from driftline.errors import DeliveryFailed, TopicNotFound, TransportError, TransportUnavailable
from driftline.transport import messages
from driftline.transport.base import Partition
from driftline.transport.kafka.names import from_kafka
from driftline.transport.kafka.securing import security_settings
from driftline.transport.kafka_url import KafkaUrl
from driftline.transport.limits import MAX_RECORD_BYTES

REQUEST_BYTES = MAX_RECORD_BYTES + 4_096
"""A record of the largest size with the batch around it."""

_DELIVERY_SECONDS = 3_600
"""An idempotent client never recovers once a record has waited for so long."""

_REFUSED = "SaslAuthenticationFailed"
_DISTRUSTED = "CERTIFICATE_VERIFY_FAILED"

_client_numbers = itertools.count(1)


class Topics(Protocol):
    """What a producer or consumer asks of the cluster that it was made by."""

    @property
    def url(self) -> str:
        """Address without options, for messages."""
        ...

    def require_partitions(self, partitions: Iterable[Partition]) -> dict[str, str]:
        """Check that these partitions exist, or raise ``TopicNotFound``; return the identity of each topic."""
        ...

    def is_reachable(self) -> bool:
        """Return whether the cluster answers now, asked over a connection of its own."""
        ...


def connection_settings(address: KafkaUrl) -> dict[str, Any]:
    """Return what every client of ``address`` is made with; each gets an id, and its threads a name, of its own.

    Raises:
        UsageError: a file with a password, key or certificate cannot be used.
    """
    return security_settings(address.security) | {
        "bootstrap_servers": list(address.brokers),
        "client_id": f"driftline-{next(_client_numbers)}",
        "bootstrap_timeout_ms": int(min(5.0, address.connect_seconds) * 1_000),
        "request_timeout_ms": 20_000,
        "metadata_max_age_ms": 10_000,
        "reconnect_backoff_max_ms": 2_000,
    }


def connect(client: Any, address: KafkaUrl, settings: Mapping[str, Any]) -> Any:
    """Make a client, trying again while no broker answers.

    Raises:
        TransportUnavailable: no broker answered in time, or none that we trust.
        TransportError: a broker does not take who we say we are.
    """
    with _heard_errors() as heard:
        attempts = Retrying(
            retry=retry_if_exception(lambda error: _is_for_now(error) and not _told(heard, _REFUSED)),
            stop=stop_after_delay(address.connect_seconds),
            wait=wait_exponential(multiplier=0.2, max=2),
            reraise=True,
        )
        try:
            return attempts(client, **settings)
        except kafka_errors.RetriableError as error:
            if refusal := _told(heard, _REFUSED):
                msg = f"{address} does not take who we say we are: {refusal}; correct user, mechanism and password"
                raise TransportError(msg) from error
            distrust = _told(heard, _DISTRUSTED)
            msg = (
                f"no broker of {address} answered within {address.connect_seconds:g} s: "
                f"{distrust or reason_of(error)}; {'correct ca_file' if distrust else 'start Kafka'} "
                "or correct --transport"
            )
            raise TransportUnavailable(msg) from error


def _is_for_now(error: BaseException) -> bool:
    return isinstance(error, kafka_errors.RetriableError)


def _told(heard: Iterable[str], word: str) -> str:
    """Return what the client has said about ``word``, or the empty string."""
    told = next((line for line in heard if word in line), "")
    return told[told.find(word) :].rstrip(")") if told else ""


@contextmanager
def _heard_errors() -> Iterator[list[str]]:
    """Collect what the client says of failed connections: it tells its log, and raises a mere timeout."""
    heard: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: heard.append(record.getMessage().partition("\n")[0][:300])  # type: ignore[method-assign]
    logger = logging.getLogger("kafka")
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)


def connect_producer(address: KafkaUrl, delivery_seconds: float = _DELIVERY_SECONDS) -> KafkaProducer:
    """Make a client that appends idempotently, acknowledged by all replicas in sync."""
    settings = connection_settings(address) | {
        "acks": "all",
        "enable_idempotence": True,
        "delivery_timeout_ms": int(delivery_seconds * 1_000),
        "request_timeout_ms": int(min(20, delivery_seconds / 2) * 1_000),
        "linger_ms": 20,
        "batch_size": 131_072,
        "max_request_size": REQUEST_BYTES,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }
    producer: KafkaProducer = connect(KafkaProducer, address, settings)
    _never_create_topics(producer._metadata)  # noqa: SLF001 - see there
    return producer


def connect_consumer(address: KafkaUrl, group: str | None) -> KafkaConsumer:
    """Make a client that reads committed records from where it is told, alone or as a member of ``group``."""
    settings = connection_settings(address) | {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "fetch_max_wait_ms": 100,
        "partition_assignment_strategy": [StickyPartitionAssignor],
        "session_timeout_ms": 10_000,
        "heartbeat_interval_ms": 1_000,
        "max_poll_interval_ms": 300_000,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }
    consumer: KafkaConsumer = connect(KafkaConsumer, address, settings)
    _never_create_topics(consumer._cluster)  # noqa: SLF001 - see there
    return consumer


def _never_create_topics(metadata: ClusterMetadata) -> None:
    """Put ``allow_auto_create_topics`` where it is read.

    kafka-python 3.0.12 takes the setting and drops it on the way, so that a client which asks for a deleted topic makes
    it anew, with one partition and no promise kept, on every broker that lets it.
    """
    metadata.config["allow_auto_create_topics"] = False


@contextmanager
def translated_errors(url: str) -> Iterator[None]:
    """Raise the client's errors as driftline's."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise our_error(error, url) from error


def our_error(error: kafka_errors.KafkaError, url: str) -> TransportError:
    """Return the client's error as driftline's."""
    if isinstance(error, kafka_errors.OffsetOutOfRangeError):
        return messages.offset_out_of_range(from_kafka(error.args[0]))
    if isinstance(error, kafka_errors.MessageSizeTooLargeError):
        return DeliveryFailed(f"{url} takes no record of this size: {reason_of(error)}; send a smaller event")
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return TopicNotFound(
            f"a topic does not exist in {url}: {reason_of(error)}; create it with `driftline topics create`"
        )
    if error.retriable:
        return TransportUnavailable(f"{url} cannot be reached for now: {reason_of(error)}; try again")
    return TransportError(f"{url} refused: {reason_of(error)}; see the broker's log")


def reason_of(error: BaseException | None) -> str:
    """Return an error in one line: kafka-python appends whole requests to its messages, and names some errors twice."""
    name = type(error).__name__
    first_line = str(error).partition("\n")[0].removeprefix(f"{name}: ")
    return f"{name}: {first_line[:200]}"
