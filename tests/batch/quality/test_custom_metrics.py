"""Figures of the user's own: SQL, Evidently and Python, each alone in its failure."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from driftline.contract import parse_contract
from driftline.errors import ContractError
from tests.batch.conftest import VERSIONS, Monitored, contract_named, day, trips

METRICS = """
metrics:
  - {name: long_miss, sql: "countIf(label > 20 and prediction < label - 2) / countIf(label > 20)"}
  - {name: mean_distance, sql: "avg(distance)"}
  - {name: evidently_rmse, evidently: RMSE}
  - {name: within, python: "tests.batch.quality.test_custom_metrics:within", parameters: {minutes: 1.5}}
  - {name: by_flag, python: "tests.batch.quality.test_custom_metrics:by_flag"}
  - {name: broken, python: "tests.batch.quality.test_custom_metrics:broken"}
  - {name: leaves, python: "tests.batch.quality.test_custom_metrics:leaves"}
  - {name: absent, python: "tests.batch.no_such_module:figure"}
  - {name: unknown, evidently: NoSuchMetric}
  - {name: text, sql: "any(zone)"}
"""


def within(rows: pd.DataFrame, minutes: float) -> float:
    return float(((rows["prediction"] - rows["label"]).abs() <= minutes).mean())


def by_flag(rows: pd.DataFrame) -> dict[str, float]:
    rows["label"] = rows["label"] - rows["prediction"]  # what a function does to its rows stays its own
    return rows["label"].abs().groupby(rows["flag"]).mean().to_dict()


def broken(rows: pd.DataFrame) -> float:
    msg = f"{len(rows.columns)} columns"
    raise ZeroDivisionError(msg)


def leaves(_: pd.DataFrame) -> float:
    sys.exit(3)


@pytest.fixture(scope="module")
def judged(store, workers) -> tuple[Monitored, pd.DataFrame]:
    monitored = Monitored(store, contract_named("custom_metrics", METRICS), workers)
    frame = trips(400, 21, days=1)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("custom")
    return monitored, frame[frame["label"].between(1, 60)]


def test_an_sql_aggregate_is_that_of_the_scored_rows_and_their_inputs(judged) -> None:
    monitored, scored = judged
    long = scored[scored["label"] > 20]
    expected = (long["prediction.champion"] < long["label"] - 2).mean()
    assert monitored.metrics("custom_long_miss")[(day(0), "champion", "")] == pytest.approx(expected, abs=1e-12)
    found = monitored.metrics("custom_mean_distance")[(day(0), "challenger", "")]
    assert found == pytest.approx(scored["distance"].mean(), abs=1e-9)


def test_an_evidently_metric_is_computed_by_its_name(judged) -> None:
    monitored, scored = judged
    expected = np.sqrt(((scored["prediction.champion"] - scored["label"]) ** 2).mean())
    assert monitored.metrics("custom_evidently_rmse")[(day(0), "champion", "")] == pytest.approx(expected, abs=1e-9)


def test_a_python_function_gets_the_rows_and_its_parameters(judged) -> None:
    monitored, scored = judged
    expected = ((scored["prediction.champion"] - scored["label"]).abs() <= 1.5).mean()
    assert monitored.metrics("custom_within")[(day(0), "champion", "")] == pytest.approx(expected, abs=1e-12)


def test_a_python_function_may_give_numbers_by_name(judged) -> None:
    monitored, scored = judged
    expected = (scored["label"] - scored["prediction.champion"]).abs().groupby(scored["flag"]).mean()
    found = monitored.metrics("custom_by_flag", "1d")
    for name, value in expected.items():
        assert found[(day(0), "champion", f"class={name}")] == pytest.approx(value, abs=1e-9)


def test_what_fails_is_one_error_and_the_others_stand(judged) -> None:
    monitored, _ = judged
    found = {row["column"]: row["error"] for row in monitored.errors()}
    assert set(found) == {"custom_broken", "custom_leaves", "custom_absent", "custom_unknown", "custom_text"}
    columns = 4 + len(monitored.contract.columns)
    assert (
        found["custom_broken"]
        == f"tests.batch.quality.test_custom_metrics:broken: ZeroDivisionError: {columns} columns"
    )
    assert found["custom_leaves"] == "tests.batch.quality.test_custom_metrics:leaves: SystemExit: 3"
    assert found["custom_unknown"] == (
        "NoSuchMetric: ScoreError: Evidently has no metric NoSuchMetric; see evidently.metrics"
    )
    assert found["custom_text"] == "`any(zone)` must give a number; got str"


def test_a_check_bounds_a_custom_metric(store, workers) -> None:
    extra = """
metrics: [{name: mean_distance, sql: "avg(distance)"}]
checks: [{metric: custom_mean_distance, source: batch, max: 1.0, granularity: 1d}]
"""
    monitored = Monitored(store, contract_named("a_check_bounds_a_custom_metric", extra), workers)
    monitored.add(trips(200, 22, days=1))
    monitored.log.complete()
    monitored.run()
    assert monitored.verdicts("custom_mean_distance") == {
        ("batch", "1d", day(0), version, ""): "fail" for version in ("champion", "challenger")
    }


@pytest.mark.parametrize(
    ("metric", "complaint"),
    [
        (
            "{name: a, sql: '(select 1)'}",
            "`metrics.0.sql` must be one SQL aggregate over the columns, prediction, label and probability; "
            "got '(select 1)': select is neither a column nor a word of an expression",
        ),
        ("{name: a}", "`metrics.0` needs one of `evidently`, `sql` and `python`; got none"),
        ("{name: a, python: 'os.system'}", "`metrics.0.python` string should match pattern"),
    ],
)
def test_a_metric_that_cannot_be_is_refused_with_the_contract(metric: str, complaint: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_contract(f"model: m\ncolumns: {{a: {{type: number}}}}\nmetrics: [{metric}]\n", "test")
    assert complaint in str(caught.value)


def test_a_value_that_the_engine_refuses_costs_its_own_window_alone(store, workers) -> None:
    extra = 'windows: {quality: [1d]}\nmetrics: [{name: ratio, sql: "sum(intDiv(100, fare))"}]'
    monitored = Monitored(store, contract_named("a_custom_metric_of_a_bad_value", extra), workers)
    frame = trips(300, 23, days=3).assign(fare=4.0, label=5.0)
    frame.loc[frame.index[frame["event_time"] >= day(1)][3], "fare"] = 0.0
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("custom")
    counts = frame.groupby(frame["event_time"].dt.floor("1D")).size()
    expected = {(day(at), version, ""): 25 * counts[day(at)] for at in (0, 2) for version in VERSIONS}
    assert monitored.metrics("custom_ratio") == expected
    errors = monitored.errors()
    assert [row["column"] for row in errors] == ["custom_ratio"] * 2
    assert all("Division by zero" in str(row["error"]) for row in errors)


@pytest.mark.parametrize(("metric", "column"), [("sql: sum(prediction)", "prediction"), ("evidently: RowCount", "tip")])
def test_a_metric_runs_again_when_a_new_column_changes_what_it_reads(store, workers, metric: str, column: str) -> None:
    before = contract_named(
        f"custom_and_{column}", f"metrics: [{{name: figure, {metric}}}]\nwindows: {{quality: [1d]}}"
    )
    columns = {**before.columns, column: before.columns["fare"]}
    monitored = Monitored(store, before, workers)
    monitored.add(trips(50, 24, days=1))
    monitored.log.complete()
    assert monitored.run("custom").runs == 2
    assert monitored.run("custom").runs == 0
    assert monitored.run("custom", contract=before.model_copy(update={"columns": columns})).runs == 2
