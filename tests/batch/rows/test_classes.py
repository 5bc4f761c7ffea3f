"""Figures of probabilities depend on the classes of their window and version, whatever other ones have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from batch.quality.scored_inputs import scored_inputs
from batch.rows.frames import MOST_CLASSES, Span, scored_frames
from batch.workers.pool import Workers
from driftline.clock import to_ms
from driftline.contract import parse_contract
from driftline.store import Store
from driftline.windows import parse_granularity
from tests.batch.conftest import Monitored, day, trips

CONTRACT = """
model: m_classes
task: multiclass
versions: {champion: champion, challengers: [challenger]}
columns: {fare: {type: number}}
quality: {min_labels: 10, min_positives: 5}
windows: {quality: [1d]}
"""
MANY = [f"class {number:02}" for number in range(MOST_CLASSES + 1)]
CLASSES = {
    (day(0), "champion"): ["a", "b", "c"],
    (day(0), "challenger"): ["a", "b", "c", "rare"],
    (day(1), "champion"): MANY,
    (day(1), "challenger"): ["a", "b", "x"],
}
SPAN = Span(parse_granularity("1d"), (to_ms(day(0)), to_ms(day(1))))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    frame = trips(400, 92)
    rng = np.random.default_rng(92)
    frame["label"] = rng.choice(["a", "b"], len(frame))
    first = frame["event_time"] < day(1)
    frame.loc[first, "label"] = rng.choice(["a", "b", "c"], first.sum())
    for version in ("champion", "challenger"):
        frame[version] = [
            given(CLASSES[row.event_time.floor("1D"), version], row.label, rng) for row in frame.itertuples()
        ]
    return frame


def given(classes: list[str], label: str, rng: np.random.Generator) -> dict[str, float]:
    """Return a probability for each of ``classes``, the label's somewhat greater."""
    drawn = rng.dirichlet(np.ones(len(classes))) + 0.2 * (np.array(classes) == label)
    return dict(zip(classes, (drawn / drawn.sum()).tolist(), strict=True))


@pytest.fixture(scope="module")
def judged(store: Store, workers: Workers, frame: pd.DataFrame) -> Monitored:
    monitored = Monitored(store, parse_contract(CONTRACT, "test"), workers)
    for version in ("champion", "challenger"):
        # Counts come with a segment of numbers; its rows are replaced by those of classes, whose offsets are smaller.
        monitored.log.add_predictions(frame.assign(prediction=np.nan), version)
        store.insert_rows("predictions", [*predictions(frame, version, monitored.contract.model)])
    store.insert_rows("labels", [
        {**shared(row, at, monitored.contract.model), "label_time": row.event_time, "label_class": row.label}
        for at, row in enumerate(frame.itertuples())
    ])  # fmt: skip
    monitored.log.complete()
    monitored.run("quality")
    assert monitored.errors() == []
    return monitored


def shared(row: Any, at: int, model: str) -> dict[str, Any]:
    own = {"append_time": row.event_time, "id_hash": 0, "source_id": "s", "p": 0, "o": at}
    return {"model": model, "id": row.id, **own}


def predictions(frame: pd.DataFrame, version: str, model: str) -> list[dict[str, Any]]:
    return [
        {
            **shared(row, at, model),
            "event_time": row.event_time,
            "model_version": version,
            "class": max(getattr(row, version), key=getattr(row, version).get),
            "probabilities": getattr(row, version),
            "status": "ok",
        }
        for at, row in enumerate(frame.itertuples())
    ]


def of_day(frame: pd.DataFrame, number: int) -> pd.DataFrame:
    return frame[(frame["event_time"] >= day(number)) & (frame["event_time"] < day(number + 1))]


def test_a_class_of_another_version_or_window_takes_no_figure_away(judged: Monitored, frame: pd.DataFrame) -> None:
    areas = {key[:2]: value for key, value in judged.metrics("roc_auc").items() if not key[2]}
    losses = {key[:2]: value for key, value in judged.metrics("log_loss").items()}
    rows = of_day(frame, 0)
    score = pd.DataFrame(rows["champion"].tolist())
    expected = roc_auc_score(rows["label"], score.to_numpy(), multi_class="ovr", labels=["a", "b", "c"])
    assert areas[day(0), "champion"] == pytest.approx(expected, abs=1e-9)
    assert losses[day(0), "champion"] == pytest.approx(log_loss(rows["label"], score.to_numpy()), abs=1e-9)
    rows = of_day(frame, 1)
    score = pd.DataFrame(rows["challenger"].tolist())
    expected = log_loss(rows["label"], score.to_numpy(), labels=["a", "b", "x"])
    assert losses[day(1), "challenger"] == pytest.approx(expected, abs=1e-9)


def test_a_class_without_labels_leaves_its_own_version_without_a_mean(judged: Monitored) -> None:
    by_class = {key[2] for key in judged.metrics("roc_auc") if key[:2] == (day(0), "challenger")}
    assert by_class == {"class=a", "class=b", "class=c"}


def test_too_many_classes_leave_their_own_window_and_version_without_scores(judged: Monitored) -> None:
    assert {key[:2] for key in judged.metrics("log_loss")} == set(CLASSES) - {(day(1), "champion")}
    assert {key[:2] for key in judged.metrics("accuracy")} == set(CLASSES)


@pytest.mark.parametrize("most", [MOST_CLASSES, 4], ids=["at once", "by halves"])
def test_frames_hold_the_classes_of_their_window_and_version(
    judged: Monitored, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("batch.rows.frames.MOST_CLASSES", most)
    expected = {(to_ms(start), version): names for (start, version), names in CLASSES.items()}
    expected[to_ms(day(1)), "champion"] = []
    for frames, prefix in ((scored_frames, "score."), (scored_inputs, "probability.")):
        found = frames(judged.store, judged.contract, SPAN)
        assert {
            place: [name.removeprefix(prefix) for name in rows.column_names if name.startswith(prefix)]
            for place, rows in found.items()
        } == expected
