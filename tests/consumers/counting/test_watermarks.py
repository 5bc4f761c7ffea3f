"""Two horizons per partition: what makes an event late, and which windows are complete.

Time lines: ``e5`` is an event of hour 5, ``A5`` a marker of producer A up to hour 5, ``A5!`` its end marker.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from consumers.counting.watermarks import Watermark, decode_promises, encode_promises, late_events
from driftline.events import Marker
from tests.consumers.making import APPENDED, DAY, HOUR, MINUTE, T0


def after(timeline: str, step_ms: int = 1) -> Watermark:
    """Read a time line; each step is appended ``step_ms`` after the one before."""
    state = Watermark()
    for number, step in enumerate(timeline.split()):
        appended = APPENDED + number * step_ms
        hour = T0 + int(step.strip("eABC!")) * HOUR
        if step[0] == "e":
            state = state.after_events(hour, appended)
        else:
            state = state.after_marker(Marker(step[0], hour, step.endswith("!")), appended)
    return state


def hours(moment_ms: int) -> float:
    return (moment_ms - T0) / HOUR


@pytest.mark.parametrize(
    ("timeline", "watermark", "complete_to", "basis"),
    [
        # without markers the largest event time completes windows
        ("e1 e5 e3", 5, 5, "record"),
        # a marker promises more than events show
        ("e1 A4", 4, 4, "marker"),
        # events beyond the promise make others late, and complete nothing
        ("e1 A4 e9", 9, 4, "marker"),
        # a promise is never taken back
        ("A6 A4", 6, 6, "marker"),
        # of several producers the slowest counts
        ("A6 B3", 6, 3, "marker"),
        ("A6 B3 B8", 8, 6, "marker"),
        # one that has ended holds nothing back
        ("A6 B3 B4!", 6, 6, "marker"),
        # the end completes windows and makes no event late
        ("e5 A4 A90!", 5, 90, "end"),
        ("e5 A90! e3", 5, 90, "end"),
        # the last of several ends
        ("A20! B30!", 0, 30, "end"),
        # a producer that starts over takes nothing back, and its end made nothing late
        ("A20! A5", 5, 20, "marker"),
    ],
)
def test_markers_and_events_move_the_horizons(timeline: str, watermark: int, complete_to: int, basis: str) -> None:
    state = after(timeline)

    reached = hours(state.watermark_ms) if state.watermark_ms else 0
    assert (reached, hours(state.complete_to_ms(timedelta(0))), state.basis) == (watermark, complete_to, basis)


def test_a_producer_silent_for_a_day_holds_windows_back_no_longer() -> None:
    #   A3 ........ 24 h ........ B9
    held, freed = after("A3 B9", step_ms=DAY), after("A3 B9", step_ms=DAY + 1)

    assert hours(held.complete_to_ms(timedelta(0))) == 3
    assert hours(freed.complete_to_ms(timedelta(0))) == 9


def test_lateness_holds_completeness_back_and_never_before_the_epoch() -> None:
    assert hours(after("e5").complete_to_ms(timedelta(hours=2))) == 3
    assert Watermark().complete_to_ms(timedelta(hours=2)) == 0


def test_a_marker_from_the_future_counts_as_far_as_an_event_would() -> None:
    state = Watermark().after_marker(Marker("A", APPENDED + DAY), APPENDED)

    assert state.watermark_ms == APPENDED + 5 * MINUTE


def test_promises_survive_the_store() -> None:
    state = after("A6 B3 C9!")

    assert decode_promises(encode_promises(state)) == state.promises
    assert decode_promises("") == ()


@pytest.mark.parametrize(
    ("horizon_hours", "lateness", "late"),
    [(0.99, 0, False), (1.0, 0, True), (1.0, 1, False), (2.0, 1, True)],
)
def test_an_event_is_late_when_its_window_was_complete_before_it(
    horizon_hours: float, lateness: int, late: bool
) -> None:
    #   |--- window of the event ---|          the horizon reaches its end (and the lateness): late
    times = np.array([T0 + 10 * MINUTE])
    horizons = np.array([T0 + int(horizon_hours * HOUR)])

    assert late_events(times, horizons, HOUR, timedelta(hours=lateness)).tolist() == [late]
