"""Sending a script: topics, pace, markers, end markers, and the account of what was sent.

What is sent is ``producers.script``'s; nothing here looks into an event.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from driftline.clock import Clock, from_ms
from driftline.contract import Contract
from driftline.events import STREAMS
from driftline.transport.base import Producer, Transport
from driftline.windows import window_start_ms
from producers.model import DurationModel
from producers.pacing import Live, Pace
from producers.plan import ReplayPlan
from producers.script import write_script
from producers.sender import ReplayProgress, Sender
from producers.topics import ensure_topics, topic_of


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """What a replay did.

    ``events`` and ``markers`` count what was handed over, by topic, ``produced`` both; ``acknowledged`` is what the log
    confirmed of these. A record sent again after an outage counts once.
    ``skipped`` trips have no pick-up time. ``ended`` says whether end markers were written.
    ``first_event_time`` and ``last_event_time`` are those of the trips sent.
    """

    trips: int
    events: Mapping[str, int]
    markers: Mapping[str, int]
    produced: Mapping[str, int]
    acknowledged: Mapping[str, int]
    skipped: int
    first_event_time: datetime
    last_event_time: datetime
    shift_weeks: int
    ended: bool
    producer: str

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The first and the last event time sent."""
        return self.first_event_time, self.last_event_time


class Replay:
    """One replay of ``plan`` into ``transport``; call ``run`` once, from any thread.

    ``past_sent`` is set once all up to now (aligned) or all there is (else) is durable in the log; not when stopped.
    """

    def __init__(
        self, plan: ReplayPlan, contract: Contract, models: Sequence[DurationModel], transport: Transport, clock: Clock
    ) -> None:
        self._plan = plan
        self._contract = contract
        self._models = models
        self._transport = transport
        self._clock = clock
        self.past_sent = threading.Event()

    def run(
        self, stop: threading.Event, on_progress: Callable[[ReplayProgress], None] = lambda _progress: None
    ) -> ReplaySummary:
        """Send everything, or until ``stop``; end markers are written only when everything was sent.

        Raises:
            InputDataError: see ``producers.script.write_script``.
            TransportError: the log refused records or does not answer.
        """
        script = write_script(self._plan, self._contract, self._models, self._clock.now())
        topics = ensure_topics(self._transport, self._contract, self._plan.partitions)
        with self._transport.producer() as producer:
            sender = Sender(script, producer, topics, stop, on_progress)
            self._send_past(sender)
            if not stop.is_set():
                self.past_sent.set()
            self._send_paced(sender, Live(self._clock))
            if sender.is_done:
                sender.send_end_markers(self._contract)
            sender.flush()
            return self._summary(sender, producer)

    def _send_past(self, sender: Sender) -> None:
        script = sender.script
        if self._plan.speed is None:
            sender.send_until(script.past_entries)
        else:
            self._send_paced(sender, Pace(self._clock, int(script.schedule.times_ms[0]), self._plan.speed))
        sender.flush()

    def _send_paced(self, sender: Sender, pace: Pace | Live) -> None:
        while not sender.is_done and not sender.stop.is_set():
            horizon_ms = pace.horizon_ms(sender.next_ms)
            if sender.next_ms <= horizon_ms:
                sender.send_until(sender.script.schedule.due(horizon_ms))
                sender.flush()
            elif isinstance(pace, Live):
                # Windows of a quiet night close on time: live, nothing older than now follows.
                sender.mark(window_start_ms(horizon_ms, sender.script.schedule.window_ms), live=True)
            if not sender.is_done:
                self._clock.sleep(pace.rest_seconds(sender.next_ms))

    def _summary(self, sender: Sender, producer: Producer) -> ReplaySummary:
        script, sent = sender.script, sender.trips
        topics = {stream: topic_of(self._contract, stream) for stream in STREAMS}
        return ReplaySummary(
            trips=sent,
            events={topics[stream]: sender.events[stream] for stream in STREAMS},
            markers={topics[stream]: sender.markers[stream] for stream in STREAMS},
            produced={topics[stream]: sender.events[stream] + sender.markers[stream] for stream in STREAMS},
            acknowledged={topic: producer.acknowledged.get(topic, 0) for topic in topics.values()},
            skipped=script.skipped,
            first_event_time=from_ms(int(script.event_ms[0])),
            last_event_time=from_ms(int(script.event_ms[max(sent - 1, 0)])),
            shift_weeks=script.shift_weeks,
            ended=sender.is_done,
            producer=script.producer_id,
        )
