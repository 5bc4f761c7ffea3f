"""Appending to Kafka: bounded, idempotent, acknowledged by all replicas in sync.

Every record is kept until it is acknowledged. When the client stops sending, another takes its place and gets all that
is unacknowledged once more, in order; a record may then be in the log twice, which its id makes harmless.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from driftline.clock import Clock
from driftline.errors import DeliveryFailed, TransportUnavailable
from driftline.transport import messages
from driftline.transport.base import Headers, Partition
from driftline.transport.kafka.connecting import Topics, our_error, reason_of
from driftline.transport.kafka.delivery import DeliveryPatience, DeliveryWatch
from driftline.transport.limits import check_record

_MAX_UNACKNOWLEDGED = 50_000
_REAP_EVERY = 1_000
_LOOK_SECONDS = 1.0
_CLOSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


_Record = tuple[Partition, bytes | None, bytes | None, Headers]
_Sent = tuple[Partition, bytes | None, bytes | None, Headers, Any]
"""A record with the client's future of it; plain tuples, since one is made for each record."""


_UNSURE = (
    kafka_errors.RetriableError,
    kafka_errors.OutOfOrderSequenceNumberError,
    kafka_errors.DuplicateSequenceNumberError,
    kafka_errors.UnknownProducerIdError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.InvalidProducerIdMappingError,
    kafka_errors.ProducerFencedError,
)
"""What does not say that the log will never take the record: sent again by another client, it may be taken."""


