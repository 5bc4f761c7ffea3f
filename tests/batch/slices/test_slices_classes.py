"""Slices and comparison of classifiers: figures of filtered rows, gaps in accuracy, recall and selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss, recall_score

from batch.workers.pool import Workers
from driftline.contract import parse_contract
from driftline.store import Store
from tests.batch.conftest import VERSIONS, Monitored, day, trips

CONTRACT = """
model: m_sliced_fraud
task: binary
positive_class: fraud
decision_threshold: 0.4
versions: {champion: champion, challengers: [challenger]}
columns: {fare: {type: number}, zone: {type: category}}
quality: {min_labels: 20, min_positives: 5}
slices: [{name: zone, by: zone, max_values: 2, min_rows: 40}]
"""


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(81)
    frame = trips(500, 81, days=1)
    frame["truth"] = np.where(rng.random(500) < 0.4, "fraud", "fine")
    for version, skill in zip(VERSIONS, (0.5, 0.2), strict=True):
        easy = np.where(frame["zone"] == "75", 0.1, skill)
        frame[version] = np.clip(rng.random(500) * (1 - easy) + easy * (frame["truth"] == "fraud"), 0.01, 0.99)
    return frame


@pytest.fixture(scope="module")
def judged(store: Store, workers: Workers, frame: pd.DataFrame) -> Monitored:
    monitored = Monitored(store, parse_contract(CONTRACT, "m.yaml"), workers)
    monitored.log.add_inputs(frame)
    for version in VERSIONS:
        # Counts come with a segment of numbers; its rows are replaced by those of classes, whose offsets are smaller.
        monitored.log.add_predictions(frame.assign(prediction=np.nan), version)
    rows = list(frame.itertuples())
    shared = [{"model": monitored.contract.model, "id": row.id, "append_time": row.event_time, "id_hash": 0,
               "source_id": "s", "p": 0, "o": at} for at, row in enumerate(rows)]  # fmt: skip
    answers = [
        {**one, "model_version": version, "event_time": row.event_time, "class": "fine", "status": "ok",
         "probabilities": {"fraud": getattr(row, version), "fine": 1 - getattr(row, version)}}
        for version in VERSIONS
        for one, row in zip(shared, rows, strict=True)
    ]  # fmt: skip
    labels = [
        {**one, "label_time": row.event_time, "label_class": row.truth} for one, row in zip(shared, rows, strict=True)
    ]
    store.insert_rows("predictions", answers)
    store.insert_rows("labels", labels)
    monitored.log.complete()
    monitored.run("slices", "comparison")
    assert monitored.errors() == []
    return monitored


def values(monitored: Monitored, metric: str, version: str) -> dict[str, dict[str, Any]]:
    rows = monitored.store.query(
        "SELECT * FROM metrics WHERE model = {m:String} AND metric = {k:String} AND column = '' "
        "AND model_version = {v:String} AND window_start = {d:DateTime64(3, 'UTC')}",
        {"m": monitored.contract.model, "k": metric, "v": version, "d": day(0)},
    )
    return {row["slice"]: row for row in rows}


def groups(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {f"zone={zone}": frame[frame["zone"] == zone] for zone in ("74", "75")}


def decided(part: pd.DataFrame, version: str) -> np.ndarray:
    return np.where(part[version] >= 0.4, "fraud", "fine")


@pytest.mark.parametrize("version", VERSIONS)
def test_figures_of_a_slice_equal_scikit_learn_on_its_rows(
    judged: Monitored, frame: pd.DataFrame, version: str
) -> None:
    for name, part in groups(frame).items():
        said = decided(part, version)
        accuracy = values(judged, "accuracy", version)[name]["value"]
        recall = values(judged, "recall", version)[name]["value"]
        assert accuracy == pytest.approx(accuracy_score(part["truth"], said), abs=1e-9)
        assert recall == pytest.approx(recall_score(part["truth"], said, pos_label="fraud"), abs=1e-9)


@pytest.mark.parametrize("version", VERSIONS)
def test_gaps_are_between_the_groups_figures(judged: Monitored, frame: pd.DataFrame, version: str) -> None:
    parts = groups(frame).values()
    accuracies = [accuracy_score(part["truth"], decided(part, version)) for part in parts]
    recalls = [recall_score(part["truth"], decided(part, version), pos_label="fraud") for part in parts]
    selected = [(decided(part, version) == "fraud").mean() for part in parts]
    for metric, figures in (
        ("parity_gap", accuracies),
        ("recall_gap", recalls),
        ("selection_rate_gap", selected),
    ):
        gap = values(judged, metric, version)["zone"]["value"]
        assert gap == pytest.approx(max(figures) - min(figures), abs=1e-12)


def test_the_slice_with_more_wrong_answers_ranks_first(judged: Monitored, frame: pd.DataFrame) -> None:
    ranks = values(judged, "slice_rank", "champion")
    assert min(ranks, key=lambda name: ranks[name]["value"]) == "zone=75"
    wrong = decided(frame, "champion") != frame["truth"]
    excess = wrong[frame["zone"] == "75"].mean() - wrong.mean()
    assert values(judged, "slice_excess", "champion")["zone=75"]["value"] == pytest.approx(excess, abs=1e-12)


def test_versions_differ_in_accuracy_and_log_loss_on_the_same_requests(judged: Monitored, frame: pd.DataFrame) -> None:
    accuracies = [accuracy_score(frame["truth"], decided(frame, version)) for version in VERSIONS]
    losses = [log_loss(frame["truth"] == "fraud", frame[version]) for version in VERSIONS]
    accuracy = values(judged, "accuracy_difference", "challenger")["all"]
    assert accuracy["value"] == pytest.approx(accuracies[1] - accuracies[0], abs=1e-12)
    assert accuracy["method"] == "paired"
    lost = values(judged, "log_loss_difference", "challenger")["all"]["value"]
    assert lost == pytest.approx(losses[1] - losses[0], abs=1e-9)
    assert values(judged, "probability_better", "challenger")["all"]["value"] < 0.01
