"""Binary and multiclass models from bytes in a log to figures: equal to scikit-learn's and to Evidently's Report."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from batch.jobs import run_due
from batch.quality.class_scores import scores_of
from batch.quality.classification import answer
from batch.references.building import build_reference
from batch.results import Metric
from batch.workers.pool import Workers
from batch.workers.process import Calculator, Task
from driftline.clock import SystemClock, to_ms
from driftline.contract import Contract, parse_contract
from driftline.events import Marker
from driftline.store import Store
from tests.batch.workers.test_scores import report
from tests.consumers.making import label_of, prediction_of
from tests.consumers.running import Pipeline
from tests.real_months import months_folder

DAY = datetime(2023, 5, 1, tzinfo=UTC)
CLASSES = ("long", "medium", "short")


def contract_of(model: str, task: str, extra: str = "") -> Contract:
    return parse_contract(
        f"""
model: {model}
task: {task}
versions: {{champion: v1}}
columns: {{distance: {{type: number}}}}
label: {{delay: {{p99: 1h, max: 2d}}}}
drift: {{min_rows: 20}}
windows: {{quality: [1d]}}
{extra}
""",
        "test",
    )


BINARY = "positive_class: long\ndecision_threshold: 0.4\nquality: {min_labels: 50, min_positives: 10}"
MANY = """
quality: {min_labels: 50, min_positives: 10}
checks: [{metric: recall, column: class=long, source: batch, min: 0.99}]
"""


def answers(n: int, seed: int, classes: tuple[str, ...]) -> pd.DataFrame:
    """Requests of one day with a probability per class and a label drawn with them, twisted a little."""
    rng = np.random.default_rng(seed)
    given = rng.dirichlet(np.ones(len(classes)) * 1.5, n)
    truth = given**1.3 / (given**1.3).sum(axis=1, keepdims=True)
    drawn = (truth.cumsum(axis=1) > rng.random(n)[:, None]).argmax(axis=1)
    frame = pd.DataFrame(given, columns=[f"p.{name}" for name in classes])
    frame["id"] = [f"{seed}-{row}" for row in range(n)]
    frame["event_time"] = pd.Timestamp(DAY) + pd.to_timedelta(np.sort(rng.integers(0, 86_400_000, n)), unit="ms")
    frame["distance"] = rng.gamma(2, 2, n)
    frame["label"] = np.array(classes, dtype=object)[drawn]
    return frame


def reference_of(frame: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    given = frame[[f"p.{name}" for name in classes]].rename(columns=lambda name: f"probability.v1.{name[2:]}")
    decided = np.array(classes, dtype=object)[given.to_numpy().argmax(axis=1)]
    return frame[["id", "event_time", "distance", "label"]].assign(**{"prediction.v1": decided}, **given)


def send(pipeline: Pipeline, frame: pd.DataFrame, classes: tuple[str, ...]) -> None:
    times = [to_ms(moment.to_pydatetime()) for moment in frame["event_time"]]
    given = [dict(zip(classes, row, strict=True)) for row in frame[[f"p.{name}" for name in classes]].to_numpy()]
    ids = frame["id"].tolist()
    end = Marker("test", to_ms(DAY) + 30 * 86_400_000)
    pipeline.send(
        [
            json.dumps({"id": one, "event_time": at, "features": {"distance": value}}).encode()
            for one, at, value in zip(ids, times, frame["distance"], strict=True)
        ]
        + [end]
    )
    predictions = [prediction_of(*one, "v1") for one in zip(ids, times, given, strict=True)]
    pipeline.send([*predictions, end], "predictions")
    pipeline.send([*(label_of(*one) for one in zip(ids, times, frame["label"], strict=True)), end], "labels")


def judged(store: Store, workers: Workers, contract: Contract, frame: pd.DataFrame, to: Path, classes: Any) -> None:
    build_reference(store, contract, reference_of(answers(2000, 9, classes), classes), ("v1",), "test", workers)
    pipeline = Pipeline(store, contract, to / "log")
    send(pipeline, frame, classes)
    pipeline.consume()
    run_due(store, contract, workers, SystemClock(), ["quality", "drift", "label_drift"])


def figures(store: Store, contract: Contract) -> dict[tuple[str, str], dict[str, Any]]:
    rows = store.query(
        "SELECT * FROM metrics WHERE model = {m:String} AND source = 'batch' AND granularity = '1d'",
        {"m": contract.model},
    )
    return {(row["column"], row["metric"]): row for row in rows}


@pytest.fixture(scope="module")
def binary(store: Store, workers: Workers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Contract, pd.DataFrame]:
    contract, frame = contract_of("binary_trips", "binary", BINARY), answers(800, 1, ("long", "short"))
    judged(store, workers, contract, frame, tmp_path_factory.mktemp("binary"), ("long", "short"))
    return contract, frame


@pytest.fixture(scope="module")
def many(store: Store, workers: Workers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Contract, pd.DataFrame]:
    contract, frame = contract_of("many_trips", "multiclass", MANY), answers(900, 2, CLASSES)
    judged(store, workers, contract, frame, tmp_path_factory.mktemp("many"), CLASSES)
    return contract, frame


def test_binary_figures_equal_scikit_learn_at_the_contracts_threshold(store: Store, binary: Any) -> None:
    contract, frame = binary
    truth, score = (frame["label"] == "long").to_numpy(), frame["p.long"].to_numpy()
    said = score >= 0.4
    (tn, fp), (fn, tp) = confusion_matrix(truth, said)
    expected = {
        "accuracy": accuracy_score(truth, said),
        "precision": precision_score(truth, said),
        "recall": recall_score(truth, said),
        "f1": f1_score(truth, said),
        "roc_auc": roc_auc_score(truth, score),
        "pr_auc": average_precision_score(truth, score),
        "log_loss": log_loss(truth, score),
        "brier_score": brier_score_loss(truth, score),
        "true_positive_count": tp,
        "false_positive_count": fp,
        "false_negative_count": fn,
        "true_negative_count": tn,
        "positive_share": truth.mean(),
        "predicted_positive_share": said.mean(),
        "coverage": 1.0,
    }
    found = figures(store, contract)
    assert {name: found["", name]["value"] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert found["", "recall"]["n"] == truth.sum()
    assert {found["", name]["engine"].split()[0] for name in ("accuracy", "recall", "roc_auc")} == {"scikit-learn"}


def test_binary_figures_equal_evidentlys_report_on_labels_and_on_probabilities(store: Store, binary: Any) -> None:
    from evidently import BinaryClassification
    from evidently.metrics import Accuracy, F1Score, LogLoss, Precision, Recall, RocAuc

    contract, frame = binary
    rows = pd.DataFrame({"label": frame["label"], "said": np.where(frame["p.long"] >= 0.4, "long", "short")})
    by_label = report(
        [Accuracy(), Precision(), Recall(), F1Score()],
        rows,
        None,
        classification=[BinaryClassification(target="label", prediction_labels="said", pos_label="long")],
    )
    by_probability = report(
        [RocAuc(), LogLoss()],
        pd.DataFrame({"label": frame["label"], "long": frame["p.long"]}),
        None,
        classification=[BinaryClassification(target="label", prediction_probas="long", pos_label="long")],
    )
    found = figures(store, contract)
    names = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss")
    assert [found["", name]["value"] for name in names] == pytest.approx([*by_label, *by_probability], abs=1e-9)


def test_multiclass_figures_equal_scikit_learn_as_means_and_by_class(store: Store, many: Any) -> None:
    contract, frame = many
    given = frame[[f"p.{name}" for name in CLASSES]].to_numpy()
    said = np.array(CLASSES, dtype=object)[given.argmax(axis=1)]
    truth = frame["label"].to_numpy()
    mean = {"average": "macro"}
    expected = {
        "accuracy": accuracy_score(truth, said),
        "precision": precision_score(truth, said, **mean),
        "recall": recall_score(truth, said, **mean),
        "f1": f1_score(truth, said, **mean),
        "roc_auc": roc_auc_score(truth, given, multi_class="ovr", labels=CLASSES, **mean),
        "pr_auc": np.mean([average_precision_score(truth == name, given[:, at]) for at, name in enumerate(CLASSES)]),
        "log_loss": log_loss(truth, given, labels=CLASSES),
        "brier_score": brier_score_loss(truth, given, labels=CLASSES),
    }
    found = figures(store, contract)
    assert {name: found["", name]["value"] for name in expected} == pytest.approx(expected, abs=1e-9)
    recalls = dict(zip(CLASSES, recall_score(truth, said, labels=CLASSES, average=None), strict=True))
    assert {name: found[f"class={name}", "recall"]["value"] for name in CLASSES} == pytest.approx(recalls, abs=1e-9)


def test_a_check_may_bound_the_figure_of_one_class(store: Store, many: Any) -> None:
    [row] = store.query("SELECT column, status FROM checks WHERE model = 'many_trips' AND check = 'recall'")
    assert row == {"column": "class=long", "status": "fail"}


def test_multiclass_figures_equal_evidentlys_report(store: Store, many: Any) -> None:
    from evidently import MulticlassClassification
    from evidently.metrics import Accuracy, F1Score, LogLoss, Precision, Recall, RocAuc

    contract, frame = many
    rows = frame[["label"]].assign(**{name: frame[f"p.{name}"] for name in CLASSES})
    expected = report(
        [Accuracy(), Precision(), Recall(), F1Score(), RocAuc(), LogLoss()],
        rows,
        None,
        classification=[MulticlassClassification(target="label", prediction_probas=list(CLASSES))],
    )
    found = figures(store, contract)
    names = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss")
    assert [found["", name]["value"] for name in names] == pytest.approx(expected, abs=1e-9)


def test_predictions_and_labels_of_classes_drift_as_categories(store: Store, binary: Any) -> None:
    from scipy.spatial.distance import jensenshannon

    contract, frame = binary
    past = answers(2000, 9, ("long", "short"))
    found = figures(store, contract)
    sides = [(past["label"] == "long").mean(), (frame["label"] == "long").mean()]
    expected = jensenshannon(*([share, 1 - share] for share in sides))
    assert found["label", "drift_score"]["value"] == pytest.approx(expected, abs=1e-9)
    sides = [(past["p.long"] >= 0.5).mean(), (frame["p.long"] >= 0.4).mean()]
    expected = jensenshannon(*([share, 1 - share] for share in sides))
    assert found["prediction", "drift_score"]["value"] == pytest.approx(expected, abs=1e-9)


def test_the_worst_rows_are_those_that_gave_the_true_class_least(store: Store, many: Any) -> None:
    contract, frame = many
    given = frame.apply(lambda row: row[f"p.{row['label']}"], axis=1)
    expected = frame.assign(given=given).sort_values(["given", "id"]).head(20)
    rows = store.query("SELECT * FROM worst_rows WHERE model = {m:String} ORDER BY place", {"m": contract.model})
    assert [row["id"] for row in rows] == expected["id"].tolist()
    assert [row["error"] for row in rows] == pytest.approx((1 - expected["given"]).tolist(), abs=1e-9)
    assert [row["label"] for row in rows] == expected["label"].tolist()


def test_errors_are_counted_into_the_references_bins_and_answers_by_label(store: Store, many: Any) -> None:
    contract, frame = many
    rows = store.query("SELECT * FROM histograms WHERE model = {m:String}", {"m": contract.model})
    shapes = {row["column"]: row for row in rows}
    assert (sum(shapes["error"]["current"]), sum(shapes["error"]["reference"])) == (900, 2000)
    said = np.array(CLASSES, dtype=object)[frame[[f"p.{name}" for name in CLASSES]].to_numpy().argmax(axis=1)]
    pairs = (frame["label"] + " → " + said).value_counts().to_dict()
    assert dict(zip(shapes["confusion"]["labels"], shapes["confusion"]["current"], strict=True)) == pairs


@pytest.mark.parametrize("classes", [("long", "short"), CLASSES], ids=["binary", "multiclass"])
def test_figures_of_a_real_day_equal_scikit_learn_and_evidentlys_report(classes: tuple[str, ...]) -> None:
    """The real minutes of a day, asked of a plain formula of its miles."""
    from evidently import BinaryClassification, MulticlassClassification
    from evidently.metrics import Accuracy, F1Score, LogLoss, Precision, Recall, RocAuc

    raw = pd.read_parquet(months_folder() / "green_tripdata_2023-02.parquet")
    raw = raw[raw["lpep_pickup_datetime"].between("2023-02-07", "2023-02-08", inclusive="left")].reset_index(drop=True)
    minutes = (raw["lpep_dropoff_datetime"] - raw["lpep_pickup_datetime"]).dt.total_seconds() / 60
    miles = raw["trip_distance"].clip(0, 30)
    near, far = 1 / (1 + np.exp((miles - 1.5) * 2)), 1 / (1 + np.exp((3 - miles) * 1.5))
    if len(classes) == 2:
        given = np.column_stack([far, 1 - far])
        label = pd.Series(np.where(minutes > 15, "long", "short"))
    else:
        given = np.column_stack([far, np.full(len(raw), 0.4), near])
        given /= given.sum(axis=1, keepdims=True)
        label = pd.Series(np.select([minutes > 15, minutes <= 8], ["long", "short"], "medium"))
    said = np.array(classes, dtype=object)[given.argmax(axis=1)]
    rows = pd.DataFrame({"label": label, "prediction": said})
    rows = rows.assign(**{f"score.{name}": given[:, place] for place, name in enumerate(classes)})
    task = Task("class_quality", b"", options={"positive": "long" if len(classes) == 2 else None, "min_positives": 20})
    found = {one.metric: one.value for one in answer(task, rows, Calculator()).metrics if not one.column}

    if len(classes) == 2:
        definition: Any = BinaryClassification(target="label", prediction_probas="long", pos_label="long")
        expected = [roc_auc_score(label == "long", far), log_loss(label == "long", far)]
    else:
        definition = MulticlassClassification(target="label", prediction_probas=list(classes))
        expected = [roc_auc_score(label, given, multi_class="ovr"), log_loss(label, given)]
    frame = rows[["label"]].assign(**{name: given[:, place] for place, name in enumerate(classes)})
    names = ["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"]
    figures_wanted = [Accuracy(), Precision(), Recall(), F1Score(), RocAuc(), LogLoss()]
    assert len(rows) > 2000
    assert [found[name] for name in names] == pytest.approx(
        report(figures_wanted, frame, None, classification=[definition]), abs=1e-9
    )
    assert [found["roc_auc"], found["log_loss"]] == pytest.approx(expected, abs=1e-9)


def rows_of(truth: list[str], said: list[str], score: list[float]) -> pd.DataFrame:
    names = [f"r{place}" for place in range(len(truth))]
    return pd.DataFrame({"id": names, "label": truth, "prediction": said, "score.yes": score})


def found_in(rows: pd.DataFrame, min_positives: int = 5) -> dict[str, Metric]:
    task = Task("class_quality", b"", options={"positive": "yes", "min_positives": min_positives})
    return {metric.metric: metric for metric in answer(task, rows, Calculator()).metrics}


def test_too_few_positives_leave_no_figure_that_rests_on_them() -> None:
    truth = ["yes"] * 4 + ["no"] * 96
    found = found_in(rows_of(truth, ["no"] * 100, [0.1] * 100))
    assert {"precision", "recall", "f1", "roc_auc", "pr_auc"} & set(found) == set()
    assert found["accuracy"].value == 0.96
    assert found["positive_share"].upper == pytest.approx(0.0984, abs=1e-4)


def test_a_check_on_too_few_positives_is_insufficient_and_says_so(
    store: Store, workers: Workers, tmp_path: Path
) -> None:
    extra = """
