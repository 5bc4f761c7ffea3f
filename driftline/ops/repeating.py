"""Work that a thread of its own repeats at an interval, and that no failure of it can end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)
_LAST_WORDS_SECONDS = 3.0  # of the ten in which a process ends


class Repeating:
    """Calls ``work`` at once and then every ``seconds``, until ``stop``; ``at_end`` once more after the last."""

    def __init__(
        self, name: str, seconds: float, work: Callable[[], object], at_end: Callable[[], object] = lambda: None
    ) -> None:
        self._seconds, self._work, self._at_end = seconds, work, at_end
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; work that hangs is left behind."""
        self._stopped.set()
        self._thread.join(timeout=_LAST_WORDS_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._guarded(self._work)
            self._stopped.wait(self._seconds)
        self._guarded(self._at_end)

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:
            _log.exception("side_work_failed", name=self._thread.name)
