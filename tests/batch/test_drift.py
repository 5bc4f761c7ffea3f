"""Drift against the reference: features, predictions, labels; one bad column spoils nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from batch.reference_building import build_reference
from batch.worker import Workers
from driftline.contract import Contract, parse_contract
from driftline.store import Store
from tests.batch.conftest import VERSIONS, Monitored, day, trips
from tests.batch.test_scores import report

NUMBERS, CATEGORIES = ["distance", "fare"], ["zone", "flag"]


def public_scores(current: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    from evidently.metrics import ValueDrift

    methods = {**dict.fromkeys(NUMBERS, "wasserstein"), **dict.fromkeys(CATEGORIES, "jensenshannon")}
    names = list(methods)
    values = report(
        [ValueDrift(column=name, method=method, threshold=0.1) for name, method in methods.items()],
        current[names],
        reference[names],
        numerical_columns=NUMBERS,
        categorical_columns=CATEGORIES,
    )
    return dict(zip(names, values, strict=True))


def test_scores_of_a_day_equal_those_of_the_public_report_on_the_same_rows(monitored: Monitored) -> None:
    reference, frame = trips(2000, 1), trips(600, 2).assign(fare=lambda rows: rows["fare"] * 1.5)
    monitored.build_reference(reference)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    found = monitored.metrics("drift_score")
    for number in range(2):
        current = frame[frame["event_time"].dt.floor("1D") == day(number)]
        for column, expected in public_scores(current, reference).items():
            assert found[(day(number), "", column)] == pytest.approx(expected, abs=1e-12), column
    assert monitored.metrics("drift_detected")[(day(0), "", "fare")] == 1.0


def test_every_version_has_the_drift_of_its_own_predictions(monitored: Monitored) -> None:
    reference, frame = trips(2000, 3), trips(300, 4, days=1)
    frame["prediction.challenger"] += 10
    monitored.build_reference(reference)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    found = monitored.metrics("drift_score")
    from scipy.stats import wasserstein_distance

    for version in VERSIONS:
        past, now = reference[f"prediction.{version}"], frame[f"prediction.{version}"]
        expected = wasserstein_distance(past, now) / np.std(past)
        assert found[(day(0), version, "prediction")] == pytest.approx(expected, abs=1e-9)


def test_labels_drift_in_runs_of_their_own_over_valid_labels(monitored: Monitored) -> None:
    from scipy.stats import wasserstein_distance

    reference, frame = trips(2000, 5), trips(300, 6, days=1)
    monitored.build_reference(reference)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[:200])
    monitored.log.complete()
    monitored.run("drift", "label_drift")
    past, now = (rows[rows["label"].between(1, 60)]["label"] for rows in (reference, frame.iloc[:200]))
    expected = wasserstein_distance(past, now) / np.std(past)
    assert monitored.metrics("drift_score")[(day(0), "", "label")] == pytest.approx(expected, abs=1e-9)

    monitored.log.add_labels(frame.iloc[200:])
    assert {key.job for key in monitored.run("drift", "label_drift").keys} == {"label_drift"}


def test_without_a_reference_drift_waits(monitored: Monitored) -> None:
    monitored.add(trips(100, 7, days=1))
    monitored.log.complete()
    summary = monitored.run("drift")
    assert (summary.runs, summary.waiting) == (0, 3)


def test_a_column_that_cannot_be_scored_is_one_error_and_the_others_have_scores(monitored: Monitored) -> None:
    reference, frame = trips(500, 8), trips(200, 9, days=1)
    monitored.build_reference(reference.assign(fare=np.nan))
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    error = "column fare has no values in the reference; leave it out of drift or build another reference"
    assert monitored.errors() == [{"job": "drift", "column": "fare", "error": error}]
    scored = {key[2] for key in monitored.metrics("drift_score") if key[1] == ""}
    assert scored == {"distance", "zone", "flag", "shared"}
    verdicts = monitored.verdicts("drift")
    assert verdicts[("batch", "1d", day(0), "", "fare")] == "error"
    assert verdicts[("batch", "1d", day(0), "", "shared")] == "pass"


def test_a_window_with_too_few_rows_is_insufficient_and_never_green(monitored: Monitored) -> None:
    monitored.build_reference(trips(500, 10))
    monitored.add(trips(19, 11, days=1))
    monitored.log.complete()
    monitored.run("drift")
    assert {run["status"] for run in monitored.runs("drift")} == {"insufficient"}
    assert monitored.metrics("drift_score") == {}
    assert set(monitored.verdicts("drift").values()) == {"insufficient"}


def test_a_column_with_too_few_values_is_insufficient_beside_scored_ones(monitored: Monitored) -> None:
    frame = trips(200, 12, days=1)
    frame.loc[19:, "fare"] = np.nan
    monitored.build_reference(trips(500, 13))
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    verdicts = monitored.verdicts("drift")
    assert verdicts[("batch", "1d", day(0), "", "fare")] == "insufficient"
    assert verdicts[("batch", "1d", day(0), "", "zone")] == "pass"


def test_a_contract_of_texts_alone_has_drift_of_predictions_only(store: Store, workers: Workers) -> None:
    contract = parse_contract("model: m_texts\ncolumns: {note: {type: text}}\nversions: {champion: champion}", "test")
    frame = trips(100, 19, days=1).assign(note="some words")
    monitored = Monitored(store, contract, workers)
    build_reference(store, contract, frame, VERSIONS, "test", workers)
    monitored.add(frame)
    monitored.log.complete()
    assert {(key.model_version, key.job) for key in monitored.run("drift").keys} == {(v, "drift") for v in VERSIONS}


def test_drift_is_shown_as_a_warning_until_the_contract_says_otherwise(monitored: Monitored) -> None:
    monitored.build_reference(trips(500, 14))
    monitored.add(trips(200, 15, days=1).assign(fare=lambda rows: rows["fare"] + 100))
    monitored.log.complete()
    monitored.run("drift")
    assert monitored.verdicts("drift")[("batch", "1d", day(0), "", "fare")] == "warn"


def test_a_missing_column_in_an_older_reference_is_that_columns_error(monitored: Monitored) -> None:
    monitored.build_reference(trips(500, 16))
    frame = trips(100, 17, days=1)
    monitored.add(frame)
    monitored.log.complete()
    body = monitored.contract.model_dump(by_alias=True)
    body["columns"]["tip"] = body["columns"]["fare"]
    wider = Contract.model_validate(body)
    monitored.run("data", contract=wider)
    monitored.log.contract = wider
    monitored.log.add_inputs(trips(100, 18, days=1).assign(tip=1.0))
    monitored.run("drift", contract=wider)
    assert [error["column"] for error in monitored.errors()] == ["tip"]