positive_class: long
quality: {min_labels: 50, min_positives: 5000}
checks: [{metric: recall, source: batch, min: 0.99, severity: critical}]
"""
    contract = contract_of("few_positives", "binary", extra)
    pipeline = Pipeline(store, contract, tmp_path / "log")
    frame = answers(200, 3, ("long", "short"))
    send(pipeline, frame, ("long", "short"))
    pipeline.consume()
    run_due(store, contract, workers, SystemClock(), ["quality"])
    [row] = store.query("SELECT status, reason FROM checks WHERE model = 'few_positives' AND check = 'recall'")
    positives = (frame["label"] == "long").sum()
    assert row == {"status": "insufficient", "reason": f"{positives} rows of class long; judged from 5000"}


def test_a_positive_class_that_never_occurs_beside_two_others_is_an_error() -> None:
    rows = rows_of(["Yes", "no"] * 20, ["Yes", "no"] * 20, [0.0] * 40)
    found = answer(Task("class_quality", b"", options={"positive": "yes", "min_positives": 5}), rows, Calculator())
    assert found.metrics == ()
    assert [failure.error for failure in found.failures] == [
        "`positive_class` yes is none of the classes of this window, Yes, no; correct it in the contract"
    ]


def test_precision_needs_as_many_positive_answers() -> None:
    found = found_in(rows_of(["yes"] * 50 + ["no"] * 50, ["yes"] * 2 + ["no"] * 98, [0.9] * 2 + [0.1] * 98))
    assert "precision" not in found
    assert found["recall"].value == 0.04


def test_rows_without_probabilities_count_for_classes_and_not_for_scores() -> None:
    rows = rows_of(["yes", "no"] * 20, ["yes", "no"] * 20, [0.9, 0.2] * 10 + [np.nan, np.nan] * 10)
    found = found_in(rows)
    assert (found["accuracy"].n, found["log_loss"].n, found["roc_auc"].n) == (40, 20, 20)


_NAMES = st.sampled_from(["yes", "no", "perhaps"])
_SHARES = st.none() | st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(_NAMES, _NAMES, _SHARES, _SHARES), min_size=1, max_size=40),
    positive=st.sampled_from([None, "yes"]),
    shares=st.sampled_from([{}, {"yes": 0.4, "no": 0.3, "perhaps": 0.3, "": 0.6}]),
)
def test_any_rows_give_finite_figures_within_their_intervals_and_no_warning(
    rows: list[tuple[Any, ...]], positive: str | None, shares: dict[str, float]
) -> None:
    frame = pd.DataFrame(rows, columns=["label", "prediction", "score.yes", "score.no"])
    frame = frame.astype({"score.yes": "float64", "score.no": "float64"}).assign(
        id=[str(row) for row in range(len(rows))]
    )
    options = {"positive": positive, "min_positives": 1, "shares": shares}
    found = answer(Task("class_quality", b"", options=options), frame, Calculator())
    for metric in found.metrics:
        assert math.isfinite(metric.value)
        if metric.lower is not None and metric.upper is not None:
            assert metric.lower <= metric.value + 1e-12
            assert metric.value <= metric.upper + 1e-12
    if found.metrics:
        assert len(found.worst) == min(20, len(rows))
        assert all(sum(shape.current) == len(rows) for shape in found.histograms)


def test_a_label_that_was_never_predicted_costs_what_scikit_learn_says() -> None:
    rows = pd.DataFrame({"label": ["a", "b", "c"], "prediction": ["a"] * 3, "score.a": [0.7] * 3, "score.b": [0.3] * 3})
    task = Task("class_quality", b"", options={"positive": None, "min_positives": 1})
    found = {one.metric: one.value for one in answer(task, rows, Calculator()).metrics if not one.column}
    expected = log_loss(["a", "b", "c"], [[0.7, 0.3, 0.0]] * 3, labels=["a", "b", "c"])
    assert found["log_loss"] == pytest.approx(expected, abs=1e-9)


def test_probabilities_of_some_classes_only_are_brought_to_a_sum_of_one() -> None:
    rows = pd.DataFrame({"score.a": [0.4, np.nan], "score.b": [0.4, np.nan]})
    scores = scores_of(rows, None)
    assert scores.values.tolist() == [[0.5, 0.5]]
    assert scores.present.tolist() == [True, False]
