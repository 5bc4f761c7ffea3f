"""The peer's side of a day: one Evidently report of the three presets that its documentation names, with reference.

Tests and thresholds of drift are pinned to ours, so that the scores must be equal.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import pandas as pd

from benchmarks.day import CATEGORIES, NUMBERS, Day, contract
from benchmarks.measuring import Measured, stopwatch
from driftline.contract.parts import DriftRule


def presets(day: Day) -> Measured:
    """Report on the day twice, the second time with everything imported and warm."""
    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    import evidently.presets  # noqa: F401  # imported before the clock starts

    current, reference = (pd.read_parquet(path) for path in (day.current, day.reference))
    rule = contract().drift
    with stopwatch() as first:
        _report(current, reference, rule)
    with stopwatch() as again:
        found = _report(current, reference, rule)
    return again.measured(1, _figures(found), first_seconds=first.seconds, next_seconds=again.seconds)


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
