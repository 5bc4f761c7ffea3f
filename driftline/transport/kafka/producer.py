"""Appending to Kafka: bounded, idempotent, acknowledged by all replicas.

An idempotent producer that reaches its delivery timeout never recovers, so the timeout is an hour and
unacknowledged records are bounded here.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from driftline.errors import DeliveryFailed
from driftline.transport import messages
from driftline.transport.base import Headers, Partition
from driftline.transport.kafka.connecting import reason_of, translated_errors
from driftline.transport.limits import check_record

if TYPE_CHECKING:
    from driftline.transport.kafka.cluster import KafkaTransport

_MAX_UNACKNOWLEDGED = 50_000
_REAP_EVERY = 1_000
_DELIVERY_SECONDS = 3_600
_CLOSE_MS = 5_000


_log = logging.getLogger(__name__)


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
        with translated_errors(self._transport.url):
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
                f"the first with {reason_of(self._failure)}; send them again after correcting the cause"
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
