"""The faults of ``driftline drill faults``, and that its comparison sees what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers.drill.comparing import Verdict
from consumers.drill.faults import FAULTS, Fault, drill
from consumers.drill.load import Load, Truth, records_of
from consumers.drill.rig import Rig
from tests.faults.conftest import FULL, Record

EVENTS, TIMES = (60_000, 50) if FULL else (1_500, 2)
SEED = 20230501
SMALL_STEPS = (sys.executable, "-m", "tests.faults.small_steps")

pytestmark = pytest.mark.timeout(900 if FULL else 180)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.code for fault in FAULTS])
def test_every_window_is_that_of_the_truth_after(fault: Fault, tmp_path: Path, hold: Record) -> None:
    rig = Rig(tmp_path, fault.load(Load(SEED, EVENTS)), command=SMALL_STEPS)

    hold(drill(fault, rig, TIMES))


@pytest.fixture(scope="module")
def consumed(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    rig = Rig(tmp_path_factory.mktemp("consumed"), Load(SEED, 300, hours=5))
    rig.fill()
    rig.finish()
    return rig


def judged_after(rig: Rig, change: Callable[[Truth], None]) -> Verdict:
    """Compare with a truth that is not the log's."""
    other = Truth()
    for _ in records_of(rig.load, other):
        pass
    assert other == rig.truth
    change(other)
    return Rig(rig.folder, rig.load, rig.log, truth=other).judge()


CHANGES: dict[str, Callable[[Truth], None]] = {
    "events": lambda truth: setattr(truth.windows[min(truth.windows)], "n", 0),
    "duplicates": lambda truth: setattr(truth.windows[min(truth.windows)], "duplicates", 99),
    "late events": lambda truth: setattr(truth.windows[min(truth.windows)], "late", 99),
    "identities": lambda truth: setattr(truth.windows[min(truth.windows)], "identity_sum", 1),
    "ids of raw rows": lambda truth: setattr(truth.windows[min(truth.windows)], "id_sum", 1),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_comparison_names_the_window_and_what_is_wrong_with_it(consumed: Rig, what: str) -> None:
    verdict = judged_after(consumed, CHANGES[what])

    assert len(verdict.wrong) == 1
    assert verdict.wrong[0].startswith("inputs 2023-0")
    assert f" {what} instead of " in verdict.wrong[0]


def test_the_comparison_names_dead_letters_that_are_missing_or_too_many(consumed: Rig) -> None:
    assert judged_after(consumed, lambda _truth: None) == Verdict(len(consumed.truth.windows), (), ())
    letters = consumed.truth.dead.total()
    assert letters > 0

    few = judged_after(consumed, lambda truth: truth.dead.clear())
    many = judged_after(consumed, lambda truth: truth.dead.update({("inputs", "0" * 64): 2}))

    assert few.findings == (f"{letters} dead letters are too many",)
    assert many.findings == ("2 dead letters are missing",)


def test_the_comparison_counts_what_the_log_took(consumed: Rig) -> None:
    records = consumed.truth.records

    verdict = judged_after(consumed, lambda truth: setattr(truth, "records", records + 1))

    assert verdict.findings == (f"the log took {records} records instead of {records + 1}",)


def test_the_same_seed_makes_the_same_records_and_another_one_does_not() -> None:
    def made(seed: int) -> list[object]:
        return list(records_of(Load(seed, 200), Truth()))

    assert made(1) == made(1)
    assert made(1) != made(2)


def drilled(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "driftline.cli", "drill", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_prints_a_row_per_fault(tmp_path: Path) -> None:
    done = drilled("faults", "--only", "F13", "--events", "300", "--seed", "5", "--json", "--keep", str(tmp_path / "x"))

    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert {name: row[name] for name in ("fault", "events", "wrong_windows", "findings", "seed")} == {
        "fault": "F13", "events": 900, "wrong_windows": 0, "findings": [], "seed": 5,
    }  # fmt: skip
    assert (tmp_path / "x" / "F13" / "home").is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "F99"], "driftline: --only must be one of F1, F8, F10, F13, F14; got F99"),
        (
            ["--keep", __file__],
            f"driftline: --keep must name an empty or absent folder; {__file__} is not; name another",
        ),
    ],
)
def test_what_cannot_be_drilled_is_refused(words: list[str], message: str) -> None:
    done = drilled("faults", *words)

    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, message)
