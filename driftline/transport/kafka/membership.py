"""Membership of a consumer group: what the group gives and takes, and joins that never end.

The client reports rebalances on its own thread, in the middle of a poll. There a gained partition is only silenced
(paused, at an arbitrary offset, so that the client asks nobody where to start); whoever polls drains the queue.

kafka-python 3.0.12 stays in a join for ever if no poll waits at the moment when it is done, which a poll with a few
milliseconds left makes likely. So a member that is not settled asks to join again, which a join under way takes for
itself, and is polled on at once; one that does not settle all the same has to be made anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition

from driftline.clock import Clock
from driftline.transport.base import Changes, Partition

_SETTLED = "<stable>"
_SLICE_MS = 1_000
"""A new partition is silent, so a poll that waits for a join waits on after it; this is how long at most."""

_SETTLING_POLLS = 5


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """One client in one group; partitions are the member's from the drain that reports them as gained."""

    def __init__(self, client: KafkaConsumer, clock: Clock, patience_seconds: float) -> None:
        self._client = client
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._unsettled_since: float | None = None
        self._reported: deque[frozenset[TopicPartition]] = deque()
        self._held: frozenset[TopicPartition] = frozenset()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Do nothing: what is taken is known only when the new assignment comes."""

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Note that the group has gone on without this member (client's thread)."""
        self._held = frozenset()
        self._reported.append(self._held)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Silence what is new, note what is held (client's thread)."""
        now = frozenset(assigned)
        for place in now - self._held:
            self._client.pause(place)
            self._client.seek(place, 0)
        self._held = now
        self._reported.append(now)

    def poll(self, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[Any]]:
        """Poll; while the member is not settled, poll on for some seconds without a pause between."""
        polled: Mapping[TopicPartition, Sequence[Any]] = self._client.poll(timeout_ms, max_records)
        for _ in range(_SETTLING_POLLS):
            if polled or self._is_settled():
                break
            self._client._coordinator.request_rejoin()  # noqa: SLF001 - there is no public way to cure this
            polled = self._client.poll(_SLICE_MS, max_records)
        return polled

    def drain(self, held: frozenset[Partition]) -> tuple[frozenset[Partition], Changes]:
        """Return what is held after all that was reported, and how it came from ``held``."""
        gained: set[Partition] = set()
        lost: set[Partition] = set()
        while self._reported:
            now = frozenset(Partition(place.topic, place.partition) for place in self._reported.popleft())
            lost |= held - now
            gained = (gained & now) | (now - held)
            held = now
        return held, Changes(frozenset(gained), frozenset(lost))

    @property
    def is_stuck(self) -> bool:
        """Whether the member has not settled for longer than is patient."""
        if self._is_settled() or self._unsettled_since is None:
            return False
        return self._clock.monotonic() - self._unsettled_since > self._patience_seconds

    def _is_settled(self) -> bool:
        settled = str(self._client.group_metadata().state) == _SETTLED
        if settled:
            self._unsettled_since = None
        elif self._unsettled_since is None:
            self._unsettled_since = self._clock.monotonic()
        return settled
