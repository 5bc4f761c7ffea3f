"""Connections to a cluster, and the client's errors as driftline's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from driftline.errors import DeliveryFailed, TopicNotFound, TransportError, TransportUnavailable
from driftline.transport import messages
from driftline.transport.base import Partition
from driftline.transport.kafka_url import KafkaUrl


def connection_settings(address: KafkaUrl) -> dict[str, Any]:
    """Return what every client of ``address`` is made with."""
    return {
        "bootstrap_servers": list(address.brokers),
        "client_id": "driftline",
        "security_protocol": "PLAINTEXT",
        "bootstrap_timeout_ms": int(min(5.0, address.connect_seconds) * 1_000),
        "request_timeout_ms": 20_000,
        "metadata_max_age_ms": 10_000,
        "reconnect_backoff_max_ms": 2_000,
    }


def connect(client: Any, address: KafkaUrl, settings: Mapping[str, Any]) -> Any:
    """Make a client, trying again while no broker answers."""
    attempts = Retrying(
        retry=retry_if_exception_type(kafka_errors.RetriableError),
        stop=stop_after_delay(address.connect_seconds),
        wait=wait_exponential(multiplier=0.2, max=2),
    )
    try:
        return attempts(client, **settings)
    except RetryError as error:
        cause = error.last_attempt.exception()
        msg = (
            f"no broker of {address} answered within {address.connect_seconds:g} s: {reason_of(cause)}; "
            "start Kafka or correct --transport"
        )
        raise TransportUnavailable(msg) from cause


@contextmanager
def translated_errors(url: str) -> Iterator[None]:
    """Raise the client's errors as driftline's."""
    try:
        yield
    except kafka_errors.OffsetOutOfRangeError as error:
        raise messages.offset_out_of_range(from_kafka(error.args[0])) from error
    except kafka_errors.MessageSizeTooLargeError as error:
        msg = f"{url} takes no record of this size: {reason_of(error)}; send a smaller event"
        raise DeliveryFailed(msg) from error
    except kafka_errors.UnknownTopicOrPartitionError as error:
        msg = f"a topic does not exist in {url}: {reason_of(error)}; create it with `driftline topics create`"
        raise TopicNotFound(msg) from error
    except kafka_errors.KafkaError as error:
        if error.retriable:
            msg = f"{url} cannot be reached for now: {reason_of(error)}; try again"
            raise TransportUnavailable(msg) from error
        msg = f"{url} refused: {reason_of(error)}; see the broker's log"
        raise TransportError(msg) from error


def reason_of(error: BaseException | None) -> str:
    """Return an error in one line: kafka-python appends whole requests to its messages."""
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line[:200]}"


def to_kafka(partition: Partition) -> TopicPartition:
    """Return the client's name of ``partition``."""
    return TopicPartition(partition.topic, partition.index)


def from_kafka(offsets: Mapping[TopicPartition, int]) -> dict[Partition, int]:
    """Return offsets by our name of each partition."""
    return {Partition(place.topic, place.partition): offset for place, offset in offsets.items()}
