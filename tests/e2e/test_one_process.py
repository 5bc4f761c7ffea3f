"""``demo`` and ``up``: everything in one process, and what a second process sees of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.simulated import simulated_month

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("one_process")]

DRIFTLINE = Path(sys.executable).parent / "driftline"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DRIFTLINE, "--home", "H", *words], cwd=folder, capture_output=True, text=True, check=False)


def test_the_demo_names_the_injected_fault_and_nothing_else(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--once")
    assert done.returncode == 0, done.stderr
    found = done.stdout.split("Found:\n")[1].split("Judged:")[0].strip().splitlines()
    assert [re.sub(r" up to .*", "", line.strip()) for line in found] == [
        "warning: max_missing_share of passenger_count"
    ] * 2
    assert {re.search(r"(stream|batch) windows", line)[1] for line in found} == {"stream", "batch"}  # type: ignore[index]


def test_the_demo_deletes_only_what_a_demo_made(tmp_path: Path) -> None:
    (tmp_path / "H").mkdir()
    (tmp_path / "H" / "mine.txt").write_text("precious")
    done = run(tmp_path, "demo", "--once")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "driftline: H holds data of its own, the demo starts from nothing; choose another folder with --home",
    )
    assert (tmp_path / "H" / "mine.txt").read_text() == "precious"


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """``up`` on a live replay; its folder and the page's address."""
    first = simulated_month(8, 1, tmp_path, date(2023, 1, 2))
    current = simulated_month(15, 2, tmp_path, date(2023, 2, 6))  # so that two days lie in the past of any day
    assert run(tmp_path, "reference", "build", "--from", str(first)).returncode == 0
    words = [DRIFTLINE, "--home", "H", "up", "--replay", str(current), "--past", "2d", "--port", "0"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("page at "))
        yield tmp_path, line.split()[2].rstrip(",")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_a_second_process_works_while_up_runs_and_sigterm_ends_it_in_order(monitor: tuple[Path, str]) -> None:
    folder, page = monitor
    status: dict[str, object] = {}
    for _ in range(120):
        done = run(folder, "status", "--json")
        assert done.returncode == 0, done.stderr
        status = json.loads(done.stdout)
        if status["windows"]["run"] >= 48:  # type: ignore[index]
            break
        time.sleep(1)
    assert status["store"]["address"].startswith("clickhouse://127.0.0.1:")  # type: ignore[index]
    assert status["windows"]["complete"] >= 47  # type: ignore[index]
    audit = run(folder, "audit", "--json")
    assert audit.returncode == 0, audit.stderr
    assert [json.loads(line)["mismatches"] for line in audit.stdout.splitlines()] == [[], [], []]
    with urllib.request.urlopen(f"{page}/healthz") as answer:  # noqa: S310  # loopback
        assert answer.status == 200


def test_up_says_what_is_missing_before_it_starts_anything(tmp_path: Path) -> None:
    done = run(tmp_path, "up", "--replay", "absent.parquet", "--port", "0")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "driftline: model version gbm-1 has not been trained (H/models/nyc_green_taxi/gbm-1.json is absent); "
        "run `driftline train` on a month first",
    )
