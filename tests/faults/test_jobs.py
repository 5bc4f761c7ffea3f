"""``driftline jobs`` killed with SIGKILL at any insert: readers see whole runs only, and in the end every one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from consumers.drill.faults import Outcome
from driftline.contract import read_contract
from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.batch.conftest import trips
from tests.batch.populated import PopulatedStore
from tests.faults.conftest import FULL, Record

KILLS, DAYS, ROWS, SEED = (20, 30, 600, 22) if FULL else (2, 8, 160, 22)
MONITOR = """
model: taxi
columns:
  distance: {type: number, max_missing_share: 0.1}
  zone: {type: category, values: ["41", "74", "75"]}
"""
JOBS = ["jobs", "run", "--due", "--kind", "data", "--kind", "labels"]
FIGURES = """
    SELECT h.job AS job, window_start, slice, column, metric, value, n, coverage FROM metric_history AS h
    WHERE run_id IN (SELECT run_id FROM latest_runs) ORDER BY ALL
"""
# A run is four or five inserts of results, for each two windows of a job.
_INSERTS = DAYS * 3
_Figures = dict[tuple[str, Any], list[dict[str, Any]]]


def test_killed_jobs_show_whole_runs_only_and_end_with_all_of_them(tmp_path: Path, hold: Record) -> None:
    began, rng = time.monotonic(), random.Random(SEED)
    undisturbed, killed = fill(tmp_path / "undisturbed"), fill(tmp_path / "killed")
    assert run(undisturbed) == 0
    expected = figures(undisturbed)
    kills, partial = 0, 0
    for _ in range(KILLS):
        kills += (
            run(killed, f"{rng.randint(1, _INSERTS // KILLS)}:{rng.choice(['before', 'after'])}") == -signal.SIGKILL
        )
        partial += sum(rows != expected[run_of] for run_of, rows in figures(killed).items())
    assert run(killed) == 0
    found = figures(killed)
    wrong = sum(found.get(run_of) != rows for run_of, rows in expected.items())
    hold(
        Outcome(
            fault="F22",
            done="`jobs run` killed at an insert of results",
            repetitions=kills,
            events=ROWS,
            windows=len(expected),
            wrong_windows=wrong + partial,
            findings=() if kills == KILLS else (f"only {kills} of {KILLS} runs were killed",),
            seed=SEED,
            seconds=time.monotonic() - began,
        )
    )


def fill(home: Path) -> Path:
    """Return a home whose store holds days of trips, labelled and complete, and nothing that jobs found."""
    home.mkdir()
    (home / "taxi.yaml").write_text(MONITOR)
    with Store(Address(path=str(home / "store"))) as store:
        migrate(store)
        log, frame = PopulatedStore(store, read_contract(home / "taxi.yaml")), trips(ROWS, 1, days=DAYS)
        log.add_inputs(frame)
        log.add_predictions(frame.assign(prediction=frame["prediction.champion"]), "champion")
        log.add_labels(frame)
        log.complete()
    return home


def run(home: Path, kill_at: str = "") -> int:
    words = [
        sys.executable,
        "-m",
        "tests.faults.jobs_killed",
        "--home",
        str(home),
        "--monitor",
        str(home / "taxi.yaml"),
    ]
    environment = {**os.environ, **({"DRIFTLINE_KILL_AT": kill_at} if kill_at else {})}
    done = subprocess.run([*words, *JOBS], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def figures(home: Path) -> _Figures:
    """Every visible figure, by job and window."""
    found: _Figures = defaultdict(list)
    with Store(Address(path=str(home / "store"))) as store:
        for row in store.query(FIGURES):
            found[row["job"], row["window_start"]].append(row)
    return found
