"""``driftline jobs`` and ``driftline reference`` as typed, on an embedded store filled directly."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from batch.inputs.data import DataJob
from batch.jobs import KINDS
from driftline.cli.main import app
from driftline.contract import Contract, read_contract
from driftline.errors import CheckFailedError, InputDataError, UsageError
from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.batch.conftest import trips
from tests.batch.populated import PopulatedStore

MONITOR = """
model: taxi
columns:
  distance: {type: number, max_missing_share: 0.1}
  zone: {type: category, values: ["41", "74", "75"]}
quality: {min_labels: 10}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose store holds a day of trips, all complete, all labelled but the last."""
    folder = tmp_path / "home"
    folder.mkdir()
    (tmp_path / "taxi.yaml").write_text(MONITOR)
    store = Store(Address(path=str(folder / "store")))
    migrate(store)
    contract: Contract = read_contract(tmp_path / "taxi.yaml")
    log, frame = PopulatedStore(store, contract), trips(60, 1, days=1)
    log.add_inputs(frame)
    log.add_predictions(frame.assign(prediction=frame["prediction.champion"]), "champion")
    log.add_labels(frame.iloc[:-1])
    log.complete()
    store.close()
    return folder


def driftline(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "--monitor", str(home.parent / "taxi.yaml"), *arguments])


def lines(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_run_names_its_jobs_and_a_second_one_has_nothing_to_do(home: Path) -> None:
    ran = {row["job"]: row for row in lines(driftline(home, "jobs", "run", "--due", "--kind", "data", "--json"))}
    assert {key: ran["data"][key] for key in ("granularity", "ok", "failures")} == {
        "granularity": "1d",
        "ok": 1,
        "failures": 0,
    }
    assert driftline(home, "jobs", "run", "--due", "--kind", "data").stdout.startswith("0 runs in ")


def test_a_window_named_is_judged_again_and_listed(home: Path) -> None:
    for _ in range(2):
        driftline(home, "jobs", "run", "--window", "2023-02-01", "--kind", "data")
    [run] = lines(driftline(home, "jobs", "ls", "--json"))
    assert (run["job"], run["window_start"], run["revision"]) == ("data", "2023-02-01T00:00:00Z", 1)


def test_explain_says_why_a_window_is_due(home: Path) -> None:
    result = driftline(home, "jobs", "explain", "2023-02-01", "--kind", "data")
    assert result.stdout == "2023-02-01 00:00  1d data -: due, never judged\n"


def test_drift_without_a_reference_says_how_to_get_one(home: Path) -> None:
    explained = lines(driftline(home, "jobs", "explain", "2023-02-01", "--kind", "drift", "--json"))
    assert {row["reason"] for row in explained} == {"waits for a reference; run `driftline reference build`"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "`driftline jobs run` needs either --due or --window 2023-02-03"),
        (
            ["run", "--window", "2024-02-03"],
            "no complete window with data lies within 2024-02-03; see `driftline jobs explain 2024-02-03`",
        ),
        (
            ["run", "--window", "soon"],
            "`--window`: a moment is a date or time such as 2023-02-20 or 2023-02-20T06:30:00; got 'soon'",
        ),
        (["run", "--due", "--kind", "x"], f"there is no job x; use {', '.join(KINDS)}"),
        (["retry"], "`driftline jobs retry` needs windows (2023-02-03), or --errors for all that failed"),
        (
            ["backfill", "--from", "2023-02-03", "--to", "2023-02-03"],
            "`--from` must lie before `--to`; got 2023-02-03 and 2023-02-03",
        ),
        (
            ["delete", "--from", "2023-02-01", "--to", "2023-02-03"],
            "`driftline jobs delete` asks before it deletes 0 runs, and nobody can answer; add --yes",
        ),
    ],
)
def test_what_cannot_be_run_is_explained(home: Path, arguments: list[str], message: str) -> None:
    error = driftline(home, "jobs", *arguments).exception
    assert isinstance(error, UsageError)
    assert str(error) == message


def test_an_unknown_reference_cannot_be_promoted(home: Path) -> None:
    error = driftline(home, "reference", "promote", "cafe").exception
    assert isinstance(error, InputDataError)
    assert str(error) == "there is no reference cafe of taxi; known: none; see `driftline reference ls`"
    assert driftline(home, "reference", "ls").stdout == ""


def test_a_failed_window_is_explained_and_judged_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        msg = "no such thing"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(DataJob, "run", run)
    ran = driftline(home, "jobs", "run", "--due", "--kind", "data")
    assert ran.stdout.splitlines()[0] == "data 1d: 0 ok, 0 insufficient, 0 empty, 1 could not be judged"
    explained = driftline(home, "jobs", "explain", "2023-02-01", "--kind", "data").stdout.splitlines()
    reason = "failed once on these inputs (data: ZeroDivisionError: no such thing); it is tried again"
    assert explained[0] == f"2023-02-01 00:00  1d data -: due, {reason}"
    again = driftline(home, "jobs", "retry", "2023-02-01").exception
    assert isinstance(again, CheckFailedError)
    assert str(again) == "1 failure again; `driftline jobs explain` says why"
    monkeypatch.undo()
    [count] = lines(driftline(home, "jobs", "retry", "--errors", "--json"))
    assert (count["job"], count["ok"], count["error"]) == ("data", 1, 0)
    assert driftline(home, "jobs", "retry", "--errors").stderr == "nothing has failed there\n"


def test_a_period_is_deleted_and_filled_again(home: Path) -> None:
    driftline(home, "jobs", "run", "--due", "--kind", "data", "--kind", "labels")
    period = ("--from", "2023-02-01", "--to", "2023-02-02", "--kind", "data")
    deleted = driftline(home, "jobs", "delete", *period, "--yes")
    assert deleted.stdout == "1 run deleted; what they judged is due again\n"
    assert [run["job"] for run in lines(driftline(home, "jobs", "ls", "--json"))] == ["labels"]
    assert [count["ok"] for count in lines(driftline(home, "jobs", "backfill", *period, "--json"))] == [1]
    assert lines(driftline(home, "jobs", "backfill", *period, "--json")) == []


def test_sigterm_ends_a_run_between_windows_and_what_is_done_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = DataJob.run

    def run(job: DataJob, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return judge(job, *arguments)

    monkeypatch.setattr(DataJob, "run", run)
    stopped = driftline(home, "jobs", "run", "--due", "--kind", "data", "--kind", "labels").exception
    assert isinstance(stopped, CheckFailedError)
    assert str(stopped) == "stopped after 1 of 2 windows, which are stored; run it again to go on"
    assert [run["job"] for run in lines(driftline(home, "jobs", "ls", "--json"))] == ["data"]
    monkeypatch.undo()
    ran = lines(driftline(home, "jobs", "run", "--due", "--kind", "data", "--kind", "labels", "--json"))
    assert [count["job"] for count in ran] == ["labels"]


def test_every_revision_of_a_figure_is_listed(home: Path) -> None:
    driftline(home, "jobs", "run", "--due", "--kind", "labels")
    with Store(Address(path=str(home / "store"))) as store:
        log = PopulatedStore(store, read_contract(home.parent / "taxi.yaml"))
        log._offset = itertools.count(50)
        log.add_labels(trips(60, 1, days=1).iloc[-1:])
    driftline(home, "jobs", "run", "--due", "--kind", "labels")
    listed = lines(driftline(home, "metrics", "--metric", "labelled_share", "--history", "--json"))
    found = [(row["revision"], row["value"], row["coverage"], row["n_labels"], row["status"]) for row in listed]
    assert found == [(1, 59 / 60, 59 / 60, 59, "ok"), (2, 1.0, 1.0, 60, "ok")]
    refused = driftline(home, "metrics", "--history", "--source", "stream").exception
    message = "`--source` is not for `--history`: only what jobs computed has revisions; leave it out"
    assert str(refused) == message
