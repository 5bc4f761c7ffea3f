"""Reading from Kafka: partitions that were assigned, or those that the group gives.

Nobody's position is ever read from the group: whoever consumes says where to start. A client that is stuck (a join that
does not end, a partition that returns nothing) is replaced by another behind the same consumer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata

from driftline.clock import Clock
from driftline.errors import OffsetOutOfRange, TopicNotFound, TransportError, TransportUnavailable, UsageError
from driftline.transport import messages
from driftline.transport.base import Changes, Partition, RecordBatch
from driftline.transport.kafka.connecting import Topics, reason_of, translated_errors
from driftline.transport.kafka.membership import Membership
from driftline.transport.kafka.names import batch_of, from_kafka, to_kafka
from driftline.transport.kafka.watchdog import IoThread, Patience, StuckPartitions

_QUERY_MS = 10_000
_CHECK_MS = 2_000
_CLOSE_MS = 5_000


_log = logging.getLogger(__name__)


class KafkaLogConsumer:
    """Reads committed records of its partitions; ``new_client`` connects another client."""

    def __init__(
        self,
        new_client: Callable[[], KafkaConsumer],
        topics: Topics,
        group: str | None,
        clock: Clock,
        patience: Patience,
    ) -> None:
        self._new_client = new_client
        self._topics = topics
        self._group = group
        self._clock = clock
        self._patience = patience
        self._stuck = StuckPartitions(clock, patience.stuck_seconds)
        self._topic_ids: dict[str, str] = {}
        self._subscription: tuple[str, ...] = ()
        self._membership: Membership | None = None
        self._held: frozenset[Partition] = frozenset()
        self._changes = Changes()
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._cut: dict[Partition, int] = {}
        self._closed = False
        self._open_client()

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read exactly these partitions from these offsets on."""
        self._require_open()
        topic_ids = self._topics.require_partitions(positions)
        for partition, offset in positions.items():
            messages.require_offset(partition, offset)
        if self._subscription or self._made_again(topic_ids):
            self._replace_client()
        self._topic_ids, self._subscription, self._changes = topic_ids, (), Changes()
        self._paused, self._cut = set(), {}
        self._assign_client(positions)

    def subscribe(self, topics: Sequence[str]) -> None:
        """Share the partitions of these topics with the group, which this consumer joins as a new member."""
        self._require_open()
        if self._group is None:
            msg = (
                f"a subscription needs a consumer group; {self._topics.url} was opened without one; "
                "name it with `--group NAME` or ?group=NAME"
            )
            raise UsageError(msg)
        topic_ids = self._topics.require_partitions([Partition(topic, 0) for topic in topics])
        if self._held or self._subscription:
            self._replace_client()
        self._topic_ids, self._subscription = topic_ids, tuple(topics)
        self._join()

    def changes(self) -> Changes:
        """Return what polls have gained and lost since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions held."""
        return self._held

    def poll(self, timeout_seconds: float, max_records: int = 5_000) -> list[RecordBatch]:
        """Return what is there; wait up to the timeout, or some seconds while the group shares out its partitions."""
        self._require_open()
        if cut := {partition: offset for partition, offset in self._cut.items() if partition not in self._paused}:
            raise messages.offset_out_of_range(cut)
        self._watch()
        try:
            with self._translated():
                polled = self._poll_client(int(timeout_seconds * 1_000), max_records)
        finally:
            self._take_changes()
        started = [(place, records) for place, records in polled.items() if Partition(*place) in self._positions]
        batches = [batch_of(place, records, self._next_offset(place, records)) for place, records in started]
        for batch in batches:
            self._positions[batch.partition] = batch.next_offset
            self._stuck.moved(batch.partition)
        return batches

    def position(self, partition: Partition) -> int:
        """Return the offset that the next poll starts at; it passes over control records."""
        self._require_started(partition)
        if partition in self._cut:
            return self._cut[partition]
        with self._translated():
            return int(self._client.position(to_kafka(partition), timeout_ms=_QUERY_MS))

    def seek(self, partition: Partition, offset: int) -> None:
        """Start the next poll of a partition at ``offset``; the first time, this starts one that was gained."""
        self._require_held(partition)
        messages.require_offset(partition, offset)
        with self._translated():
            self._client.seek(to_kafka(partition), offset)
        self._positions[partition] = offset
        self._cut.pop(partition, None)
        if partition not in self._paused:
            self._client.resume(to_kafka(partition))

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stop returning records of these partitions until ``resume``."""
        self._require_held(*partitions)
        self._paused.update(partitions)
        self._client.pause(*map(to_kafka, partitions))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo ``pause``; what was gained and not sought, or was cut, stays silent."""
        self._require_held(*partitions)
        self._paused.difference_update(partitions)
        audible = [partition for partition in partitions if partition in self._positions and partition not in self._cut]
        self._client.resume(*map(to_kafka, audible))

    def begin_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the first offset kept of each partition."""
        return self._offsets(self._client.beginning_offsets, partitions)

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the end of what is committed: the offset after the last readable record."""
        return self._offsets(self._client.end_offsets, partitions)

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Publish positions under the group, if any; failures are only logged: a zombie's commits are refused."""
        if self._group is None or self._closed:
            return
        offsets = {to_kafka(partition): OffsetAndMetadata(offset, "", -1) for partition, offset in positions.items()}
        try:
            self._client.commit_async(offsets, callback=self._log_refused)
        except (kafka_errors.KafkaError, RuntimeError) as error:
            _log.debug("positions of group %s were not committed: %s", self._group, reason_of(error))

    def close(self) -> None:
        """Leave the group, if any, and release. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._io.is_alive:
                self._client.close(autocommit=False, timeout_ms=_CLOSE_MS)

    def _open_client(self) -> None:
        self._client = self._new_client()
        self._io = IoThread(self._client.config["client_id"])

    def _replace_client(self) -> None:
        """Connect another client, then close this one; everything held is lost.

        Raises:
            TransportUnavailable: no broker answers; this client stays.
        """
        former = self._client
        self._open_client()
        former.close(autocommit=False, timeout_ms=_CHECK_MS)
        self._lose(self._held)
        self._held, self._membership = frozenset(), None
        self._stuck.reset()

    def _assign_client(self, positions: Mapping[Partition, int]) -> None:
        places = {to_kafka(partition): offset for partition, offset in positions.items()}
        with self._translated():
            self._client.assign(list(places))
            self._client.resume(*places)
            for place, offset in places.items():
                self._client.seek(place, offset)
        self._held, self._positions = frozenset(positions), dict(positions)

    def _join(self) -> None:
        self._membership = Membership(self._client, self._clock, self._patience.join_seconds)
        self._client.subscribe(list(self._subscription), listener=self._membership)
        try:
            self._client.topics()  # with the topics known, the first join needs no second
        except kafka_errors.KafkaError as error:
            _log.debug("topics are not known before the join: %s", reason_of(error))

    def _poll_client(self, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[Any]]:
        if self._membership is not None:
            return self._membership.poll(timeout_ms, max_records)
        polled: Mapping[TopicPartition, Sequence[Any]] = self._client.poll(timeout_ms, max_records)
        return polled

    def _take_changes(self) -> None:
        if self._membership is None:
            return
        self._held, changes = self._membership.drain(self._held)
        self._lose(changes.lost)
        self._changes = Changes(self._changes.gained - changes.lost | changes.gained, self._changes.lost)

    def _lose(self, lost: frozenset[Partition]) -> None:
        for partition in lost:
            self._positions.pop(partition, None)
            self._cut.pop(partition, None)
            self._paused.discard(partition)
        self._changes = Changes(self._changes.gained - lost, self._changes.lost | lost)

    def _watch(self) -> None:
        """Replace a client that does nothing although there is something to do."""
        if self._membership is not None and self._membership.is_stuck:
            _log.warning("the group %s did not settle in %g s; joining anew", self._group, self._patience.join_seconds)
            self._rejoin()
        elif self._stuck.is_due():
            read = self._positions.keys() - self._paused - self._cut.keys()
            try:
                positions = {partition: self.position(partition) for partition in read}
                ends = self._offsets(self._client.end_offsets, list(read), _CHECK_MS)
            except (TransportUnavailable, TopicNotFound, OffsetOutOfRange):
                self._stuck.reset()  # away, deleted or cut: not the client's fault
            else:
                self._unstick(self._stuck.find(positions, ends))

    def _unstick(self, stuck: frozenset[Partition]) -> None:
        if not stuck:
            return
        names = ", ".join(map(str, sorted(stuck)))
        if self._stuck.blame(stuck):
            msg = (
                f"{names} of {self._topics.url} returned no record for {self._patience.stuck_seconds:g} s, "
                "and again with a new client, although there are some; look at the brokers, then start again"
            )
            raise TransportError(msg)
        _log.warning("%s returned no record for %g s; making a new client", names, self._patience.stuck_seconds)
        if self._subscription:
            self._rejoin()
            return
        positions, paused, cut = dict(self._positions), list(self._paused), dict(self._cut)
        self._replace_client()
        self._changes = Changes()
        self._assign_client(positions)
        self._cut = cut
        self.pause(paused)
        self._client.pause(*map(to_kafka, cut))

    def _rejoin(self) -> None:
        try:
            self._replace_client()
        except TransportUnavailable as error:
            _log.warning("joining group %s has to wait: %s", self._group, error)
            return
        self._join()

    def _made_again(self, topic_ids: Mapping[str, str]) -> bool:
        """Return whether a topic is another than the one of which records may still be buffered."""
        return any(self._topic_ids.get(topic, found) != found for topic, found in topic_ids.items())

    def _next_offset(self, place: TopicPartition, records: Sequence[Any]) -> int:
        """Return the position after these records; if the client has an error to tell, the next poll tells it."""
        try:
            return int(self._client.position(place, timeout_ms=_QUERY_MS))
        except kafka_errors.KafkaError:
            return int(records[-1].offset) + 1

    def _offsets(
        self, query: Any, partitions: Sequence[Partition], timeout_ms: int = _QUERY_MS
    ) -> dict[Partition, int]:
        """Ask brokers; a partition that does not exist would make the client wait for its time to run out."""
        self._require_open()
        if unknown := [partition for partition in partitions if partition not in self._held]:
            self._topics.require_partitions(unknown)
        with self._translated():
            return from_kafka(query([to_kafka(partition) for partition in partitions], timeout_ms=timeout_ms))

    def _log_refused(self, _offsets: Any, answer: Any) -> None:
        if isinstance(answer, BaseException):
            _log.debug("positions of group %s were not committed: %s", self._group, reason_of(answer))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._io.require_alive(self._topics.url)
        try:
            with translated_errors(self._topics.url):
                try:
                    yield
                except kafka_errors.LogTruncationError as error:
                    raise messages.offset_out_of_range(self._cut_off(error.divergent_offsets)) from error
        finally:
            self._io.require_alive(self._topics.url)  # whatever the client said on its way down

    def _cut_off(self, places: Mapping[TopicPartition, Any]) -> dict[Partition, int]:
        """Silence partitions whose log ends below their position; return these, as ``poll`` will until they are sought.

        The client would go on from there in silence once the log is longer again.
        """
        cut = {Partition(*place): self._positions[Partition(*place)] for place in places}
        self._cut |= cut
        for partition, offset in cut.items():
            self._client.pause(to_kafka(partition))
            self._client.seek(to_kafka(partition), offset)
        return cut

    def _require_held(self, *partitions: Partition) -> None:
        self._require_open()
        for partition in partitions:
            if partition not in self._held:
                raise messages.not_assigned(partition)

    def _require_started(self, partition: Partition) -> None:
        self._require_open()
        if partition not in self._positions:
            raise messages.not_assigned(partition)

    def _require_open(self) -> None:
        if self._closed:
            raise messages.closed_error(self._topics.url, "consumer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
