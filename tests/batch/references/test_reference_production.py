"""References out of a period of production: rows as they were served, with the labels that are certain."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.ledger.history import Period
from batch.references.building import Population, build_reference
from batch.references.production import production_rows
from batch.references.production_sets import build_from_production
from batch.references.sets import list_references, load_reference
from batch.workers.pool import Workers
from driftline.contract import Contract, parse_contract
from driftline.errors import InputDataError
from driftline.store import Store
from driftline.windows import Window
from tests.batch.conftest import VERSIONS, Monitored, contract_named, day, meaning, trips
from tests.batch.populated import PopulatedStore


def build(monitored: Monitored, first: datetime, end: datetime, **options: Any) -> str:
    return build_from_production(monitored.store, monitored.contract, Window(first, end), monitored.workers, **options)


def kept_rows(monitored: Monitored, reference_id: str) -> pd.DataFrame:
    loaded = load_reference(monitored.store, monitored.contract.model, reference_id)
    assert loaded is not None
    return pd.read_parquet(io.BytesIO(loaded.parquet))


def test_a_period_holds_the_rows_that_were_served(monitored: Monitored) -> None:
    frame = trips(300, 1, days=3)
    frame.loc[3, "prediction.champion"] = np.nan
    monitored.add(frame)
    monitored.log.complete()
    reference_id = build(monitored, day(1), day(2) + timedelta(hours=6))
    kept = kept_rows(monitored, reference_id)
    within = (frame["event_time"] >= day(1)) & (frame["event_time"] < day(2) + timedelta(hours=6))
    expected = frame[within].sort_values(["event_time", "id"], ignore_index=True)
    pd.testing.assert_frame_equal(kept, expected[list(kept.columns)], check_dtype=False)
    [info] = list_references(monitored.store, monitored.contract.model)
    assert (info.source, info.n_rows, info.is_current) == ("production", len(expected), True)
    assert (info.window_start, info.window_end) == (day(1), day(2) + timedelta(hours=6))
    assert build(monitored, day(1), day(2) + timedelta(hours=6)) == reference_id


def test_an_id_seen_in_two_hours_has_the_answer_to_each_request(monitored: Monitored) -> None:
    frame = trips(50, 3, days=1)
    again = frame.iloc[:10].assign(fare=1000.0)
    again["event_time"] += pd.Timedelta("3h")
    again["prediction.champion"] += 5
    every = pd.concat([frame, again], ignore_index=True)
    monitored.add(every, labels=False)
    monitored.log.complete()

    rows = production_rows(monitored.store, monitored.contract, Period(day(0), day(2)), VERSIONS)

    expected = every.sort_values(["event_time", "id"], ignore_index=True)
    assert rows["prediction.champion"].tolist() == expected["prediction.champion"].tolist()
    assert rows["fare"].tolist() == expected["fare"].tolist()


def test_the_latest_label_counts(monitored: Monitored) -> None:
    frame = trips(100, 2, days=1)
    monitored.add(frame)
    corrected = frame.iloc[:20].assign(label=30.0, label_time=frame["label_time"] + timedelta(days=1))
    monitored.log.add_labels(corrected)
    monitored.log.complete()
    kept = kept_rows(monitored, build(monitored, day(0), day(1)))
    assert (kept["label"] == 30.0).sum() == 20


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), again=st.sets(st.integers(0, 5)))
def test_any_order_and_any_repetition_of_events_gives_the_same_rows(
    store: Store, workers: Workers, order: list[int], again: set[int]
) -> None:
    """Inputs, two versions' predictions, labels, late labels and corrections, written in any order, some twice."""
    contract = contract_named(f"order {''.join(map(str, order))} {''.join(map(str, sorted(again)))}")
    log, frame = PopulatedStore(store, contract), trips(40, 20, days=1)
    later = frame["label_time"] + timedelta(days=1)
    steps = [
        lambda: log.add_inputs(frame),
        *(partial(log.add_predictions, frame.assign(prediction=frame[f"prediction.{v}"]), v) for v in VERSIONS),
        lambda: log.add_labels(frame.iloc[:30]),
        lambda: log.add_labels(frame.iloc[30:]),
        lambda: log.add_labels(frame.iloc[::3].assign(label=20.0, label_time=later)),
    ]
    for step in (*order, *again):
        steps[step]()
    found = production_rows(store, contract, Period(day(0), day(1)), VERSIONS)
    expected = frame.sort_values(["event_time", "id"], ignore_index=True)
    expected["label"] = expected["label"].where(~expected["id"].isin(frame["id"].iloc[::3]), 20.0)
    columns = ["id", *contract.columns, *(f"prediction.{version}" for version in VERSIONS), "label"]
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_dtype=False)


