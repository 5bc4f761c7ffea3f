"""``data``, ``train`` and ``replay`` as typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from driftline.cli import data
from driftline.cli.context import Context
from driftline.cli.progress import progress
from driftline.cli.replay import replay
from driftline.cli.train import train
from driftline.clock import ManualClock, from_ms
from driftline.errors import InputDataError, UsageError

app = typer.Typer()
app.add_typer(data.app, name="data")
app.command()(train)
app.command()(replay)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> Result:
    result = CliRunner().invoke(app, words, obj=Context(Path("home")))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_simulate_train_replay_in_an_empty_folder(folder: Path) -> None:
    options = ("--days", "2", "--seed", "7", "--start", "2023-05-01", "--to", "months")
    path = call("data", "simulate", *options).stdout.strip()
    assert path == "months/green_tripdata_simulated_2023-05-01_2d_seed7.parquet"
    first = call("train", "--from", path).stdout.splitlines()
    assert [line.split(" on ")[0] for line in first] == ["gbm-1: gradient boosting", "linear-1: linear"]
    again = call("train", "--from", path).stdout.splitlines()
    exists = "exists in home/models/nyc_green_taxi; --force trains it again"
    assert again == [f"gbm-1: {exists}", f"linear-1: {exists}"]
    summary = json.loads(call("replay", path, "--limit", "50", "--json").stdout)
    assert summary["events"] == {"trips": 50, "predictions": 100, "labels": 50}
    assert summary["ended"] is True
    assert call("replay", path, "--limit", "50").stdout.splitlines()[0].startswith("50 trips, 20")


def test_replay_before_training_says_what_to_do(folder: Path) -> None:
    with pytest.raises(InputDataError) as caught:
        call("replay", "month.parquet")
    assert str(caught.value) == (
        "model version gbm-1 has not been trained (home/models/nyc_green_taxi/gbm-1.json is absent); "
        "run `driftline train` on a month first"
    )


@pytest.mark.parametrize("words", [(), ("--from", "a.parquet", "--month", "2023-01")])
def test_train_needs_exactly_one_source(folder: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        call("train", *words)
    assert str(caught.value) == "`driftline train` needs either `--from FILE` or `--month 2023-01`"


def test_ctrl_c_while_live_ends_in_order(folder: Path) -> None:
    path = call("data", "simulate", "--days", "8", "--seed", "7").stdout.strip()
    call("train", "--from", path)
    code = "import sys; from tests.driftline.cli.test_producing import *; app(sys.argv[1:], obj=Context(Path('home')))"
    words = ["replay", path, "--align", "now", "--past", "1h", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, env=environment)
    log = folder / "home" / "log"
    while not any(log.glob("*-wal")) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(output)["ended"] is False


def test_elsewhere_than_on_a_terminal_a_line_is_shown_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock(from_ms(0))
    with progress("replay (events)", clock) as report:
        for second in range(25):
            report(1_000 * second, 100_000, f"at {second}")
            clock.sleep(1)
    assert capsys.readouterr().err.splitlines() == [
        "replay (events): 10,000 of 100,000, 1,000/s at 10",
        "replay (events): 20,000 of 100,000, 1,000/s at 20",
    ]
