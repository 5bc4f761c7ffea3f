"""Simulated months: the official shape, the same bytes for a seed, and close enough to the real thing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from driftline.contract import Contract
from driftline.errors import StoreNotWritable, UsageError
from producers.model import train
from producers.simulator import simulate
from producers.statistics import FILE, load_statistics
from producers.taxi import read_month
from tests.simulated import simulated_month

BLOCK = ["passenger_count", "RatecodeID", "payment_type", "trip_type", "store_and_fwd_flag", "congestion_surcharge"]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_month(31, 1, tmp_path_factory.mktemp("month"))


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    made = [simulate(2, seed, date(2023, 1, 1), tmp_path / str(index)) for index, seed in enumerate((4, 4, 5))]
    bodies = [path.read_bytes() for path in made]
    assert bodies[0] == bodies[1] != bodies[2]


def test_the_schema_is_the_official_one(month: Path, real_months: tuple[Path, Path]) -> None:
    assert pq.read_schema(month).remove_metadata() == pq.read_schema(real_months[0]).remove_metadata()


def test_each_day_asked_for_has_trips_and_other_days_are_strays(tmp_path: Path) -> None:
    pickups = pd.read_parquet(simulate(3, 0, date(2023, 3, 11), tmp_path))["lpep_pickup_datetime"]
    days = pickups.dt.date.value_counts()
    assert sorted(days.index[days > 100]) == [date(2023, 3, 11), date(2023, 3, 12), date(2023, 3, 13)]


def test_the_drivers_entries_are_missing_together(month: Path) -> None:
    missing = pd.read_parquet(month)[BLOCK].isna()
    assert missing.all(axis=1).tolist() == missing.any(axis=1).tolist()
    assert 0.05 < missing.all(axis=1).mean() < 0.09


def test_the_dirt_of_real_files_is_there(month: Path) -> None:
    trips = pd.read_parquet(month)
    minutes = (trips["lpep_dropoff_datetime"] - trips["lpep_pickup_datetime"]).dt.total_seconds() / 60
    assert 0.001 < (trips["fare_amount"] < 0).mean() < 0.005
    assert 0.04 < (trips["trip_distance"] == 0).mean() < 0.055
    assert trips["trip_distance"].max() > 1_000
    assert (minutes <= 0).any()
    assert ((minutes > 1_380) & (minutes < 1_440)).any()
    assert (trips["lpep_pickup_datetime"].dt.year < 2023).any()


def test_a_model_trained_on_it_errs_as_on_real_months(month: Path, contract: Contract, tmp_path: Path) -> None:
    trips, later = read_month(month), read_month(simulate(7, 2, date(2023, 2, 1), tmp_path)).frame
    later = later[later["label"].between(1, 60)]
    models = [train(trips, contract, version) for version in contract.versions.all]
    errors = [np.abs(model.predict(later) - later["label"]).mean() for model in models]
    assert 2.5 < errors[0] < errors[1] < 4.0


def test_days_differ_by_more_than_chance(month: Path) -> None:
    pickups = pd.read_parquet(month)["lpep_pickup_datetime"]
    days = pickups.dt.date.value_counts()
    weekdays = pd.Series(days[days > 100]).groupby(lambda day: day.weekday())
    assert (weekdays.std() ** 2 / weekdays.mean()).mean() > 3  # 1 for a plain Poisson stream


def test_it_resembles_the_real_month(month: Path, real_months: tuple[Path, Path]) -> None:
    simulated, real = read_month(month).frame, read_month(real_months[0]).frame
    assert len(simulated) == pytest.approx(len(real), rel=0.1)
    for column in ("trip_distance", "fare_amount", "label", "total_amount"):
        expected, found = (frame[column].quantile([0.25, 0.5, 0.75, 0.9]).tolist() for frame in (real, simulated))
        assert found == pytest.approx(expected, rel=0.1)
    for column in ("PULocationID", "DOLocationID", "VendorID", "payment_type"):
        shares = pd.concat([f[column].value_counts(normalize=True) for f in (simulated, real)], axis=1).fillna(0)
        assert (shares.iloc[:, 0] - shares.iloc[:, 1]).abs().sum() / 2 < 0.06


def test_the_statistics_are_aggregates_and_small() -> None:
    import producers.statistics as module

    assert Path(str(module.__file__)).with_name(FILE).stat().st_size < 60_000
    figures = load_statistics()
    assert len(figures.hourly_trips) == len(figures.hour_pace) == 168
    assert {len(row) for row in figures.pickup_shares} == {len(figures.zones)} == {len(figures.places)}


@pytest.mark.parametrize(
    ("days", "seed", "message"),
    [
        (0, 1, "`--days` must be from 1 to 366; got 0; simulate several files for more"),
        (367, 1, "`--days` must be from 1 to 366; got 367; simulate several files for more"),
        (1, -1, "`--seed` must be 0 or more; got -1"),
    ],
)
def test_bounds_are_told(tmp_path: Path, days: int, seed: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        simulate(days, seed, date(2023, 1, 1), tmp_path)
    assert str(caught.value) == message


@pytest.mark.parametrize("start", [date(1, 1, 1), date(1969, 12, 31), date(2099, 1, 1), date(9999, 12, 31)])
def test_a_first_day_that_no_window_can_have_is_refused(tmp_path: Path, start: date) -> None:
    with pytest.raises(UsageError) as caught:
        simulate(1, 1, start, tmp_path)
    assert str(caught.value) == f"`--start` must be from 1970-01-01 to 2098-12-31; got {start.isoformat()}"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(StoreNotWritable) as caught:
        simulate(1, 1, date(2023, 1, 1), occupied)
    path = occupied / "green_tripdata_simulated_2023-01-01_1d_seed1.parquet"
    assert str(caught.value) == f"{path}: cannot be written: File exists; free space, or choose another --to"
