from __future__ import annotations

import threading

from structlog.testing import capture_logs

from driftline.ops.repeating import Repeating


def test_work_that_fails_is_logged_and_done_again_and_the_end_is_told() -> None:
    done, ended, calls = threading.Event(), threading.Event(), iter(range(3))

    def work() -> None:
        if next(calls) == 0:
            msg = "no"
            raise ValueError(msg)
        done.set()

    with capture_logs() as lines:
        repeating = Repeating("stats", 0.001, work, ended.set)
        repeating.start()
        assert done.wait(10)
        repeating.stop()
    assert ended.is_set()
    assert next(line for line in lines if line["name"] == "stats") == {
        "event": "side_work_failed", "log_level": "error", "exc_info": True, "name": "stats"
    }  # fmt: skip


def test_work_that_hangs_does_not_keep_a_process() -> None:
    hanging, release = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        release.wait(30)

    repeating = Repeating("heartbeat", 1, hang)
    repeating.start()
    assert hanging.wait(10)
    repeating.stop()
    assert not release.is_set()
    release.set()
