"""Errors expected before labels, what labels correct of them, and how honest the estimates were."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from threadpoolctl import threadpool_limits

from batch.estimates.error_model import Interval, fit_error_model, reference_rows
from batch.estimates.frames import error_frames, error_spec
from batch.jobs import run_due
from batch.references.building import build_reference
from batch.rows.frames import Span
from batch.workers.pool import Workers
from driftline.clock import SystemClock, to_ms
from driftline.store import Store
from driftline.windows import to_window_ms
from tests.batch.conftest import Monitored, day, trips
from tests.batch.quality.test_classification import BINARY, answers, contract_of, reference_of, send
from tests.consumers.running import Pipeline

DAY = timedelta(days=1)


def uneven(n: int, seed: int, days: int = 2, stretch: float = 1.0) -> pd.DataFrame:
    """Trips whose error grows with the distance; ``stretch`` makes them longer."""
    frame, rng = trips(n, seed, days=days), np.random.default_rng(seed + 1000)
    frame["distance"] = rng.gamma(2, 2, n).round(3) * stretch
    frame["label"] = np.clip(3 * frame["distance"] + 5, 1.0, 60.0)
    frame["label_time"] = frame["event_time"] + pd.to_timedelta(frame["label"], unit="m")
    for version, noise in (("champion", 0.5), ("challenger", 0.8)):
        frame[f"prediction.{version}"] = frame["label"] + rng.normal(size=n) * noise * (1 + frame["distance"])
    return frame


def realised(frame: pd.DataFrame, version: str = "champion") -> float:
    return float((frame[f"prediction.{version}"] - frame["label"]).abs().mean())


def value(monitored: Monitored, metric: str, start: int = 0, version: str = "champion", column: str = "") -> float:
    return monitored.metrics(metric)[(day(start), version, column)]


def test_the_estimate_foresees_the_error_of_shifted_rows_and_names_the_column_that_moved(monitored: Monitored) -> None:
    past, now = uneven(3000, 1, days=8), uneven(1500, 2, days=1, stretch=1.6)
    monitored.build_reference(past)
    monitored.add(now, labels=False)
    monitored.log.complete("inputs", "predictions")
    monitored.run("estimate", "correction")

    for version in ("champion", "challenger"):
        naive = abs(realised(past, version) - realised(now, version))
        found = value(monitored, "estimated_mae", version=version)
        assert abs(found - realised(now, version)) < 0.3 * naive
    assert monitored.metrics("mae_corrected") == {}
    rows = monitored.store.query(
        "SELECT value, lower, upper, n FROM metrics WHERE model = {m:String} AND metric = 'estimated_mae'",
        {"m": monitored.contract.model},
    )
    assert all(row["lower"] < row["value"] < row["upper"] for row in rows)
    assert max(row["n"] for row in rows) == 1500

    shares = {key[2]: found for key, found in monitored.metrics("error_contribution").items() if key[1] == "champion"}
    ranked = sorted(shares, key=lambda column: -abs(shares[column]))
    assert set(ranked[:2]) == {"distance", "prediction"}
    assert max(abs(shares[column]) for column in ranked[2:]) < 0.1 * shares["distance"]
    assert 0.5 < shares["distance"] / (realised(now) - realised(past)) < 1.1
    assert set(shares) == {"distance", "shared", "zone", "flag", "prediction", "event_time"}


def test_a_column_known_only_with_the_label_never_reaches_the_estimate(monitored: Monitored) -> None:
    past, now = uneven(1000, 5, days=4), uneven(500, 6, days=1)
    past["fare"] = (past["prediction.champion"] - past["label"]).abs()  # gives the error away
    now["fare"] = 1000.0
    monitored.build_reference(past)
    monitored.add(now, labels=False)
    monitored.log.complete("inputs", "predictions")
    monitored.run("estimate")

    assert value(monitored, "estimated_mae") < 10
    assert "fare" not in error_spec(monitored.contract, "champion").columns
    frames = error_frames(monitored.store, monitored.contract, Span(DAY, (to_ms(day(0)),)))
    assert {name for table in frames.values() for name in table.column_names} == {
        "start_ms", "id", "event_ms", "prediction", "labelled", "label", "label_class",
        "distance", "shared", "zone", "flag",
    }  # fmt: skip
    assert "error_contribution" not in {key for key in monitored.metrics("error_contribution") if key[2] == "fare"}


def test_the_gap_is_realised_minus_expected_error_of_the_same_rows(monitoring) -> None:
    monitored = monitoring(quality="min_labels: 10, max_estimate_gap: 1.0")
    past, now = uneven(1500, 7, days=6), uneven(1000, 8, days=2)
    late = now["event_time"] >= day(1)
    now.loc[late, "label"] = (now.loc[late, "label"] * 1.4).clip(upper=60.0)  # the concept drifts on the second day
    monitored.build_reference(past)
    monitored.add(now)
    monitored.log.complete()
    monitored.run("estimate", "correction", "quality")

    for start, part in ((0, now[~late]), (1, now[late])):
        estimated, gap = value(monitored, "estimated_mae", start), value(monitored, "estimate_gap", start)
        assert estimated + gap == pytest.approx(realised(part), abs=1e-9)
    assert abs(value(monitored, "estimate_gap", 0)) < 0.5
    assert value(monitored, "estimate_gap", 1) > 1.5
    verdicts = monitored.verdicts("max_estimate_gap")
    assert verdicts[("batch", "1d", day(0), "champion", "")] == "pass"
    assert verdicts[("batch", "1d", day(1), "champion", "")] == "fail"
    assert {key[1] for key in verdicts} == {"1d"}


def test_the_corrected_error_fills_in_the_rows_whose_label_has_not_come(monitored: Monitored) -> None:
    past, now = uneven(1500, 9, days=8), uneven(1000, 10, days=1)
    monitored.build_reference(past)
    monitored.add(now, labels=False)
    quick = now["label"] < now["label"].quantile(0.8)  # short trips end first
    monitored.log.add_labels(now[quick])
    monitored.log.complete("inputs", "predictions")
    monitored.run("estimate", "correction", "quality")

    truth, provisional, corrected = realised(now), value(monitored, "mae"), value(monitored, "mae_corrected")
    assert provisional == pytest.approx(realised(now[quick]), abs=1e-9)
    assert provisional < 0.85 * truth
    assert abs(corrected - truth) < 0.2 * abs(provisional - truth)

    # The estimate of all rows and the gap on the labelled ones give the same value by another way.
    estimated, gap = value(monitored, "estimated_mae"), value(monitored, "estimate_gap")
    assert corrected == pytest.approx(estimated + gap * quick.mean(), abs=1e-9)

    monitored.log.add_labels(now[~quick])
    monitored.run("correction", "quality")
    assert value(monitored, "mae_corrected") == pytest.approx(value(monitored, "mae"), abs=1e-9)
    assert value(monitored, "mae") == pytest.approx(truth, abs=1e-9)


def test_while_labels_are_few_the_gap_is_shown_and_not_judged(monitoring) -> None:
    monitored = monitoring(quality="min_labels: 10, max_estimate_gap: 0.01")
    now = uneven(500, 12, days=1)
    monitored.build_reference(uneven(1000, 11, days=4))
    monitored.add(now, labels=False)
    monitored.log.add_labels(now.iloc[:250].assign(label=lambda rows: rows["label"] * 2))
    monitored.log.complete("inputs", "predictions")
    monitored.run("correction")

    key = ("batch", "1d", day(0), "champion", "")
    assert monitored.verdicts("max_estimate_gap")[key] == "insufficient"
    monitored.log.complete()
    monitored.run("correction")
    assert monitored.verdicts("max_estimate_gap")[key] == "fail"


def test_how_good_earlier_estimates_were_is_the_mean_of_their_gaps(monitored: Monitored) -> None:
    monitored.build_reference(uneven(1000, 13, days=4))
    now = uneven(1000, 14, days=6)
    monitored.add(now)
    monitored.log.complete()
    monitored.run("correction")

    gaps = [value(monitored, "estimate_gap", number) for number in range(6)]
    assert (day(2), "champion", "") not in monitored.metrics("estimate_error")
    for number in (3, 4, 5):
        assert value(monitored, "estimate_error", number) == pytest.approx(np.mean(np.abs(gaps[:number])), abs=1e-12)
        assert value(monitored, "estimate_bias", number) == pytest.approx(-np.mean(gaps[:number]), abs=1e-12)
    assert monitored.run("correction").keys == ()

    corrected = now[now["event_time"] < day(1)].head(20)
    monitored.log.add_labels(corrected.assign(label=60.0, label_time=corrected["label_time"] + DAY))
    monitored.run("correction")
    before, gaps = gaps, [value(monitored, "estimate_gap", number) for number in range(6)]
    assert gaps[0] != before[0]
    assert value(monitored, "estimate_error", 5) == pytest.approx(np.mean(np.abs(gaps[:5])), abs=1e-12)
    assert monitored.run("correction").keys == ()


def test_a_reference_with_few_labels_estimates_nothing(monitored: Monitored) -> None:
    monitored.build_reference(uneven(150, 17))
    monitored.add(uneven(100, 18, days=1))
    monitored.log.complete()
    monitored.run("estimate", "correction")

    assert monitored.metrics("estimated_mae") == {}
    assert {run["status"] for job in ("estimate", "correction") for run in monitored.runs(job)} == {"insufficient"}
    assert monitored.errors() == []


def test_a_version_that_the_reference_does_not_know_is_an_error_of_its_windows_alone(monitored: Monitored) -> None:
    monitored.build_reference(uneven(1000, 19, days=4))
    now = uneven(100, 20, days=1)
    monitored.add(now)
    monitored.log.add_predictions(now.assign(prediction=1.0), "newcomer")
    monitored.log.complete()
    monitored.run("estimate")

    assert {row["error"] for row in monitored.errors()} == {
        "the reference lacks prediction.newcomer; build one with this contract and the predictions of newcomer"
    }
    assert set(monitored.metrics("estimated_mae")) == {(day(0), "champion", ""), (day(0), "challenger", "")}


def test_without_a_reference_the_windows_wait(monitored: Monitored) -> None:
    monitored.add(uneven(100, 21, days=1))
    monitored.log.complete()

    assert monitored.run("estimate", "correction").waiting == len(monitored.run("estimate", "correction").keys) + (
        2 * 2 * (to_window_ms(DAY) // to_window_ms(timedelta(hours=1)) + 1)
    )


def test_a_label_that_never_comes_counts_as_what_the_contract_says(monitoring) -> None:
    monitored = monitoring()
    rule = monitored.contract.label.model_copy(update={"absent_means": "30"})
    contract = monitored.contract.model_copy(update={"label": rule})
    monitored.build_reference(uneven(1000, 22, days=4))
    now = uneven(400, 23, days=1)
    monitored.add(now, labels=False)
    monitored.log.add_labels(now.iloc[:300])
    monitored.log.complete()
    monitored.run("correction", contract=contract)

    truth = now["label"].where(now.index < 300, 30.0)
    assert value(monitored, "mae_corrected") == pytest.approx(
        (now["prediction.champion"] - truth).abs().mean(), abs=1e-9
    )


def test_the_error_model_is_scikit_learns_on_the_rows_and_columns_that_it_may_see(monitored: Monitored) -> None:
    past = uneven(600, 24, days=4)
    past = past.assign(zone=None, flag="N")  # categories of one value are left out
    spec = error_spec(monitored.contract, "champion")
    with threadpool_limits(limits=1):
        model = fit_error_model(spec, past)
    assert model is not None
    rows = reference_rows(spec, past)

    matrix = np.column_stack(
        [
            past["prediction.champion"],
            past["event_time"].dt.hour,
            past["event_time"].dt.dayofweek,
            past["distance"],
            past["shared"].astype(float),
        ]
    )
    errors = (past["prediction.champion"] - past["label"]).abs()
    boosting = HistGradientBoostingRegressor(max_iter=60, early_stopping=False, random_state=0)
    with threadpool_limits(limits=1):
        expected = np.maximum(0, boosting.fit(matrix, errors).predict(matrix))
        assert model.expected(rows) == pytest.approx(expected, abs=1e-9)


def test_one_stray_row_of_another_year_does_not_widen_the_interval(monitored: Monitored) -> None:
    with threadpool_limits(limits=1):
        model = fit_error_model(error_spec(monitored.contract, "champion"), uneven(600, 27, days=4))
    assert model is not None
    strayed = replace(model, residuals=(np.array([50.0]), *model.residuals))
    healthy, found = model.interval(np.full(100, 3.0)), strayed.interval(np.full(100, 3.0))
    assert found.upper - found.lower == pytest.approx(healthy.upper - healthy.lower, rel=0.2)


def strays(n: int) -> pd.DataFrame:
    """Rows that a device with a wrong clock sent: every one of a day of its own in 2009, and of a zone of its own."""
    times = pd.date_range("2009-01-01", periods=n, freq="D", tz="UTC").as_unit("ms")
    return uneven(n, 29, days=1).assign(event_time=times, zone=[f"z{row}" for row in range(n)])


def interval_of(monitored: Monitored, past: pd.DataFrame, now: pd.DataFrame) -> Interval:
    spec = error_spec(monitored.contract, "champion")
    with threadpool_limits(limits=1):
        model = fit_error_model(spec, past)
        assert model is not None
        return model.interval(model.expected(reference_rows(spec, now)))


@pytest.mark.parametrize("n", [1, 2, 29])
def test_a_day_among_strays_is_not_expected_by_what_they_teach(monitored: Monitored, n: int) -> None:
    day, now = uneven(300, 27, days=1), uneven(400, 28, days=1)
    alone = interval_of(monitored, day, now)
    among = interval_of(monitored, pd.concat([strays(n), day], ignore_index=True), now)
    assert among.lower < among.value < among.upper
    assert (among.lower, among.upper) == pytest.approx((alone.lower, alone.upper), rel=0.15)


def test_few_rows_a_day_do_not_widen_the_interval(monitored: Monitored) -> None:
    now = uneven(400, 28, days=1)
    busy, quiet = (interval_of(monitored, uneven(300, 30, days=days), now) for days in (4, 60))
    assert quiet.lower < realised(now) < quiet.upper
    assert quiet.upper - quiet.lower < 1.5 * (busy.upper - busy.lower)


def test_a_reference_of_many_days_is_expected_day_by_day(monitored: Monitored) -> None:
    """Every second day's errors are five times as great, which nobody can know of a day that he has not seen."""
    past = uneven(600, 31, days=6)
    stretch = 1 + 4 * (past["event_time"].dt.day % 2)
    past["prediction.champion"] = past["label"] + stretch * (past["prediction.champion"] - past["label"])
    with threadpool_limits(limits=1):
        model = fit_error_model(error_spec(monitored.contract, "champion"), past)
    assert model is not None
    assert [len(part) for part in model.residuals] == past.groupby(past["event_time"].dt.floor("D")).size().tolist()
    assert np.mean([abs(part.mean()) for part in model.residuals]) > 2


