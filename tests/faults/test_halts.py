"""Consumers halted at each step of a flush: killed there (F2), or stopped while another takes over (F4)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from consumers.drill.faults import Outcome, outcome_of, serving_store
from consumers.drill.load import Load
from consumers.drill.rig import Rig, end
from tests.faults.conftest import FULL, Record

TABLES = (
    "raw",
    "predictions",
    "labels",
    "segment_profiles",
    "segment_counts",
    "dead_letters",
    "segments",
    "watermarks",
)
POINTS = [f"{table}:{moment}" for table in TABLES for moment in ("before", "after")]
SEED = 20230502
HALTING = (sys.executable, "-m", "tests.faults.halting")
SMALL_STEPS = (sys.executable, "-m", "tests.faults.small_steps")

pytestmark = pytest.mark.timeout(900 if FULL else 180)


def chosen(points: list[str], small: int) -> list[str]:
    return points if FULL else random.Random(SEED).sample(points, small)


def test_a_consumer_killed_at_any_step_of_a_flush_loses_and_doubles_nothing(tmp_path: Path, hold: Record) -> None:
    places = [f"{point}:{flush}" for point in POINTS for flush in (1, 2, 3)]
    rig = Rig(tmp_path, Load(SEED, 24_000 if FULL else 2_500, poison=0.05), command=HALTING)
    rig.fill()
    begun, deaths = time.monotonic(), []

    for place in chosen(places, 4):
        consumer = rig.start("consume", "--until-end", environment={"DRIFTLINE_HALT_AT": f"{place}:exit"})
        deaths.append((place, consumer.wait(120)))

    assert [place for place, code in deaths if code != 137] == []
    rig.command = SMALL_STEPS
    rig.finish()
    done = "the consumer ends before or after each insert of its first, second or third flush"
    hold(outcome_of("F2", done, rig, len(deaths), rig.judge(), time.monotonic() - begun))


def test_a_consumer_stopped_within_a_flush_and_awake_after_another_took_over_changes_nothing(
    tmp_path: Path, hold: Record
) -> None:
    found = [stopped_at(place, number, tmp_path) for number, place in enumerate(chosen(POINTS, 1))]
    hold(
        replace(
            found[0],
            repetitions=len(found),
            events=sum(one.events for one in found),
            windows=sum(one.windows for one in found),
            wrong_windows=sum(one.wrong_windows for one in found),
            findings=tuple(finding for one in found for finding in one.findings),
            seconds=round(sum(one.seconds for one in found), 1),
        )
    )


def stopped_at(place: str, number: int, folder: Path) -> Outcome:
    """Stop a consumer of a log of its own at ``place``, let another go on, and wake it."""
    rig = Rig(folder / str(number), Load(SEED + number, 2_000, poison=0.05), command=HALTING)
    rig.fill()
    begun = time.monotonic()
    with serving_store(Rig(rig.folder, rig.load, command=SMALL_STEPS)):
        halt = {"DRIFTLINE_HALT_AT": f"{place}:{1 + number % 2}:stop"}
        zombie = rig.start("consume", "--until-end", environment=halt)
        try:
            wait_until_stopped(zombie)
            take_over(rig, whole=number % 2 == 0)
            zombie.send_signal(signal.SIGCONT)
            assert zombie.wait(120) == 0
        finally:
            end(zombie)
    rig.command = SMALL_STEPS
    rig.finish()
    done = "SIGSTOP within a flush, another consumer goes on, SIGCONT"
    return outcome_of("F4", done, rig, 1, rig.judge(), time.monotonic() - begun)


def take_over(rig: Rig, *, whole: bool) -> None:
    """Let another consumer go on for a few flushes, or to the end."""
    other = Rig(rig.folder, rig.load, rig.log, command=HALTING)
    halt = "none:before:1:exit" if whole else "segments:after:4:exit"
    successor = other.start("consume", "--until-end", environment={"DRIFTLINE_HALT_AT": halt})
    assert successor.wait(120) == (0 if whole else 137)


def wait_until_stopped(process: subprocess.Popen[bytes]) -> None:
    while True:
        pid, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
        if pid:
            assert os.WIFSTOPPED(status), f"ended by itself: {status}"
            return
        time.sleep(0.02)
