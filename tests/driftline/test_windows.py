"""Windows are half-open and aligned to the epoch.

00:00        01:00        02:00
[------------)[------------)
^ belongs     ^ belongs to the next
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.clock import from_ms
from driftline.windows import (
    Window,
    granularity,
    is_complete,
    parse_granularity,
    window_of,
    window_start_ms,
    windows_between,
)

HOUR = timedelta(hours=1)
MIDNIGHT = datetime(2023, 5, 1, tzinfo=UTC)
ZERO = timedelta(0)


def hour(number: float) -> datetime:
    return MIDNIGHT + number * HOUR


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = Window(hour(0), hour(1))

    assert hour(0) in window
    assert hour(1) - timedelta(milliseconds=1) in window
    assert hour(1) not in window
    assert window.size == HOUR


@given(st.integers(0, 2**42), st.sampled_from(["1s", "30s", "7m", "15m", "1h", "5h", "6h", "1d", "7d"]))
def test_every_moment_lies_in_exactly_the_window_it_is_given(moment_ms: int, size: str) -> None:
    length = parse_granularity(size)

    window = window_of(from_ms(moment_ms), length)

    assert from_ms(moment_ms) in window
    assert window.size == length
    assert (window.start - datetime(1970, 1, 1, tzinfo=UTC)) % length == ZERO


def test_moments_before_the_epoch_have_windows_too() -> None:
    assert window_start_ms(-1, 3_600_000) == -3_600_000


def test_windows_between_are_those_that_overlap() -> None:
    #  asked       [--------------)
    #  hours  0    1    2    3    4
    found = [window.start for window in windows_between(hour(0.5), hour(3.5), HOUR)]

    assert found == [hour(0), hour(1), hour(2), hour(3)]
    assert [w.start for w in windows_between(hour(1), hour(3), HOUR)] == [hour(1), hour(2)]
    assert list(windows_between(hour(1), hour(1), HOUR)) == []


@pytest.mark.parametrize(
    ("watermark", "lateness", "complete"), [(0.99, 0, False), (1, 0, True), (1.5, 1, False), (2, 1, True)]
)
def test_a_window_is_complete_once_the_watermark_reaches_its_end_and_the_lateness(
    watermark: float, lateness: int, complete: bool
) -> None:
    assert is_complete(Window(hour(0), hour(1)), hour(watermark), lateness * HOUR) is complete


@given(st.integers(1, 10**8 - 1), st.sampled_from("smhd"))
def test_a_granularity_reads_back_as_the_same_duration(number: int, unit: str) -> None:
    size = parse_granularity(f"{number}{unit}")

    assert parse_granularity(granularity(size)) == size


@pytest.mark.parametrize(
    ("seconds", "name"), [(1, "1s"), (90, "90s"), (900, "15m"), (3_600, "1h"), (86_400, "1d"), (90_000, "25h")]
)
def test_a_granularity_is_named_by_the_largest_unit_that_divides_it(seconds: int, name: str) -> None:
    assert granularity(timedelta(seconds=seconds)) == name


@pytest.mark.parametrize(("size", "shown"), [(0.5, "0.5"), (0, "0"), (-3_600, "-3600"), (1.001, "1.001")])
def test_a_size_that_is_no_positive_whole_number_of_seconds_has_no_name(size: float, shown: str) -> None:
    with pytest.raises(ValueError, match="a window is") as caught:
        granularity(timedelta(seconds=size))

    assert str(caught.value) == f"a window is a positive whole number of seconds; got {shown} s"


@pytest.mark.parametrize("text", ["", "h", "0h", "-1h", "1", "1.5h", "1w", "1 h", "１h", "1h ", "one"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration") as caught:
        parse_granularity(text)

    rule = "a duration is a positive whole number and d, h, m or s, such as 1h"
    assert str(caught.value) == f"{rule}; got {text!r}"


def test_a_duration_longer_than_time_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 8 digits") as caught:
        parse_granularity("999999999d")

    assert str(caught.value) == "a duration has at most 8 digits; got '999999999d'"
