"""``driftline reference`` as typed: build from a file or from production, list, show, compare, promote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from batch.references.sets import ReferenceFacts
from driftline.cli.main import app
from driftline.cli.reference_text import description
from driftline.cli.referencing import KnownReference
from driftline.contract import read_contract
from driftline.errors import InputDataError, UsageError
from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.batch.conftest import trips
from tests.batch.populated import PopulatedStore

MONITOR = """
model: taxi
columns:
  distance: {type: number}
  zone: {type: category}
drift: {min_rows: 20}
quality: {min_labels: 10}
"""
DAY = datetime(2023, 2, 1, tzinfo=UTC)
BUILT_FROM = "a reference is built from one of FILE and --from FILE, or from --from and --to in production"
FIRST_DAY = ("--from", "2023-02-01", "--to", "2023-02-02")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two days of trips, a file of earlier ones, and references of both."""
    folder = tmp_path_factory.mktemp("reference") / "home"
    folder.mkdir()
    (folder.parent / "taxi.yaml").write_text(MONITOR)
    trips(150, 2).to_parquet(folder.parent / "earlier.parquet")
    store = Store(Address(path=str(folder / "store")))
    migrate(store)
    log, frame = PopulatedStore(store, read_contract(folder.parent / "taxi.yaml")), trips(300, 1)
    log.add_inputs(frame)
    log.add_predictions(frame.assign(prediction=frame["prediction.champion"]), "champion")
    log.add_labels(frame)
    log.complete()
    store.close()
    return folder


@pytest.fixture(scope="module")
def built(home: Path) -> tuple[str, str]:
    """Return the ids of the file's reference and of the first day's, in this order of building."""
    file = driftline(home, "reference", "build", str(home.parent / "earlier.parquet"))
    production = driftline(home, "reference", "build", *FIRST_DAY, "--json")
    assert production.exit_code == 0, production.output
    return file.stdout.strip(), json.loads(production.stdout)["reference_id"]


def driftline(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "--monitor", str(home.parent / "taxi.yaml"), *arguments])


def an_object(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_references_are_listed_the_current_one_first(home: Path, built: tuple[str, str]) -> None:
    found = [json.loads(line) for line in driftline(home, "reference", "ls", "--json").stdout.splitlines()]
    assert [(one["reference_id"], one["source"], one["is_current"]) for one in found] == [
        (built[1], "production", True),
        (built[0], "earlier.parquet", False),
    ]


def test_a_reference_is_shown_with_its_period_facts_and_use(home: Path, built: tuple[str, str]) -> None:
    assert driftline(home, "jobs", "run", "--due", "--kind", "data").exit_code == 0
    found = an_object(driftline(home, "reference", "show", built[1], "--json"))
    frame = trips(300, 1)
    day = frame[frame["event_time"] < "2023-02-02T00:00Z"]
    assert (found["window_start"], found["window_end"]) == ("2023-02-01T00:00:00Z", "2023-02-02T00:00:00Z")
    assert (found["n_rows"], found["facts"]["rows"]) == (len(day), len(day))
    assert found["facts"]["vocabularies"]["zone"] == ["41", "74", "75"]
    assert found["facts"]["quantiles"]["distance"]["quantile_50"] == pytest.approx(day["distance"].median())
    mae = (day["prediction.champion"] - day["label"]).abs().mean()
    assert found["facts"]["quality"]["champion"]["mae"] == pytest.approx(mae)
    assert [(use["job"], use["windows"]) for use in found["used_by"]] == [("data", 2)]


def test_a_person_reads_what_is_known_of_a_reference(home: Path, built: tuple[str, str]) -> None:
    lines = driftline(home, "reference", "show", built[0]).stdout.splitlines()
    assert lines[0] == f"{built[0]}  earlier.parquet"
    assert lines[2] == "rows       150"
    assert any(line.startswith("column     zone: 3 values (41 74 75), ") for line in lines)
    assert any(line.startswith("quality    champion: mae ") for line in lines)
    assert lines[-1] == "used by    no window"


def test_the_hours_of_a_seasonal_past_are_told_as_spans() -> None:
    seasons = (*range(24), 30, 31, 40, 71)
    past = KnownReference(
        "id", "seasonal", False, DAY, DAY, DAY, 0, "c", seasons, ReferenceFacts(0, 0, {}, {}, {}, {}), ()
    )
    assert description(past).splitlines()[2] == (
        "hours      weekdays 00:00 to 24:00, Saturdays 06:00 to 08:00, Saturdays 16:00 to 17:00, Sundays 23:00 to 24:00"
    )


def test_two_references_are_compared(home: Path, built: tuple[str, str]) -> None:
    found = an_object(driftline(home, "reference", "compare", *built, "--json"))
    assert (found["first"], found["second"]) == built
    assert {one["column"] for one in found["columns"]} == {"distance", "zone", "prediction.champion", "label"}
    assert all(one["score"] > 0 for one in found["columns"])


def test_an_older_reference_can_be_made_current_and_replaced_again(home: Path, built: tuple[str, str]) -> None:
    assert an_object(driftline(home, "reference", "promote", built[0], "--json"))["is_current"]
    listed = driftline(home, "reference", "ls").stdout.splitlines()
    assert listed[0] == f"{built[0]} current       150 rows  earlier.parquet"
    assert driftline(home, "reference", "promote", built[1]).stdout == f"{built[1]} is the current reference of taxi\n"


def test_a_reference_that_nobody_knows_is_an_error(home: Path, built: tuple[str, str]) -> None:
    for arguments in (("show", "cafe"), ("compare", built[0], "cafe"), ("promote", "cafe")):
        error = driftline(home, "reference", *arguments).exception
        assert isinstance(error, InputDataError)
        assert str(error) == (
            f"there is no reference cafe of taxi; known: {built[1]}, {built[0]}; see `driftline reference ls`"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), BUILT_FROM),
        (("x", "--from", "y"), BUILT_FROM),
        (("--to", "2023-02-02"), "`--to` needs `--from`, a moment, and no file"),
        (
            ("--from", "2023-02-03", "--to", "2023-02-02"),
            "`--to` must be after `--from`; got 2023-02-03 and 2023-02-02; swap them",
        ),
        (
            ("--from", "soon", "--to", "2023-02-02"),
            "`--from`: a moment is a date or time such as 2023-02-20 or 2023-02-20T06:30:00; got 'soon'",
        ),
    ],
)
def test_what_a_reference_cannot_be_built_from_is_explained(
    home: Path, arguments: tuple[str, ...], message: str
) -> None:
    error = driftline(home, "reference", "build", *arguments).exception
    assert isinstance(error, UsageError)
    assert str(error) == message


def test_a_contract_that_compares_with_the_past_says_that_sets_are_not_used(home: Path, built: tuple[str, str]) -> None:
    monitor = home.parent / "trailing.yaml"
    monitor.write_text(MONITOR + "reference: {kind: trailing, days: 7}\n")
    result = CliRunner().invoke(app, ["--home", str(home), "--monitor", str(monitor), "reference", "ls"])
    assert built[0] in result.stdout
    expected = "taxi compares each window with the 7 days before it (reference.kind trailing), not a set\n"
    assert result.stderr == expected
