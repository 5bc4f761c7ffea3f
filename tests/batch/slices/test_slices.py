"""Figures of a slice are those of its rows alone, and a slice too small to judge is not judged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import t, wasserstein_distance
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from batch.workers.pool import Workers
from driftline.store import Store
from tests.batch.conftest import VERSIONS, Monitored, contract_named, day, trips

SLICES = """
slices:
  - {name: zone, by: zone, max_values: 2, min_rows: 40}
  - {name: long, by: distance > 4, min_rows: 40}
  - {name: half, by: "if(toHour(event_time) < 12, 'am', 'pm')", min_rows: 40}
"""
CHECKS = """
checks:
  - {metric: mae, slice: zone=74, max: 2, source: batch}
  - {metric: mae, slice: zone=75, max: 2, source: batch}
  - {metric: mae, slice: zone=1, max: 2, source: batch}
  - {metric: missing_share, column: distance, slice: half=am, max: 0.5, source: batch}
  - {metric: parity_gap, slice: zone, max: 2, source: batch}
"""
Monitoring = Callable[[str, str], Monitored]


def slices_of(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Masks of the slices, by rules of this test's own: zones 74 and 75 are the most frequent, here and everywhere."""
    zone = frame["zone"]
    morning = frame["event_time"].dt.hour < 12
    return {
        "zone=74": zone == "74",
        "zone=75": zone == "75",
        "zone=other": zone.notna() & ~zone.isin(["74", "75"]),
        "zone=missing": zone.isna(),
        "long": frame["distance"] > 4,
        "half=am": morning,
        "half=pm": ~morning,
    }


def found(monitored: Monitored, metric: str, column: str = "", version: str = "") -> dict[str, dict[str, Any]]:
    """Rows of the first day by slice, without the whole."""
    rows = monitored.store.query(
        "SELECT * FROM metrics WHERE model = {m:String} AND metric = {k:String} AND column = {c:String} "
        "AND model_version = {v:String} AND window_start = {d:DateTime64(3, 'UTC')} AND slice != 'all'",
        {"m": monitored.contract.model, "k": metric, "c": column, "v": version, "d": day(0)},
    )
    return {row["slice"]: row for row in rows}


def days_with(monitored: Monitored, metric: str, name: str) -> set[object]:
    """Days that have the figure of the slice."""
    sql = "SELECT window_start FROM metrics WHERE model = {m:String} AND metric = {k:String} AND slice = {s:String}"
    rows = monitored.store.query(sql, {"m": monitored.contract.model, "k": metric, "s": name})
    return {row["window_start"] for row in rows}


def values(monitored: Monitored, metric: str, column: str = "", version: str = "") -> dict[str, float]:
    return {name: row["value"] for name, row in found(monitored, metric, column, version).items()}


@dataclass(frozen=True)
class Day:
    """A judged day: zone 75 was made worse for the champion."""

    monitored: Monitored
    past: pd.DataFrame
    frame: pd.DataFrame

    @property
    def scored(self) -> pd.DataFrame:
        return self.frame[self.frame["label"].between(1, 60)]


@pytest.fixture(scope="module")
def judged(store: Store, workers: Workers) -> Day:
    monitored = Monitored(store, contract_named("judged_day", SLICES + CHECKS), workers)
    past, frame = trips(900, 34), trips(600, 35, days=1)
    frame.loc[frame["zone"] == "75", "prediction.champion"] += 6
    monitored.build_reference(past)
    filled(monitored, frame).run("slices", "quality", "data")
    return Day(monitored, past, frame)


@pytest.fixture
def sliced(monitoring: Monitoring) -> Monitored:
    return monitoring(SLICES, "min_labels: 10")


def filled(monitored: Monitored, frame: pd.DataFrame) -> Monitored:
    monitored.add(frame)
    monitored.log.complete()
    return monitored


def test_statistics_of_every_slice_equal_pandas(judged: Day) -> None:
    frame, masks = judged.frame, slices_of(judged.frame)
    assert values(judged.monitored, "row_count") == {name: float(mask.sum()) for name, mask in masks.items()}
    large = {name: frame[mask] for name, mask in masks.items() if mask.sum() >= 40}
    for column, metric, expected in (
        ("distance", "missing_share", {name: part["distance"].isna().mean() for name, part in large.items()}),
        ("zone", "missing_share", {name: part["zone"].isna().mean() for name, part in large.items()}),
        ("fare", "mean", {name: part["fare"].mean() for name, part in large.items()}),
        ("distance", "std", {name: np.nanstd(part["distance"], ddof=1) for name, part in large.items()}),
    ):
        assert values(judged.monitored, metric, column) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("version", VERSIONS)
