"""Faults of judging, of which no reader may see a trace: workers side by side, stale ones, lost hints, late labels."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batch.jobs import run_due
from batch.ledger import commit as committing
from batch.ledger.triggers import Ladder
from driftline.clock import ManualClock, SystemClock
from tests.batch.conftest import FIRST_DAY, Monitored, contract_named, day, trips

SEED = 20230224
HOUR = timedelta(hours=1)


def visible(monitored: Monitored) -> list[dict[str, Any]]:
    return monitored.store.query(
        "SELECT job, window_start, column, metric, value, n, revision FROM metric_history WHERE model = {m:String} "
        "AND run_id IN (SELECT run_id FROM latest_runs WHERE model = {m:String}) ORDER BY ALL",
        {"m": monitored.contract.model},
    )


def test_two_workers_on_the_same_windows_leave_one_run_of_each_revision(monitored: Monitored, store, workers) -> None:
    alone = Monitored(store, contract_named("two_workers_alone"), workers)
    for round_ in range(2):
        for one in (alone, monitored):
            one.log.add_inputs(trips(100, 100 + round_, days=3))
            one.log.complete("inputs")
        alone.run("data")
        together(lambda: monitored.run("data"), 2)
    assert visible(monitored) == visible(alone)
    counts = monitored.store.query(
        "SELECT window_start, count() AS n FROM job_runs FINAL WHERE model = {m:String} GROUP BY window_start",
        {"m": monitored.contract.model},
    )
    assert {row["window_start"]: row["n"] for row in counts} == {day(n): 2 for n in range(3)}


def together(work: Any, times: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_stale_worker_that_finishes_last_replaces_nothing(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = 3
    monitored.log.add_inputs(trips(200, 2, days=days))
    monitored.log.complete("inputs")
    monkeypatch.setattr("batch.jobs._WINDOWS_PER_COMMIT", 1)
    overtaken: list[datetime] = []

    def overtaken_first(*arguments: Any) -> None:
        """Between the figures and their commit, more rows come, and another worker judges them."""
        [judged] = arguments[2]
        start = judged.candidate.key.window.start
        if start not in overtaken:
            overtaken.append(start)
            monitored.log.add_inputs(trips(7, 10 + len(overtaken), start=start, days=1))
            run_due(
                monitored.store,
                monitored.contract,
                monitored.workers,
                SystemClock(),
                ["data"],
                choose=lambda one, _: one.key.window.start == start,
            )
        committing.commit(*arguments)

    monkeypatch.setattr("batch.jobs.commit", overtaken_first)
    monitored.run("data")
    assert len(overtaken) == days
    rows = {key[0]: value for key, value in monitored.metrics("row_count").items()}
    assert sum(rows.values()) == 200 + 7 * days
    monkeypatch.undo()
    assert monitored.run("data").keys == ()


def test_windows_run_within_one_look_whatever_hints_are_lost_doubled_or_out_of_order(monitored: Monitored) -> None:
    rng, clock, days = random.Random(SEED), ManualClock(FIRST_DAY), 5
    ladder = Ladder(clock)
    monitored.log.add_inputs(trips(400, 3, days=days))

    def run(kinds: Sequence[str], choose: Any) -> None:
        summary = run_due(monitored.store, monitored.contract, monitored.workers, SystemClock(), kinds, choose=choose)
        ladder.ran(summary.keys)

    for number in range(days):
        monitored.log.complete("inputs", to=day(number + 1))
        hints = [day(number)] * rng.choice([0, 0, 1, 2]) + [day(rng.randrange(number + 1))]
        rng.shuffle(hints)
        for hinted in hints:
            run(["data"], lambda one, _, hinted=hinted: one.is_due and one.key.window.start == hinted)
        run(["data"], ladder.wants)
        assert {row["window_start"] for row in monitored.runs("data")} == {day(n) for n in range(number + 1)}
        clock.advance(timedelta(minutes=1))
    assert {row["revision"] for row in monitored.runs("data")} == {1}


def labels_of_every_kind(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Labels in order of arrival: late by a lognormal delay, 5 % never, 2 % early, 1 % corrected twice, 1 % orphans."""
    n = len(frame)
    delay = np.exp(rng.normal(np.log(0.5), np.log(6) / 2.326, n))  # hours; 99 % within three windows of 1 h
    kind = rng.permutation(n)
    coming = frame.assign(arrives=frame["event_time"] + pd.to_timedelta(delay, unit="h"), rank=kind)
    early = coming["rank"] < 0.02 * n
    coming.loc[early, "arrives"] = coming.loc[early, "event_time"] - HOUR / 2
    coming = coming[~coming["rank"].between(0.1 * n, 0.15 * n)]
    corrected = coming[coming["rank"].between(0.3 * n, 0.31 * n)]
    orphans = coming[coming["rank"].between(0.5 * n, 0.51 * n)].assign(id=lambda rows: "orphan-" + rows["id"])
    corrections = [
        corrected.assign(arrives=corrected["arrives"] + HOUR * again, label=corrected["label"] + again)
        for again in (1, 2)
    ]
    every = pd.concat([coming, *corrections, orphans])
    every["label_time"] = every["arrives"].dt.floor("1ms")
    return every.sort_values("arrives")


