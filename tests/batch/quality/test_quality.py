"""Quality rests on the latest labels, says how many, and follows them when they change."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.ledger.ledger import Tally
from tests.batch.conftest import VERSIONS, Monitored, contract_named, day, trips


def expected_mae(frame: pd.DataFrame, version: str, grain: str) -> dict[object, float]:
    scored = frame[frame["label"].between(1, 60)]
    error = (scored[f"prediction.{version}"] - scored["label"]).abs()
    means = error.groupby(scored["event_time"].dt.floor(grain)).mean()
    return {start.to_pydatetime(): value for start, value in means.items()}


@pytest.mark.parametrize(("granularity", "grain"), [("1h", "1h"), ("1d", "1D")])
def test_mae_of_every_window_and_version_equals_pandas(monitored: Monitored, granularity: str, grain: str) -> None:
    frame = trips(600, 1)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("quality")
    found = monitored.metrics("mae", granularity)
    for version in VERSIONS:
        expected = expected_mae(frame, version, grain)
        assert {key[0]: value for key, value in found.items() if key[1] == version} == pytest.approx(expected, abs=1e-9)


def test_a_window_says_what_its_figures_rest_on(monitored: Monitored) -> None:
    frame = trips(200, 2, days=1)
    frame["status"] = np.where(np.arange(200) < 5, "timeout", "ok")
    frame.loc[:4, ["prediction.champion", "prediction.challenger"]] = np.nan
    frame.loc[5:6, "prediction.champion"] = np.nan
    monitored.add(frame, labels=False)
    labelled = frame.iloc[:150]
    monitored.log.add_labels(labelled)
    monitored.log.complete()
    monitored.run("quality")
    run = next(
        run for run in monitored.runs("quality") if run["model_version"] == "champion" and run["granularity"] == "1d"
    )
    scored = labelled["label"].between(1, 60) & labelled["prediction.champion"].notna()
    assert run["n_predictions"] == 200
    assert run["n_labels"] == 150
    assert run["n_scored"] == scored.sum()
    assert run["coverage"] == 0.75
    assert run["is_final"] is True
    assert monitored.metrics("failed_count")[(day(0), "champion", "")] == 7


def test_a_late_label_runs_only_the_windows_it_touches_again(monitored: Monitored) -> None:
    frame = trips(400, 3)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[:-1])
    monitored.log.complete()
    monitored.run("quality")
    before = {(run["granularity"], run["window_start"], run["model_version"]): run for run in monitored.runs("quality")}

    monitored.log.add_labels(frame.iloc[-1:])
    summary = monitored.run("quality")

    hour = frame["event_time"].iloc[-1].floor("1h").to_pydatetime()
    touched = {(grain, start, version) for grain, start in (("1h", hour), ("1d", day(1))) for version in VERSIONS}
    assert {(key.granularity, key.window.start, key.model_version) for key in summary.keys} == touched
    after = {(run["granularity"], run["window_start"], run["model_version"]): run for run in monitored.runs("quality")}
    assert all(after[key] == run for key, run in before.items() if key not in touched)
    assert {after[key]["revision"] for key in touched} == {2}


def test_a_correction_changes_the_figure_and_the_latest_label_counts(monitored: Monitored) -> None:
    frame = trips(100, 4, days=1)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("quality")
    corrected = frame.iloc[:1].assign(label=59.0, label_time=frame["label_time"].iloc[0] + timedelta(days=1))
    earlier = frame.iloc[:1].assign(label=2.0, label_time=frame["label_time"].iloc[0] - timedelta(seconds=1))
    monitored.log.add_labels(corrected)
    monitored.log.add_labels(earlier)
    monitored.run("quality")
    truth = frame.copy()
    truth.loc[0, "label"] = 59.0
    found = monitored.metrics("mae")[(day(0), "champion", "")]
    assert found == pytest.approx(expected_mae(truth, "champion", "1D")[day(0)], abs=1e-9)
    run = next(run for run in monitored.runs("quality") if run["granularity"] == "1d")
    assert (run["coverage"], run["n_labels"]) == (1.0, 100)


def test_a_label_corrected_to_nothing_is_counted_and_not_scored(monitored: Monitored) -> None:
    frame = trips(50, 5, days=1).query("label <= 60").head(40)
    monitored.add(frame)
    withdrawn = frame.iloc[:1].assign(label=np.nan, label_time=frame["label_time"].iloc[0] + timedelta(days=1))
    monitored.log.add_labels(withdrawn)
    monitored.log.complete()
    monitored.run("quality")
    run = next(run for run in monitored.runs("quality") if run["granularity"] == "1d")
    assert (run["n_labels"], run["n_scored"], run["coverage"]) == (40, 39, 1.0)


def test_a_window_without_labels_is_empty_and_has_no_error_figures(monitored: Monitored) -> None:
    monitored.add(trips(60, 6, days=1), labels=False)
    monitored.log.complete("inputs", "predictions")
    monitored.run("quality")
    assert {run["status"] for run in monitored.runs("quality")} == {"empty"}
    assert monitored.metrics("coverage")[(day(0), "champion", "")] == 0.0
    assert monitored.metrics("mae") == {}


def test_fewer_labels_than_the_contract_wants_are_insufficient(monitored: Monitored) -> None:
    frame = trips(60, 7, days=1)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.query("label <= 60").head(9))
    monitored.log.complete()
    monitored.run("quality")
    assert {run["status"] for run in monitored.runs("quality") if run["granularity"] == "1d"} == {"insufficient"}


def test_verdicts_wait_until_nearly_all_labels_have_come(monitoring) -> None:
    monitored = monitoring(quality="min_labels: 10, max_error_ratio: 1.2")
    frame = trips(300, 8, days=1)
    monitored.build_reference(trips(500, 9))
    worse = frame.assign(**{"prediction.champion": frame["label"] + 10})
    monitored.add(worse, labels=False)
    monitored.log.add_labels(worse.iloc[:200])
    monitored.log.complete("inputs", "predictions")
    monitored.run("quality")
    key = ("batch", "1d", day(0), "champion", "")
    assert monitored.verdicts("max_error_ratio")[key] == "insufficient"

    monitored.log.add_labels(worse.iloc[200:290])
    monitored.run("quality")
    assert monitored.verdicts("max_error_ratio")[key] == "fail"
    assert monitored.verdicts("max_error_ratio")[("batch", "1d", day(0), "challenger", "")] == "pass"


def test_the_error_ratio_is_the_mae_over_the_references_own(monitoring) -> None:
    monitored = monitoring(quality="min_labels: 10, max_error_ratio: 1.2")
    frame, past = trips(300, 10, days=1), trips(500, 11)
    monitored.build_reference(past)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("quality")
    valid = past[past["label"].between(1, 60)]
    reference = (valid["prediction.champion"] - valid["label"]).abs().mean()
    expected = expected_mae(frame, "champion", "1D")[day(0)] / reference
    assert monitored.metrics("error_ratio")[(day(0), "champion", "")] == pytest.approx(expected, abs=1e-9)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)))
def test_the_order_of_arrival_does_not_matter(store, workers, order: list[int]) -> None:
    frame = trips(120, 12, days=1)
    parts = np.array_split(np.arange(120), 3)
    monitored = Monitored(store, contract_named("order_" + "".join(map(str, order))), workers)
    for step in order:
        rows = frame.iloc[parts[step % 3]]
        if step < 3:
            monitored.add(rows, labels=False)
        else:
            monitored.log.add_labels(rows)
    monitored.log.complete()
    monitored.run("quality")
    found = {key[0]: value for key, value in monitored.metrics("mae", "1h").items() if key[1] == "champion"}
    assert found == pytest.approx(expected_mae(frame, "champion", "1h"), abs=1e-9)


def test_sums_of_hashes_wrap_as_the_engine_does() -> None:
    assert (Tally(1, 2**64 - 1) + Tally(1, 3)).id_sum == 2
