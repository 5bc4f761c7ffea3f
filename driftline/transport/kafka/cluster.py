"""Topics of one Kafka cluster, and the producers and consumers on it.

A client that starts while a broker is down fails at once, so the start is retried; without the C
``crc32c`` package everything is five times slower, silently, so it is said.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record.util import crc32c_c
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from driftline.transport import messages
from driftline.transport.base import Partition, TopicDescription
from driftline.transport.kafka.connecting import connect, connection_settings, to_kafka, translated_errors
from driftline.transport.kafka.consumer import KafkaLogConsumer
from driftline.transport.kafka.producer import KafkaLogProducer
from driftline.transport.kafka_url import KafkaUrl
from driftline.transport.limits import MAX_RECORD_BYTES, check_topic

_DELIVERY_SECONDS = 3_600
_QUERY_MS = 10_000
_REQUEST_BYTES = MAX_RECORD_BYTES + 4_096  # a record of the largest size with the batch around it
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
        return cls(address, connect(KafkaAdminClient, address, connection_settings(address)))

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
            self._admin.delete_records({to_kafka(partition): before_offset})

    def producer(self) -> KafkaLogProducer:
        """Return a new producer with its own connections."""
        settings = connection_settings(self._address) | {
            "acks": "all",
            "enable_idempotence": True,
            "delivery_timeout_ms": _DELIVERY_SECONDS * 1_000,
            "linger_ms": 20,
            "batch_size": 131_072,
            "max_request_size": _REQUEST_BYTES,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        return KafkaLogProducer(connect(KafkaProducer, self._address, settings), self)

    def consumer(self) -> KafkaLogConsumer:
        """Return a new consumer with its own connections."""
        settings = connection_settings(self._address) | {
            "group_id": self._address.group,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "isolation_level": "read_committed",
            "fetch_max_wait_ms": 100,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        return KafkaLogConsumer(connect(KafkaConsumer, self._address, settings), self, self._address.group)

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
        with translated_errors(self.url):
            yield
