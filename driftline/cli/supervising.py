"""Several long-running parts in one process: all run, or all stop and the first failure is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

Part = Callable[[], None]


class Supervisor:
    """Runs named parts in threads of their own. A part that fails stops all the others; none may fail unseen."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, parts: Mapping[str, Part]) -> None:
        """Start each part; it must return soon after ``stop`` is set."""
        for name, part in parts.items():
            thread = threading.Thread(target=self._run, args=(name, part), name=name)
            self._threads.append(thread)
            thread.start()

    def wait(self) -> None:
        """Return once every part has ended; raise what the first failed part raised."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(timeout=0.5)  # short, so that signals reach the main thread
        if self._failures:
            raise self._failures[0]

    @property
    def failed(self) -> bool:
        """Whether a part has failed."""
        return bool(self._failures)

    def _run(self, name: str, part: Part) -> None:
        try:
            part()
        except BaseException as error:  # whatever ended it must end the others and reach the user
            error.add_note(f"in the part {name!r}")
            self._failures.append(error)
            self._stop.set()
