"""``driftline slices``, ``compare`` and ``metrics --slice`` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import ttest_rel
from typer.testing import CliRunner, Result

from driftline.cli.main import app
from driftline.contract import Contract, read_contract
from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.batch.conftest import VERSIONS, trips
from tests.batch.populated import PopulatedStore

MONITOR = """
model: taxi
versions: {champion: champion, challengers: [challenger]}
columns:
  distance: {type: number}
  zone: {type: category}
label: {range: [1, 60]}
quality: {min_labels: 10}
slices:
  - {name: zone, by: zone, max_values: 2, min_rows: 40}
  - {name: long, by: distance > 4, min_rows: 40}
"""


def day_of_trips() -> pd.DataFrame:
    frame = trips(300, 71, days=1)
    frame.loc[frame["zone"] == "75", "prediction.champion"] += 20
    return frame


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a day of two versions has been judged."""
    folder = tmp_path_factory.mktemp("slices") / "home"
    folder.mkdir()
    (folder.parent / "taxi.yaml").write_text(MONITOR)
    store = Store(Address(path=str(folder / "store")))
    migrate(store)
    contract: Contract = read_contract(folder.parent / "taxi.yaml")
    log, frame = PopulatedStore(store, contract), day_of_trips()
    log.add_inputs(frame)
    for version in VERSIONS:
        log.add_predictions(frame.assign(prediction=frame[f"prediction.{version}"]), version)
    log.add_labels(frame)
    log.complete()
    store.close()
    done = driftline(folder, "jobs", "run", "--due", "--kind", "slices", "--kind", "comparison")
    assert done.exit_code == 0, done.output
    return folder


def driftline(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "--monitor", str(home.parent / "taxi.yaml"), *arguments])


def lines(home: Path, *arguments: str) -> list[dict[str, object]]:
    result = driftline(home, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_ls_names_every_slice_with_its_rule_and_rows(home: Path) -> None:
    frame = day_of_trips()
    found = {row["slice"]: row for row in lines(home, "slices", "ls")}
    assert list(found) == ["long", "zone=74", "zone=75", "zone=other", "zone=missing"]
    assert (found["zone=75"]["by"], found["zone=75"]["min_rows"]) == ("zone", 40)
    assert found["zone=75"]["rows"] == (frame["zone"] == "75").sum()
    assert found["long"]["rows"] == (frame["distance"] > 4).sum()


def test_worst_puts_the_proven_slice_first(home: Path) -> None:
    rows = lines(home, "slices", "worst", "--model-version", "champion")
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert (rows[0]["slice"], rows[0]["proven"]) == ("zone=75", True)
    assert [row["proven"] for row in rows[1:]] == [False] * (len(rows) - 1)
    assert {row["model_version"] for row in lines(home, "slices", "worst", "2023-02-01")} == set(VERSIONS)
    assert lines(home, "slices", "worst", "2023-02-02") == []
    shown = driftline(home, "slices", "worst", "--limit", "1")
    assert "zone=75" in shown.stdout


def test_metrics_takes_a_slice(home: Path) -> None:
    rows = lines(home, "metrics", "--slice", "zone=75", "--metric", "mae")
    assert [row["model_version"] for row in rows] == ["challenger", "champion"]


def test_compare_prints_windows_and_all_together(home: Path) -> None:
    frame = day_of_trips().query("1 <= label <= 60")
    errors = [(frame[f"prediction.{version}"] - frame["label"]).abs() for version in VERSIONS]
    interval = ttest_rel(errors[1], errors[0]).confidence_interval(0.95)
    day, whole = lines(home, "compare")
    assert day["window_start"] == "2023-02-01T00:00:00Z"
    assert (day["difference"], day["lower"], day["upper"]) == pytest.approx(
        ((errors[1] - errors[0]).mean(), interval.low, interval.high)
    )
    assert day["probability_better"] == pytest.approx(ttest_rel(errors[1], errors[0], alternative="greater").pvalue)
    assert (whole["window_start"], whole["method"]) == (None, "1 windows")
    assert whole["difference"] == pytest.approx(day["difference"])
    zone = lines(home, "compare", "--slice", "zone=75")[0]
    assert (zone["n"], zone["method"]) == ((frame["zone"] == "75").sum(), "paired")
    assert lines(home, "compare", "--until", "2023-02-01") == []
