"""Trips out of files: identity, order, time, canonical values; nothing judged, nothing lost in silence."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import InputDataError
from producers.taxi import FEATURES, read_month, read_trips, to_utc

NEW_YORK = ZoneInfo("America/New_York")
GET_ONE = "get a month with `driftline data fetch` or `driftline data simulate`"


def write(path: Path, *, stamps: str = "lpep", unit: str = "us", **columns: Any) -> Path:
    """Write a trip file of two trips, with ``columns`` in place of the usual ones; None leaves a column out."""
    usual: dict[str, Any] = {
        f"{stamps}_pickup_datetime": pa.array(["2023-02-01T10:00:00", "2023-02-01T09:00:00"]).cast(pa.timestamp(unit)),
        f"{stamps}_dropoff_datetime": pa.array(["2023-02-01T10:11:11", "2023-02-01T08:00:00"]).cast(pa.timestamp(unit)),
        "trip_distance": [1.5, 120_000.0],
        "PULocationID": [74, 75],
        "DOLocationID": [75, 74],
        "passenger_count": [1.0, None],
        "fare_amount": [-3.0, 8.0],
    }
    usual |= columns
    pq.write_table(pa.table({name: values for name, values in usual.items() if values is not None}), path)
    return path


def test_trips_come_in_the_order_of_time_with_the_row_of_the_file_in_their_id(tmp_path: Path) -> None:
    path = write(tmp_path / "month.parquet")
    prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert read_month(path).frame["id"].tolist() == [f"{prefix}-1", f"{prefix}-0"]


def test_trips_of_the_same_time_keep_the_order_of_the_file(tmp_path: Path) -> None:
    stamps = pa.array(["2023-02-01T10:00:00"] * 50).cast(pa.timestamp("us"))
    columns = {"lpep_pickup_datetime": stamps, "lpep_dropoff_datetime": stamps, "trip_distance": np.arange(50.0)}
    columns |= {name: np.ones(50, dtype=int) for name in ("PULocationID", "DOLocationID")}
    path = write(tmp_path / "month.parquet", **columns, passenger_count=None, fare_amount=None)
    assert read_month(path).frame["trip_distance"].tolist() == list(range(50))


def test_the_label_is_the_minutes_between_the_instants_whatever_they_are(tmp_path: Path) -> None:
    assert read_month(write(tmp_path / "month.parquet")).frame["label"].tolist() == [-60.0, 671 / 60]


def test_values_pass_unjudged_and_missing_ones_are_null(tmp_path: Path) -> None:
    frame = read_month(write(tmp_path / "month.parquet")).frame
    assert frame["trip_distance"].tolist() == [120_000.0, 1.5]
    assert frame["fare_amount"].tolist() == [8.0, -3.0]
    assert np.isnan(frame["passenger_count"][0])
    assert frame["payment_type"].tolist() == [None, None]
    assert np.isnan(frame["tip_amount"]).all()


@pytest.mark.parametrize(
    "zones",
    [
        pa.array([74, 75], pa.int32()),
        pa.array([74, 75], pa.int64()),
        pa.array([74.0, 75.0], pa.float64()),
        pa.array(["74", "75"], pa.string()),
        pa.array(["074", " 75 "], pa.large_string()),
        pa.array(["74", "75"]).dictionary_encode(),
    ],
    ids=lambda zones: str(zones.type),
)
def test_a_zone_is_the_same_text_whatever_the_type_of_the_file(tmp_path: Path, zones: pa.Array) -> None:
    frame = read_month(write(tmp_path / "month.parquet", PULocationID=zones)).frame
    assert frame["PULocationID"].tolist() == ["75", "74"]


@pytest.mark.parametrize(("stamps", "unit"), [("lpep", "us"), ("lpep", "ns"), ("lpep", "ms"), ("tpep", "us")])
def test_green_and_yellow_files_of_any_resolution_give_the_same_times(tmp_path: Path, stamps: str, unit: str) -> None:
    frame = read_month(write(tmp_path / "month.parquet", stamps=stamps, unit=unit)).frame
    times = [time.isoformat() for time in frame["event_time"]]
    assert times == ["2023-02-01T14:00:00+00:00", "2023-02-01T15:00:00+00:00"]
    assert frame["label"].tolist() == [-60.0, 671 / 60]


def test_a_trip_without_a_pick_up_time_is_skipped_and_counted(tmp_path: Path) -> None:
    pickups = pa.array([None, "2023-02-01T09:00:00"]).cast(pa.timestamp("us"))
    trips = read_month(write(tmp_path / "month.parquet", lpep_pickup_datetime=pickups))
    assert (trips.skipped, trips.frame["trip_distance"].tolist()) == (1, [120_000.0])


def test_a_trip_without_a_drop_off_time_has_no_label(tmp_path: Path) -> None:
    dropoffs = pa.array([None, "2023-02-01T09:30:00"]).cast(pa.timestamp("us"))
    trips = read_month(write(tmp_path / "month.parquet", lpep_dropoff_datetime=dropoffs))
    assert trips.frame["label"].fillna(-1).tolist() == [30.0, -1.0]


def test_stamps_beyond_every_calendar_are_as_good_as_none(tmp_path: Path) -> None:
    pickups = pa.array([2**62, 1_675_242_000_000_000], pa.int64()).cast(pa.timestamp("us"))
    assert read_month(write(tmp_path / "month.parquet", lpep_pickup_datetime=pickups)).skipped == 1


def test_several_files_are_one_sequence(tmp_path: Path, week: Path) -> None:
    trips = read_trips([week, write(tmp_path / "month.parquet")])
    assert len(trips.hashes) == 2
    assert trips.frame["event_time"].is_monotonic_increasing
    assert len(trips.frame) == pq.read_metadata(week).num_rows + 2


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2023-03-12T01:59:59", "2023-03-12T06:59:59"),
        ("2023-03-12T02:00:00", "2023-03-12T07:00:00"),
        ("2023-03-12T02:30:17", "2023-03-12T07:00:00"),
        ("2023-03-12T03:00:01", "2023-03-12T07:00:01"),
        ("2023-11-05T00:59:59", "2023-11-05T04:59:59"),
        ("2023-11-05T01:30:00", "2023-11-05T05:30:00"),
        ("2023-11-05T02:00:00", "2023-11-05T07:00:00"),
    ],
)
def test_the_nights_when_clocks_change(local: str, utc: str) -> None:
    converted = to_utc(pd.Series(np.array([local], dtype="datetime64[us]")))
    assert converted[0] == pd.Timestamp(utc, tz="UTC")


def _expected_utc(local: datetime) -> datetime:
    """The definition, one reading at a time: the first instant that shows it, or the end of the gap it lies in."""
    instant = local.replace(tzinfo=NEW_YORK, fold=0).astimezone(UTC)
    if instant.astimezone(NEW_YORK).replace(tzinfo=None) == local:
        return instant
    end_of_gap = local.replace(hour=3, minute=0, second=0, microsecond=0, tzinfo=NEW_YORK)
    return end_of_gap.astimezone(UTC)


_READINGS = st.datetimes(datetime(1990, 1, 1), datetime(2036, 12, 31))  # noqa: DTZ001 - a clock's readings
_CHANGES = st.builds(
    lambda night, seconds: night + timedelta(seconds=seconds),
    st.sampled_from([datetime(2023, 3, 12), datetime(2023, 11, 5), datetime(2006, 4, 2), datetime(2006, 10, 29)]),  # noqa: DTZ001
    st.integers(0, 14_400),
)


@given(st.lists(st.one_of(_READINGS, _CHANGES), min_size=1, max_size=20))
def test_every_reading_of_the_clock_becomes_the_instant_of_the_definition(readings: list[datetime]) -> None:
    converted = to_utc(pd.Series(np.array(readings, dtype="datetime64[us]")))
    assert [moment.to_pydatetime() for moment in converted] == [_expected_utc(reading) for reading in readings]


def _refusal(path: Path) -> str:
    with pytest.raises(InputDataError) as caught:
        read_month(path)
    return str(caught.value)


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    assert _refusal(path) == f"{path}: no such file; {GET_ONE}"


def test_a_folder_is_told(tmp_path: Path) -> None:
    assert _refusal(tmp_path) == f"{tmp_path}: a trip file is a parquet file; got a folder; name the file in it"


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    path.touch()
    assert _refusal(path) == f"{path}: a trip file is a parquet file; got an empty file; fetch or make it again"


def test_a_file_that_is_not_parquet_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trips.csv"
    path.write_text("VendorID,fare\n1,2\n")
    expected = f"{path}: a trip file is a parquet file and starts with b'PAR1'; got b'Vend'; {GET_ONE}"
    assert _refusal(path) == expected


def test_a_file_cut_off_is_told(tmp_path: Path, week: Path) -> None:
    path = tmp_path / "cut.parquet"
    path.write_bytes(week.read_bytes()[:5_000])
    expected = f"{path}: the parquet file is cut off after 5000 bytes (its footer is missing); fetch or make it again"
    assert _refusal(path) == expected


def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, week: Path) -> None:
    path = tmp_path / "damaged.parquet"
    body = bytearray(week.read_bytes())
    body[100:50_000] = bytes(49_900)
    path.write_bytes(body)
    message = _refusal(path)
    assert message.startswith(f"{path}: a parquet file that cannot be read (")
    assert message.endswith("); fetch or make it again")
    assert "\n" not in message


def test_a_file_without_rows_is_told(tmp_path: Path) -> None:
    path = tmp_path / "month.parquet"
    pq.write_table(pq.read_table(write(path)).slice(0, 0), path)
    assert _refusal(path) == f"{path}: a trip file needs rows; got 0; {GET_ONE}"


def test_a_file_of_other_columns_is_told(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1], "b": [2]}), path)
    expected = (
        f"{path}: a trip file needs lpep_pickup_datetime and lpep_dropoff_datetime (green) or tpep_pickup_datetime and "
        f"tpep_dropoff_datetime (yellow), with trip_distance, PULocationID, DOLocationID; got columns a, b; {GET_ONE}"
    )
    assert _refusal(path) == expected


def test_stamps_that_are_text_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "month.parquet", lpep_pickup_datetime=["yesterday", "today"])
    expected = (
        f"{path}: `lpep_pickup_datetime` must be a timestamp; got string; "
        "convert the column, or fetch the official file"
    )
    assert _refusal(path) == expected


def test_numbers_that_are_words_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "month.parquet", trip_distance=["1.5", "far"])
    expected = (
        f'{path}: `trip_distance` must hold numbers; got string (Unable to parse string "far" at position 1); '
        "correct or drop the column"
    )
    assert _refusal(path) == expected


def test_a_file_whose_pick_ups_are_all_null_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "month.parquet", lpep_pickup_datetime=pa.nulls(2, pa.timestamp("us")))
    expected = f"{path}: `lpep_pickup_datetime` is null in all 2 rows; a trip without a pick-up time is no event"
    assert _refusal(path) == expected


def test_a_real_month_loses_no_row_and_no_value(real_months: tuple[Path, Path]) -> None:
    for month in real_months:
        raw, trips = pd.read_parquet(month), read_month(month).frame
        rows = trips["id"].str.split("-").str[1].astype(int)
        assert sorted(rows) == list(range(len(raw)))
        original = raw.iloc[rows]
        elapsed = original["lpep_dropoff_datetime"] - original["lpep_pickup_datetime"]
        assert trips["label"].tolist() == (elapsed.dt.total_seconds() / 60).tolist()
        for name in FEATURES:
            assert trips[name].isna().tolist() == original[name].isna().tolist()
        assert trips["fare_amount"].tolist() == original["fare_amount"].tolist()
        assert trips["PULocationID"].tolist() == original["PULocationID"].astype(str).tolist()
