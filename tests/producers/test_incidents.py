"""Fault drills: what they hit, and what is told when they are mistyped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from driftline.errors import UsageError
from producers.incidents import NullColumn, Period, parse_incident
from producers.taxi import FEATURES

COLUMNS = ", ".join(FEATURES)
OPTION = "incident null_column: an option is key=value"
DAY_MS = 86_400_000


def hours(count: int) -> pd.DataFrame:
    """One trip an hour from the epoch on."""
    times = pd.date_range("1970-01-01", periods=count, freq="h", tz="UTC").as_unit("ms")
    codes = pd.Series(["1"] * count, dtype=object)
    return pd.DataFrame({"event_time": times, "passenger_count": 1.0, "trip_type": codes})


def hit(text: str, count: int = 72, column: str = "passenger_count") -> list[int]:
    trips = hours(count)
    broken = parse_incident(text).apply(trips, 3 * DAY_MS, np.random.default_rng(0))
    assert trips[column].notna().all()
    return np.flatnonzero(broken[column].isna()).tolist()


def test_a_period_is_half_open() -> None:
    text = "null_column:column=passenger_count:start=1970-01-01T05:00:end=1970-01-01T08:00"
    assert hit(text) == [5, 6, 7]


def test_the_last_part_ends_with_the_past() -> None:
    assert hit("null_column:column=passenger_count:last=2h", count=80) == [70, 71]


def test_without_a_period_it_holds_always() -> None:
    assert hit("null_column:column=trip_type", column="trip_type") == list(range(72))


def test_a_share_hits_about_that_share_and_the_same_seed_the_same_trips() -> None:
    first = hit("null_column:column=passenger_count:share=0.25", count=4_000)
    assert 900 < len(first) < 1_100
    assert first == hit("null_column:column=passenger_count:share=0.25", count=4_000)


def test_all_options_are_read() -> None:
    incident = parse_incident("null_column:share=0.5:start=2023-02-20T06:30:00+00:00:column=fare_amount")
    start = datetime(2023, 2, 20, 6, 30, tzinfo=UTC)
    assert incident == NullColumn("fare_amount", 0.5, Period(start=start))
    assert parse_incident("null_column:column=fare_amount:last=2d") == NullColumn(
        "fare_amount", 1.0, Period(last=timedelta(days=2))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("meteor", "incident meteor is not known; use one of null_column"),
        ("", "incident without a name is not known; use one of null_column"),
        ("null_column", f"incident null_column: `column` must be one of {COLUMNS}; got nothing"),
        ("null_column:column=x", f"incident null_column: `column` must be one of {COLUMNS}; got x"),
        ("null_column:colum=x", "incident null_column has no key colum; use column, share, start, end, last"),
        ("null_column:column", f"{OPTION}; got column; separate options with a colon"),
        (
            "null_column:column=trip_type:share=2",
            "incident null_column: `share` must be a number above 0, at most 1; got 2",
        ),
        (
            "null_column:column=trip_type:last=soon",
            "incident null_column: `last`: a duration is a positive whole number and d, h, m or s, such as 1h; "
            "got 'soon'",
        ),
        (
            "null_column:column=trip_type:start=monday",
            "incident null_column: `start`: a moment is a date or time such as 2023-02-20 or 2023-02-20T06:30:00; "
            "got 'monday'",
        ),
        (
            "null_column:column=trip_type:start=2023-02-02:end=2023-02-01",
            "incident null_column: `start` must be before `end`; got 2023-02-02 and 2023-02-01",
        ),
        (
            "null_column:column=trip_type:last=1d:end=2023-02-01",
            "incident null_column: `last` stands alone; got also end; choose one form",
        ),
    ],
)
def test_a_mistake_is_told_with_its_remedy(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_incident(text)
    assert str(caught.value) == message
