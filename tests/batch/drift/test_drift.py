"""Drift against the reference: features, predictions, labels; one bad column spoils nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from batch.references.building import build_reference
from batch.rows.frames import Span, input_frames, prediction_frames
from batch.workers.pool import Workers
from driftline.contract import Contract, parse_contract
from driftline.store import Store
from tests.batch.conftest import VERSIONS, Monitored, contract_named, day, meaning, trips
from tests.batch.workers.test_scores import report

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


def winsorised(frame: pd.DataFrame) -> pd.DataFrame:
    """As the contract's range of distances asks; absurd values become the nearer end."""
    return frame.assign(distance=frame["distance"].clip(0, 100))


def test_scores_of_a_day_equal_those_of_the_public_report_on_the_same_winsorised_rows(monitored: Monitored) -> None:
    reference, frame = trips(2000, 1), trips(600, 2).assign(fare=lambda rows: rows["fare"] * 1.5)
    monitored.build_reference(reference)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    found = monitored.metrics("drift_score")
    for number in range(2):
        current = frame[frame["event_time"].dt.floor("1D") == day(number)]
        for column, expected in public_scores(winsorised(current), winsorised(reference)).items():
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


def test_the_first_labels_are_scored_and_not_judged(monitored: Monitored) -> None:
    """Short trips end first."""
    monitored.build_reference(trips(2000, 40))
    frame = trips(400, 41, days=1).sort_values("label")
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[:100])
    monitored.log.complete("inputs", "predictions")
    monitored.run("label_drift")
    assert monitored.metrics("drift_detected")[(day(0), "", "label")] == 1.0
    reasons = monitored.store.query(
        "SELECT toString(status) AS status, reason FROM checks WHERE model = {m:String} AND check = 'drift'",
        {"m": monitored.contract.model},
    )
    waits = "25% of the labels have come; judged when nearly all have"
    assert reasons == [{"status": "insufficient", "reason": waits}]

    monitored.log.add_labels(frame.iloc[100:])
    monitored.run("label_drift")
    assert monitored.verdicts("drift") == {("batch", "1d", day(0), "", "label"): "pass"}


def test_labels_that_never_come_drift_as_what_they_count_as(store: Store, workers: Workers) -> None:
    from scipy.stats import wasserstein_distance

    monitored = Monitored(store, meaning(contract_named("drift of absent labels"), "30"), workers)
    frame, reference = trips(300, 42), trips(2000, 43)
    monitored.build_reference(reference)
    monitored.add(frame, labels=False)
    reported = frame[frame["event_time"] < day(1)].iloc[::10]
    monitored.log.add_labels(reported)
    monitored.log.complete("inputs", "predictions")
    monitored.log.complete("labels", to=day(3))  # those of the first day are final, those of the second still come
    monitored.run("label_drift")
    now = frame["label"].where(frame["id"].isin(reported["id"]), 30.0)[frame["event_time"] < day(1)]
    past, now = (values[values.between(1, 60)] for values in (reference["label"], now))
    scores = monitored.metrics("drift_score")
    assert scores == {(day(0), "", "label"): pytest.approx(wasserstein_distance(past, now) / np.std(past), abs=1e-9)}

    monitored.log.complete("labels", to=day(4))
    monitored.run("label_drift")
    second = monitored.metrics("drift_score")[(day(1), "", "label")]
    assert second == pytest.approx(wasserstein_distance(past, [30.0]) / np.std(past), abs=1e-9)


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


def test_one_absurd_value_does_not_hide_the_drift_of_the_others(monitored: Monitored) -> None:
    reference, frame = trips(2000, 20), trips(300, 21, days=1).assign(distance=lambda rows: rows["distance"] * 2)
    reference.loc[7, "distance"] = 120_000.0
    monitored.build_reference(reference)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    expected = public_scores(winsorised(frame), winsorised(reference))["distance"]
    assert monitored.metrics("drift_score")[(day(0), "", "distance")] == pytest.approx(expected, abs=1e-12)
    assert public_scores(frame, reference)["distance"] < 0.1 < 0.5 < expected


def test_shifts_say_in_the_columns_unit_where_it_went(monitored: Monitored) -> None:
    from scipy.stats import ttest_ind

    reference, frame = trips(2000, 22), trips(300, 23, days=1).assign(fare=lambda rows: rows["fare"] - 4)
    frame.loc[:49, "zone"] = "99"
    monitored.build_reference(reference)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")

    interval = ttest_ind(frame["fare"], reference["fare"], equal_var=False).confidence_interval(0.95)
    [row] = monitored.rows("mean_shift", "fare")
    moved = frame["fare"].mean() - reference["fare"].mean()
    assert (row["value"], row["lower"], row["upper"]) == pytest.approx((moved, interval.low, interval.high), abs=1e-9)
    medians = frame["fare"].median() - reference["fare"].median()
    assert monitored.metrics("median_shift")[(day(0), "", "fare")] == pytest.approx(medians, abs=1e-9)

    past, now = (rows["zone"].value_counts(normalize=True) for rows in (reference, frame))
    gap = now.sub(past, fill_value=0)
    assert monitored.metrics("share_moved")[(day(0), "", "zone")] == pytest.approx(gap.abs().sum() / 2, abs=1e-9)
    [most] = monitored.rows("value_shift", "zone")
    assert (most["method"], most["value"]) == (gap.abs().idxmax(), pytest.approx(gap[gap.abs().idxmax()], abs=1e-9))
    [new] = monitored.rows("new_value_count", "zone")
    assert (new["value"], new["method"]) == (1.0, "99 (50)")


