"""The consumer: poll, absorb, hand what is due to the writer, commit what it has written.

Reading, counting and profiling happen in the thread that calls; flushes are written in another, one at a
time. While the store does not answer, the same flush is tried again and again, reading pauses once enough
waits to be written, and the log's client is kept alive; nothing is skipped: what was not stored when the
consumer stops is read again by the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from consumers.closings import Closings
from consumers.counting.idleness import Idleness
from consumers.counting.rules import StreamRules
from consumers.counting.segments import Absorbed
from consumers.observing import BatchCounts, ClosedWindow, NullObserver, Observer
from consumers.reading.brakes import Brakes
from consumers.reading.breaker import Pauses
from consumers.reading.holdings import Holdings
from consumers.reading.lookout import Lookout
from consumers.reading.membership import EVERYTHING, Group, Membership
from consumers.reading.patience import NAP_SECONDS, Patience
from consumers.reading.quarantine import Guard
from consumers.writing.background import BackgroundWriter
from consumers.writing.flushing import Flusher
from driftline.clock import Clock
from driftline.errors import (
    CheckFailedError,
    OffsetOutOfRange,
    StoreUnavailable,
    TopicNotFound,
    TransportUnavailable,
    UsageError,
)
from driftline.store import Store
from driftline.transport import Consumer, Partition, RecordBatch, Transport

_log = structlog.get_logger(__name__)

FLUSH_SECONDS = 5.0
FLUSH_ROWS = 50_000
POLL_SECONDS = 0.2
POLL_RECORDS = 5_000
STOP_SECONDS = 5.0  # how long a consumer that was told to stop goes on trying to store what it has
_NO_ANSWER = "the store does not answer"
_COMES_BACK = (TransportUnavailable, TopicNotFound)  # a topic deleted this very moment: the next look sees it
_FLUSHES_WAITING = 2  # so many flushes' rows may wait behind the one that is being written


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
    duplicates: int = 0
    late: int = 0
    dead: int = 0
    flushes: int = 0
    paused_topics: dict[str, str] = field(default_factory=dict)
    stopped_partitions: dict[str, str] = field(default_factory=dict)

    @property
    def complaints(self) -> list[str]:
        """Why something was not read, a sentence each."""
        return [*self.paused_topics.values(), *self.stopped_partitions.values()]


class ConsumerLoop:
    """Reads partitions of the three topics of one contract and keeps the store up to date."""

    def __init__(
        self,
        transport: Transport,
        store: Store,
        flusher: Flusher,
        clock: Clock,
        pace: Pace | None = None,
        membership: Membership = EVERYTHING,
        observer: Observer | None = None,
    ) -> None:
        contract = flusher.writer.contract
        self._membership, self._clock, self._pace = membership, clock, pace or Pace()
        self._flusher = flusher
        self._observer = observer or NullObserver()
        self._consumer: Consumer = transport.consumer(membership.name if isinstance(membership, Group) else None)
        self._guard = Guard(store, flusher.writer.name)
        self._holdings = Holdings(transport, self._consumer, store, membership, self._guard)
        self._writer = BackgroundWriter(store, clock, self._observer.store_failed)
        pauses = Pauses(store, contract.model, contract.id)
        self._brakes = Brakes(pauses, self._holdings, self._observer, flusher.writer.name)
        self._closings = Closings()
        self._closed: list[ClosedWindow] = []  # told once the flush that completes them is written
        self._patiently = Patience(self._consumer, self._holdings, clock, self._observer)
        idleness = Idleness(contract.windows.idle_after)
        self._lookout = Lookout(self._consumer, self._holdings, idleness, self._observer, clock)
        self._flushed_at = clock.monotonic()
        self.progress = Progress(paused_topics=self._brakes.paused)

    def open(self, streams: Sequence[StreamRules], stop: threading.Event | None = None) -> None:
        """Find the contract's topics and resume where the store says, or join the consumer group.

        A log that does not answer is asked again until ``stop`` is set.

        Raises:
            TopicNotFound: a topic does not exist yet.
            TopicMismatch: a topic breaks a rule that counting exactly needs.
            TransportUnavailable: told to stop before the log answered.
        """
        self._patiently.stop = stop or self._patiently.stop
        while True:
            try:
                self._holdings.open({topic_of(rules): rules for rules in streams})
                break
            except TransportUnavailable as error:
                if self._patiently.stop.is_set():
                    raise
                self._patiently.wait_for_log(error)
        self._brakes.heed()
        self._lookout.show_assignment()

    def run(self, stop: threading.Event, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Consume until ``stop`` is set; then store everything.

        Raises:
            StoreUnavailable: told to stop while the store does not answer; some records are not stored.
        """
        self._patiently.stop = stop
        while not stop.is_set():
            self.step()
            if on_progress:
                on_progress(self.progress)
        self._end()

    def run_until_end(self, stop: threading.Event, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Consume up to the end offsets of this moment; then store everything.

        Raises:
            CheckFailedError: a topic is paused because most of its records are bad, or a partition's log lost records.
            StoreUnavailable: as ``run``.
            UsageError: the group may take partitions away, so that there is no end to reach.
        """
        if isinstance(self._membership, Group):
            msg = "the end of a consumer group's partitions is nobody's; leave out --until-end or --group"
            raise UsageError(msg)
        self._patiently.stop = stop
        ends = self._consumer.end_offsets(list(self._holdings.states))
        while not stop.is_set() and any(self._reads_up_to(partition, end) for partition, end in ends.items()):
            self.step()
            if on_progress:
                on_progress(self.progress)
        self._end()
        if self.progress.complaints:
            raise CheckFailedError("; ".join(self.progress.complaints))

    def step(self) -> None:
        """Poll once, absorb what came, write if it is time; a log that does not answer is asked again later."""
        try:
            self._take(self._pace.poll_seconds)
            self._collect()
            if self._flush_is_due():
                self._flush_in_background()
        except OffsetOutOfRange as error:
            self._reopen(error)
        except _COMES_BACK as error:
            self._patiently.wait_for_log(error)

    def flush(self, *, final: bool = False) -> None:
        """Store everything absorbed, waiting for the store until told to stop, and tell the log's lag tools.

        Raises:
            StoreUnavailable: told to stop, and the store does not answer.
            TransportUnavailable: the log cannot say whether its topics are still the same; nothing was stored.
        """
        self._finish_write()
        self._begin_write(final=final)
        self._finish_write()

    def close(self) -> None:
        """Release the log and end the writer; what is not stored yet is left to the next consumer."""
        self._writer.close()
        self._consumer.close()

    def _take(self, seconds: float) -> None:
        """Absorb what the log has; a partition that was given or taken by this very poll is passed over."""
        polled = self._consumer.poll(seconds, self._pace.poll_records)
        batches, self._patiently.backlog = [*self._patiently.backlog, *polled], []
        self._observer.polled()
        changed = self._holdings.follow()
        if changed:
            self._observer.rebalanced()
        for batch in batches:
            if batch.partition in self._holdings.states and batch.partition not in changed:
                self._absorb(batch)
        self._patiently(self._holdings.start_waiting)
        self._lookout.show_assignment()

    def _absorb(self, batch: RecordBatch) -> None:
        state = self._holdings.states[batch.partition]
        if batch.offsets and batch.offsets[0] > state.next_offset:
            _log.warning(
                "offsets_skipped", partition=str(batch.partition), expected=state.next_offset, got=batch.offsets[0]
            )
        for piece in self._guard.pieces(batch):
            self._patiently(partial(self._guard.before, piece))
            absorbed = self._patiently(partial(state.absorb, piece))  # may read the store before it changes anything
            self._patiently(partial(self._guard.after, piece))
            self._count(batch.partition, absorbed)
            self._brakes.judge(batch.partition.topic, absorbed)

    def _count(self, partition: Partition, absorbed: Absorbed) -> None:
        counts = BatchCounts(
            absorbed.records,
            len(absorbed.events) - absorbed.duplicates,
            absorbed.duplicates,
            absorbed.late,
            len(absorbed.events.dead),
        )
        self.progress.records += counts.records
        self.progress.ok += counts.ok
        self.progress.duplicates += counts.duplicate
        self.progress.late += counts.late
        self.progress.dead += counts.dead
        self._observer.absorbed(partition, counts)

    def _reopen(self, error: OffsetOutOfRange) -> None:
        """Store what was read of positions that the log no longer has, and start them again where the store says."""
        try:
            self.flush()
            lost = [Partition(topic, index) for topic, index in error.positions]
            self._patiently(partial(self._holdings.reopen, lost))
        except _COMES_BACK as away:
            self._patiently.wait_for_log(away)
        self._lookout.show_assignment()

    def _reads_up_to(self, partition: Partition, end: int) -> bool:
        state = self._holdings.states.get(partition)
        paused = partition.topic in self.progress.paused_topics or partition.topic in self._holdings.missing
        return state is not None and not paused and state.next_offset < end

    def _flush_is_due(self) -> bool:
        elapsed = self._clock.monotonic() - self._flushed_at
        return self._holdings.waiting_rows >= self._pace.flush_rows or elapsed >= self._pace.flush_seconds

    def _flush_in_background(self) -> None:
        if self._writer.busy and self._holdings.waiting_rows >= _FLUSHES_WAITING * self._pace.flush_rows:
            self._finish_write()
        if not self._writer.busy:
            self._begin_write()

    def _begin_write(self, *, final: bool = False) -> None:
        self._patiently(self._holdings.look)
        self._flushed_at = self._clock.monotonic()
        states = self._holdings.readable
        self._closed = self._closings.take(states)
        flush = self._flusher.prepare(states, final=final)
        if flush is None:
            self._observer.flushed(0.0, 0)
            self._settle()
        else:
            self._writer.submit(flush)

    def _finish_write(self) -> None:
        """Wait until nothing is being written; the log's client is kept alive meanwhile."""
        held, deadline = False, None
        while not self._writer.wait(NAP_SECONDS):
            if self._patiently.stop.is_set():
                deadline = deadline or self._clock.monotonic() + STOP_SECONDS
                if self._clock.monotonic() >= deadline:
                    self._writer.abandon()
                    if not self._writer.wait(STOP_SECONDS):
                        raise self._patiently.ended(_NO_ANSWER)
            if not held:
                self._holdings.hold()
                held = True
            self._patiently.keep_alive()
        if held:
            self._holdings.release()
        try:
            self._collect()
        except StoreUnavailable as error:
            raise self._patiently.ended(str(error)) from error

    def _collect(self) -> None:
        """Take note of what has been written since the last call."""
        if done := self._writer.collect():
            flush, seconds = done
            self.progress.flushes += 1
            self._observer.flushed(seconds, flush.raw_rows)
            self._consumer.commit({part: at for part, at in flush.reached.items() if part in self._holdings.states})
            self._guard.flushed()
            for window in self._closed:
                self._observer.window_closed(window)
            self._settle()

    def _settle(self) -> None:
        """Between two flushes, with the store answering: look who has paused what, and say where we stand."""
        self._patiently(self._brakes.heed)
        self.progress.stopped_partitions = {str(part): why for part, why in self._holdings.stopped.items()}
        self._lookout.look()

    def _end(self) -> None:
        while True:
            try:
                self.flush(final=True)
                break
            except _COMES_BACK as error:
                if self._patiently.stop.is_set():
                    raise
                self._patiently.wait_for_log(error)
        try:
            self._patiently(self._guard.stop)
        except StoreUnavailable as error:  # everything is stored; the next start is only more careful
            _log.warning("end_not_noted", error=str(error))


def topic_of(rules: StreamRules) -> str:
    """Return the name of the stream's topic."""
    name: str = getattr(rules.contract.topics, rules.stream)
    return name
