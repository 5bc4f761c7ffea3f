"""Worker processes: spawned, replaced, isolated."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection

import pyarrow as pa

from batch.results import Failure
from batch.rows.frames import to_arrow_bytes
from batch.workers.pool import Workers
from batch.workers.process import Answer, Task, answer_safely

ROWS = to_arrow_bytes(pa.table({"label": [10.0, 20.0], "prediction": [11.0, 18.0]}))
UNREADABLE = b"not an arrow stream"


def dies_on_unreadable(connection: Connection) -> None:
    while True:
        task = connection.recv()
        if task.frame == UNREADABLE:
            os._exit(1)
        connection.send(Answer())


def takes_what_the_frame_says(connection: Connection) -> None:
    def allocate(task: Task) -> Answer:
        return Answer() if bytearray(int(task.frame)) else Answer(is_exhausted=True)

    while True:
        try:
            connection.send(answer_safely(allocate, connection.recv()))
        except EOFError:
            return


def never_answers(connection: Connection) -> None:
    while True:
        connection.recv()


def maes(answers: list[Answer]) -> list[float]:
    return [metric.value for answer in answers for metric in answer.metrics if metric.metric == "mae"]


def test_a_worker_killed_between_tasks_is_replaced(workers: Workers) -> None:
    assert maes(list(workers.answers([Task("quality", ROWS)]))) == [1.5]
    [killed] = workers.process_ids()
    os.kill(killed, signal.SIGKILL)
    assert maes(list(workers.answers([Task("quality", ROWS)]))) == [1.5]
    assert workers.process_ids() != (killed,)


def test_a_task_that_cannot_be_computed_is_a_failure_and_the_worker_lives(workers: Workers) -> None:
    broken, whole = workers.answers([Task("quality", UNREADABLE), Task("quality", ROWS)])
    assert [failure.error.split(":")[0] for failure in broken.failures] == ["quality"]
    assert maes([whole]) == [1.5]


def test_a_task_that_kills_its_worker_twice_fails_alone() -> None:
    with Workers(entry=dies_on_unreadable) as fragile:
        before, killer, after = fragile.answers(
            [Task("quality", b""), Task("quality", UNREADABLE), Task("quality", b"")]
        )
    reason = "quality: the worker failed twice on this window: it ended without an answer"
    assert (before, killer, after) == (Answer(), Answer(failures=(Failure("", reason, is_fatal=True),)), Answer())


def test_a_task_that_takes_too_long_fails_alone() -> None:
    with Workers(timeout_seconds=0.5, entry=never_answers) as stuck:
        [answer] = stuck.answers([Task("quality", ROWS)])
    reason = "quality: the worker failed twice on this window: no answer within 0.5 s"
    assert answer.failures == (Failure("", reason, is_fatal=True),)


def test_a_task_that_wants_more_memory_than_a_worker_may_have_fails_alone_and_the_worker_is_replaced() -> None:
    with Workers(entry=takes_what_the_frame_says, memory_bytes=2**30) as limited:
        [first] = limited.answers([Task("quality", b"1000")])
        before = limited.process_ids()
        greedy, after = limited.answers([Task("quality", b"2000000000"), Task("quality", b"1000")])
        assert limited.process_ids() != before
    reason = (
        "quality: this window takes more memory than a worker may have (1,024 MiB); "
        "allow more with --worker-memory-mb, or judge smaller windows"
    )
    assert (first, after) == (Answer(), Answer())
    assert greedy.failures == (Failure("", reason, is_fatal=True),)


def test_without_a_limit_a_worker_takes_what_it_needs() -> None:
    with Workers(entry=takes_what_the_frame_says, memory_bytes=None) as free:
        assert list(free.answers([Task("quality", b"2000000000")])) == [Answer()]


def test_answers_keep_the_order_of_tasks_with_several_workers() -> None:
    errors = [float(number) for number in range(1, 13)]
    frames = [to_arrow_bytes(pa.table({"label": [10.0], "prediction": [10.0 + error]})) for error in errors]
    with Workers(2) as pair:
        assert maes(list(pair.answers(Task("quality", frame) for frame in frames))) == errors
        assert len(pair.process_ids()) == 2
