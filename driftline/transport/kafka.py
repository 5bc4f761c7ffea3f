"""The log in Apache Kafka, through kafka-python 3.0.12: the only module that knows this client.

Partitions are assigned, never balanced by a group. Settings and the traps they avoid: an
idempotent producer that reaches its delivery timeout never recovers (so the timeout is an
hour and unacknowledged records are bounded here), a client that starts while a broker is
down fails at once (so the start is retried), and without the C ``crc32c`` package everything
is five times slower, silently (so it is said).
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Self

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record.util import crc32c_c
from kafka.structs import OffsetAndMetadata
from tenacity import RetryError, Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_exponential

from driftline.errors import DeliveryFailed, TopicNotFound, TransportError, TransportUnavailable
from driftline.transport import messages
from driftline.transport.base import Headers, Partition, RecordBatch, TopicDescription
from driftline.transport.kafka_url import KafkaUrl
from driftline.transport.limits import MAX_RECORD_BYTES, check_record, check_topic

_MAX_UNACKNOWLEDGED = 50_000
_REAP_EVERY = 1_000
_DELIVERY_SECONDS = 3_600
_QUERY_MS = 10_000
_CLOSE_MS = 5_000
_REQUEST_BYTES = MAX_RECORD_BYTES + 4_096
"""A record of the largest size with the batch around it."""

_TIMESTAMP_TYPE = "message.timestamp.type"
_APPEND_TIME = "LogAppendTime"

_log = logging.getLogger(__name__)


class KafkaTransport:
    """Topics of one cluster, through an admin client."""

    def __init__(self, address: KafkaUrl, admin: KafkaAdminClient) -> None:
        self._address = address
        self._admin = admin
        self._closed = False

    @classmethod
    def open(cls, url: str) -> KafkaTransport:
        """Connect to ``kafka://host:port[,host:port][?option=value]``; options: ``kafka_url.KafkaUrl``.

        Raises:
            UsageError: the URL is malformed, or would leave this machine without TLS.
            TransportUnavailable: no broker answered within ``connect_seconds``.
        """
        address = KafkaUrl.parse(url)
        if crc32c_c is None:
            _log.warning("kafka is read at a fifth of its rate without the package crc32c; install it")
        return cls(address, _connect(KafkaAdminClient, address, _connection_settings(address)))

    @property
    def url(self) -> str:
        """Address without options, for messages."""
        return str(self._address)

    def create_topic(self, name: str, partitions: int) -> TopicDescription:
        """Create a topic stamped with append time, or return the existing one if it has as many partitions."""
        check_topic(name, partitions)
        request = {
            "num_partitions": partitions,
            "replication_factor": self._address.replication,
            "configs": {_TIMESTAMP_TYPE: _APPEND_TIME, "max.message.bytes": str(_REQUEST_BYTES)},
        }
        with self._translated():
            try:
                self._admin.create_topics({name: request})
            except kafka_errors.TopicAlreadyExistsError:
                pass
            self._admin.wait_for_topics([name])
        topic = self.describe_topic(name)
        messages.require_match(topic, partitions)
        return topic

    def describe_topic(self, name: str) -> TopicDescription:
        """Return what the topic is now."""
        with self._translated():
            (found,) = self._admin.describe_topics([name])
            if kafka_errors.for_code(found["error_code"]) is kafka_errors.UnknownTopicOrPartitionError:
                raise messages.topic_not_found(name, self.url)
            resource = ConfigResource(ConfigResourceType.TOPIC, name, [_TIMESTAMP_TYPE])
            settings = self._admin.describe_configs([resource], config_filter="all")["topic"][name]
        return TopicDescription(
            name,
            found["topic_id"],
            len(found["partitions"]),
            log_append_time=settings[_TIMESTAMP_TYPE]["value"] == _APPEND_TIME,
        )

    def delete_topic(self, name: str) -> None:
        """Delete a topic with all its records.

        Raises:
            TopicNotFound: there is none of that name.
        """
        with self._translated():
            try:
                self._admin.delete_topics([name])
            except kafka_errors.UnknownTopicOrPartitionError as error:
                raise messages.topic_not_found(name, self.url) from error
            self._wait_until_gone(name)

    def delete_records(self, partition: Partition, before_offset: int) -> None:
        """Delete the records of ``partition`` below ``before_offset``; their offsets are not given again.

        Raises:
            TopicNotFound: there is no such partition.
        """
        self.require_partitions([partition])
        with self._translated():
            self._admin.delete_records({_to_kafka(partition): before_offset})

    def producer(self) -> KafkaLogProducer:
        """Return a new producer with its own connections."""
        settings = _connection_settings(self._address) | {
            "acks": "all",
            "enable_idempotence": True,
            "delivery_timeout_ms": _DELIVERY_SECONDS * 1_000,
            "linger_ms": 20,
            "batch_size": 131_072,
            "max_request_size": _REQUEST_BYTES,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        return KafkaLogProducer(_connect(KafkaProducer, self._address, settings), self)

    def consumer(self) -> KafkaLogConsumer:
        """Return a new consumer with its own connections."""
        settings = _connection_settings(self._address) | {
            "group_id": self._address.group,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "isolation_level": "read_committed",
            "fetch_max_wait_ms": 100,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        return KafkaLogConsumer(_connect(KafkaConsumer, self._address, settings), self, self._address.group)

    def close(self) -> None:
        """Release the admin client. Idempotent; producers and consumers have their own connections."""
        if not self._closed:
            self._closed = True
            self._admin.close()

    def require_partitions(self, partitions: Iterable[Partition]) -> None:
        """Check that these partitions exist.

        Raises:
            TopicNotFound: one does not.
        """
        topics: dict[str, TopicDescription] = {}
        for partition in partitions:
            topic = topics.get(partition.topic) or self.describe_topic(partition.topic)
            topics[partition.topic] = topic
            if not 0 <= partition.index < topic.partitions:
                raise messages.partition_not_found(partition, topic, self.url)

    def _wait_until_gone(self, name: str) -> None:
        """Return when brokers no longer know the topic: they learn of it after the controller has deleted it."""
        attempts = Retrying(
            retry=retry_if_result(lambda found: found["error_code"] == 0),
            stop=stop_after_delay(_QUERY_MS / 1_000),
            wait=wait_exponential(multiplier=0.02, max=0.5),
        )
        attempts(lambda: self._admin.describe_topics([name])[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._closed:
            raise messages.closed_error(self.url, "transport")
        with _translated_errors(self.url):
            yield


class KafkaLogProducer:
    """Sends at once and keeps what is not yet acknowledged, oldest first, up to a bound."""

    def __init__(self, client: KafkaProducer, transport: KafkaTransport) -> None:
        self._client = client
        self._transport = transport
        self._known: set[Partition] = set()
        self._unacknowledged: deque[tuple[str, Any]] = deque()
        self._acknowledged: Counter[str] = Counter()
        self._failure: BaseException | None = None
        self._failed_records = 0
        self._sent = 0
        self._closed = False

    def send(self, partition: Partition, *, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Queue one record; wait while 50,000 are unacknowledged."""
        self._require_open()
        check_record(key, value, headers)
        if partition not in self._known:
            self._transport.require_partitions([partition])
            self._known.add(partition)
        with _translated_errors(self._transport.url):
            future = self._client.send(
                partition.topic, value, key=key, headers=list(headers), partition=partition.index
            )
        self._unacknowledged.append((partition.topic, future))
        self._sent += 1
        if self._sent % _REAP_EVERY == 0:
            self._reap()
            self._wait_for_room()
            self._require_delivered()

    def flush(self, timeout_seconds: float = 60.0) -> None:
        """Return once every record sent so far is acknowledged by all in-sync replicas."""
        self._require_open()
        try:
            self._client.flush(timeout=timeout_seconds)
        except kafka_errors.KafkaTimeoutError as error:
            self._reap()
            msg = (
                f"{len(self._unacknowledged)} of {self._sent} records were not acknowledged by {self._transport.url} "
                f"within {timeout_seconds:g} s; check the brokers; flush again or send them again (ids make that safe)"
            )
            raise DeliveryFailed(msg) from error
        self._reap()
        self._require_delivered()

    @property
    def acknowledged(self) -> Mapping[str, int]:
        """Records acknowledged so far, by topic."""
        self._reap()
        return MappingProxyType(self._acknowledged)

    def close(self) -> None:
        """Flush and release. Idempotent."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            self._release()

    def _release(self) -> None:
        try:
            self._client.close(timeout=_CLOSE_MS / 1_000)
        except kafka_errors.KafkaTimeoutError:
            _log.warning("the producer of %s did not close within %d ms", self._transport.url, _CLOSE_MS)

    def _reap(self) -> None:
        """Take the answered records off the front of the queue; those behind an unanswered one wait."""
        pending = self._unacknowledged
        while pending and pending[0][1].is_done:
            topic, future = pending.popleft()
            if future.failed():
                self._failure = self._failure or future.exception
                self._failed_records += 1
            else:
                self._acknowledged[topic] += 1

    def _wait_for_room(self) -> None:
        while len(self._unacknowledged) >= _MAX_UNACKNOWLEDGED:
            try:
                self._unacknowledged[0][1].get(timeout=_DELIVERY_SECONDS)
            except kafka_errors.KafkaError as error:
                if not self._unacknowledged[0][1].is_done:
                    msg = (
                        f"{len(self._unacknowledged)} records are unacknowledged, none by {self._transport.url} "
                        f"for {_DELIVERY_SECONDS} s; check the brokers and send them again (ids make that safe)"
                    )
                    raise DeliveryFailed(msg) from error
            self._reap()

    def _require_delivered(self) -> None:
        if self._failure is not None:
            msg = (
                f"{self._failed_records} of {self._sent} records were refused by {self._transport.url}, "
                f"the first with {_reason(self._failure)}; send them again after correcting the cause"
            )
            raise DeliveryFailed(msg) from self._failure

    def _require_open(self) -> None:
        if self._closed:
            raise messages.closed_error(self._transport.url, "producer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
        partitions = [_to_kafka(partition) for partition in positions]
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
            return int(self._client.position(_to_kafka(partition), timeout_ms=_QUERY_MS))

    def seek(self, partition: Partition, offset: int) -> None:
        """Start the next poll of an assigned partition at ``offset``."""
        self._require_assigned(partition)
        messages.require_offset(partition, offset)
        with self._translated():
            self._client.seek(_to_kafka(partition), offset)
        self._positions[partition] = offset

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stop returning records of these partitions until ``resume``."""
        self._require_assigned(*partitions)
        self._client.pause(*map(_to_kafka, partitions))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo ``pause``."""
        self._require_assigned(*partitions)
        self._client.resume(*map(_to_kafka, partitions))

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
        offsets = {_to_kafka(partition): OffsetAndMetadata(offset, "", -1) for partition, offset in positions.items()}
        try:
            self._client.commit_async(offsets)
        except kafka_errors.KafkaError as error:
            _log.debug("positions of group %s were not committed: %s", self._group, _reason(error))

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
            offsets = query([_to_kafka(partition) for partition in partitions], timeout_ms=_QUERY_MS)
        return {Partition(place.topic, place.partition): offset for place, offset in offsets.items()}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with _translated_errors(self._transport.url):
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


def _connection_settings(address: KafkaUrl) -> dict[str, Any]:
    return {
        "bootstrap_servers": list(address.brokers),
        "client_id": "driftline",
        "security_protocol": "PLAINTEXT",
        "bootstrap_timeout_ms": int(min(5.0, address.connect_seconds) * 1_000),
        "request_timeout_ms": 20_000,
        "metadata_max_age_ms": 10_000,
        "reconnect_backoff_max_ms": 2_000,
    }


def _connect(client: Any, address: KafkaUrl, settings: Mapping[str, Any]) -> Any:
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
            f"no broker of {address} answered within {address.connect_seconds:g} s: {_reason(cause)}; "
            "start Kafka or correct --transport"
        )
        raise TransportUnavailable(msg) from cause


@contextmanager
def _translated_errors(url: str) -> Iterator[None]:
    """Raise the client's errors as driftline's."""
    try:
        yield
    except kafka_errors.OffsetOutOfRangeError as error:
        raise messages.offset_out_of_range(_from_kafka(error.args[0])) from error
    except kafka_errors.MessageSizeTooLargeError as error:
        msg = f"{url} takes no record of this size: {_reason(error)}; send a smaller event"
        raise DeliveryFailed(msg) from error
    except kafka_errors.UnknownTopicOrPartitionError as error:
        msg = f"a topic does not exist in {url}: {_reason(error)}; create it with `driftline topics create`"
        raise TopicNotFound(msg) from error
    except kafka_errors.KafkaError as error:
        if error.retriable:
            msg = f"{url} cannot be reached for now: {_reason(error)}; try again"
            raise TransportUnavailable(msg) from error
        msg = f"{url} refused: {_reason(error)}; see the broker's log"
        raise TransportError(msg) from error


def _reason(error: BaseException | None) -> str:
    """Return an error in one line: kafka-python appends whole requests to its messages."""
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line[:200]}"


def _to_kafka(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.index)


def _from_kafka(offsets: Mapping[TopicPartition, int]) -> dict[Partition, int]:
    return {Partition(place.topic, place.partition): offset for place, offset in offsets.items()}
