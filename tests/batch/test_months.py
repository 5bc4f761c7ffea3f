"""Three days of trips, real where the files are and simulated everywhere, judged as pandas and Evidently would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from batch.jobs import run_due
from batch.references.building import build_reference
from batch.workers.pool import Workers
from driftline.clock import SystemClock
from driftline.contract import Contract, read_contract
from driftline.store import Store
from tests.batch.conftest import Monitored
from tests.batch.workers.test_scores import report
from tests.real_months import months_folder
from tests.simulated import simulated_month

ROOT = Path(__file__).parents[2]
FIRST, DAYS = datetime(2023, 2, 6, tzinfo=UTC), 3
VERSIONS = ("gbm-1", "linear-1")
CODES = ("VendorID", "RatecodeID", "PULocationID", "DOLocationID", "payment_type", "trip_type", "store_and_fwd_flag")


def read_official(path: Path, contract: Contract) -> pd.DataFrame:
    """Trips straight out of the parquet file, by rules of this test's own; two plain formulas for predictions."""
    raw = pd.read_parquet(path)
    zone = ZoneInfo("America/New_York")
    stamps = [
        raw[name]
        .dt.tz_localize(zone, ambiguous=np.ones(len(raw), bool), nonexistent="shift_forward")
        .dt.tz_convert(UTC)
        for name in ("lpep_pickup_datetime", "lpep_dropoff_datetime")
    ]
    frame = pd.DataFrame({"id": [f"{path.stem}-{row}" for row in range(len(raw))], "event_time": stamps[0]})
    frame["label"] = (stamps[1] - stamps[0]).dt.total_seconds() / 60
    for name in contract.columns:
        frame[name] = raw[name].map(text_of, na_action="ignore") if name in CODES else raw[name].astype("float64")
    miles = frame["trip_distance"].clip(0, 30)
    frame["prediction.gbm-1"], frame["prediction.linear-1"] = 4 + 3.9 * miles, 9 + 2 * miles
    return frame.sort_values("event_time", kind="stable", ignore_index=True)


def text_of(code: object) -> str:
    return str(int(code)) if isinstance(code, float | int) else str(code)


