"""The consumer: poll, absorb, flush what is due, commit.

Single-threaded. Partitions are given, not negotiated. While the store does not answer, reading is
paused, the log's client is kept alive, and the same flush is tried again; nothing is skipped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import structlog
import tenacity

from consumers.decoding import Decoded
from consumers.flushing import Flusher
from consumers.recovery import Kept, register_source, start_of
from consumers.segments import PartitionState, StreamRules
from driftline.clock import Clock
from driftline.errors import CheckFailedError, StoreUnavailable, TopicMismatch, TransportError, TransportUnavailable
from driftline.transport import Consumer, Partition, RecordBatch, TopicDescription, Transport

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

FLUSH_SECONDS = 5.0
FLUSH_ROWS = 50_000
POLL_SECONDS = 0.2
POLL_RECORDS = 5_000
BREAKER_RECORDS = 1_000
BREAKER_SHARE = 0.5
_LOG_REST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the consumer writes, and how much it reads at once."""

    flush_seconds: float = FLUSH_SECONDS
    flush_rows: int = FLUSH_ROWS
    poll_seconds: float = POLL_SECONDS
    poll_records: int = POLL_RECORDS


@dataclass(slots=True)
class Progress:
    """What a consumer has done so far; read by progress bars and summaries."""

    records: int = 0
    ok: int = 0
    dead: int = 0
    flushes: int = 0
    paused_topics: dict[str, str] = field(default_factory=dict)


class Breaker:
    """Trips when more than half of the last thousand records of a topic are dead letters."""

    def __init__(self, records: int = BREAKER_RECORDS, share: float = BREAKER_SHARE) -> None:
        self._records, self._share = records, share
        self._recent: deque[bool] = deque(maxlen=records)

    def tripped_at(self, records: int, events: Decoded) -> bool:
        """Take note of a batch of ``records`` and return whether any stretch of the last thousand was too bad."""
        bad = np.zeros(records, dtype=bool)
        bad[[letter.index for letter in events.dead]] = True
        history = np.concatenate([np.array(self._recent, dtype=bool), bad])
        self._recent.extend(bad.tolist())
        sums = np.concatenate([[0], np.cumsum(history)])
        stretches = sums[self._records :] - sums[: -self._records] if len(sums) > self._records else np.array([0])
        return bool((stretches > self._share * self._records).any())