def test_rows_whose_labels_may_still_come_are_left_out(monitored: Monitored) -> None:
    frame = trips(400, 3, days=4)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[::2])
    monitored.log.complete("inputs", "predictions")
    monitored.log.complete("labels", to=day(4))  # the longest delay is two days: those of the first two are final
    kept = kept_rows(monitored, build(monitored, day(0), day(4)))
    labelled = np.arange(400) % 2 == 0
    final = (frame["event_time"] <= day(2)).to_numpy()
    assert len(kept) == (labelled | final).sum()
    assert kept["label"].notna().sum() == 200
    everything = kept_rows(monitored, build(monitored, day(0), day(4), with_unlabelled=True))
    assert len(everything) == 400


@pytest.mark.parametrize("with_unlabelled", [False, True])
def test_labels_that_can_come_no_more_are_what_they_count_as(
    store: Store, workers: Workers, with_unlabelled: bool
) -> None:
    contract = meaning(contract_named(f"absent in production {with_unlabelled}"), "30")
    monitored, frame = Monitored(store, contract, workers), trips(400, 13, days=4)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[::4])
    monitored.log.add_labels(frame.iloc[:1].assign(label=np.nan, label_time=frame["label_time"] + timedelta(days=1)))
    monitored.log.complete("inputs", "predictions")
    monitored.log.complete("labels", to=day(4))  # the longest delay is two days: those of the first two are final
    reference_id = build(monitored, day(0), day(4), with_unlabelled=with_unlabelled)
    final, labelled = frame["event_time"] <= day(2), frame.index % 4 == 0
    truth = frame["label"].where(labelled, np.where(final, 30.0, np.nan))
    truth[0] = np.nan  # a label that was corrected to nothing has come
    kept = frame.assign(label=truth)[labelled | final | with_unlabelled].sort_values(["event_time", "id"])
    found = kept_rows(monitored, reference_id)
    assert found["label"].tolist() == pytest.approx(kept["label"].tolist(), nan_ok=True)
    loaded = load_reference(store, contract.model, reference_id)
    assert loaded is not None
    errors = (kept["prediction.champion"] - kept["label"]).abs()[kept["label"].between(1, 60)]
    assert loaded.facts.quality["champion"]["mae"] == pytest.approx(errors.mean(), abs=1e-9)


