from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.clock import ManualClock, SystemClock, from_ms, parse_moment, to_ms


@given(st.integers(-(2**41), 2**43))
def test_milliseconds_survive_the_way_there_and_back(epoch_ms: int) -> None:
    assert to_ms(from_ms(epoch_ms)) == epoch_ms


def test_a_moment_is_the_same_in_every_zone() -> None:
    there = datetime(2023, 5, 1, 2, tzinfo=timezone(timedelta(hours=2)))

    assert to_ms(there) == to_ms(datetime(2023, 5, 1, tzinfo=UTC)) == 1_682_899_200_000


def test_what_is_less_than_a_millisecond_is_rounded_down_on_both_sides_of_the_epoch() -> None:
    assert to_ms(datetime(1970, 1, 1, 0, 0, 0, 1_999, tzinfo=UTC)) == 1
    assert to_ms(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(ValueError, match="a naive datetime") as caught:
        to_ms(datetime(2023, 5, 1))  # noqa: DTZ001

    assert str(caught.value) == (
        "a naive datetime has no place on the time line; got datetime.datetime(2023, 5, 1, 0, 0); attach a timezone"
    )


def test_a_manual_clock_moves_when_told() -> None:
    clock = ManualClock(datetime(2023, 5, 1, tzinfo=UTC))

    clock.sleep(1.5)
    clock.advance(timedelta(minutes=1))

    assert clock.now() == datetime(2023, 5, 1, 0, 1, 1, 500_000, tzinfo=UTC)
    assert clock.monotonic() == 61.5


def test_the_systems_clock_is_aware_and_never_goes_back() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0)

    assert clock.now().tzinfo is UTC
    assert clock.monotonic() >= before


@pytest.mark.parametrize(
    "text", ["0001-01-01", "0001-01-01T00:00+14:00", "1969-12-31T23:59:59", "2100-01-01", "9999-12-31T23:00-14:00"]
)
def test_a_moment_outside_of_what_windows_and_store_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a moment lies") as caught:
        parse_moment(text)
    assert str(caught.value) == f"a moment lies between 1970-01-01 and 2100-01-01; got {text!r}"


def test_the_first_and_the_last_moment_are_taken() -> None:
    assert to_ms(parse_moment("1970-01-01")) == 0
    assert parse_moment("2099-12-31T23:59:59") == datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)
