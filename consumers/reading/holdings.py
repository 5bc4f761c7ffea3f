"""The partitions that one consumer reads: how they come, where they start, and what may happen to their topics.

A partition's memory is a function of its log, so dropping it is always safe: its reading starts again at
its segment's start. It is dropped when the group takes the partition away, when the topic was deleted
and made again, and when the log no longer has the position.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import structlog

from consumers.counting.rules import StreamRules
from consumers.counting.segments import PartitionState
from consumers.reading.membership import Group, Membership
from consumers.reading.quarantine import Guard
from consumers.reading.recovery import Kept, register_source, start_of
from driftline.errors import LogRegressed, TopicNotFound
from driftline.store import Store
from driftline.transport import Consumer, Partition, TopicDescription, Transport
from driftline.transport.topic_check import require_sound_topics

_log = structlog.get_logger(__name__)


class Holdings:
    """What is read of the topics of one contract, by partition: ``states``.

    ``stopped`` says why partitions that would be this consumer's are not read; ``missing`` are topics deleted while
    they were read: what was read of them last stays in memory, as nobody can say which topic it came from.
    """

    def __init__(
        self, transport: Transport, consumer: Consumer, store: Store, membership: Membership, guard: Guard
    ) -> None:
        self._transport, self._consumer, self._store = transport, consumer, store
        self._membership, self._guard = membership, guard
        self._rules: dict[str, StreamRules] = {}
        self._topics: dict[str, TopicDescription] = {}
        self._sizes: dict[str, int] = {}
        self._starting: set[Partition] = set()
        self._paused: set[str] = set()
        self._assigned: frozenset[Partition] | None = None  # None: something must be assigned anew
        self.states: dict[Partition, PartitionState] = {}
        self.stopped: dict[Partition, str] = {}
        self.missing: set[str] = set()

    def open(self, rules_by_topic: Mapping[str, StreamRules]) -> None:
        """Find every partition of the topics that is ours and resume where the store says, or join the group.

        Raises:
            TopicNotFound: a topic does not exist yet.
            TopicMismatch: a topic breaks a rule that counting exactly needs.
            TransportUnavailable: the log cannot say; call again.
        """
        self._rules = dict(rules_by_topic)
        for name in rules_by_topic:
            self._adopt(self._transport.describe_topic(name))
        if isinstance(self._membership, Group):
            self._consumer.subscribe(list(rules_by_topic))
        else:
            self._complete()

    @property
    def readable(self) -> list[PartitionState]:
        """The states that may be stored: those whose topic is known to be the one that was read."""
        return [state for partition, state in self.states.items() if partition.topic not in self.missing]

    @property
    def ours(self) -> list[Partition]:
        """The partitions that are being read: those of topics that exist and that the group has not taken away."""
        return [partition for partition in self.states if partition in self._consumer.assignment()]

    @property
    def waiting_rows(self) -> int:
        """Rows read and not handed to a flush yet."""
        return sum(state.pending_rows for state in self.states.values())

    @property
    def sources(self) -> dict[str, str]:
        """Each topic's identity."""
        return {name: topic.topic_id for name, topic in self._topics.items()}

    def follow(self) -> frozenset[Partition]:
        """Take up what the group has given and drop what it has taken; return every partition that is not as before."""
        changes = self._consumer.changes()
        for partition in changes.lost:
            self._forget(partition)
        self._starting |= changes.gained
        return changes.lost | changes.gained

    def start_waiting(self) -> None:
        """Start the partitions that the group has given; those that the store cannot tell about yet wait.

        Raises:
            StoreUnavailable: the store does not answer; the next call tries again.
        """
        for partition in sorted(self._starting & self._consumer.assignment()):
            state = self._opened(partition)
            if state is not None:
                self.states[partition] = state
                self._consumer.seek(partition, state.next_offset)
                (self._consumer.pause if partition.topic in self._paused else self._consumer.resume)([partition])
            self._starting.discard(partition)
        self._starting &= self._consumer.assignment()

    def look(self) -> None:
        """See whether topics were deleted, made again or given more partitions.

        Raises:
            TransportUnavailable: the log cannot say.
            TopicMismatch: a topic made again breaks a rule that counting exactly needs.
        """
        for known in list(self._topics.values()):
            try:
                now = self._transport.describe_topic(known.name)
            except TopicNotFound:
                if known.name not in self.missing:
                    _log.error("topic_deleted", topic=known.name)
                self.missing.add(known.name)
                continue
            if now.topic_id != known.topic_id:
                self._begin_anew(now)
            elif now.partitions > known.partitions:
                self._grow(known, now)
            if known.name in self.missing:
                self.missing.discard(known.name)
                self.release()
        self._complete()

    def reopen(self, partitions: Collection[Partition]) -> None:
        """Start these partitions again where the store says; whatever the log has lost by then is written down."""
        self.look()
        again = [part for part in partitions if part in self.states and part.topic not in self.missing]
        self._consumer.pause([part for part in self.ours if part in partitions and part.topic in self.missing])
        for partition in again:
            self._forget(partition)
        if isinstance(self._membership, Group):
            self._starting.update(again)
            self._consumer.pause(again)
            self.start_waiting()
        else:
            self._complete()

    def pause(self, topic: str) -> None:
        """Read nothing more of ``topic`` until ``resume``."""
        self._paused.add(topic)
        self._consumer.pause([partition for partition in self.ours if partition.topic == topic])

    def resume(self, topic: str) -> None:
        """Read ``topic`` again, at the offset where it was paused."""
        self._paused.discard(topic)
        self._consumer.resume([partition for partition in self.ours if partition.topic == topic])

    def hold(self) -> None:
        """Read nothing for a moment; the log's client stays alive."""
        self._consumer.pause(self.ours)

    def release(self) -> None:
        """Undo ``hold``."""
        self._consumer.resume([partition for partition in self.ours if partition.topic not in self._paused])

    def _adopt(self, topic: TopicDescription) -> None:
        for breach in require_sound_topics(self._transport, [topic.name]):
            _log.warning("guarantee_lost", topic=topic.name, rule=breach.status, lost=breach.lost)
        self._sizes[topic.name] = register_source(self._store, self._rules[topic.name], topic)
        self._topics[topic.name] = topic

    def _complete(self) -> None:
        """Read what is our share and not read yet; what a failure leaves undone is done by the next call."""
        if isinstance(self._membership, Group):
            return
        topics = [topic for topic in self._topics.values() if topic.name not in self.missing]
        ours = [Partition(topic.name, at) for topic in topics for at in range(topic.partitions)]
        for partition in ours:
            known = partition in self.states or partition in self.stopped
            if self._membership.holds(partition.index) and not known:
                state = self._opened(partition)
                if state is not None:
                    self.states[partition] = state
                    self._assigned = None
        there = {part: state.next_offset for part, state in self.states.items() if part.topic not in self.missing}
        if self._assigned != there.keys():
            self._consumer.assign(there)
            self._assigned = frozenset(there)
            self._repause(there)

    def _repause(self, partitions: Iterable[Partition]) -> None:
        if paused := [partition for partition in partitions if partition.topic in self._paused]:
            self._consumer.pause(paused)

    def _opened(self, partition: Partition) -> PartitionState | None:
        """Return where reading starts; None, with the reason noted, where the log has lost what was counted."""
        topic, rules = self._topics[partition.topic], self._rules[partition.topic]
        begin = self._consumer.begin_offsets([partition])[partition]
        end = self._consumer.end_offsets([partition])[partition]
        self._guard.open({partition: topic.topic_id})
        try:
            start = start_of(self._store, rules, topic.topic_id, partition, Kept(begin, end))
        except LogRegressed as error:
            self.stopped[partition] = str(error)
            _log.error("partition_stopped", partition=str(partition), reason=str(error))
            return None
        self.stopped.pop(partition, None)
        start = replace(start, stamped_by_log=topic.log_append_time)
        return PartitionState(partition, rules, start, self._sizes[partition.topic])

    def _forget(self, partition: Partition) -> None:
        self.states.pop(partition, None)
        self.stopped.pop(partition, None)
        self._starting.discard(partition)
        self._guard.close(partition)
        self._assigned = None

    def _begin_anew(self, topic: TopicDescription) -> None:
        """Drop all that was read under the topic's old identity and not stored; read the new topic from its start."""
        old = [partition for partition in (*self.states, *self.stopped) if partition.topic == topic.name]
        _log.error("topic_made_again", topic=topic.name, topic_id=topic.topic_id)
        for partition in old:
            self._forget(partition)
        self._adopt(topic)
        if isinstance(self._membership, Group):
            self._consumer.subscribe(list(self._topics))  # a new client, which holds nothing of the old topic

    def _grow(self, known: TopicDescription, now: TopicDescription) -> None:
        _log.warning("topic_grown", topic=now.name, partitions=now.partitions, before=known.partitions)
        self._adopt(now)
