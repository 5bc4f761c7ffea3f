"""Which windows a consumer says have closed. Windows of an hour, no allowed lateness."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from consumers.closings import Closings
from consumers.counting.rules import StreamRules
from consumers.counting.segments import PartitionState, Start
from consumers.counting.watermarks import Watermark
from consumers.observing import ClosedWindow
from driftline.clock import from_ms
from driftline.events import Stream
from driftline.transport import Partition
from tests.consumers.making import HOUR, MINUTE, T0, batch_of, contract_of, input_of, nothing_stored, prediction_of

CONTRACT = contract_of(extra="windows: {stream: 1h, allowed_lateness: 0s}")
SEGMENT = 4


class Reading:
    """Partitions of one consumer; every ``flush`` says which windows it closed."""

    def __init__(self, partitions: int, stream: Stream = "inputs") -> None:
        rules = StreamRules.of(CONTRACT, stream)
        start = Start("s", 0, Watermark(), nothing_stored())
        self.states = [PartitionState(Partition("t", i), rules, start, SEGMENT) for i in range(partitions)]
        self.closings = Closings()

    def absorb(self, index: int, *records: bytes) -> None:
        state = self.states[index]
        state.absorb(batch_of(records, state.next_offset, partition=state.partition))

    def flush(self) -> list[tuple[int, int]]:
        """Hour and events of each window that closed."""
        closed = self.closings.take(self.states)
        for state in self.states:
            state.hand_over()
        assert closed == sorted(closed, key=lambda window: window.window_start)
        return [((window.window_start - from_ms(T0)) // timedelta(hours=1), window.events) for window in closed]


def inputs(minutes: Sequence[int], prefix: str = "") -> list[bytes]:
    return [input_of(f"{prefix}{minute}", T0 + minute * MINUTE) for minute in minutes]


def test_a_window_closes_when_its_slowest_partition_has_passed_its_end() -> None:
    #          hour 0       | hour 1
    # 0:   10    20    30   |  65
    # 1:      15       40   |              then 70
    reading = Reading(2)
    reading.absorb(0, *inputs([10, 20, 30, 65], "a"))
    reading.absorb(1, *inputs([15, 40], "b"))
    assert reading.flush() == []
    reading.absorb(1, *inputs([70], "b"))
    assert reading.flush() == [(0, 5)]
    assert reading.flush() == []


def test_events_of_all_flushes_segments_and_versions_add_up() -> None:
    reading = Reading(1, "predictions")
    records = [prediction_of(f"{n}", T0 + n * MINUTE, version="ab"[n % 2]) for n in range(11)]
    for record in records:  # three segments of four, eleven flushes
        reading.absorb(0, record)
        assert reading.flush() == []
    reading.absorb(0, prediction_of("last", T0 + HOUR, version="a"))
    assert reading.flush() == [(0, 11)]


def test_windows_close_oldest_first_and_empty_ones_are_not_named() -> None:
    reading = Reading(1)
    reading.absorb(0, *inputs([5, 65, 66, 305]))
    assert reading.flush() == [(0, 1), (1, 2)]


def test_a_late_event_does_not_close_its_window_again() -> None:
    reading = Reading(1)
    reading.absorb(0, *inputs([5, 65]))
    assert reading.flush() == [(0, 1)]
    reading.absorb(0, *inputs([6]))
    assert reading.flush() == []


def test_a_duplicate_is_no_event() -> None:
    reading = Reading(1)
    reading.absorb(0, *inputs([5, 5, 65]))
    assert reading.flush() == [(0, 1)]


@pytest.mark.parametrize("stream", ["inputs", "predictions"])
def test_a_window_is_named_with_its_stream_and_ends(stream: Stream) -> None:
    reading = Reading(1, stream)
    make = input_of if stream == "inputs" else prediction_of
    reading.absorb(0, make("a", T0), make("b", T0 + HOUR))
    assert reading.closings.take(reading.states) == [ClosedWindow(stream, from_ms(T0), from_ms(T0 + HOUR), 1)]
