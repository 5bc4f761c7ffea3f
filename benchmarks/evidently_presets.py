"""The peer's side of the days: an Evidently report a day of the three presets that its documentation names.

Tests and thresholds of drift are pinned to ours, so that the scores must be equal.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import pandas as pd

from benchmarks.day import CATEGORIES, NUMBERS, START, Days, contract
from benchmarks.measuring import Measured, stopwatch
from driftline.contract.parts import DriftRule


def presets(days: Days) -> Measured:
    """Report on the first day, and on all days with everything imported and warm."""
    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    import evidently.presets  # noqa: F401  # imported before the clock starts

    current, reference = (pd.read_parquet(path) for path in (days.current, days.reference))
    rule = contract().drift
    of_days = [day for _, day in current.groupby((current["event_time"] - START).dt.days)]
    with stopwatch() as first:
        _report(of_days[0], reference, rule)
    with stopwatch() as again:
        reports = [_report(day, reference, rule) for day in of_days]
    found = {(*key, number): value for number, one in enumerate(reports) for key, value in _figures(one).items()}
    seconds = {"first_seconds": first.seconds, "next_seconds": again.seconds / days.count}
    return again.measured(days.count, found, **seconds)


def _report(current: pd.DataFrame, reference: pd.DataFrame, rule: DriftRule) -> list[dict[str, Any]]:
    from evidently import DataDefinition, Dataset, Regression, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset, RegressionPreset

    numbers = [*NUMBERS, "prediction"]
    definition = DataDefinition(
        numerical_columns=[*numbers, "label"],
        categorical_columns=list(CATEGORIES),
        regression=[Regression(target="label", prediction="prediction")],
    )
    drift = DataDriftPreset(
        columns=[*numbers, *CATEGORIES],
        num_method=rule.number_method,
        num_threshold=rule.number_threshold,
        cat_method=rule.category_method,
        cat_threshold=rule.category_threshold,
    )
    columns = [*numbers, *CATEGORIES, "label"]
    sides = [Dataset.from_pandas(frame[columns], definition) for frame in (current, reference)]
    found: list[dict[str, Any]] = Report([drift, DataSummaryPreset(), RegressionPreset()]).run(*sides).dict()["metrics"]
    return found


def _figures(metrics: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    figures: dict[tuple[str, str], float] = {}
    for metric in metrics:
        name, config, value = metric["config"]["type"].rpartition(":")[2], metric["config"], metric["value"]
        if name == "ValueDrift":
            figures["drift_score", config["column"]] = float(value)
        elif name in ("MAE", "MeanError"):
            figures["mae" if name == "MAE" else "mean_error", ""] = float(value["mean"])
        elif name == "RMSE":
            figures["rmse", ""] = float(value)
    return figures
