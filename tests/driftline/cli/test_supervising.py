from __future__ import annotations

import threading

import pytest

from driftline.cli.supervising import Supervisor


def test_a_part_that_fails_stops_the_others_and_is_told() -> None:
    stop, ended = threading.Event(), threading.Event()

    def fails() -> None:
        msg = "no"
        raise ValueError(msg)

    def goes_on() -> None:
        stop.wait(10)
        ended.set()

    supervisor = Supervisor(stop)
    supervisor.start({"a": goes_on, "b": fails})
    with pytest.raises(ValueError, match="no") as failure:
        supervisor.wait()
    assert (stop.is_set(), ended.is_set(), supervisor.failed) == (True, True, True)
    assert failure.value.__notes__ == ["in the part 'b'"]


def test_parts_that_end_in_order_leave_no_failure() -> None:
    supervisor = Supervisor(threading.Event())
    supervisor.start({"a": lambda: None})
    supervisor.wait()
    assert not supervisor.failed