def test_labels_late_early_corrected_absent_and_orphaned_end_with_the_truth(monitoring) -> None:
    monitored = monitoring("windows: {quality: [1h], data: 1h}", quality="min_labels: 5")
    rng, hours = np.random.default_rng(SEED), 5
    frame = trips(400, 4, days=1)
    frame["label"] = 3 * frame["distance"].abs().fillna(1) + 5
    frame["event_time"] = (FIRST_DAY + pd.to_timedelta(rng.integers(0, hours * 3_600_000, 400), unit="ms")).as_unit(
        "ms"
    )
    labels, clock = labels_of_every_kind(frame, rng), ManualClock(FIRST_DAY)
    ladder, runs = Ladder(clock), dict[Any, int]()
    now = FIRST_DAY
    while now < FIRST_DAY + timedelta(hours=hours + 12):
        before, now = now, now + 2 * HOUR
        new = frame[(frame["event_time"] >= before) & (frame["event_time"] < now)]
        if len(new):
            monitored.log.add_predictions(new.assign(prediction=new["prediction.champion"]), "champion")
        arrived = labels[(labels["arrives"] >= before - HOUR) & (labels["arrives"] < now)]
        arrived = arrived[(arrived["arrives"] >= before) | (before == FIRST_DAY)]
        if len(arrived):
            monitored.log.add_labels(arrived)
        monitored.log.complete("predictions", "labels", to=now)
        clock.advance(2 * HOUR)
        summary = run_due(
            monitored.store, monitored.contract, monitored.workers, clock, ["quality"], choose=ladder.wants
        )
        ladder.ran(summary.keys)
        for key in summary.keys:
            runs[key] = runs.get(key, 0) + 1
        assert all(not run["is_final"] for run in monitored.runs("quality") if run["coverage"] < 0.95)  # type: ignore[operator]
    assert max(runs.values()) <= 13

    monitored.log.complete()
    monitored.run("quality", "labels")
    truth = frame.drop(columns=["label", "label_time"]).merge(
        labels.drop_duplicates("id", keep="last")[["id", "label", "label_time"]], on="id", how="left"
    )
    hour = truth["event_time"].dt.floor("1h")
    errors = (truth["prediction.champion"] - truth["label"]).abs().groupby(hour).mean()
    found = {key[0]: value for key, value in monitored.metrics("mae", "1h").items()}
    assert found == pytest.approx({start.to_pydatetime(): value for start, value in errors.items()}, abs=1e-9)
    coverage = truth["label"].notna().groupby(hour).mean()
    found = {key[0]: value for key, value in monitored.metrics("coverage", "1h").items()}
    assert found == pytest.approx({start.to_pydatetime(): value for start, value in coverage.items()})
    assert {run["is_final"] for run in monitored.runs("quality")} == {True}
    orphans = labels[labels["id"].str.startswith("orphan-")]
    assert sum(monitored.metrics("orphan_label_count", "1h").values()) == len(orphans) > 0
    corrected = labels["id"].value_counts()
    assert sum(monitored.metrics("corrected_label_count", "1h").values()) == (corrected > 1).sum() > 0