@pytest.fixture(scope="package", params=["real", "simulated"])
def months(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if request.param == "simulated":
        folder = tmp_path_factory.mktemp("months")
        return simulated_month(7, 5, folder), simulated_month(DAYS, 6, folder, FIRST.date())
    folder = months_folder()
    return folder / "green_tripdata_2023-01.parquet", folder / "green_tripdata_2023-02.parquet"


class Judged:
    """Everything judged once, and the frames it should agree with."""

    def __init__(self, store: Store, workers: Workers, months: tuple[Path, Path]) -> None:
        contract = read_contract(ROOT / "monitors" / "nyc_green_taxi.yaml")
        model = "real" if "simulated" not in months[0].name else "simulated"
        body = {**contract.model_dump(by_alias=True), "model": f"taxi_{model}"}
        body["topics"] = {stream: f"{model}_{stream}" for stream in ("inputs", "predictions", "labels")}
        self.contract = Contract.model_validate(body)
        self.reference, current = (read_official(path, self.contract) for path in months)
        span = current["event_time"].between(FIRST, FIRST + timedelta(days=DAYS), inclusive="left")
        self.frame = current[span].reset_index(drop=True)
        self.monitored = Monitored(store, self.contract, workers)
        self._fill()
        build_reference(store, self.contract, self.reference, VERSIONS, months[0].name, workers)
        self.summary = run_due(store, self.contract, workers, SystemClock())

    def _fill(self) -> None:
        log = self.monitored.log
        log.add_inputs(self.frame)
        for version in VERSIONS:
            log.add_predictions(self.frame.assign(prediction=self.frame[f"prediction.{version}"]), version)
        elapsed = pd.to_timedelta(self.frame["label"].clip(lower=0), unit="m")
        log.add_labels(self.frame.assign(label_time=self.frame["event_time"] + elapsed))
        log.complete()

    def by(self, grain: str) -> dict[object, pd.DataFrame]:
        groups = self.frame.groupby(self.frame["event_time"].dt.floor(grain))
        return {start.to_pydatetime(): part for start, part in groups}


@pytest.fixture(scope="package")
def judged(store: Store, workers: Workers, months: tuple[Path, Path]) -> Judged:
    return Judged(store, workers, months)


def test_no_figure_fails(judged: Judged) -> None:
    assert judged.monitored.errors() == []
    assert judged.summary.failures == 0


@pytest.mark.parametrize(("granularity", "grain"), [("1h", "1h"), ("1d", "1D")])
def test_errors_of_every_version_equal_pandas(judged: Judged, granularity: str, grain: str) -> None:
    expected: dict[str, dict[object, float]] = {"mae": {}, "rmse": {}, "mean_error": {}}
    for start, part in judged.by(grain).items():
        scored = part[part["label"].between(1, 60)]
        for version in VERSIONS if len(scored) else ():
            error = scored[f"prediction.{version}"] - scored["label"]
            key = (start, version, "")
            expected["mae"][key] = error.abs().mean()
            expected["rmse"][key] = float(np.sqrt((error**2).mean()))
            expected["mean_error"][key] = error.mean()
    for metric, values in expected.items():
        assert judged.monitored.metrics(metric, granularity) == pytest.approx(values, abs=1e-9), metric


def test_statistics_of_days_equal_pandas(judged: Judged) -> None:
    monitored = judged.monitored
    rows, missing, outside, unseen, median = (
        monitored.metrics(name)
        for name in ("row_count", "missing_share", "out_of_range_share", "unseen_share", "quantile_50")
    )
    zones = set(judged.reference["PULocationID"].dropna())
    for start, part in judged.by("1D").items():
        fares = part["fare_amount"]
        assert rows[(start, "", "")] == len(part)
        assert missing[(start, "", "passenger_count")] == pytest.approx(
            part["passenger_count"].isna().mean(), abs=1e-15
        )
        expected_outside = ((fares < 0) | (fares > 500)).mean()
        assert outside[(start, "", "fare_amount")] == pytest.approx(expected_outside, abs=1e-15)
        assert unseen[(start, "", "PULocationID")] == pytest.approx(
            (~part["PULocationID"].isin(zones)).mean(), abs=1e-15
        )
        assert median[(start, "", "trip_distance")] == pytest.approx(part["trip_distance"].median(), abs=1e-12)


def winsorised(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Numbers outside the contract's range as its nearer end."""
    ranges = {name: column.range for name, column in contract.columns.items() if column.range is not None}
    return frame.assign(**{name: frame[name].clip(valid.low, valid.high) for name, valid in ranges.items()})


def test_of_healthy_days_no_column_exceeds_its_calibrated_drift(judged: Judged) -> None:
    verdicts = judged.monitored.verdicts("drift_calibrated")
    assert set(verdicts.values()) <= {"pass", "insufficient"}
    assert list(verdicts.values()).count("pass") > 30


def test_drift_scores_of_a_day_equal_the_public_report_on_the_same_winsorised_rows(judged: Judged) -> None:
    from evidently.metrics import ValueDrift

    contract = judged.contract
    names = [
        name for name in contract.columns if judged.reference[name].notna().any() and judged.frame[name].notna().any()
    ]
    methods = {name: "jensenshannon" if name in CODES else "wasserstein" for name in names}
    start, current = next(iter(judged.by("1D").items()))
    scores = report(
        [ValueDrift(column=name, method=method, threshold=0.1) for name, method in methods.items()],
        winsorised(current, contract)[names],
        winsorised(judged.reference, contract)[names],
        numerical_columns=[name for name in names if name not in CODES],
        categorical_columns=[name for name in names if name in CODES],
    )
    found = judged.monitored.metrics("drift_score")
    assert {name: found[(start, "", name)] for name in names} == pytest.approx(
        dict(zip(names, scores, strict=True)), abs=1e-12
    )
