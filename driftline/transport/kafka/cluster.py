"""Topics of one Kafka cluster, and the producers and consumers on it.

A client that starts while a broker is down fails at once, so the start is retried; without the C
``crc32c`` package everything is five times slower, silently, so it is said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record.util import crc32c_c
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_exponential

from driftline.clock import Clock, SystemClock
from driftline.transport import messages
from driftline.transport.base import Durability, Partition, TopicDescription
from driftline.transport.kafka.connecting import (
    REQUEST_BYTES,
    connect,
    connect_consumer,
    connect_producer,
    connection_settings,
    translated_errors,
)
from driftline.transport.kafka.consumer import KafkaLogConsumer
from driftline.transport.kafka.delivery import DeliveryPatience
from driftline.transport.kafka.names import to_kafka
from driftline.transport.kafka.producer import KafkaLogProducer
from driftline.transport.kafka.watchdog import Patience
from driftline.transport.kafka_url import KafkaUrl
from driftline.transport.limits import check_topic

_QUERY_MS = 10_000
_FIND_BROKERS_SECONDS = 3.0
_TIMESTAMP_TYPE = "message.timestamp.type"
_APPEND_TIME = "LogAppendTime"
_CLEANUP = "cleanup.policy"
_MIN_ISR = "min.insync.replicas"
_UNCLEAN = "unclean.leader.election.enable"
_SETTINGS = [_TIMESTAMP_TYPE, _CLEANUP, _MIN_ISR, _UNCLEAN]
_REPLICATION, _SAFE_ISR = 3, 2
"""One broker may be down, another may be lost for good, and no acknowledged record is."""


_log = logging.getLogger(__name__)


class KafkaTransport:
    """Topics of one cluster, through an admin client."""

    def __init__(
        self,
        address: KafkaUrl,
        admin: KafkaAdminClient,
        clock: Clock | None = None,
        patience: Patience | None = None,
        delivery_patience: DeliveryPatience | None = None,
    ) -> None:
        self._address = address
        self._admin = admin
        self._clock = clock or SystemClock()
        self._patience = patience or Patience()
        self._delivery_patience = delivery_patience or DeliveryPatience()
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

    @property
    def accepts(self) -> frozenset[str]:
        """Rules that topics may break, as the address says."""
        return self._address.accept

    def create_topic(self, name: str, partitions: int) -> TopicDescription:
        """Create a topic that keeps the rules, or return the existing one if it has as many partitions."""
        check_topic(name, partitions)
        replication, min_isr = self._wanted_copies
        request = {
            "num_partitions": partitions,
            "replication_factor": replication,
            "configs": {
                _TIMESTAMP_TYPE: _APPEND_TIME,
                _CLEANUP: "delete",
                _MIN_ISR: str(min_isr),
                _UNCLEAN: "false",
                "max.message.bytes": str(REQUEST_BYTES),
            },
        }
        with self._translated():
            try:
                self._admin.create_topics({name: request})
            except kafka_errors.TopicAlreadyExistsError:
                pass
            self._admin.wait_for_topics([name])
        topic = self.describe_topic(name)
        messages.require_match(topic, partitions, accepts_create_time="create_time" in self.accepts)
        return topic

    def describe_topic(self, name: str) -> TopicDescription:
        """Return what the topic is now."""
        with self._translated():
            (found,) = _insistently(lambda: self._admin.describe_topics([name]))
            if kafka_errors.for_code(found["error_code"]) is kafka_errors.UnknownTopicOrPartitionError:
                raise messages.topic_not_found(name, self.url)
            resource = ConfigResource(ConfigResourceType.TOPIC, name, _SETTINGS)
            answer = _insistently(lambda: self._admin.describe_configs([resource], config_filter="all"))["topic"][name]
        settings = {key: answer[key]["value"] for key in _SETTINGS}
        wanted_replication, wanted_min_isr = self._wanted_copies
        durability = Durability(
            replication=min(len(partition["replica_nodes"]) for partition in found["partitions"]),
            min_isr=int(settings[_MIN_ISR]),
            wanted_replication=wanted_replication,
            wanted_min_isr=wanted_min_isr,
            compacted="compact" in settings[_CLEANUP].split(","),
            unclean_election=settings[_UNCLEAN] == "true",
        )
        return TopicDescription(
            name,
            found["topic_id"],
            len(found["partitions"]),
            log_append_time=settings[_TIMESTAMP_TYPE] == _APPEND_TIME,
            keyed_by_id="foreign_keys" not in self.accepts,
            durability=durability,
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
        return KafkaLogProducer(lambda: connect_producer(self._address), self, self._clock, self._delivery_patience)

    def consumer(self, group: str | None = None) -> KafkaLogConsumer:
        """Return a new consumer with its own connections; ``group`` (default: the address's) is what it may join."""
        group = group or self._address.group
        return KafkaLogConsumer(
            lambda: connect_consumer(self._address, group), self, group, self._clock, self._patience
        )

    def close(self) -> None:
        """Release the admin client. Idempotent; producers and consumers have their own connections."""
        if not self._closed:
            self._closed = True
            self._admin.close()

    def require_partitions(self, partitions: Iterable[Partition]) -> dict[str, str]:
        """Check that these partitions exist; return the identity of each topic.

        Raises:
            TopicNotFound: one does not.
        """
        topics: dict[str, TopicDescription] = {}
        for partition in partitions:
            topic = topics.get(partition.topic) or self.describe_topic(partition.topic)
            topics[partition.topic] = topic
            if not 0 <= partition.index < topic.partitions:
                raise messages.partition_not_found(partition, topic, self.url)
        return {name: topic.topic_id for name, topic in topics.items()}

    def is_reachable(self) -> bool:
        """Return whether the cluster answers now; once this is closed, the best guess."""
        if self._closed:
            return True
        try:
            self._admin.describe_cluster()
        except kafka_errors.KafkaError:
            return False
        return True

    @cached_property
    def _wanted_copies(self) -> tuple[int, int]:
        """How many brokers should keep a record, and how many should have it before it is acknowledged."""
        with self._translated():
            brokers = len(_insistently(self._admin.describe_cluster)["brokers"])
        replication = self._address.replication or min(_REPLICATION, brokers)
        return replication, self._address.min_isr or (_SAFE_ISR if replication >= _REPLICATION else 1)

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


def _insistently(question: Callable[[], Any]) -> Any:
    """Ask again for some seconds: after an outage, an idle client has to find its brokers first."""
    attempts = Retrying(
        retry=retry_if_exception_type(kafka_errors.RetriableError),
        stop=stop_after_delay(_FIND_BROKERS_SECONDS),
        wait=wait_exponential(multiplier=0.1, max=0.5),
        reraise=True,
    )
    return attempts(question)