def test_quality_of_every_slice_equals_scikit_learn_on_its_rows(judged: Day, version: str) -> None:
    scored, answer = judged.scored, f"prediction.{version}"
    large = {name: scored[mask] for name, mask in slices_of(scored).items() if mask.sum() >= 40}
    for metric, function in (("mae", mean_absolute_error), ("rmse", root_mean_squared_error), ("r2", r2_score)):
        expected = {name: function(part["label"], part[answer]) for name, part in large.items()}
        assert values(judged.monitored, metric, version=version) == pytest.approx(expected, abs=1e-9)
    rests_on = {name: row["n"] for name, row in found(judged.monitored, "mae", version=version).items()}
    assert rests_on == {name: len(part) for name, part in large.items()}


def test_evidently_gives_every_group_the_figure_of_the_whole_and_we_do_not(judged: Day) -> None:
    from tests.batch.workers.test_scores import report  # imports Evidently, quietly

    from evidently import Regression  # isort: skip
    from evidently.metrics import MAE  # isort: skip
    from evidently.metrics.group_by import GroupBy  # isort: skip

    answers = judged.scored.rename(columns={"prediction.champion": "prediction"})[["zone", "label", "prediction"]]
    answers = answers.fillna({"zone": "none"}).reset_index(drop=True)
    columns = {"numerical_columns": ["label", "prediction"], "categorical_columns": ["zone"]}
    tasks = [Regression(target="label", prediction="prediction")]
    theirs = {value["mean"] for value in report([GroupBy(MAE(), "zone")], answers, None, **columns, regression=tasks)}
    whole = mean_absolute_error(answers["label"], answers["prediction"])
    assert list(theirs) == [pytest.approx(whole)]
    ours = values(judged.monitored, "mae", version="champion")
    assert all(abs(ours[name] - whole) > 0.5 for name in ("zone=74", "zone=75", "zone=other"))


def test_drift_of_a_slice_compares_its_rows_with_the_references_rows_of_that_slice(judged: Day) -> None:
    past, frame = judged.past, judged.frame
    before, now = slices_of(past), slices_of(frame)
    names = [name for name in now if min(before[name].sum(), now[name].sum()) >= 40]
    fares = {name: (past["fare"][before[name]], frame["fare"][now[name]]) for name in names}
    expected = {name: wasserstein_distance(*pair) / np.std(pair[0]) for name, pair in fares.items()}
    assert values(judged.monitored, "drift_score", "fare") == pytest.approx(expected, abs=1e-12)
    flags = {name: (shares(past["flag"][before[name]]), shares(frame["flag"][now[name]])) for name in names}
    divergence = {name: float(jensenshannon(*pair)) for name, pair in flags.items()}
    assert values(judged.monitored, "drift_score", "flag") == pytest.approx(divergence, abs=1e-12)


def shares(flags: pd.Series) -> np.ndarray:
    return flags.value_counts(normalize=True).reindex(["N", "Y", "?"], fill_value=0).to_numpy()


def test_a_check_bounds_one_slice_and_its_verdict_names_it(judged: Day) -> None:
    rows = judged.monitored.store.query(
        "SELECT * FROM checks WHERE model = {m:String} AND slice != 'all'", {"m": judged.monitored.contract.model}
    )
    assert {(row["metric"], row["slice"], row["model_version"]): row["status"] for row in rows} == {
        ("mae", "zone=74", "champion"): "pass",
        ("mae", "zone=75", "champion"): "fail",
        ("mae", "zone=1", "champion"): "insufficient",
        ("mae", "zone=74", "challenger"): "fail",
        ("mae", "zone=75", "challenger"): "fail",
        ("mae", "zone=1", "challenger"): "insufficient",
        ("missing_share", "half=am", ""): "pass",
        ("parity_gap", "zone", "champion"): "fail",
        ("parity_gap", "zone", "challenger"): "pass",
    }


