"""How labels come: delays, coverage of what was expected, corrections, orphans; and what an absent one means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from batch.rows.frames import Span, label_counts, scored_frames
from driftline.clock import to_ms
from driftline.contract import parse_contract
from driftline.errors import ContractError
from driftline.store import Store
from tests.batch.conftest import Monitored, contract_named, day, trips


def figures(monitored: Monitored, metric: str) -> dict[object, float]:
    """Values by window start."""
    return {key[0]: value for key, value in monitored.metrics(metric).items()}


def test_delays_are_those_of_first_labels_by_numpys_quantiles(monitored: Monitored) -> None:
    frame = trips(200, 1)
    monitored.add(frame, labels=False)
    labelled = frame.iloc[::2]
    monitored.log.add_labels(labelled)
    monitored.log.add_labels(
        labelled.iloc[:20].assign(label=5.0, label_time=labelled["label_time"] + timedelta(days=9))
    )
    monitored.log.complete()
    monitored.run("labels")
    seconds = (labelled["label_time"].dt.floor("1ms") - labelled["event_time"]).dt.total_seconds()
    days = labelled["event_time"].dt.floor("1D")
    for name, share in (("label_delay_quantile_50", 0.5), ("label_delay_quantile_95", 0.95)):
        expected = {start.to_pydatetime(): np.quantile(of_day, share) for start, of_day in seconds.groupby(days)}
        assert figures(monitored, name) == pytest.approx(expected, abs=1e-9)


def test_a_request_that_two_versions_answered_counts_once(monitored: Monitored) -> None:
    frame = trips(100, 2, days=1)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[:60])
    monitored.log.complete()
    monitored.run("labels")
    [run] = monitored.runs("labels")
    assert (run["n_predictions"], run["n_labels"], run["model_version"]) == (100, 60, "")
    assert figures(monitored, "labelled_share") == {day(0): 0.6}


def test_corrected_labels_are_counted_by_the_window_of_their_prediction(monitored: Monitored) -> None:
    frame = trips(100, 3)
    monitored.add(frame)
    corrected = frame[frame["event_time"] < pd.Timestamp(day(1))].head(7)
    later = corrected["label_time"] + timedelta(days=3)
    monitored.log.add_labels(corrected.assign(label=7.0, label_time=later))
    monitored.log.add_labels(corrected.iloc[:2].assign(label=8.0, label_time=later.iloc[:2] + timedelta(days=1)))
    monitored.log.add_labels(frame.iloc[-1:])
    monitored.log.complete()
    monitored.run("labels")
    assert figures(monitored, "corrected_label_count") == {day(0): 7.0, day(1): 0.0}


def test_a_label_that_no_prediction_has_is_an_orphan_of_its_own_window_until_the_prediction_comes(
    monitored: Monitored,
) -> None:
    frame, strangers = trips(100, 4), trips(5, 5, start=day(4), days=1)
    monitored.add(frame)
    monitored.log.add_labels(strangers.assign(label_time=strangers["event_time"]))
    monitored.log.complete()
    monitored.run("labels")
    assert figures(monitored, "orphan_label_count") == {day(0): 0.0, day(1): 0.0, day(4): 5.0}

    monitored.log.add_predictions(strangers.iloc[:2].assign(prediction=1.0), "champion")
    monitored.run("labels")
    assert figures(monitored, "orphan_label_count")[day(4)] == 3.0


def test_fewer_labels_than_expected_fail_once_the_usual_delay_has_passed(monitored: Monitored) -> None:
    expecting = contract_named("shortfall").model_copy(
        update={"label": monitored.contract.label.model_copy(update={"expected_share": 0.8})}
    )
    monitored = Monitored(monitored.store, expecting, monitored.workers)
    frame = trips(400, 6)
    monitored.add(frame, labels=False)
    first, second = (frame[frame["event_time"].dt.floor("1D") == pd.Timestamp(day(n))] for n in (0, 1))
    monitored.log.add_labels(pd.concat([first.head(int(0.78 * len(first))), second.head(len(second) // 2)]))
    monitored.log.complete("inputs", "predictions")
    monitored.run("labels")
    key = ("batch", "1d", day(1), "", "")
    assert monitored.verdicts("label_shortfall")[key] == "insufficient"

    monitored.log.complete("labels", to=day(2) + timedelta(hours=1))
    monitored.run("labels")
    assert monitored.verdicts("label_shortfall") == {key: "fail", ("batch", "1d", day(0), "", ""): "pass"}
    share = figures(monitored, "labelled_share")[day(1)]
    assert figures(monitored, "expected_coverage")[day(1)] == pytest.approx(share / 0.8)


def test_a_label_that_never_comes_counts_as_the_contract_says_and_the_figure_says_how_many(
    monitored: Monitored,
) -> None:
    label = monitored.contract.label.model_copy(update={"absent_means": "30"})
    contract = contract_named("absent").model_copy(update={"label": label})
    monitored = Monitored(monitored.store, contract, monitored.workers)
    frame = trips(100, 7, days=1).query("label <= 60")
    monitored.add(frame, labels=False)
    labelled, absent = frame.iloc[:70], frame.iloc[70:]
    monitored.log.add_labels(labelled)
    monitored.log.complete("inputs", "predictions")
    monitored.log.complete("labels", to=day(3) - timedelta(milliseconds=1))
    monitored.run("quality")
    place = (day(0), "champion", "")
    assert place not in monitored.metrics("assumed_count")
    errors = (labelled["prediction.champion"] - labelled["label"]).abs()
    assert monitored.metrics("mae")[place] == pytest.approx(errors.mean(), abs=1e-9)

    monitored.log.complete("labels", to=day(3))
    monitored.run("quality")
    assumed = (absent["prediction.champion"] - 30).abs()
    assert monitored.metrics("mae")[place] == pytest.approx(pd.concat([errors, assumed]).mean(), abs=1e-9)
    assert monitored.metrics("assumed_count")[place] == len(absent)
    run = next(one for one in monitored.runs("quality") if one["granularity"] == "1d")
    assert (run["n_labels"], run["n_scored"], run["coverage"]) == (70, len(frame), 70 / len(frame))


def test_no_verdict_rests_on_the_labels_that_came_while_absent_ones_are_to_count(monitoring) -> None:
    """Only long trips are reported, and the model is wrong on those; the absent ones are the 30 that it says."""
    monitored = monitoring(
        "slices: [{name: flag, by: flag, min_rows: 20}]\n"
        "metrics: [{name: highest, sql: max(label)}]\n"
        "checks:\n"
        "- {metric: mae, source: batch, max: 5}\n"
        "- {metric: mae, source: batch, slice: flag=N, max: 5}\n"
        "- {metric: pair_count, source: batch, min: 10}\n"
        "- {metric: custom_highest, source: batch, max: 50}",
        quality="min_labels: 10, max_estimate_gap: 5",
    )
    label = monitored.contract.label.model_copy(update={"absent_means": "30", "expected_share": 0.1})
    contract = monitored.contract.model_copy(update={"label": label})
    monitored = Monitored(monitored.store, contract, monitored.workers)
    monitored.build_reference(trips(600, 11))
    frame = trips(400, 10, days=1).assign(label=30.0, **{"prediction.champion": 30.0, "prediction.challenger": 30.0})
    reported = frame.iloc[::8].assign(label=55.0)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(reported)
    monitored.log.complete("inputs", "predictions")
    jobs = ("quality", "correction", "slices", "comparison", "custom")

    def judged() -> dict[tuple[str, str], str]:
        rows = monitored.store.query(
            "SELECT check, slice, toString(status) AS status, reason FROM checks WHERE model = {m:String} "
            "AND granularity = '1d' AND model_version = 'challenger' AND value IS NOT NULL",
            {"m": contract.model},
        )
        return {
            (row["check"], row["slice"]): row["reason"] if row["reason"] == waits else row["status"] for row in rows
        }

    waits = "12% of the labels have come; judged when no more can, since an absent one counts as 30"
    for reached in (day(1), day(1) + timedelta(hours=1), day(3) - timedelta(milliseconds=1)):
        monitored.log.complete("labels", to=reached)
        monitored.run(*jobs)
        assert set(judged()) >= {("mae", "all"), ("pair_count", "all"), ("custom_highest", "all")}
        assert set(judged().values()) == {waits}
    monitored.log.complete("labels", to=day(3))
    monitored.run(*jobs)
    assert monitored.metrics("mae")[(day(0), "champion", "")] == pytest.approx(25 / 8)
    found = judged()
    assert found[("mae", "all")] == found[("mae", "flag=N")] == found[("pair_count", "all")] == "pass"
    assert found[("custom_highest", "all")] == "fail"
    assert waits not in found.values()


def test_what_an_absent_label_means_must_be_a_number_for_regression() -> None:
    text = "model: m\ncolumns: {{x: {{type: number}}}}\nlabel: {{absent_means: {}}}"
    assert parse_contract(text.format(0), "test").label.absent_means == "0"
    with pytest.raises(ContractError) as caught:
        parse_contract(text.format("never"), "test")
    assert "`label.absent_means` must be a number for task regression; got 'never'" in str(caught.value)


def test_every_revision_of_a_figure_stays_readable(monitored: Monitored) -> None:
    frame = trips(100, 8, days=1)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[:50])
    monitored.log.complete()
    monitored.run("quality")
    monitored.log.add_labels(frame.iloc[50:])
    monitored.run("quality")
    rows = monitored.store.query(
        "SELECT revision, coverage, value, status FROM metric_history WHERE model = {m:String} AND metric = 'coverage' "
        "AND granularity = '1d' AND model_version = 'champion' ORDER BY revision",
        {"m": monitored.contract.model},
    )
    assert [tuple(row.values()) for row in rows] == [(1, 0.5, 0.5, "ok"), (2, 1.0, 1.0, "ok")]


def test_a_label_that_never_comes_may_be_a_class(store: Store) -> None:
    contract = parse_contract(
        "model: fraud\ntask: binary\npositive_class: fraud\ncolumns: {x: {type: number}}\nlabel: {absent_means: fine}",
        "test",
    )
    shared = {"model": "fraud", "append_time": day(0), "id_hash": 1, "source_id": "s", "p": 0}
    answered = {"model_version": "v1", "event_time": day(0), "class": "fine", "probabilities": {"fraud": 0.2}}
    store.insert_rows(
        "predictions",
        [{**shared, **answered, "status": "ok", "id": id_, "o": at} for at, id_ in enumerate("abc")],
    )
    store.insert_rows("labels", [{**shared, "id": "b", "label_time": day(0), "label_class": "fraud", "o": 1}])
    place = (to_ms(day(0)), "v1")
    span = Span(timedelta(days=1), (place[0],))
    assert scored_frames(store, contract, span)[place]["label"].to_pylist() == ["fraud"]
    assumed = replace(span, assumed=span.starts)
    assert scored_frames(store, contract, assumed)[place]["label"].to_pylist() == ["fine", "fraud", "fine"]
    counts = label_counts(store, contract, assumed)[place]
    assert (counts.n_labels, counts.n_scored, counts.n_assumed) == (1, 3, 2)