def test_importance_weighs_a_columns_drift(monitoring: Callable[..., Monitored]) -> None:
    monitored = monitoring()
    body = monitored.contract.model_dump(by_alias=True)
    body["columns"]["fare"]["importance"] = 0.25
    monitored.contract = Contract.model_validate(body)
    monitored.build_reference(trips(1000, 24))
    monitored.add(trips(200, 25, days=1))
    monitored.log.complete()
    monitored.run("drift")
    ratio = monitored.metrics("drift_ratio")[(day(0), "", "fare")]
    assert monitored.metrics("drift_importance") == {(day(0), "", "fare"): pytest.approx(ratio / 4, abs=1e-12)}


def test_histograms_hold_every_row_of_the_window_and_of_the_reference(monitored: Monitored) -> None:
    reference, frame = trips(1000, 26), trips(300, 27, days=1)
    frame.loc[:4, "zone"] = "99"
    monitored.build_reference(reference)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift", "label_drift")
    rows = monitored.store.query(
        "SELECT * FROM histograms WHERE model = {m:String} AND slice = 'all'", {"m": monitored.contract.model}
    )
    found = {(row["model_version"], row["column"]): row for row in rows}
    assert {column for _, column in found} == {"distance", "fare", "zone", "flag", "shared", "prediction", "label"}

    fare = found["", "fare"]
    for side, values in (("current", frame["fare"]), ("reference", reference["fare"])):
        assert fare[side] == np.histogram(values, fare["edges"])[0].tolist()
    zone = found["", "zone"]
    now, past = frame["zone"].value_counts(), reference["zone"].value_counts()
    assert dict(zip(zone["labels"], zone["current"], strict=True)) == {
        **{name: now[name] for name in ("74", "75", "41")},
        "(other)": 0,
        "(new)": 5,
    }
    assert zone["reference"][:3] == [past[name] for name in zone["labels"][:3]]
    assert (zone["missing"], zone["reference_missing"]) == (frame["zone"].isna().sum(), reference["zone"].isna().sum())


def test_a_p_value_says_drift_when_it_is_low_and_has_no_ratio(monitoring: Callable[..., Monitored]) -> None:
    monitored = monitoring()
    body = monitored.contract.model_dump(by_alias=True)
    body["drift"] |= {"number_method": "ks", "number_threshold": 0.001}
    monitored.contract = Contract.model_validate(body)
    monitored.build_reference(trips(1000, 28))
    monitored.add(trips(200, 29, days=1).assign(fare=lambda rows: rows["fare"] + 5))
    monitored.log.complete()
    monitored.run("drift")
    verdicts = monitored.verdicts("drift")
    assert verdicts[("batch", "1d", day(0), "", "fare")] == "warn"
    assert verdicts[("batch", "1d", day(0), "", "distance")] == "pass"
    assert {key[2] for key in monitored.metrics("drift_ratio")} == {"zone", "flag", "shared"}


def test_a_healthy_small_window_is_not_called_drifted_and_a_drifted_one_is(monitored: Monitored) -> None:
    """Forty zones and fifty rows: any sample is over Evidently's 0.1, the whole week's first days included."""
    rng = np.random.default_rng(30)
    reference, frame = trips(3000, 31, days=14), trips(120, 32, days=2)
    names = np.array([str(zone) for zone in range(40)])
    reference["zone"], frame["zone"] = rng.choice(names, 3000), rng.choice(names, 120)
    moved = frame["event_time"] >= day(1)
    frame.loc[moved, "zone"] = rng.choice(names[:4], moved.sum())
    frame.loc[moved, "fare"] += 20
    monitored.build_reference(reference)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    detected, calibrated = monitored.metrics("drift_detected"), monitored.verdicts("drift_calibrated")
    assert detected[(day(0), "", "zone")] == 1.0
    assert calibrated[("batch", "1d", day(0), "", "zone")] == "pass"
    assert calibrated[("batch", "1d", day(0), "", "fare")] == "pass"
    assert calibrated[("batch", "1d", day(1), "", "zone")] == "fail"
    assert calibrated[("batch", "1d", day(1), "", "fare")] == "fail"
    assert {row["method"] for row in monitored.rows("drift_expected", "zone")} == {"14 left-out windows"}


def test_the_sample_of_a_great_window_is_the_same_when_only_the_rows_near_it_are_sorted(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.rows.frames.MOST_ROWS", 2_000)
    frame = trips(12_000, 33, days=1)
    monitored.add(frame, labels=False)
    start, columns = int(day(0).timestamp() * 1000), ["fare", "zone"]
    plain, counted = Span(timedelta(days=1), (start,)), Span(timedelta(days=1), (start,), rows=(len(frame),))
    assert counted.highest_hashes[0] < 2**64 // 5 < plain.highest_hashes[0]
    expected = input_frames(monitored.store, monitored.contract, plain, columns)[start]
    assert expected.num_rows == 2_000
    assert input_frames(monitored.store, monitored.contract, counted, columns)[start].equals(expected)
    answers = [prediction_frames(monitored.store, monitored.contract, span) for span in (plain, counted)]
    assert answers[0].keys() == {(start, version) for version in VERSIONS}
    assert all(answers[0][key].equals(answers[1][key]) for key in answers[0])
