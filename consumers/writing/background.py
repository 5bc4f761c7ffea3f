"""Writing flushes beside reading: one thread, one flush at a time, tried again for as long as the store is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue

import structlog
import tenacity

from consumers.writing.flushing import Flush
from driftline.clock import Clock
from driftline.errors import StoreUnavailable
from driftline.store import Store

_log = structlog.get_logger(__name__)

FIRST_REST_SECONDS = 0.5
LONGEST_REST_SECONDS = 30.0


def patiently(
    away: Callable[[StoreUnavailable], None], rest: Callable[[float], None], stop: threading.Event
) -> tenacity.Retrying:
    """Return a caller that repeats what it is given while the store does not answer, until ``stop`` is set.

    ``away`` hears of each failure, ``rest`` sleeps between two of them. It raises the last failure.
    """

    def told(attempt: tenacity.RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        if isinstance(error, StoreUnavailable):
            _log.warning("store_unavailable", attempt=attempt.attempt_number, error=str(error))
            away(error)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailable),
        wait=tenacity.wait_random_exponential(multiplier=FIRST_REST_SECONDS, max=LONGEST_REST_SECONDS),
        stop=tenacity.stop_when_event_set(stop),
        before_sleep=told,
        sleep=rest,
        reraise=True,
    )


class BackgroundWriter:
    """Writes one flush after the other in one thread (a store keeps a connection per thread) that no exit waits for."""

    def __init__(self, store: Store, clock: Clock, away: Callable[[StoreUnavailable], None]) -> None:
        self._store = store
        self._clock = clock
        self._away = away
        self._abandon = threading.Event()
        self._jobs: SimpleQueue[tuple[Flush, Future[float]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="flush", daemon=True)
        self._writing: Future[float] | None = None
        self._flush: Flush | None = None

    @property
    def busy(self) -> bool:
        """Whether a flush was submitted and not collected yet."""
        return self._writing is not None

    def submit(self, flush: Flush) -> None:
        """Begin to write ``flush``; the one before must have been collected."""
        if self._thread.ident is None:
            self._thread.start()
        self._flush, self._writing = flush, Future()
        self._jobs.put((flush, self._writing))

    def wait(self, seconds: float) -> bool:
        """Wait until the flush is written or ``seconds`` are over; return whether nothing is being written."""
        return self._writing is None or bool(wait([self._writing], seconds).done)

    def collect(self) -> tuple[Flush, float] | None:
        """Return the flush that was written since the last call, and the seconds it took; None when there is none.

        Raises:
            StoreError: the store refused it, or was still away when it was given up.
        """
        if self._writing is None or self._flush is None or not self._writing.done():
            return None
        written, flush = self._writing, self._flush
        self._writing = self._flush = None
        seconds = written.result()
        flush.take_note()
        return flush, seconds

    def abandon(self) -> None:
        """Try a failing write no further; ``collect`` then raises why it failed."""
        self._abandon.set()

    def close(self) -> None:
        """End the thread after what it is writing; a failing write is tried no further."""
        self.abandon()
        self._jobs.put(None)

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            self._write(*job)

    def _write(self, flush: Flush, written: Future[float]) -> None:
        begun = self._clock.monotonic()
        attempts = patiently(self._away, tenacity.nap.sleep_using_event(self._abandon), self._abandon)
        try:
            attempts(flush.write, self._store)
        except BaseException as error:  # raised again where the flush is collected
            written.set_exception(error)
        else:
            written.set_result(self._clock.monotonic() - begun)
