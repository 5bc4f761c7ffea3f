"""The first labels of an hour are those of its short trips: how wrong that is in a real month, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from batch.estimates.answers import corrected_figures, estimated_figures
from batch.estimates.error_model import ErrorModel, fit_error_model, realised
from batch.estimates.frames import error_spec
from driftline.contract import Contract, read_contract
from tests.batch.test_months import read_official
from tests.real_months import months_folder

ROOT, VERSION = Path(__file__).parents[3], "gbm-1"
FIRST, DAYS = pd.Timestamp("2023-02-06", tz="UTC"), 5


@pytest.fixture(scope="module")
def hours() -> pd.DataFrame:
    """Hours with 20 labels by their end: final error, error of the labels so far, corrected one, the estimate alone."""
    contract = read_contract(ROOT / "monitors" / "nyc_green_taxi.yaml")
    past, month = (
        read_official(months_folder() / f"green_tripdata_2023-0{number}.parquet", contract) for number in (1, 2)
    )
    rows = month[month["event_time"].between(FIRST, FIRST + pd.Timedelta(days=DAYS), inclusive="left")]
    with threadpool_limits(limits=1):
        model = fit_error_model(error_spec(contract, VERSION), past)
        assert model is not None
        figures = list(_judged(contract, model, rows))
    return pd.DataFrame(figures, columns=["n", "final", "provisional", "corrected", "estimated"])


def _judged(contract: Contract, model: ErrorModel, rows: pd.DataFrame) -> Iterator[tuple[float, ...]]:
    spec = error_spec(contract, VERSION)
    rows = rows.assign(
        prediction=rows[f"prediction.{VERSION}"], event_ms=rows["event_time"].dt.as_unit("ms").astype("int64")
    )
    for start, hour in rows.groupby(rows["event_time"].dt.floor("h")):
        ended = hour["event_time"] + pd.to_timedelta(hour["label"].clip(lower=0), unit="m")
        known = ended <= start + pd.Timedelta(hours=1)
        so_far = hour.assign(labelled=known, label=hour["label"].where(known))
        final, provisional = realised(spec, hour), realised(spec, so_far)
        if np.isfinite(provisional).sum() < 20:
            continue
        found = {one.metric: one.value for one in (*corrected_figures(model, so_far), *estimated_figures(model, hour))}
        yield (
            np.isfinite(final).sum(),
            np.nanmean(final),
            np.nanmean(provisional),
            found["mae_corrected"],
            found["estimated_mae"],
        )


def mean(hours: pd.DataFrame, column: str) -> float:
    return float(np.average(hours[column], weights=hours["n"]))


def test_filling_in_the_missing_labels_takes_most_of_the_bias_away(hours: pd.DataFrame) -> None:
    final = mean(hours, "final")
    provisional, corrected = (mean(hours, name) / final - 1 for name in ("provisional", "corrected"))
    assert provisional < -0.1
    assert abs(corrected) < 0.5 * abs(provisional)
    off = [(hours[name] - hours["final"]).abs() for name in ("provisional", "corrected")]
    assert np.average(off[1], weights=hours["n"]) < 0.7 * np.average(off[0], weights=hours["n"])


def test_the_estimate_follows_the_error_from_hour_to_hour(hours: pd.DataFrame) -> None:
    assert np.corrcoef(hours["estimated"], hours["final"])[0, 1] > 0.5
