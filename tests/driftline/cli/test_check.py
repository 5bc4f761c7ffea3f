"""``driftline check`` as typed: a file judged by the jobs, in a store that lasts one call."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error
from typer.testing import CliRunner, Result

from batch.references.building import build_reference
from batch.workers.pool import Workers
from driftline.cli.main import app
from driftline.contract import read_contract
from driftline.errors import CheckFailedError, InputDataError
from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.batch.conftest import trips

MONITOR = """
model: taxi
columns:
  distance: {type: number, max_missing_share: 0.2}
  zone: {type: category, values: ["41", "74", "75"], max_unseen_share: 0.05}
drift: {min_rows: 20}
quality: {min_labels: 10, max_error_ratio: 1.5}
checks:
  - {metric: type_violation_share, max: 0.0, severity: critical}
  - {metric: missing_share, column: distance, max: 0.9, severity: critical}
  - {metric: model_age_days, max: 30}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "taxi.yaml").write_text(MONITOR)
    columns = ["id", "event_time", "distance", "zone", "label", "prediction.champion"]
    reference = trips(300, 1)[columns].rename(columns={"prediction.champion": "prediction"})
    reference.to_parquet(tmp_path / "january.parquet")
    worse = trips(200, 2)[columns].rename(columns={"prediction.champion": "prediction"})
    worse["prediction"] = 3 * worse["prediction"]
    worse["zone"] = np.where(worse.index % 4 == 0, "unknown", worse["zone"])
    worse.to_csv(tmp_path / "worse.csv", index=False)
    return tmp_path


def driftline(folder: Path, *arguments: str) -> Result:
    options = ["--home", str(folder / "home"), "--monitor", str(folder / "taxi.yaml")]
    return CliRunner().invoke(app, [*options, *arguments])


def test_a_worse_model_fails_on_its_errors_and_says_by_how_much(folder: Path) -> None:
    reference, worse = pd.read_parquet(folder / "january.parquet"), pd.read_csv(folder / "worse.csv")
    expected = mean_absolute_error(worse["label"], worse["prediction"]) / mean_absolute_error(
        reference["label"], reference["prediction"]
    )
    (folder / "golden.csv").write_text(f"id,expected\n{worse['id'][0]},{float(worse['prediction'][0])!r}\n2-1,0\n")
    (folder / "pairs.csv").write_text("id_a,id_b,relation\n2-1,2-1,equal\n")
    tables = ["--golden", str(folder / "golden.csv"), "--behaviour", str(folder / "pairs.csv")]

    ran = driftline(
        folder, "check", str(folder / "worse.csv"), "--against", str(folder / "january.parquet"), "--json",
        "--junit", str(folder / "checks.xml"), *tables,
    )  # fmt: skip

    assert isinstance(ran.exception, CheckFailedError)
    assert str(ran.exception) == "worse.csv does not pass the checks of taxi: 2 checks failed"
    found = json.loads(ran.stdout)
    assert (found["passed"], found["n_rows"], found["fail_on"]) == (False, 200, "critical")
    lines = {(line["check"], line["column"]): line for line in found["lines"]}
    assert {key for key, line in lines.items() if line["status"] == "fail"} >= {
        ("max_error_ratio", ""), ("golden", "prediction"), ("max_unseen_share", "zone"),
    }  # fmt: skip
    assert lines["max_error_ratio", ""]["value"] == pytest.approx(expected, rel=1e-9)
    unseen = (worse["zone"] == "unknown").mean()
    assert lines["max_unseen_share", "zone"]["value"] == pytest.approx(unseen, rel=1e-12)
    assert lines["max_missing_share", "distance"]["value"] == worse["distance"].isna().mean()
    assert lines["behaviour_equal", "prediction"]["status"] == "pass"
    assert lines["type_violation_share", "distance"]["status"] == "pass"
    assert lines["model_age_days", ""]["status"] == "insufficient", "a file's window has no end to count from"
    suite = ElementTree.parse(folder / "checks.xml").getroot()  # noqa: S314  # our own
    assert (suite.get("failures"), suite.get("tests")) == ("2", str(len(found["lines"])))
    assert not (folder / "home").exists(), "no store of this home was needed"


def test_the_same_rows_pass_against_a_reference_of_the_store(folder: Path) -> None:
    (folder / "home").mkdir()
    with Store(Address(path=str(folder / "home" / "store"))) as store, Workers() as workers:
        migrate(store)
        contract = read_contract(folder / "taxi.yaml")
        reference_id = build_reference(store, contract, pd.read_parquet(folder / "january.parquet"), (), "j", workers)

    file = str(folder / "january.parquet")
    ran = driftline(folder, "check", file, "--against", reference_id)

    assert ran.exit_code == 0, ran.output
    assert ran.stdout.splitlines()[-1].startswith("passed: ")
    assert "insufficient critical max_error_ratio" in ran.stdout, "the reference has no predictions"
    assert f"column prediction.champion is not in reference {reference_id}" in ran.stdout


def test_a_reference_that_does_not_exist_is_a_usage_error(folder: Path) -> None:
    (folder / "home").mkdir()
    store = Store(Address(path=str(folder / "home" / "store")))
    migrate(store)
    store.close()
    ran = driftline(folder, "check", str(folder / "january.parquet"), "--against", "cafe")
    assert isinstance(ran.exception, InputDataError)
    assert ran.exception.exit_code == 2
    assert (
        str(ran.exception)
        == "there is no reference cafe of taxi, nor a file of that name; see `driftline reference ls`"
    )