class KafkaLogProducer:
    """Sends at once and keeps what is not yet acknowledged, oldest first, up to a bound."""

    def __init__(
        self, new_client: Callable[[], KafkaProducer], topics: Topics, clock: Clock, patience: DeliveryPatience
    ) -> None:
        self._new_client = new_client
        self._client = new_client()
        self._topics = topics
        self._clock = clock
        self._patience = patience
        self._watch = DeliveryWatch(clock, patience, topics.is_reachable)
        self._known: set[tuple[str, int]] = set()
        self._unacknowledged: deque[_Sent] = deque()
        self._unsent: deque[_Record] = deque()
        self._acknowledged: Counter[str] = Counter()
        self._failure: BaseException | None = None
        self._failed_records = 0
        self._sent = 0
        self._closed = False

    def send(self, partition: Partition, *, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Queue one record; wait while 50,000 are unacknowledged."""
        if self._closed:
            raise messages.closed_error(self._topics.url, "producer")
        check_record(key, value, headers)
        try:
            if self._unsent:
                self._pass_on_unsent()
            self._pass_on(partition, key, value, headers)
        except TransportUnavailable:
            self._unsent.append((partition, key, value, headers))
            raise
        self._sent += 1
        if self._sent % _REAP_EVERY == 0:
            self._reap()
            self._wait_for_room()
            self._require_delivered()

    def flush(self, timeout_seconds: float = 60.0) -> None:
        """Return once every record sent so far is acknowledged by all in-sync replicas."""
        if self._closed:
            raise messages.closed_error(self._topics.url, "producer")
        self._pass_on_unsent()
        deadline = self._clock.monotonic() + timeout_seconds
        while not self._is_flushed_within(deadline - self._clock.monotonic()):
            if self._clock.monotonic() >= deadline:
                msg = (
                    f"{len(self._unacknowledged)} of {self._sent} records were not acknowledged by {self._topics.url} "
                    f"within {timeout_seconds:g} s; check the brokers; flush again or send them again "
                    "(ids make that safe)"
                )
                raise DeliveryFailed(msg)
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
            self._release(_CLOSE_SECONDS)

    def _pass_on(self, partition: Partition, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Give a record to the client."""
        place = (partition.topic, partition.index)
        if place not in self._known:
            self._topics.require_partitions([partition])
            self._known.add(place)
        try:
            answer = self._client.send(place[0], value, key, list(headers) if headers else None, place[1])
        except kafka_errors.KafkaError as error:
            raise our_error(error, self._topics.url) from error
        self._unacknowledged.append((partition, key, value, headers, answer))

    def _pass_on_unsent(self) -> None:
        """Give the client what it could not take before, oldest first."""
        while self._unsent:
            record = self._unsent.popleft()
            try:
                self._pass_on(*record)
            except TransportUnavailable:
                self._unsent.appendleft(record)
                raise
            self._sent += 1

    def _is_flushed_within(self, seconds: float) -> bool:
        """Wait a while for what is unacknowledged, and see to it that it is on its way."""
        try:
            self._client.flush(timeout=min(_LOOK_SECONDS, max(seconds, 0)))
        except kafka_errors.KafkaTimeoutError:
            self._reap()
            self._mend()
        else:
            self._reap()
        return not self._unacknowledged

    def _wait_for_room(self) -> None:
        deadline = self._clock.monotonic() + self._patience.outage_seconds
        while len(self._unacknowledged) >= _MAX_UNACKNOWLEDGED:
            try:
                self._unacknowledged[0][-1].get(timeout=_LOOK_SECONDS)
            except kafka_errors.KafkaError:
                self._mend()
            self._reap()
            if self._clock.monotonic() >= deadline and len(self._unacknowledged) >= _MAX_UNACKNOWLEDGED:
                msg = (
                    f"{len(self._unacknowledged)} records are unacknowledged, none by {self._topics.url} "
                    f"for {self._patience.outage_seconds:g} s; check the brokers and send them again "
                    "(ids make that safe)"
                )
                raise DeliveryFailed(msg)

    def _reap(self) -> None:
        """Take the answered records off the front of the queue; those behind an unanswered one wait."""
        sent = self._unacknowledged
        while sent and sent[0][-1].is_done:
            answer = sent[0][-1]
            if answer.exception is None:
                self._acknowledged[sent.popleft()[0].topic] += 1
            elif not isinstance(answer.exception, _UNSURE):
                sent.popleft()
                self._failure = self._failure or answer.exception
                self._failed_records += 1
            else:
                self._replace_client(f"a record was given up: {reason_of(answer.exception)}")
                return

    def _mend(self) -> None:
        answered = self._sent - len(self._unacknowledged)
        if self._unacknowledged and self._watch.is_wedged(answered):
            self._replace_client("nothing was acknowledged although brokers answer")

    def _replace_client(self, reason: str) -> None:
        """Let another client send all that is unacknowledged once more; without one, this is tried again later."""
        try:
            client = self._new_client()
        except TransportUnavailable as error:
            _log.warning("a new producer of %s has to wait: %s", self._topics.url, error)
            return
        count = len(self._unacknowledged)
        _log.warning("a new producer of %s sends %d records again: %s", self._topics.url, count, reason)
        self._release(0)
        self._client = client
        self._watch.restart()
        again: list[_Record] = []
        for partition, key, value, headers, answer in self._unacknowledged:
            if answer.succeeded():
                self._acknowledged[partition.topic] += 1
            else:
                again.append((partition, key, value, headers))
        self._unacknowledged.clear()
        self._sent -= len(again)
        self._unsent.extendleft(reversed(again))
        self._pass_on_unsent()

    def _release(self, seconds: float) -> None:
        try:
            self._client.close(timeout=seconds)
        except kafka_errors.KafkaTimeoutError:
            _log.warning("the producer of %s did not close within %g s", self._topics.url, seconds)
            # `close` gives up before it ends its thread, which would keep all records and go on trying.
            self._client._sender.force_close()  # noqa: SLF001 - the client has no public way

    def _require_delivered(self) -> None:
        if self._failure is not None:
            msg = (
                f"{self._failed_records} of {self._sent} records were refused by {self._topics.url}, "
                f"the first with {reason_of(self._failure)}; send them again after correcting the cause"
            )
            raise DeliveryFailed(msg) from self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
