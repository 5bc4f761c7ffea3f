"""The commands of the README as a stranger types them, each its own process, against pandas on the same file."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftline.metrics import METRICS
from tests.real_months import months_folder
from tests.simulated import simulated_month

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("whole_path")]

DRIFTLINE = Path(sys.executable).parent / "driftline"


@dataclass(frozen=True)
class Ran:
    """A folder in which the commands ran, and the month that was replayed."""

    folder: Path
    reference: Path
    current: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DRIFTLINE, "--home", "H", *words], cwd=self.folder, capture_output=True, text=True, check=False
        )

    def lines(self, *words: str) -> list[dict[str, Any]]:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def sql(self, statement: str) -> pd.DataFrame:
        return pd.DataFrame(self.lines("sql", statement, "--json"))


@pytest.fixture(scope="module", params=["simulated", "real"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("whole_path")
    if request.param == "real":
        months = months_folder()
        found = Ran(folder, months / "green_tripdata_2023-01.parquet", months / "green_tripdata_2023-02.parquet")
    else:
        first, second = date(2023, 1, 2), date(2023, 2, 6)
        found = Ran(folder, simulated_month(10, 1, folder, first), simulated_month(6, 2, folder, second))
    for words in (
        ("reference", "build", "--from", str(found.reference)),
        ("replay", str(found.current), "--speed", "max"),
        ("consume", "--until-end"),
        ("jobs", "run", "--due"),
    ):
        done = found.run(*words)
        assert done.returncode == 0, done.stderr
    return found


@pytest.fixture(scope="module")
def trips(ran: Ran) -> pd.DataFrame:
    """The replayed month by rules of this test's own."""
    raw = pd.read_parquet(ran.current)
    first = np.ones(len(raw), dtype=bool)
    pickup, dropoff = (
        raw[name].dt.tz_localize("America/New_York", ambiguous=first, nonexistent="shift_forward").dt.tz_convert("UTC")
        for name in ("lpep_pickup_datetime", "lpep_dropoff_datetime")
    )
    known = set(pd.read_parquet(ran.reference, columns=["PULocationID"])["PULocationID"])
    return pd.DataFrame(
        {
            "1h": pickup.dt.floor("h"),
            "1d": pickup.dt.floor("D"),
            "missing": raw["passenger_count"].isna(),
            "negative": (raw["fare_amount"] < 0) | (raw["fare_amount"] > 500),
            "unseen": ~raw["PULocationID"].isin(known),
            "label": (dropoff - pickup).dt.total_seconds() / 60,
        }
    )


@pytest.mark.parametrize("granularity", ["1h", "1d"])
@pytest.mark.parametrize(
    ("metric", "column", "counted"),
    [
        ("row_count", "", None),
        ("missing_share", "passenger_count", "missing"),
        ("out_of_range_share", "fare_amount", "negative"),
        ("unseen_share", "PULocationID", "unseen"),
    ],
)
def test_every_window_equals_pandas_on_the_file(
    ran: Ran, trips: pd.DataFrame, granularity: str, metric: str, column: str, counted: str | None
) -> None:
    words = ("--metric", metric, "--column", column) if column else ("--metric", metric)
    found = [
        row for row in ran.lines("metrics", *words, "--granularity", granularity, "--json") if row["column"] == column
    ]
    shown = pd.Series({pd.Timestamp(row["window_start"]): row["value"] for row in found}).sort_index()
    windows = trips.groupby(granularity)
    wanted = windows.size().astype(float) if counted is None else windows[counted].mean()
    assert len(found) == len(shown) == len(wanted)
    np.testing.assert_allclose(shown.to_numpy(), wanted.sort_index().to_numpy(), rtol=1e-12)


def test_labels_are_the_durations_of_the_file(ran: Ran, trips: pd.DataFrame) -> None:
    labels = ran.sql("SELECT id, label, label_time FROM labels FINAL")
    np.testing.assert_allclose(np.sort(labels["label"]), np.sort(trips["label"]), atol=1e-9)


def test_daily_quality_of_final_windows_equals_pandas_on_the_raw_rows(ran: Ran) -> None:
    predictions = ran.sql("SELECT id, event_time, model_version, prediction FROM predictions FINAL")
    joined = predictions.merge(ran.sql("SELECT id, label FROM labels FINAL"), on="id")
    scored = joined[joined["label"].between(1, 60)]
    errors = (scored["prediction"] - scored["label"]).groupby(
        [pd.to_datetime(scored["event_time"], utc=True).dt.floor("D"), scored["model_version"]]
    )
    wanted = {"mae": errors.apply(lambda e: e.abs().mean()), "rmse": errors.apply(lambda e: np.sqrt((e**2).mean()))}
    wanted["mean_error"] = errors.mean()
    for metric, series in wanted.items():
        found = ran.lines("metrics", "--metric", metric, "--granularity", "1d", "--json")
        shown = {(pd.Timestamp(row["window_start"]), row["model_version"]): row for row in found}
        assert set(shown) == set(series.index)
        for key, value in series.items():
            assert shown[key]["value"] == pytest.approx(value, abs=1e-9)
            assert shown[key]["is_final"] is True
            assert shown[key]["coverage"] == 1.0
            assert shown[key]["n_scored"] == len(errors.get_group(key))


def test_the_audit_accounts_for_every_event(ran: Ran, trips: pd.DataFrame) -> None:
    accounts = {row["topic"]: row for row in ran.lines("audit", "--json")}
    assert {name: row["mismatches"] for name, row in accounts.items()} == {"trips": [], "predictions": [], "labels": []}
    assert accounts["trips"]["produced"] == accounts["trips"]["ok"] == accounts["labels"]["ok"] == len(trips)
    assert accounts["predictions"]["ok"] == 2 * len(trips)
    assert all(row["pending"] == row["dead"] == 0 for row in accounts.values())


def test_status_says_that_nothing_is_left_to_do(ran: Ran) -> None:
    (status,) = ran.lines("status", "--json")
    assert status["windows"]["open"] == 0
    assert [topic["lag"] for topic in status["topics"]] == [0, 0, 0]
    assert status["last_event"] is not None
    assert status["last_job"] is not None


def test_a_healthy_period_raises_no_check(ran: Ran) -> None:
    fired = ran.sql("SELECT check, column, window_start, value FROM checks WHERE status IN ('fail', 'error')")
    assert fired.empty, fired.to_string()


def test_every_metric_shown_is_described(ran: Ran) -> None:
    assert set(ran.sql("SELECT DISTINCT metric FROM metrics")["metric"]) <= set(METRICS)


def test_repeating_every_command_changes_nothing_but_the_number_of_duplicates(ran: Ran, trips: pd.DataFrame) -> None:
    before = ran.sql("SELECT * EXCEPT computed_at FROM metrics WHERE metric NOT LIKE '%duplicate%' ORDER BY ALL")
    runs = ran.sql("SELECT count() AS n FROM job_runs FINAL")["n"][0]
    for words in (("replay", str(ran.current)), ("consume", "--until-end"), ("jobs", "run", "--due")):
        assert ran.run(*words).returncode == 0
    accounts = {row["topic"]: row for row in ran.lines("audit", "--json")}
    assert accounts["trips"]["ok"] == accounts["trips"]["duplicate"] == len(trips)
    assert not any(row["mismatches"] for row in accounts.values())
    assert ran.sql("SELECT count() AS n FROM job_runs FINAL")["n"][0] == runs
    after = ran.sql("SELECT * EXCEPT computed_at FROM metrics WHERE metric NOT LIKE '%duplicate%' ORDER BY ALL")
    pd.testing.assert_frame_equal(before, after, rtol=1e-12)
