"""``driftline report`` and ``driftline frame`` as typed, on an embedded store filled directly."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from driftline.cli.main import app
from driftline.contract import read_contract
from driftline.errors import DriftlineError
from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.batch.conftest import trips
from tests.batch.populated import PopulatedStore

MONITOR = """
model: taxi
columns:
  distance: {type: number}
  zone: {type: category, values: ["41", "74", "75"], max_unseen_share: 0.05}
  flag: {type: text}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (tmp_path / "taxi.yaml").write_text(MONITOR)
    store = Store(Address(path=str(folder / "store")))
    migrate(store)
    log = PopulatedStore(store, read_contract(tmp_path / "taxi.yaml"))
    frame = trips(60, 1, days=1).assign(zone="somewhere else")
    log.add_inputs(frame)
    log.add_predictions(frame.assign(prediction=frame["prediction.champion"]), "champion")
    log.add_labels(frame)
    log.complete()
    store.close()
    return folder


def driftline(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "--monitor", str(home.parent / "taxi.yaml"), *arguments])


def test_a_windows_rows_come_as_csv_or_as_a_file(home: Path) -> None:
    shown = driftline(home, "frame", "2023-02-01")
    assert shown.stdout.splitlines()[0] == "id,event_time,distance,zone,flag,prediction.champion,label,label_time"
    assert len(shown.stdout.splitlines()) == 61

    written = driftline(home, "frame", "2023-02-01", "--out", str(home / "rows.parquet"))
    assert written.stdout == f"60 rows in {home / 'rows.parquet'}\n"
    expected = trips(60, 1, days=1).set_index("id")
    found = pd.read_parquet(home / "rows.parquet").set_index("id").loc[expected.index]
    pd.testing.assert_series_equal(found["label"], expected["label"])
    pd.testing.assert_series_equal(found["prediction.champion"], expected["prediction.champion"])


def test_a_window_is_drawn_listed_and_removed(home: Path) -> None:
    drawn = driftline(home, "report", "2023-02-01", "--out", str(home / "page.html"))
    assert drawn.exit_code == 0, drawn.output
    assert drawn.stdout.splitlines() == [
        f"60 rows in {home / 'page.html'}",
        "  left out flag: a text column",
        "  left out drift: there is no reference",
    ]
    assert (home / "page.html").read_text().lstrip().startswith("<!DOCTYPE html>")

    [listed] = [json.loads(line) for line in driftline(home, "report", "ls", "--json").stdout.splitlines()]
    assert (listed["window_start"], listed["n_rows"], listed["asked_by"]) == ("2023-02-01T00:00:00Z", 60, "person")
    assert (home / "reports" / f"{listed['path']}.gz").exists()

    assert driftline(home, "report", "prune", "--keep", "0").stdout.startswith(
        "removed 1 reports of taxi written before"
    )
    assert driftline(home, "report", "ls").stdout == ""


def test_jobs_draw_what_fails_when_they_are_asked_to(home: Path) -> None:
    ran = driftline(home, "jobs", "run", "--due", "--kind", "data", "--reports", "3")
    assert ran.exit_code == 0, ran.output
    [listed] = [json.loads(line) for line in driftline(home, "report", "ls", "--json").stdout.splitlines()]
    assert (listed["granularity"], listed["asked_by"]) == ("1d", "check")
    assert driftline(home, "report", "alerting").stdout == "no failing window of taxi is without a report\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frame", "2023-02-01", "--out", "rows.xls"], "--out must end in .parquet or .csv; got rows.xls"),
        (["frame", "2022-02-01"], "taxi has no rows in 2022-02-01; see `driftline status` for what there is"),
        (["report", "2022-02-01"], "taxi has no rows between 2022-02-01 00:00 and 2022-02-02 00:00 UTC; see "
         "`driftline status` for what there is"),
        (["report", "2023-02-01", "--to", "ftp:x"], "--to must be workspace:PATH, mlflow or mlflow:URI; got ftp:x"),
        (["report", "soon"], "`WINDOW`: a moment is a date or time such as 2023-02-20 or 2023-02-20T06:30:00; got "
         "'soon'"),
        (["report", "prune", "--keep", "long"], "--keep must be a number of days, such as 30; got long"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_explained(home: Path, arguments: list[str], message: str) -> None:
    ran = driftline(home, *arguments)
    assert isinstance(ran.exception, DriftlineError)
    assert (str(ran.exception), ran.exception.exit_code) == (message, 2)
