"""Worker processes for Evidently: spawned, fed Arrow bytes, replaced when they die.

Never forked: a fork of a process that holds an embedded store hangs. A worker that dies or does not
answer in time is started again and its task tried once more; a second death is the task's failure and
nobody else's. A task that needs more memory than a worker may have fails at once, and a fresh worker goes on.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import LifoQueue
from typing import Self

from batch.results import Failure
from batch.workers.process import Answer, ReferenceRows, Task, run_limited, serve

_SPAWN = multiprocessing.get_context("spawn")
# Importing Evidently takes six seconds on a free core; a shared one may need ten times that.
DEFAULT_TIMEOUT_SECONDS = 300.0
DEFAULT_MEMORY_BYTES = 4 * 2**30
"""Ten times what quality of 200,000 rows takes; a machine of 8 GiB survives one worker gone wild."""


class Workers:
    """A fixed number of worker processes, started by ``start`` or by the first task."""

    def __init__(
        self,
        count: int = 1,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        entry: Callable[[Connection], None] = serve,
        memory_bytes: int | None = DEFAULT_MEMORY_BYTES,
    ) -> None:
        """Prepare ``count`` workers that run ``entry``; nothing starts yet.

        A task may take ``timeout_seconds``, a worker ``memory_bytes`` of its own memory (None for any).
        """
        self._workers = [_Worker(timeout_seconds, entry, memory_bytes) for _ in range(count)]
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def start(self) -> None:
        """Start all processes, so that their imports overlap with the caller's work. Idempotent."""
        for worker in self._workers:
            worker.start()

    def answers(self, tasks: Iterable[Task], reference: ReferenceRows | None = None) -> Iterator[Answer]:
        """Yield one answer per task, in the order of ``tasks``; ``reference`` is what their specs compare with."""
        with ThreadPoolExecutor(max_workers=len(self._workers)) as pool:
            yield from pool.map(lambda task: self._answer(task, reference), tasks)

    def process_ids(self) -> tuple[int, ...]:
        """Return the ids of the running processes."""
        return tuple(worker.pid for worker in self._workers if worker.pid is not None)

    def close(self) -> None:
        """End all processes. Idempotent; the next task starts them again."""
        for worker in self._workers:
            worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, task: Task, reference: ReferenceRows | None) -> Answer:
        worker = self._idle.get()
        try:
            return worker.answer(task, reference)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self, timeout_seconds: float, entry: Callable[[Connection], None], memory_bytes: int | None) -> None:
        self._timeout_seconds = timeout_seconds
        self._entry = entry
        self._memory_bytes = memory_bytes
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._reference_id = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Connection:
        if self._connection is None:
            self._connection, theirs = _SPAWN.Pipe()
            work = (self._entry, theirs, self._memory_bytes)
            self._process = _SPAWN.Process(target=run_limited, args=work, daemon=True, name="driftline-worker")
            self._process.start()
            theirs.close()
        return self._connection

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._process = self._connection = None
        self._reference_id = ""

    def answer(self, task: Task, reference: ReferenceRows | None) -> Answer:
        reason = ""
        for _ in range(2):
            try:
                answer = self._ask(task, reference)
            except (EOFError, OSError) as error:
                reason = str(error) or "it ended without an answer"
                self.stop()
                continue
            if answer.is_exhausted:
                self.stop()
            return answer
        failed = f"{task.kind}: the worker failed twice on this window: {reason}"
        return Answer(failures=(Failure("", failed, is_fatal=True),))

    def _ask(self, task: Task, reference: ReferenceRows | None) -> Answer:
        connection = self.start()
        if reference is not None and reference.reference_id != self._reference_id:
            connection.send(reference)
            self._reference_id = reference.reference_id
        connection.send(task)
        if not connection.poll(self._timeout_seconds):
            msg = f"no answer within {self._timeout_seconds:g} s"
            raise TimeoutError(msg)
        answer: Answer = connection.recv()
        return answer
