"""What happens to a window that cannot be judged: it is tried a few times, stands alone, and hides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import pytest

from batch.choosing import failed, outdated
from batch.inputs.data import DataJob
from batch.jobs import Choice, RunSummary, run_due
from batch.ledger.deleting import RESULT_TABLES, count_runs, delete_results
from batch.ledger.ledger import MOST_ATTEMPTS, Candidate, Key
from batch.results import Failure, Outcome
from batch.setting import Setting
from batch.workers.pool import Workers
from driftline.clock import SystemClock
from driftline.errors import StoreUnavailable
from driftline.windows import Window
from tests.batch.conftest import Monitored, day, trips
from tests.batch.ledger.test_ledger import edited
from tests.batch.poisoned import DEADLY_LABEL, dies_of_a_label

Run = Callable[[DataJob, Setting, Sequence[Candidate]], Mapping[Key, Outcome]]
judge = DataJob.run


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Candidate], bool]], None]:
    """Make the job `data` raise on the windows that a condition names."""

    def make(is_poisoned: Callable[[Candidate], bool]) -> None:
        def run(job: DataJob, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
            if any(is_poisoned(one) for one in due):
                msg = "no such thing"
                raise ZeroDivisionError(msg)
            return judge(job, setting, due)

        monkeypatch.setattr(DataJob, "run", run)

    return make


def run_chosen(monitored: Monitored, choose: Choice, *kinds: str) -> RunSummary:
    return run_due(monitored.store, monitored.contract, monitored.workers, SystemClock(), kinds or None, choose=choose)


def days_run(summary: RunSummary) -> list[object]:
    return sorted(key.window.start for key in summary.keys)


def test_a_window_that_kills_its_worker_gets_an_error_row_and_all_others_their_figures(monitoring) -> None:
    monitored = monitoring("windows: {quality: [1d]}")
    frame = trips(120, 1)
    frame.loc[0, "label"] = DEADLY_LABEL
    monitored.add(frame)
    monitored.log.complete()
    with Workers(entry=dies_of_a_label) as fragile:
        monitored.workers = fragile
        summary = monitored.run("quality")
    assert [(count.ok, count.error) for count in summary.counts] == [(2, 2)]
    assert {key[0] for key in monitored.metrics("mae")} == {day(1)}
    statuses = {(run["window_start"], run["status"]) for run in monitored.runs("quality")}
    assert statuses == {(day(0), "error"), (day(1), "ok")}
    reason = "quality: the worker failed twice on this window: it ended without an answer"
    assert [row["error"] for row in monitored.errors()] == [reason] * 2


def test_a_worker_that_dies_of_drift_fails_its_window_which_keeps_its_figures_and_is_tried_again(
    monitored: Monitored,
) -> None:
    healthy = monitored.workers
    monitored.build_reference(trips(300, 31))
    monitored.add(trips(100, 32, days=1))
    monitored.log.complete()
    monitored.run("drift")
    scores = monitored.metrics("drift_score")
    monitored.log.add_inputs(trips(10, 33, days=1).assign(fare=DEADLY_LABEL))
    with Workers(entry=dies_of_a_label) as fragile:
        monitored.workers = fragile
        summary = monitored.run("drift")
    assert [(count.ok, count.error) for count in summary.counts] == [(0, 1)]
    assert monitored.metrics("drift_score") == scores
    reason = "drift: the worker failed twice on this window: it ended without an answer"
    assert monitored.errors() == [{"job": "drift", "column": "", "error": reason}]

    monitored.workers = healthy
    assert days_run(monitored.run("drift")) == [day(0)]
    assert monitored.metrics("drift_score")[(day(0), "", "fare")] != scores[(day(0), "", "fare")]


def test_a_window_whose_job_raises_stands_alone(monitored: Monitored, breaking) -> None:
    monitored.add(trips(300, 2, days=5))
    monitored.log.complete()
    breaking(lambda one: one.key.window.start == day(3))
    summary = monitored.run("data")
    assert (summary.runs, summary.counts[0].error) == (4, 1)
    assert {run["window_start"] for run in monitored.runs("data") if run["status"] == "ok"} == {
        day(n) for n in (0, 1, 2, 4)
    }
    assert monitored.errors() == [{"job": "data", "column": "", "error": "data: ZeroDivisionError: no such thing"}]


def test_a_failed_run_never_hides_the_last_good_one(
    monitored: Monitored, breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitored.add(trips(100, 3, days=1))
    monitored.log.complete()
    monitored.run("data")
    monitored.log.add_inputs(trips(10, 4, days=1))
    breaking(lambda _: True)
    monitored.run("data")
    assert monitored.metrics("row_count") == {(day(0), "", ""): 100.0}
    monkeypatch.undo()
    monitored.run("data")
    assert monitored.metrics("row_count") == {(day(0), "", ""): 110.0}
    assert [run["revision"] for run in monitored.runs("data")] == [2]


def test_a_window_that_failed_four_times_on_the_same_inputs_waits_for_a_retry(
    monitored: Monitored, breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitored.add(trips(100, 5))
    monitored.log.complete()
    breaking(lambda one: one.key.window.start == day(0))
    attempts = [days_run(monitored.run("data")) for _ in range(MOST_ATTEMPTS)]
    assert attempts == [[day(0), day(1)], *[[day(0)]] * (MOST_ATTEMPTS - 1)]
    summary = monitored.run("data")
    assert (summary.keys, summary.given_up) == ((), 1)

    retry = failed(monitored.store, monitored.contract)
    assert days_run(run_chosen(monitored, retry, "data")) == [day(0)]
    monkeypatch.undo()
    assert days_run(run_chosen(monitored, retry, "data")) == [day(0)]
    assert monitored.metrics("row_count").keys() == {(day(0), "", ""), (day(1), "", "")}
    assert run_chosen(monitored, failed(monitored.store, monitored.contract), "data").keys == ()


def test_new_inputs_give_a_given_up_window_new_attempts(monitored: Monitored, breaking) -> None:
    monitored.add(trips(50, 6, days=1))
    monitored.log.complete()
    breaking(lambda _: True)
    for _ in range(MOST_ATTEMPTS):
        monitored.run("data")
    assert monitored.run("data").keys == ()
    monitored.log.add_inputs(trips(1, 7, days=1))
    assert days_run(monitored.run("data")) == [day(0)]


def test_a_retry_takes_windows_with_a_failed_figure_until_it_succeeds(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitored.add(trips(100, 8))
    monitored.log.complete()

    def with_a_failure(job: DataJob, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        return {key: Outcome("ok", 1, failures=(Failure("fare", "odd"),)) for key in judge(job, setting, due)}

    monkeypatch.setattr(DataJob, "run", with_a_failure)
    monitored.run("data")
    monkeypatch.undo()
    only_one = failed(monitored.store, monitored.contract, [Window(day(1), day(2))])
    assert days_run(run_chosen(monitored, only_one)) == [day(1)]
    everything = failed(monitored.store, monitored.contract)
    assert days_run(run_chosen(monitored, everything)) == [day(0)]
    assert run_chosen(monitored, failed(monitored.store, monitored.contract)).keys == ()


def test_a_backfill_judges_a_period_by_the_present_contract_and_goes_on_where_it_was(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitored.add(trips(300, 9, days=4))
    monitored.log.complete()
    monitored.run("data")
    monitored.contract = edited(monitored.contract, "columns", "distance", "max_missing_share", to=0.5)
    assert monitored.run("data").keys == ()

    period = Window(day(1), day(4))
    monkeypatch.setattr("batch.jobs._WINDOWS_PER_COMMIT", 1)
    choose, seen = outdated(monitored.contract, period), []

    def stop_at_the_third(key: Key, done: int, _total: int) -> None:
        seen.append(key.window.start)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_due(
            monitored.store, monitored.contract, monitored.workers, SystemClock(), ["data"], choose, stop_at_the_third
        )
    assert seen == [day(1), day(2), day(3)]
    assert days_run(run_chosen(monitored, choose, "data")) == [day(3)]
    assert run_chosen(monitored, choose, "data").keys == ()
    again = outdated(monitored.contract, period, all_again=True)
    assert days_run(run_chosen(monitored, again, "data")) == [day(1), day(2), day(3)]


def rows_left(monitored: Monitored) -> dict[str, int]:
    bound = {"m": monitored.contract.model}
    return {
        table: monitored.store.scalar(f"SELECT count() FROM {table} FINAL WHERE model = {{m:String}}", bound)
        for table in RESULT_TABLES
        if table != "job_errors"
    }


def test_deleting_a_period_takes_its_windows_and_no_event(monitoring) -> None:
    monitored: Monitored = monitoring("windows: {quality: [6h]}")
    frame: pd.DataFrame = trips(60, 10, days=3)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data", "quality")
    before = {run["window_start"] for run in monitored.runs("quality")}
    assert delete_results(monitored.store, monitored.contract, Window(day(1), day(2)), []) > 2
    assert {run["window_start"] for run in monitored.runs("data")} == {day(0), day(2)}
    left = {run["window_start"] for run in monitored.runs("quality")}
    assert left == {start for start in before if not day(1) <= start < day(2)}
    count = "SELECT count() FROM predictions FINAL WHERE model = {m:String}"
    assert monitored.store.scalar(count, {"m": monitored.contract.model}) == 2 * len(frame)
    assert days_run(monitored.run("data")) == [day(1)]


def test_a_window_that_reaches_out_of_the_period_and_other_jobs_stay(monitored: Monitored) -> None:
    monitored.add(trips(100, 11))
    monitored.log.complete()
    monitored.run("data", "labels")
    half = Window(day(0), day(2) - pd.Timedelta(hours=12))
    assert count_runs(monitored.store, monitored.contract, half, ["data"]) == 1
    delete_results(monitored.store, monitored.contract, half, ["data"])
    assert {run["window_start"] for run in monitored.runs("data")} == {day(1)}
    assert {run["window_start"] for run in monitored.runs("labels")} == {day(0), day(1)}


def test_a_deletion_that_was_stopped_shows_nothing_and_is_finished_by_the_next(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitored.add(trips(100, 12))
    monitored.log.complete()
    monitored.run("data")
    execute, calls = monitored.store.execute, []

    def die_at_the_second(sql: str, parameters: dict[str, object] | None = None) -> None:
        calls.append(sql)
        if len(calls) == 2:
            raise StoreUnavailable(sql)
        execute(sql, parameters)

    period = Window(day(0), day(2))
    monkeypatch.setattr(monitored.store, "execute", die_at_the_second)
    with pytest.raises(StoreUnavailable):
        delete_results(monitored.store, monitored.contract, period, [])
    monkeypatch.undo()
    assert monitored.metrics("row_count") == {}
    assert rows_left(monitored)["job_metrics"] > 0
    delete_results(monitored.store, monitored.contract, period, [])
    assert set(rows_left(monitored).values()) == {0}