def test_the_slice_that_was_made_worse_ranks_first_with_welchs_interval(judged: Day) -> None:
    ranks = values(judged.monitored, "slice_rank", version="champion")
    assert min(ranks, key=lambda name: ranks[name]) == "zone=75"
    assert sorted(ranks.values()) == list(range(1, len(ranks) + 1))
    error = (judged.scored["prediction.champion"] - judged.scored["label"]).abs()
    chosen = judged.scored["zone"] == "75"
    sides = inside, outside = error[chosen], error[~chosen]
    spread = [part.var(ddof=1) / len(part) for part in sides]
    freedom = sum(spread) ** 2 / sum(one**2 / (len(part) - 1) for one, part in zip(spread, sides, strict=True))
    reach = t.ppf(0.975, freedom) * math.sqrt(sum(spread)) * len(outside) / len(error)
    row = found(judged.monitored, "slice_excess", version="champion")["zone=75"]
    assert row["value"] == pytest.approx(inside.mean() - error.mean(), abs=1e-12)
    assert (row["lower"], row["upper"]) == pytest.approx((row["value"] - reach, row["value"] + reach), abs=1e-9)
    share = values(judged.monitored, "slice_excess_share", version="champion")["zone=75"]
    assert share == pytest.approx((inside.mean() - error.mean()) * len(inside) / error.sum(), abs=1e-12)


def test_only_the_slice_that_was_made_worse_is_proven(judged: Day) -> None:
    chances = values(judged.monitored, "slice_p_value", version="champion")
    assert {name for name, chance in chances.items() if chance < 0.05} == {"zone=75"}
    healthy = values(judged.monitored, "slice_p_value", version="challenger")
    assert min(healthy.values()) > 0.05


def test_the_parity_gap_is_between_the_best_and_the_worst_group(judged: Day) -> None:
    error = (judged.scored["prediction.challenger"] - judged.scored["label"]).abs()
    groups = slices_of(judged.scored)
    gaps = found(judged.monitored, "parity_gap", version="challenger")
    assert set(gaps) == {"zone", "half"}
    for name, members in (("zone", ("zone=74", "zone=75")), ("half", ("half=am", "half=pm"))):
        means = [error[groups[member]].mean() for member in members]
        assert gaps[name]["value"] == pytest.approx(max(means) - min(means), abs=1e-12)
        assert gaps[name]["n"] == sum(groups[member].sum() for member in members)
        assert gaps[name]["lower"] < gaps[name]["value"] < gaps[name]["upper"]


def test_a_slice_with_few_rows_keeps_its_counts(judged: Day) -> None:
    row = found(judged.monitored, "prediction_count", version="champion")["zone=missing"]
    few = int(slices_of(judged.frame)["zone=missing"].sum())
    assert few < 40, "the seed makes few of them"
    assert row["value"] == row["n"] == few
    assert values(judged.monitored, "coverage", version="champion")["zone=missing"] == 1.0
    assert "zone=missing" not in values(judged.monitored, "mae", version="champion")
    assert "zone=missing" not in values(judged.monitored, "missing_share", "distance")


def test_slices_need_no_reference(sliced: Monitored) -> None:
    filled(sliced, trips(120, 36, days=1)).run("slices")
    assert values(sliced, "drift_score", "fare") == {}
    assert {row["status"] for row in sliced.runs("slices")} == {"ok"}


def test_the_references_most_frequent_values_keep_their_slices(sliced: Monitored) -> None:
    sliced.build_reference(trips(400, 43))
    frame = trips(400, 44, days=1)
    frame["zone"] = frame["zone"].replace({"75": "41", "41": "75"})  # now 41 is more frequent than 75
    filled(sliced, frame).run("slices")
    zones = {name for name in values(sliced, "row_count") if name.startswith("zone=")}
    assert zones == {"zone=74", "zone=75", "zone=other", "zone=missing"}


def test_a_rule_that_the_engine_cannot_evaluate_costs_no_other_its_figures(monitoring: Monitoring) -> None:
    wrong = "  - {name: wrong, by: zone - 1}\n  - {name: zero, by: 'intDiv(fare, 0)'}\n"
    monitored = filled(monitoring(SLICES + wrong, "min_labels: 10"), trips(120, 54, days=1))
    summary = monitored.run("slices", "comparison")
    assert "half=am" in values(monitored, "mae", version="champion")
    assert summary.failures == 2 * len(summary.keys)
    assert {row["column"] for row in monitored.errors()} == {"slice wrong", "slice zero"}
    assert any("slice zero: " in str(row["error"]) and "zero" in str(row["error"]) for row in monitored.errors())