def test_a_sets_vocabulary_is_that_of_all_rows_of_its_period(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.references.production.MOST_ROWS", 100)
    frame = trips(400, 14, days=1)
    frame["zone"] = [f"zone {number:03}" for number in range(400)]
    monitored.add(frame)
    monitored.log.complete()
    reference_id = build(monitored, day(0), day(1))
    loaded = load_reference(monitored.store, monitored.contract.model, reference_id)
    assert loaded is not None
    assert (loaded.facts.rows, loaded.facts.sampled_rows) == (100, 100)
    assert loaded.facts.vocabularies == {"flag": ["?", "N", "Y"], "zone": frame["zone"].tolist()}
    assert build(monitored, day(0), day(1)) == reference_id
    monitored.run("data")
    assert monitored.metrics("unseen_share")[(day(0), "", "zone")] == 0.0


def test_the_same_rows_of_another_vocabulary_are_another_set(monitored: Monitored) -> None:
    frame, period = trips(100, 15, days=1), Window(day(0), day(1))

    def built(*values: str) -> str:
        population = Population(period, {"zone": values})
        shared = (monitored.store, monitored.contract, frame, VERSIONS, "test", monitored.workers)
        return build_reference(*shared, population)

    usual = built("41", "74", "75")
    assert usual == monitored.build_reference(frame)
    assert len({usual, built("41", "74", "75", "9"), built("41", "74", "75", "99")}) == 3


def test_an_empty_period_is_refused(monitored: Monitored) -> None:
    monitored.add(trips(50, 4, days=1))
    monitored.log.complete()
    with pytest.raises(InputDataError) as caught:
        build(monitored, day(5), day(6))
    assert str(caught.value) == (
        "a reference needs rows; the store has no inputs between 2023-02-06T00:00Z and 2023-02-07T00:00Z; "
        "`driftline status` shows what it has"
    )


def test_a_period_without_labels_is_refused_unless_it_is_wanted(monitored: Monitored) -> None:
    monitored.add(trips(100, 5, days=1), labels=False)
    monitored.log.complete("inputs", "predictions")
    with pytest.raises(InputDataError) as caught:
        build(monitored, day(0), day(1))
    assert str(caught.value) == (
        "a reference needs labels; no row between 2023-02-01T00:00Z and 2023-02-02T00:00Z has its label; "
        "load them, choose an earlier period, or use --with-unlabelled for drift alone"
    )
    reference_id = build(monitored, day(0), day(1), with_unlabelled=True)
    loaded = load_reference(monitored.store, monitored.contract.model, reference_id)
    assert loaded is not None
    assert loaded.facts.quality == {}
    assert monitored.run("drift").failures == 0


def test_a_period_that_is_not_over_is_refused(monitored: Monitored) -> None:
    monitored.add(trips(50, 6, days=1))
    monitored.log.complete(to=day(0) + timedelta(hours=20))
    with pytest.raises(InputDataError) as caught:
        build(monitored, day(0), day(1))
    assert str(caught.value) == (
        "`--to` must not be after 2023-02-01T20:00Z, to which the inputs are complete; got 2023-02-02T00:00Z; "
        "use an earlier one"
    )


def test_a_classifiers_answers_go_by_its_probabilities(store: Store, workers: Workers) -> None:
    contract = parse_contract(
        "model: m_fraud\ntask: binary\npositive_class: fraud\ndecision_threshold: 0.3\n"
        "columns: {amount: {type: number}}\ndrift: {min_rows: 10}\n",
        "m.yaml",
    )
    monitored, rng = Monitored(store, contract, workers), np.random.default_rng(7)
    frame = trips(200, 7, days=1).assign(amount=rng.gamma(2, 20, 200), p=rng.random(200))
    monitored.log.add_inputs(frame)
    _add_classes(monitored.log, contract, frame)
    monitored.log.complete()
    reference_id = build(monitored, day(0), day(1))
    kept = kept_rows(monitored, reference_id)
    expected = frame.sort_values(["event_time", "id"], ignore_index=True)
    assert kept["probability.champion.fraud"].tolist() == pytest.approx(expected["p"].tolist())
    assert kept["prediction.champion"].tolist() == np.where(expected["p"] >= 0.3, "fraud", "fine").tolist()
    assert kept["label"].tolist() == np.where(expected["amount"] > 60, "fraud", "fine").tolist()
    loaded = load_reference(store, contract.model, reference_id)
    assert loaded is not None
    right = (kept["prediction.champion"] == kept["label"]).mean()
    assert loaded.facts.quality["champion"]["accuracy"] == pytest.approx(right, abs=1e-9)


def _add_classes(log: PopulatedStore, contract: Contract, frame: pd.DataFrame) -> None:
    """Answers and labels as the consumer stores those of classifiers, under offsets of their own."""
    shared = [
        {
            "model": contract.model,
            "id": row.id,
            "append_time": row.event_time,
            "id_hash": index,
            "source_id": "s",
            "p": 0,
            "o": index,
        }
        for index, row in enumerate(frame.itertuples())
    ]
    answers = [
        {
            **one,
            "model_version": "champion",
            "event_time": row.event_time,
            "class": "fine",
            "probabilities": {"fraud": row.p, "fine": 1 - row.p},
            "status": "ok",
        }
        for one, row in zip(shared, frame.itertuples(), strict=True)
    ]
    labels = [
        {**one, "label_time": row.event_time, "label_class": "fraud" if row.amount > 60 else "fine"}
        for one, row in zip(shared, frame.itertuples(), strict=True)
    ]
    log.store.insert_rows("predictions", answers)
    log.store.insert_rows("labels", labels)


def test_what_depends_on_a_reference_runs_again_when_it_changes_and_nothing_else_does(
    store: Store, workers: Workers
) -> None:
    contract = parse_contract(
        "model: m_changing\nversions: {champion: champion, challengers: [challenger]}\n"
        "columns: {distance: {type: number}, flag: {type: category, values: [N, Y]}}\n"
        "drift: {min_rows: 20}\nquality: {min_labels: 10}\n",
        "m.yaml",
    )
    monitored = Monitored(store, contract, workers)
    first = monitored.build_reference(trips(400, 8))
    monitored.add(trips(400, 9))
    monitored.log.complete()
    jobs = ("profile", "data", "drift", "label_drift", "quality")
    monitored.run(*jobs)
    scores = monitored.metrics("drift_score")
    second = build(monitored, day(0), day(1))
    ran = monitored.run(*jobs)
    assert {key.job for key in ran.keys} == {"drift", "label_drift", "quality"}
    assert monitored.run(*jobs).runs == 0
    assert {run["reference_id"] for run in monitored.runs("drift")} == {second}
    assert {run["revision"] for run in monitored.runs("drift")} == {2}
    older = monitored.store.query(
        "SELECT r.window_start AS window_start, m.model_version AS model_version, m.column AS column, value "
        "FROM job_metrics AS m FINAL INNER JOIN (SELECT * FROM job_runs FINAL) AS r ON r.run_id = m.run_id "
        "WHERE r.reference_id = {r:String} AND m.metric = 'drift_score' AND r.model = {m:String}",
        {"r": first, "m": monitored.contract.model},
    )
    assert {(row["window_start"], row["model_version"], row["column"]): row["value"] for row in older} == scores
    assert VERSIONS[0] in {key[1] for key in scores}
