"""A challenger is compared with the champion on the same requests, in whatever order they came."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_ind, ttest_rel
from sklearn.metrics import accuracy_score, log_loss

from batch.challengers.paired import Difference, answer, difference, log_losses
from batch.challengers.together import Judged, together
from batch.rows.frames import to_arrow_bytes
from batch.slices.grouping import Grouping
from batch.workers.process import Answer, Calculator, Task
from tests.batch.conftest import Monitored, contract_named, day, trips

Monitoring = Callable[..., Monitored]
ZONE = Grouping("zone", "slice_value_0", is_condition=False, max_values=2, min_rows=5)


def errors(frame: pd.DataFrame, version: str) -> pd.Series:
    scored = frame[frame["label"].between(1, 60)]
    return (scored[f"prediction.{version}"] - scored["label"]).abs()


def compared(monitored: Monitored, slice_name: str = "all") -> dict[str, dict[str, Any]]:
    rows = monitored.store.query(
        "SELECT * FROM metrics WHERE model = {m:String} AND slice = {s:String} "
        "AND window_start = {d:DateTime64(3, 'UTC')} "
        "AND (metric LIKE '%_difference' OR metric IN ('probability_better', 'pair_count'))",
        {"m": monitored.contract.model, "s": slice_name, "d": day(0)},
    )
    return {row["metric"]: row for row in rows}


def test_pairs_give_students_interval_and_the_probability_of_being_better(monitored: Monitored) -> None:
    frame = trips(300, 61, days=1)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("comparison")
    found = compared(monitored)
    first, second = errors(frame, "champion"), errors(frame, "challenger")
    tested = ttest_rel(second, first)
    interval = tested.confidence_interval(0.95)
    row = found["mae_difference"]
    assert (row["model_version"], row["method"], row["n"]) == ("challenger", "paired", len(first))
    assert row["value"] == pytest.approx(float((second - first).mean()), abs=1e-12)
    assert (row["lower"], row["upper"]) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found["probability_better"]["value"] == pytest.approx(ttest_rel(second, first, alternative="greater").pvalue)
    assert found["pair_count"]["value"] == len(first)


def test_split_traffic_is_compared_without_pairs(monitored: Monitored) -> None:
    frame = trips(300, 62, days=1)
    monitored.log.add_inputs(frame)
    sides = {"champion": frame.iloc[:180], "challenger": frame.iloc[150:]}  # 30 of 150 are common
    for version, part in sides.items():
        monitored.log.add_predictions(part.assign(prediction=part[f"prediction.{version}"]), version)
    monitored.log.add_labels(frame)
    monitored.log.complete()
    monitored.run("comparison")
    row = compared(monitored)["mae_difference"]
    first, second = (errors(part, version) for version, part in sides.items())
    interval = ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert (row["method"], row["n"]) == ("unpaired", min(len(first), len(second)))
    assert row["value"] == pytest.approx(second.mean() - first.mean(), abs=1e-12)
    assert (row["lower"], row["upper"]) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert compared(monitored)["pair_count"]["value"] == len(set(first.index) & set(second.index))


def test_every_slice_is_compared_on_its_own_rows(monitoring: Monitoring) -> None:
    monitored = monitoring("slices: [{name: zone, by: zone, max_values: 2, min_rows: 40}]")
    frame = trips(400, 63, days=1)
    frame.loc[frame["zone"] == "75", "prediction.challenger"] = frame["label"]
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("comparison")
    for zone in ("74", "75"):
        part = frame[frame["zone"] == zone]
        gap = (errors(part, "challenger") - errors(part, "champion")).mean()
        found = compared(monitored, f"zone={zone}")
        assert found["mae_difference"]["value"] == pytest.approx(gap, abs=1e-12)
        assert found["mae_difference"]["n"] == len(errors(part, "champion"))
    assert compared(monitored, "zone=75")["probability_better"]["value"] > 0.999
    assert compared(monitored, "zone=74")["probability_better"]["value"] < 0.001
    assert compared(monitored, "zone=missing") == {}


def test_a_check_may_bound_the_probability_and_waits_for_labels(monitoring: Monitoring) -> None:
    monitored = monitoring("checks: [{metric: probability_better, min: 0.05, source: batch}]")
    frame = trips(200, 64, days=1)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[::2])
    monitored.log.complete("inputs", "predictions")
    monitored.run("comparison")
    key = ("batch", "1d", day(0), "challenger", "")
    assert monitored.verdicts("probability_better") == {key: "insufficient"}
    monitored.log.add_labels(frame.iloc[1::2])
    monitored.run("comparison")
    assert monitored.verdicts("probability_better") == {key: "fail"}


def test_few_labels_are_insufficient_and_the_pairs_are_counted(monitored: Monitored) -> None:
    frame = trips(60, 65, days=1)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.query("1 <= label <= 60").head(9))
    monitored.log.complete()
    monitored.run("comparison")
    assert [run["status"] for run in monitored.runs("comparison")] == ["insufficient"]
    assert {name: row["value"] for name, row in compared(monitored).items()} == {"pair_count": 9.0}


def test_one_version_alone_is_compared_with_nothing(monitored: Monitored) -> None:
    frame = trips(60, 66, days=1)
    monitored.log.add_inputs(frame)
    monitored.log.add_predictions(frame.assign(prediction=frame["prediction.champion"]), "champion")
    monitored.log.add_labels(frame)
    monitored.log.complete()
    assert monitored.run("comparison").keys == ()


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(4)))
def test_the_order_in_which_predictions_and_labels_come_does_not_matter(store, workers, order: list[int]) -> None:
    frame = trips(120, 67, days=1)
    monitored = Monitored(store, contract_named("compared_" + "".join(map(str, order))), workers)
    monitored.log.add_inputs(frame)
    steps: list[Callable[[], None]] = [
        lambda: monitored.log.add_predictions(frame.assign(prediction=frame["prediction.champion"]), "champion"),
        lambda: monitored.log.add_predictions(
            frame.iloc[::-1].assign(prediction=frame["prediction.challenger"]), "challenger"
        ),
        lambda: monitored.log.add_labels(frame.iloc[60:]),
        lambda: monitored.log.add_labels(frame.iloc[:60].sample(frac=1, random_state=1)),
    ]
    for step in order:
        steps[step]()
    monitored.log.complete()
    monitored.run("comparison")
    gap = (errors(frame, "challenger") - errors(frame, "champion")).mean()
    assert compared(monitored)["mae_difference"]["value"] == pytest.approx(gap, abs=1e-12)


def asked(champion: pd.DataFrame, challenger: pd.DataFrame, values: pd.DataFrame, kind: str = "regression") -> Answer:
    def stream(frame: pd.DataFrame) -> bytes:
        return to_arrow_bytes(pa.Table.from_pandas(frame.assign(hour=0), preserve_index=False))

    options = {"champion": stream(champion), "values": stream(values), "groupings": [ZONE], "task": kind, "min_rows": 5}
    return answer(Task("comparison", b"", options=options), challenger.assign(hour=0), Calculator())


rows = st.lists(
    st.tuples(st.integers(0, 40), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.sampled_from("abc")),
    min_size=12,
    max_size=40,
    unique_by=lambda row: row[0],
)


@settings(max_examples=25, deadline=None)
@given(rows, st.randoms(use_true_random=False), st.integers(0, 5))
def test_any_order_of_rows_gives_the_same_figures(rows: list[Any], random: Any, lost: int) -> None:
    frame = pd.DataFrame(rows, columns=["id", "prediction", "label", "slice_value_0"]).astype({"id": str})
    other = frame.assign(prediction=frame["prediction"][::-1].to_numpy()).iloc[lost:]
    columns = ["id", "prediction", "label"]
    expected = asked(frame[columns], other[columns], frame[["id", "slice_value_0"]])
    seed = random.randrange(1000)
    mixed = [
        part.sample(frac=1, random_state=seed + at).reset_index(drop=True) for at, part in enumerate((frame, other))
    ]
    found = asked(mixed[0][columns], mixed[1][columns], frame[["id", "slice_value_0"]].iloc[::-1])
    assert sorted(map(str, found.metrics)) == sorted(map(str, expected.metrics))


def test_classes_are_compared_by_accuracy_and_log_loss() -> None:
    rng = np.random.default_rng(68)
    label = rng.choice(["a", "b", "c"], 200)
    sides = []
    for skill in (1.0, 2.0):
        scores = rng.dirichlet(np.ones(3), 200) + skill * (label[:, None] == np.array(["a", "b", "c"])) * rng.random(
            (200, 1)
        )
        scores = scores / scores.sum(axis=1, keepdims=True)
        frame = pd.DataFrame(scores, columns=["score.a", "score.b", "score.c"])
        frame = frame.assign(
            id=[str(one) for one in range(200)], label=label, prediction=np.array(list("abc"))[scores.argmax(1)]
        )
        sides.append(frame)
    values = pd.DataFrame({"id": sides[0]["id"], "slice_value_0": "x"})
    found = {one.metric: one for one in asked(*sides, values, "multiclass").metrics if one.slice == "all"}
    accuracy = [accuracy_score(label, side["prediction"]) for side in sides]
    losses = [log_loss(label, side[["score.a", "score.b", "score.c"]].to_numpy()) for side in sides]
    assert found["accuracy_difference"].value == pytest.approx(accuracy[1] - accuracy[0], abs=1e-12)
    assert found["log_loss_difference"].value == pytest.approx(losses[1] - losses[0], abs=1e-12)
    assert found["probability_better"].method == "paired, by log loss"
    assert found["probability_better"].value > 0.999


def test_a_binary_row_lost_what_its_true_class_was_not_given() -> None:
    frame = pd.DataFrame({"label": ["yes", "no"], "prediction": ["yes", "yes"], "score.yes": [0.8, 0.6]})
    assert log_losses(frame, "yes") == pytest.approx([-math.log(0.8), -math.log(0.4)])
    assert log_losses(frame.assign(**{"score.yes": [0.8, math.nan]}), "yes") is None


@pytest.mark.parametrize(("gap", "probability"), [(0.0, 0.5), (-1.0, 1.0), (1.0, 0.0)])
def test_a_difference_without_spread_is_certain(gap: float, probability: float) -> None:
    error = np.arange(10, dtype="float64")
    assert difference(error, error + gap, "paired") == Difference(gap, gap, gap, probability, 10)


def test_windows_together_are_the_mean_over_all_pairs_with_variances_added() -> None:
    rng = np.random.default_rng(69)
    days = [(rng.normal(3, 1, n), rng.normal(2.9, 1, n)) for n in (60, 200, 90)]
    judged = []
    for first, second in days:
        found = difference(first, second, "paired")
        judged.append(Judged(found.value, found.lower, found.upper, found.n))
    whole = together(judged)
    gaps = [second - first for first, second in days]
    variance = sum((len(gap) / 350) ** 2 * gap.var(ddof=1) / len(gap) for gap in gaps)
    assert whole.n == 350
    assert whole.value == pytest.approx(np.concatenate(gaps).mean(), abs=1e-12)
    assert whole.upper - whole.lower == pytest.approx(2 * norm.ppf(0.975) * math.sqrt(variance), abs=1e-12)
    assert whole.probability_of_less == pytest.approx(norm.cdf(-whole.value / math.sqrt(variance)), abs=1e-12)
