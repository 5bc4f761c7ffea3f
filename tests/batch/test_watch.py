"""Watching: what the ladder wants runs, look after look."""

from __future__ import annotations

from datetime import timedelta

import pytest

from batch.jobs import RunSummary
from batch.watch import watch
from driftline.clock import ManualClock
from driftline.errors import StoreUnavailable
from tests.batch.conftest import FIRST_DAY, Monitored, day, trips

# Of all jobs those that every contract has.
JUDGED = {"profile", "data", "quality", "labels"}


def test_a_store_that_does_not_answer_is_asked_again(monitored: Monitored, monkeypatch: pytest.MonkeyPatch) -> None:
    monitored.add(trips(50, 2, days=1))
    monitored.log.complete("inputs")
    query, refusals, pauses = monitored.store.query, iter([True]), iter([False, True])

    def refuse_once(sql: str, parameters: dict[str, object] | None = None) -> list[dict[str, object]]:
        if next(refusals, False):
            msg = "store does not answer"
            raise StoreUnavailable(msg)
        return query(sql, parameters)

    monkeypatch.setattr(monitored.store, "query", refuse_once)
    seen: list[RunSummary] = []
    watch(
        monitored.store,
        monitored.contract,
        monitored.workers,
        ManualClock(FIRST_DAY),
        lambda seconds: bool(seconds) and next(pauses),
        seen.append,
    )
    assert [jobs_of(summary) for summary in seen] == [{"profile", "data"}]


def test_it_judges_what_closes_and_waits_for_labels(monitored: Monitored) -> None:
    clock, looks = ManualClock(FIRST_DAY), iter(range(3))
    frame = trips(300, 1, days=1)
    monitored.add(frame, labels=False)
    monitored.log.complete("inputs", "predictions", to=day(1))
    seen: list[RunSummary] = []

    def stopped(seconds: float) -> bool:
        """Labels come during the first pause; the third pause is the last."""
        if not seconds:
            return False
        clock.sleep(seconds)
        look = next(looks)
        if look == 0:
            monitored.log.add_labels(frame)
            monitored.log.complete("labels", to=day(1))
        return look == 2

    watch(monitored.store, monitored.contract, monitored.workers, clock, stopped, seen.append, timedelta(minutes=6))
    jobs = [jobs_of(summary) for summary in seen]
    assert jobs == [{"profile", "data"}, {"quality", "labels"}]
    assert {run["is_final"] for run in monitored.runs("quality")} == {True}


def test_a_request_to_stop_is_heard_between_two_chunks_and_what_is_done_stays(monitored: Monitored) -> None:
    monitored.add(trips(50, 2, days=1))
    monitored.log.complete("inputs")
    answers = iter([False, False, True])  # before the look, before the first chunk, before the second

    def stopped(_seconds: float) -> bool:
        return next(answers, True)

    watch(monitored.store, monitored.contract, monitored.workers, ManualClock(FIRST_DAY), stopped, lambda _: None)
    assert run_jobs(monitored) == {"profile"}
    watch(monitored.store, monitored.contract, monitored.workers, ManualClock(FIRST_DAY), bool, lambda _: None)
    assert run_jobs(monitored) == {"profile", "data"}


def run_jobs(monitored: Monitored) -> set[str]:
    rows = monitored.store.query(
        "SELECT DISTINCT job FROM job_runs FINAL WHERE model = {model:String}", {"model": monitored.contract.model}
    )
    return {row["job"] for row in rows} & JUDGED


def jobs_of(summary: RunSummary) -> set[str]:
    return {key.job for key in summary.keys} & JUDGED
