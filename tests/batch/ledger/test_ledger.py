"""What is due, and that nothing else runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from batch.explain import explain
from batch.jobs import KINDS, run_due, survey
from batch.ledger import commit as committing
from driftline.clock import SystemClock
from driftline.contract import Contract
from driftline.errors import StoreUnavailable, UsageError
from tests.batch.conftest import Monitored, day, trips

EVERYWHERE = {"profile", "data", "drift", "label_drift", "labels", "quality"}
"""Jobs that every contract with a reference has, whatever else it says."""


def filled(monitored: Monitored, seed: int, days: int = 2) -> None:
    monitored.build_reference(trips(500, seed + 1000))
    monitored.add(trips(200, seed, days=days))
    monitored.log.complete()


def test_a_second_run_adds_no_run(monitored: Monitored) -> None:
    filled(monitored, 1)
    assert {key.job for key in monitored.run().keys} >= EVERYWHERE
    count = "SELECT count() FROM job_runs FINAL WHERE model = {m:String}"
    before = monitored.store.scalar(count, {"m": monitored.contract.model})
    assert monitored.run().runs == 0
    assert monitored.store.scalar(count, {"m": monitored.contract.model}) == before


def test_a_window_runs_when_the_topics_it_needs_have_passed_its_end(monitored: Monitored) -> None:
    monitored.add(trips(200, 2))
    monitored.log.complete("inputs", to=day(1))
    monitored.log.complete("predictions", to=day(1) - timedelta(milliseconds=1))
    summary = monitored.run("data", "quality")
    assert {key.window.start for key in summary.keys if key.job == "data"} == {day(0)}
    hours = [key for key in summary.keys if key.job == "quality"]
    assert max(key.window.end for key in hours) == day(1) - timedelta(hours=1)
    assert {key.granularity for key in hours} == {"1h"}


def test_a_partition_never_heard_of_holds_all_windows_back(monitored: Monitored) -> None:
    monitored.add(trips(50, 3, days=1))
    monitored.log.complete()
    monitored.store.insert_rows(
        "sources",
        [
            {
                "topic": monitored.contract.topics.inputs,
                "source_id": "s",
                "stream": "inputs",
                "model": monitored.contract.model,
                "segment_size": 5000,
                "partitions": 2,
            }
        ],
    )
    assert monitored.run("data").runs == 0


def test_a_late_input_runs_its_window_again_and_raises_its_revision(monitored: Monitored) -> None:
    filled(monitored, 4)
    monitored.run()
    late = trips(1, 5).assign(event_time=day(0) + timedelta(hours=3))
    monitored.log.add_inputs(late)
    summary = monitored.run("data", "drift", "profile")
    assert {(key.job, key.window.start, key.model_version) for key in summary.keys} == {
        ("data", day(0), ""),
        ("drift", day(0), ""),
        ("profile", day(0) + timedelta(hours=3), ""),
    }
    assert [run["revision"] for run in monitored.runs("data")] == [2, 1]


def edited(contract: Contract, *path: str, to: object) -> Contract:
    """The contract with the value at ``path`` replaced."""
    body = contract.model_dump(by_alias=True)
    part = body
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = to
    return Contract.model_validate(body)


UNRELATED = {
    "description": lambda contract: edited(contract, "description", to="new words"),
    "a bound": lambda contract: edited(contract, "columns", "distance", "max_missing_share", to=0.5),
    "a severity": lambda contract: edited(contract, "drift", "severity", to="critical"),
}


@pytest.mark.parametrize("edit", UNRELATED.values(), ids=UNRELATED.keys())
def test_an_edit_that_no_figure_depends_on_runs_nothing(
    monitored: Monitored, edit: Callable[[Contract], Contract]
) -> None:
    filled(monitored, 6, days=1)
    monitored.run()
    changed = edit(monitored.contract)
    assert changed.id != monitored.contract.id
    assert monitored.run(contract=changed).runs == 0


def test_an_edit_runs_the_jobs_that_use_the_part_and_no_other(monitored: Monitored) -> None:
    filled(monitored, 7, days=1)
    monitored.run()
    changed = edited(monitored.contract, "label", "range", to=[2, 50])
    assert {key.job for key in monitored.run(contract=changed).keys} & EVERYWHERE == {"quality", "label_drift"}


def test_a_promoted_reference_runs_the_jobs_that_compare_with_it(monitored: Monitored) -> None:
    filled(monitored, 8, days=1)
    monitored.run()
    monitored.build_reference(trips(400, 9))
    again = {key.job for key in monitored.run().keys}
    assert again & EVERYWHERE == {"profile", "data", "drift", "label_drift", "quality"}


def test_a_run_that_dies_before_its_commit_record_shows_nothing_and_is_made_up_for(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(monitored, 10, days=1)
    monitored.run("data")
    before = monitored.metrics("row_count")
    monitored.log.add_inputs(trips(30, 11, days=1))

    # The store goes away between the figures and the commit record.
    insert_rows = monitored.store.insert_rows

    def insert_until_job_runs(table: str, rows: list[dict[str, object]]) -> None:
        if table == "job_runs":
            raise StoreUnavailable(table)
        insert_rows(table, rows)

    monkeypatch.setattr(monitored.store, "insert_rows", insert_until_job_runs)
    with pytest.raises(StoreUnavailable):
        monitored.run("data")
    monkeypatch.undo()
    assert monitored.metrics("row_count") == before

    monitored.run("data")
    assert monitored.metrics("row_count") == {(day(0), "", ""): 230.0}
    assert [run["revision"] for run in monitored.runs("data")] == [2]


def test_chunks_already_committed_survive_a_death(monitored: Monitored, monkeypatch: pytest.MonkeyPatch) -> None:
    monitored.add(trips(600, 12, days=6))
    monitored.log.complete()
    commits: list[object] = []

    def commit_once(*arguments: object) -> None:
        if commits:
            msg = "killed"
            raise KeyboardInterrupt(msg)
        commits.append(arguments)
        committing.commit(*arguments)

    monkeypatch.setattr("batch.jobs.commit", commit_once)
    with pytest.raises(KeyboardInterrupt):
        monitored.run("quality")
    monkeypatch.undo()
    kept = len(monitored.runs("quality"))
    assert kept == 100
    total = len([one for one in survey(monitored.store, monitored.contract, monitored.workers, ["quality"]).all])
    assert monitored.run("quality").runs == total - kept


def test_choosing_a_window_judges_it_again_without_a_new_run(monitored: Monitored) -> None:
    filled(monitored, 13, days=2)
    monitored.run("data")
    before = monitored.runs("data")
    summary = run_due(
        monitored.store,
        monitored.contract,
        monitored.workers,
        SystemClock(),
        ["data"],
        choose=lambda one, _: one.key.window.start == day(1),
    )
    after = monitored.runs("data")
    assert [key.window.start for key in summary.keys] == [day(1)]
    assert [run["run_id"] for run in after] == [run["run_id"] for run in before]
    assert [run["revision"] for run in after] == [1, 1]
    assert after[1]["as_of"] > before[1]["as_of"]


def test_a_job_that_does_not_exist_is_refused(monitored: Monitored) -> None:
    with pytest.raises(UsageError) as caught:
        monitored.run("drfit")
    assert str(caught.value) == f"there is no job drfit; use {', '.join(KINDS)}"


def test_explain_names_what_has_changed_since_the_last_run(monitored: Monitored) -> None:
    filled(monitored, 14, days=1)
    monitored.run("data")
    monitored.log.add_inputs(trips(5, 15, days=1))
    found = survey(monitored.store, monitored.contract, monitored.workers, ["data"])
    [candidate] = found.all
    explained = explain(monitored.store, found, candidate)
    assert (explained.state, explained.reason) == ("due", "changed since its last run: rows")
    assert [counts[0] for counts in explained.changed["rows"]] == [200, 205]
    assert [(run.revision, run.status) for run in explained.runs] == [(1, "ok")]


def test_explain_says_what_an_open_window_waits_for(monitored: Monitored) -> None:
    monitored.add(trips(20, 16, days=1))
    monitored.log.complete("inputs", to=day(0) + timedelta(hours=5))
    found = survey(monitored.store, monitored.contract, monitored.workers, ["data"])
    explained = explain(monitored.store, found, found.all[0])
    waits = "waits for inputs to be complete to 2023-02-02T00:00Z; they are to 2023-02-01T05:00Z"
    assert (explained.state, explained.reason, explained.runs) == ("waiting", waits, ())