def test_a_value_that_a_rule_cannot_take_costs_its_own_window_alone(monitoring: Monitoring) -> None:
    checks = "checks: [{metric: mae, slice: ratio=25, max: 60, source: batch}]\n"
    monitored = monitoring(
        SLICES + "  - {name: ratio, by: 'intDiv(100, fare)', min_rows: 40}\n" + checks, "min_labels: 10"
    )
    frame = trips(600, 55, days=3).assign(fare=4.0)
    frame.loc[frame.index[frame["event_time"] >= day(1)][3], "fare"] = 0.0
    filled(monitored, frame).run("slices", "comparison")

    for metric in ("mae", "mae_difference", "missing_share"):
        assert days_with(monitored, metric, "ratio=25") == {day(0), day(2)}
    assert days_with(monitored, "mae", "half=am") == {day(0), day(1), day(2)}
    statuses = {key[2]: status for key, status in monitored.verdicts("mae").items()}
    assert statuses == {day(0): "pass", day(1): "error", day(2): "pass"}
    assert {row["column"] for row in monitored.errors()} == {"slice ratio"}


def test_category_values_are_data_whatever_they_hold(sliced: Monitored) -> None:
    frame = trips(200, 45, days=1)
    hostile = ["'; DROP TABLE labels; --", "a=b {x:String} %s %(y)s", "other", "missing", "ü" * 200]
    frame["zone"] = np.resize(hostile, len(frame))
    filled(sliced, frame).run("slices")
    counts = values(sliced, "row_count")
    assert {name: value for name, value in counts.items() if name.startswith("zone=")} == {
        "zone='; DROP TABLE labels; --": 40.0,
        "zone=a=b {x:String} %s %(y)s": 40.0,
        "zone=other": 120.0,
    }
    assert sliced.errors() == []


def test_a_prediction_without_an_input_has_no_value(sliced: Monitored) -> None:
    frame = trips(200, 46, days=1)
    sliced.log.add_inputs(frame.iloc[:150])
    sliced.log.add_predictions(frame.assign(prediction=frame["prediction.champion"]), "champion")
    sliced.log.add_labels(frame)
    sliced.log.complete()
    sliced.run("slices")
    counts = values(sliced, "prediction_count", version="champion")
    assert counts["half=missing"] == 50
    assert counts["zone=missing"] == 50 + frame["zone"].iloc[:150].isna().sum()
    assert "long" in counts


def test_counts_per_slice_say_what_quality_rests_on(sliced: Monitored) -> None:
    frame = trips(300, 47, days=1)
    frame["status"] = np.where(frame["zone"] == "74", "timeout", "ok")
    sliced.add(frame, labels=False)
    sliced.log.add_labels(frame.iloc[:200])
    sliced.log.complete()
    sliced.run("slices")
    zone = slices_of(frame)["zone=74"]
    assert values(sliced, "failed_count", version="champion")["zone=74"] == zone.sum()
    assert values(sliced, "scored_count", version="champion")["zone=74"] == 0
    assert values(sliced, "coverage", version="champion")["zone=74"] == pytest.approx(zone[:200].sum() / zone.sum())


def test_a_late_label_runs_the_slices_of_its_window_again_and_no_other(sliced: Monitored) -> None:
    frame = trips(400, 48)
    sliced.add(frame, labels=False)
    sliced.log.add_labels(frame.iloc[:-1])
    sliced.log.complete()
    sliced.run("slices")
    assert sliced.run("slices").runs == 0
    sliced.log.add_labels(frame.iloc[-1:])
    summary = sliced.run("slices")
    assert {(key.window.start, key.model_version) for key in summary.keys} == {(day(1), one) for one in VERSIONS}


def test_verdicts_on_slices_wait_for_the_labels(monitoring: Monitoring) -> None:
    checks = "checks: [{metric: mae, slice: half=am, max: 0.001, source: batch}]"
    monitored = monitoring(SLICES + checks, "min_labels: 10")
    frame = trips(300, 49, days=1)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[::2])
    monitored.log.complete("inputs", "predictions")
    monitored.run("slices")
    assert set(monitored.verdicts("mae").values()) == {"insufficient"}
    monitored.log.add_labels(frame.iloc[1::2])
    monitored.run("slices")
    assert set(monitored.verdicts("mae").values()) == {"fail"}


def test_a_slice_added_to_the_contract_makes_old_windows_due(sliced: Monitored) -> None:
    filled(sliced, trips(200, 50)).run("slices")
    more = sliced.contract.model_copy(update={"slices": sliced.contract.slices[:1]})
    assert {key.window.start for key in sliced.run("slices", contract=more).keys} == {day(0), day(1)}
    assert not any(name.startswith("half") for name in values(sliced, "row_count"))


def test_without_slices_there_is_nothing_to_do(monitored: Monitored) -> None:
    monitored.add(trips(50, 51, days=1))
    monitored.log.complete()
    assert monitored.run("slices").keys == ()
