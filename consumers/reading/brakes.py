"""Which topics one consumer leaves unread because most of their records are bad: by its own judgement or others'."""

from __future__ import annotations

import structlog

from consumers.counting.segments import Absorbed
from consumers.observing import Observer
from consumers.reading.breaker import Breaker, Pauses, pause_reason
from consumers.reading.holdings import Holdings

_log = structlog.get_logger(__name__)


class Brakes:
    """Pauses topics at once where their breaker trips; ``heed`` exchanges pauses with the store.

    ``paused`` says why each topic is not read.
    """

    def __init__(self, pauses: Pauses, holdings: Holdings, observer: Observer, writer: str) -> None:
        self._pauses, self._holdings, self._observer, self._writer = pauses, holdings, observer, writer
        self._breakers: dict[str, Breaker] = {}
        self._unwritten: set[str] = set()
        self.paused: dict[str, str] = {}

    def judge(self, topic: str, absorbed: Absorbed) -> None:
        """Take note of a batch, and pause its topic where too much was bad."""
        tripped = self._breakers.setdefault(topic, Breaker()).tripped(absorbed)
        if tripped and topic not in self.paused:
            self._unwritten.add(topic)
            self._pause(topic, pause_reason(topic))

    def heed(self) -> None:
        """Write down the pauses made here; take up those that others made, or ended.

        Call it when everything absorbed is stored, so that a pause is known only with its dead letters.

        Raises:
            StoreUnavailable: call again.
        """
        sources = self._holdings.sources
        for topic in self._unwritten:
            self._pauses.pause(topic, sources[topic], self._writer)
        self._unwritten.clear()
        wanted = self._pauses.paused(sources)
        for topic in wanted.keys() - self.paused.keys():
            self._pause(topic, wanted[topic])
        for topic in self.paused.keys() - wanted.keys():
            self._resume(topic)

    def _pause(self, topic: str, reason: str) -> None:
        self.paused[topic] = reason
        self._holdings.pause(topic)
        self._observer.topic_paused(topic, reason)
        _log.error("topic_paused", topic=topic, reason=reason)

    def _resume(self, topic: str) -> None:
        del self.paused[topic]
        self._breakers[topic] = Breaker()
        self._holdings.resume(topic)
        self._observer.topic_paused(topic, "")
        _log.warning("topic_resumed", topic=topic)