def test_expected_answers_of_a_classifier_follow_from_calibrated_probabilities(
    store: Store, workers: Workers, tmp_path: Path
) -> None:
    contract, classes = contract_of("binary_estimate", "binary", BINARY), ("long", "short")
    past, now = answers(2000, 9, classes), answers(600, 3, classes)
    build_reference(store, contract, reference_of(past, classes), ("v1",), "test", workers)
    pipeline = Pipeline(store, contract, tmp_path / "log")
    send(pipeline, now, classes)
    pipeline.consume()
    run_due(store, contract, workers, SystemClock(), ["estimate", "correction"])
    rows = store.query(
        "SELECT metric, value, lower, upper FROM metrics WHERE model = {m:String} AND source = 'batch'",
        {"m": contract.model},
    )
    found = {row["metric"]: row["value"] for row in rows if row["metric"] != "error_contribution"}

    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(past["p.long"], past["label"] == "long")
    chance, positive = curve.predict(now["p.long"]), (now["p.long"] >= 0.4).to_numpy()
    hits, alarms, misses = chance[positive].sum(), (1 - chance[positive]).sum(), chance[~positive].sum()
    accuracy = np.where(positive, chance, 1 - chance).mean()
    right = (positive == (now["label"] == "long")).mean()
    assert found == pytest.approx(
        {
            "estimated_accuracy": accuracy,
            "estimated_precision": hits / (hits + alarms),
            "estimated_recall": hits / (hits + misses),
            "estimated_f1": 2 * hits / (2 * hits + alarms + misses),
            "estimate_gap": accuracy - right,
            "accuracy_corrected": right,
        },
        abs=1e-9,
    )
    (interval,) = [row for row in rows if row["metric"] == "estimated_accuracy"]
    assert interval["lower"] < right < interval["upper"]
