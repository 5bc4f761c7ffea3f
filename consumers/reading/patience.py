"""Waiting for a store or a log that is away, with the log's client kept alive, until somebody asks to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from consumers.observing import Observer
from consumers.reading.holdings import Holdings
from consumers.writing.background import patiently
from driftline.clock import Clock
from driftline.errors import StoreUnavailable, TransportError
from driftline.transport import Consumer, RecordBatch

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

NAP_SECONDS = 0.2  # the longest that a request to stop waits for a rest to end
_LOG_REST_SECONDS = 1.0
_MOMENT_SECONDS = 0.001


class Patience:
    """The waits of one consumer. ``stop`` ends them; ``backlog`` is what the log returned meanwhile, unasked."""

    def __init__(self, consumer: Consumer, holdings: Holdings, clock: Clock, observer: Observer) -> None:
        self._consumer, self._holdings, self._clock, self._observer = consumer, holdings, clock, observer
        self.stop = threading.Event()
        self.backlog: list[RecordBatch] = []

    def __call__(self, work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns, trying again while the store does not answer and nobody asks to stop.

        Raises:
            StoreUnavailable: told to stop; says how many rows were not stored.
        """
        failed = False

        def away(error: StoreUnavailable) -> None:
            nonlocal failed
            failed = True
            self._observer.store_failed(error)
            self._holdings.hold()

        try:
            result: _T = patiently(away, self._rest_from_store, self.stop)(work)
        except StoreUnavailable as error:
            raise self.ended(str(error)) from error
        if failed:
            self._holdings.release()
        return result

    def wait_for_log(self, error: TransportError) -> None:
        """Rest after the log did not answer."""
        _log.warning("log_unavailable", error=str(error))
        self._observer.log_failed(error)
        self.rest(_LOG_REST_SECONDS)

    def keep_alive(self) -> None:
        """Let the log's client do its duties; what it returns all the same goes to ``backlog``."""
        try:
            self.backlog.extend(self._consumer.poll(0))
        except TransportError as trouble:
            _log.warning("log_unavailable", error=str(trouble))

    def rest(self, seconds: float) -> None:
        """Sleep, in naps, for as long as nobody asks to stop."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > _MOMENT_SECONDS and not self.stop.is_set():
            self._clock.sleep(min(left, NAP_SECONDS))

    def ended(self, reason: str) -> StoreUnavailable:
        """Return the error for stopping before everything was stored."""
        return StoreUnavailable(
            f"stopped before {self._holdings.waiting_rows:,} rows were stored: {reason}; "
            "nothing is lost, the next start reads them again"
        )

    def _rest_from_store(self, seconds: float) -> None:
        self.keep_alive()
        self.rest(seconds)
