"""Trips as classes: labels, models and events of the second example."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from driftline.contract import Contract, find_contract, parse_contract
from producers.model import train
from producers.model_files import load_model, save_model
from producers.outcomes import is_known, outcomes_of
from producers.plan import ReplayPlan
from producers.script import write_script
from producers.taxi import read_month
from tests.simulated import simulated_month


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_month(2, 11, tmp_path_factory.mktemp("months"))


@pytest.fixture(scope="module")
def contract() -> Contract:
    return find_contract(Path("nyc_green_taxi_long"), Path()).contract


def test_the_second_example_is_found_by_its_name(contract: Contract) -> None:
    assert (contract.model, contract.task, contract.positive_class) == ("nyc_green_taxi_long", "binary", "long")


def test_minutes_become_three_classes_for_a_multiclass_contract() -> None:
    contract = parse_contract("model: m\ntask: multiclass\ncolumns: {a: {type: number}}", "test")
    found = outcomes_of(np.array([1.0, 8.0, 8.1, 15.0, 15.1, np.nan]), contract)
    assert found.tolist() == ["short", "short", "medium", "medium", "long", None]
    assert is_known(found).tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("version", ["gbm-1", "linear-1"])
def test_a_classifier_is_trained_saved_and_read_back(
    month: Path, contract: Contract, tmp_path: Path, version: str
) -> None:
    trips = read_month(month)
    model = train(trips, contract, version)
    save_model(model, tmp_path)
    again = load_model(tmp_path, version)
    given = again.predict(trips.frame)
    assert again.classes == ("long", "short")
    assert given.tolist() == model.predict(trips.frame).tolist()
    labels = outcomes_of(trips.frame["label"].to_numpy(), contract)
    share = (labels == "long").mean()
    assert log_loss(labels.astype(str), given) < log_loss(
        labels.astype(str), np.tile([share, 1 - share], (len(given), 1))
    )
    assert again.held_out_log_loss is not None
    assert again.held_out_mae_minutes is None


def test_a_multiclass_contract_over_the_same_columns_gets_three_probabilities(
    month: Path, contract: Contract, tmp_path: Path
) -> None:
    body = {**contract.model_dump(by_alias=True), "task": "multiclass", "positive_class": None, "metrics": []}
    trips = read_month(month)
    for version in contract.versions.all:
        save_model(train(trips, Contract.model_validate(body), version), tmp_path)
        [first, *_] = load_model(tmp_path, version).answers(trips.frame)
        assert set(first) == {"long", "medium", "short"}
        assert sum(first.values()) == pytest.approx(1, abs=1e-5)


def test_a_replay_sends_probabilities_and_classes(month: Path, contract: Contract) -> None:
    models = [train(read_month(month), contract, "linear-1")]
    script = write_script(ReplayPlan((month,), limit=50), contract, models, datetime(2026, 1, 1, tzinfo=UTC))
    events = [json.loads(value) for value in script.encode(0, len(script.schedule))]
    predictions = [event["prediction"] for event in events if "prediction" in event]
    labels = {event["label"] for event in events if "label" in event}
    assert labels <= {"long", "short"}
    assert len(predictions) == 50
    assert all(set(one) == {"long", "short"} and sum(one.values()) == pytest.approx(1) for one in predictions)