class ConsumerLoop:
    """Reads partitions of the three topics of one contract and keeps the store up to date."""

    def __init__(self, transport: Transport, flusher: Flusher, clock: Clock, pace: Pace | None = None) -> None:
        self._transport = transport
        self._flusher = flusher
        self._clock = clock
        self._pace = pace or Pace()
        self._consumer: Consumer = transport.consumer()
        self._states: dict[Partition, PartitionState] = {}
        self._breakers: dict[str, Breaker] = {}
        self._flushed_at = clock.monotonic()
        self.progress = Progress()

    def open(self, streams: Sequence[StreamRules]) -> None:
        """Find every partition of the contract's topics and resume where the store says.

        Raises:
            TopicNotFound: a topic does not exist yet.
            TopicMismatch: a topic keeps its producers' times instead of stamping records itself.
            TransportError: a log has lost records that the store has counted.
        """
        for rules in streams:
            topic = self._transport.describe_topic(topic_of(rules))
            _require_append_time(topic)
            size = register_source(self._flusher.store, rules, topic)
            for index in range(topic.partitions):
                self._open_partition(rules, Partition(topic.name, index), topic.topic_id, size)
            self._breakers[topic.name] = Breaker()
        self._consumer.assign({partition: state.next_offset for partition, state in self._states.items()})

    def run(self, stop: threading.Event, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Consume until ``stop`` is set; then store everything."""
        while not stop.is_set():
            self.step()
            if on_progress:
                on_progress(self.progress)
        self.flush(final=True)

    def run_until_end(self, stop: threading.Event, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Consume up to the end offsets of this moment; then store everything.

        Raises:
            CheckFailedError: a topic is paused because most of its records are bad.
        """
        ends = self._consumer.end_offsets(list(self._states))
        while not stop.is_set() and any(self._states[p].next_offset < end for p, end in ends.items() if self._reads(p)):
            self.step()
            if on_progress:
                on_progress(self.progress)
        self.flush(final=True)
        if self.progress.paused_topics:
            raise CheckFailedError("; ".join(self.progress.paused_topics.values()))

    def step(self) -> None:
        """Poll once, absorb what came, flush if it is time; a log that does not answer is asked again later."""
        try:
            for batch in self._consumer.poll(self._pace.poll_seconds, self._pace.poll_records):
                self._absorb(batch)
            if self._flush_is_due():
                self.flush()
        except TransportUnavailable as error:
            _log.warning("log_unavailable", error=str(error))
            self._clock.sleep(_LOG_REST_SECONDS)

    def flush(self, *, final: bool = False) -> None:
        """Store everything absorbed, waiting for the store as long as it takes, and tell the log's lag tools.

        Raises:
            TransportUnavailable: the log cannot say whether its topics are still the same; nothing was stored.
            TransportError: a topic was deleted and made again; what was read since the last flush is not stored.
        """
        self._require_same_topics()
        self._patiently(lambda: self._flusher.flush(self._states.values(), final=final))
        self._flushed_at = self._clock.monotonic()
        self.progress.flushes += 1
        self._consumer.commit({partition: state.next_offset for partition, state in self._states.items()})

    def close(self) -> None:
        """Release the log."""
        self._consumer.close()

    def _open_partition(self, rules: StreamRules, partition: Partition, source_id: str, size: int) -> None:
        begin = self._consumer.begin_offsets([partition])[partition]
        end = self._consumer.end_offsets([partition])[partition]
        start = start_of(self._flusher.store, rules, source_id, partition, Kept(begin, end))
        self._states[partition] = PartitionState(partition, rules, start, size)

    def _require_same_topics(self) -> None:
        """Refuse to store records under a topic's old identity: a Kafka client follows the name, not the topic."""
        for topic, source_id in {(part.topic, state.start.source_id) for part, state in self._states.items()}:
            now = self._transport.describe_topic(topic).topic_id
            if now != source_id:
                msg = (
                    f"topic {topic} was deleted and made again while it was read; start again to go on with the new one"
                )
                raise TransportError(msg)

    def _absorb(self, batch: RecordBatch) -> None:
        state = self._states[batch.partition]
        if batch.offsets and batch.offsets[0] > state.next_offset:
            _log.warning(
                "offsets_skipped", partition=str(batch.partition), expected=state.next_offset, got=batch.offsets[0]
            )
        events = self._patiently(lambda: state.absorb(batch))  # may read from the store, before it changes anything
        self.progress.records += len(batch)
        self.progress.ok += len(events)
        self.progress.dead += len(events.dead)
        topic = batch.partition.topic
        if self._breakers[topic].tripped_at(len(batch), events):
            self._pause_topic(topic)

    def _pause_topic(self, topic: str) -> None:
        reason = (
            f"topic {topic} is paused: more than {BREAKER_SHARE:.0%} of its last {BREAKER_RECORDS} records cannot be "
            "read; look at the table dead_letters, mend the producer or the contract, then start again"
        )
        self.progress.paused_topics[topic] = reason
        self._consumer.pause([partition for partition in self._states if partition.topic == topic])
        _log.error("topic_paused", topic=topic, reason=reason)

    def _reads(self, partition: Partition) -> bool:
        return partition.topic not in self.progress.paused_topics

    def _flush_is_due(self) -> bool:
        waiting = sum(state.pending_rows for state in self._states.values())
        elapsed = self._clock.monotonic() - self._flushed_at
        return waiting >= self._pace.flush_rows or elapsed >= self._pace.flush_seconds

    def _patiently(self, work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns, trying again while the store does not answer."""
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StoreUnavailable),
            wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=30),
            before_sleep=self._wait_for_store,
            sleep=self._clock.sleep,
        )
        result = attempts(work)
        if attempts.statistics["attempt_number"] > 1:
            self._consumer.resume([partition for partition in self._states if self._reads(partition)])
        return result

    def _wait_for_store(self, attempt: tenacity.RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        _log.warning("store_unavailable", attempt=attempt.attempt_number, error=str(error))
        self._consumer.pause(list(self._states))
        try:
            self._consumer.poll(0)
        except TransportError as trouble:
            _log.warning("log_unavailable", error=str(trouble))


def _require_append_time(topic: TopicDescription) -> None:
    """Refuse a topic whose stamps a producer chooses: whether a record lies in the future must depend on the log."""
    if not topic.log_append_time:
        msg = (
            f"topic {topic.name} must be stamped by the log; it keeps its producers' times; set "
            "message.timestamp.type=LogAppendTime on it before anything is consumed"
        )
        raise TopicMismatch(msg)


def topic_of(rules: StreamRules) -> str:
    """Return the name of the stream's topic."""
    name: str = getattr(rules.contract.topics, rules.stream)
    return name
