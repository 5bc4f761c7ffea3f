"""One global order, and markers at the boundaries it crosses.

time   0    10    20    30    40     window = 10
sent   i p   |  i p  |  l  |   … |  l
mark   0         10      20         40        30 is not marked: nothing lies there
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from producers.schedule import Schedule, Stretch, schedule


def make(event_ms: list[int], label_ms: list[int | None], versions: int = 1, window_ms: int = 10) -> Schedule:
    labels = np.array([-1 if label is None else label for label in label_ms])
    known = np.array([label is not None for label in label_ms])
    return schedule(np.array(event_ms), labels, known, versions, window_ms)


def entries(order: Schedule) -> list[tuple[int, int, int]]:
    return list(zip(order.times_ms.tolist(), order.kinds.tolist(), order.rows.tolist(), strict=True))


def test_input_goes_before_prediction_before_label_and_a_label_waits_for_its_time() -> None:
    assert entries(make([1, 5], [9, 5])) == [(1, 0, 0), (1, 1, 0), (5, 0, 1), (5, 1, 1), (5, 2, 1), (9, 2, 0)]


def test_a_trip_without_a_label_has_none() -> None:
    assert entries(make([1], [None])) == [(1, 0, 0), (1, 1, 0)]


def test_only_the_latest_boundary_of_a_gap_is_marked() -> None:
    order = make([3, 47], [3, 48], versions=0)
    assert list(order.stretches(0, 4)) == [Stretch(0, 2, 0), Stretch(2, 4, 40)]


def test_going_on_within_a_window_marks_nothing_again() -> None:
    order = make([1, 2, 3], [None] * 3, versions=0)
    assert list(order.stretches(1, 3)) == [Stretch(1, 3, None)]


def test_times_before_1970_are_floored_too() -> None:
    assert [stretch.mark_ms for stretch in make([-15], [-15]).stretches(0, 3)] == [-20]


def test_entries_are_due_at_their_time_inclusive() -> None:
    order = make([1, 5, 9], [None] * 3, versions=0)
    assert [order.due(horizon) for horizon in (0, 1, 8, 9)] == [0, 1, 2, 3]


_TRIPS = st.lists(st.tuples(st.integers(-50, 500), st.none() | st.integers(0, 200)), min_size=1, max_size=40)


@given(_TRIPS, st.integers(0, 3))
def test_the_order_is_that_of_a_plain_sort(trips: list[tuple[int, int | None]], versions: int) -> None:
    trips.sort(key=lambda trip: trip[0])
    labels = [None if delay is None else event + delay for event, delay in trips]
    expected = [(event, kind, row) for row, (event, _) in enumerate(trips) for kind in range(1 + versions)]
    expected += [(label, 1 + versions, row) for row, label in enumerate(labels) if label is not None]
    assert entries(make([event for event, _ in trips], labels, versions)) == sorted(expected)


@given(_TRIPS, st.integers(0, 30))
def test_markers_keep_their_promise_at_any_cut(trips: list[tuple[int, int | None]], cut: int) -> None:
    trips.sort(key=lambda trip: trip[0])
    order = make([event for event, _ in trips], [None if delay is None else event + delay for event, delay in trips])
    cut = min(cut, len(order))
    pieces = [*order.stretches(0, cut), *order.stretches(cut, len(order))]
    assert [index for piece in pieces for index in range(piece.start, piece.stop)] == list(range(len(order)))
    marks = [(piece.mark_ms, piece.start) for piece in pieces if piece.mark_ms is not None]
    for mark, start in marks:
        assert order.times_ms[start:].min() >= mark > order.times_ms[:start].max(initial=-1_000)
    assert [mark for mark, _ in marks] == sorted({time // 10 * 10 for time in order.times_ms.tolist()})
