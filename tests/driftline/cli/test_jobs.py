"""``driftline jobs`` and ``driftline reference`` as typed, on an embedded store filled directly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from driftline.cli.main import app
from driftline.contract import Contract, read_contract
from driftline.errors import InputDataError, UsageError
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
        (["run", "--due", "--kind", "x"], "there is no job x; use profile, data, drift, label_drift, quality"),
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
